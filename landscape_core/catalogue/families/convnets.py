"""`convnet`: any chain of convolutions and affine layers, each perhaps with batch norm.

Pooling, strides and padding are guessed from the sizes of images that are usual; `convolution_geometry` lists the options.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import product

from landscape_core.catalogue.convolution_chains import ConvolutionChain, convolution_chain, followed_by_more
from landscape_core.catalogue.convolution_geometry import (
    DEFAULTS,
    MAX_SIZE,
    OPTIONS,
    Step,
    any_size,
    feature_map,
    geometry,
    takes,
    usual_size,
    usual_sizes,
)
from landscape_core.catalogue.family import NEAR, ArchitectureEntry, Candidate, Family, Options, Shapes
from landscape_core.catalogue.symmetry import FIXED, Symmetry
from landscape_core.errors import InvalidRequest
from landscape_core.requests import ArchitectureSpec

MOST_CANDIDATES = 6


class Convnets(Family):
    """Plain convolutional networks, whatever their layers are called."""

    key = "convnets"
    summary = "convnet"
    guesses = True

    def entries(self) -> list[ArchitectureEntry]:
        """The one there is."""
        return [ArchitectureEntry(name="convnet", title="Plain convolutional network", options=dict(OPTIONS))]

    def fit(self, spec: ArchitectureSpec, options: Options, shapes: Shapes) -> Candidate:
        """How a convnet with these options fits a file's tensors.

        Raises:
            InvalidRequest: They form no chain, or no square image gives as many places as the first affine layer takes.
        """
        chain = convolution_chain(shapes)
        size = usual_size(chain, options) or any_size(chain, options)
        first = chain.affine[0]
        if size is None:
            raise InvalidRequest(
                f"The checkpoint does not fit {spec}: {first.name}.weight takes {_places_of(chain)}, which no square image of "
                f"up to {MAX_SIZE} x {MAX_SIZE} gives with these options; choose pooling, strides and padding as the network "
                "has them.",
                field="architecture.options",
            )
        note = f"{_described(chain)} With these options, images of {size} x {size} give what {first.name}.weight takes."
        return Candidate(
            architecture=spec,
            note=note,
            input_shape=(chain.convolutions[0].inputs, size, size),
            classes=chain.affine[-1].outputs,
            renames=_renames(chain),
        )

    def match(self, shapes: Shapes, filename: str) -> tuple[Candidate, ...]:
        """The plainest choices of pooling, strides and padding with which images of a usual size can be taken."""
        del filename
        try:
            chain = convolution_chain(shapes)
        except InvalidRequest:
            return ()
        found = self._guesses(chain, shapes)
        if not found:
            return ()
        first, *others = found
        size, reader = first.input_shape[-1], f"{chain.affine[0].name}.weight"
        too = ", as with others" if others else ""
        note = (
            f"{_described(chain)} The file does not say activation, pooling, strides and padding: {first.architecture} was put "
            f"first because with it images of {size} x {size} give what {reader} takes{too}. "
            "The right one shows the accuracy you know at the centre."
        )
        others = [
            candidate.model_copy(
                update={"note": f"With it, images of {candidate.input_shape[-1]} x {candidate.input_shape[-1]} fit."}
            )
            for candidate in others
        ]
        return (first.model_copy(update={"note": note}), *others)

    def _guesses(self, chain: ConvolutionChain, shapes: Shapes) -> list[Candidate]:
        """The plainest choices of different geometry, then the first of them with average pooling.

        Where the numbers in the layers' names tell after which ones pooling stands, choices that say so come first.
        """
        told, ranked = bool(followed_by_more(chain)), []
        for position, chosen in enumerate(_choices(chain)):
            size = usual_size(chain, DEFAULTS | chosen)
            if size is not None:
                heeded = not told or chosen.get("pool_after") == "gaps"
                ranked.append((not heeded, usual_sizes(chain).index(size), len(chosen), position, chosen))
        if not ranked and any_size(chain, DEFAULTS) is not None:
            ranked.append((told, 0, 0, 0, {}))
        found: dict[tuple[tuple[Step, ...], str], dict[str, str]] = {}
        for *_, chosen in sorted(ranked, key=lambda item: item[:4]):
            options = DEFAULTS | chosen
            found.setdefault((geometry(chain, options), options["head"]), chosen)
        plainest = list(found.values())[:MOST_CANDIDATES]
        if plainest and any(step.pool for step in geometry(chain, DEFAULTS | plainest[0])):
            plainest.append({**plainest[0], "pool": "average"})
        return [self.fit(ArchitectureSpec(name="convnet", options={**c}), DEFAULTS | c, shapes) for c in plainest]

    def near_miss(self, shapes: Shapes) -> tuple[float, str] | None:
        """What breaks the chain, or why no image can be taken, if the file has both convolutions and affine layers."""
        if not {2, 4} <= {len(shape) for shape in shapes.values()} or any(len(shape) > 4 for shape in shapes.values()):
            return None
        try:
            self.fit(ArchitectureSpec(name="convnet"), DEFAULTS, shapes)
        except InvalidRequest as error:
            return NEAR, f". {error}"
        return None

    def macs(self, spec: ArchitectureSpec, options: Options, shapes: Shapes, input_shape: tuple[int, ...]) -> int:
        """Multiply-accumulates of one forward pass of one image."""
        chain = convolution_chain(shapes)
        image = self.fit(spec, options, shapes).input_shape[-2:] if len(input_shape) != 3 else input_shape[-2:]
        total, place = 0, (image[0], image[1])
        for layer, step in zip(chain.convolutions, geometry(chain, options), strict=True):
            place = step.convolution.outputs(place)
            total += math.prod(place) * layer.inputs * layer.outputs * math.prod(layer.kernel)
            place = place if step.pool is None else step.pool.outputs(place)
        return total + sum(layer.inputs * layer.outputs for layer in chain.affine)

    def symmetry(self, spec: ArchitectureSpec, options: Options, shapes: Shapes) -> Symmetry:
        """The channels of every convolution and the units of every affine layer but the last may change places."""
        del spec, options
        chain = convolution_chain(shapes)
        names, made, reads = own_names(chain), Symmetry(), FIXED
        for layer in chain.layers:
            name = names[layer.name]
            writes = FIXED if layer == chain.affine[-1] else made.units(name, layer.outputs)
            if layer.kernel:
                made.convolution(name, reads, writes, bias=layer.bias)
            else:
                made.affine(name, reads, writes, span=chain.places if layer == chain.affine[0] else 1, bias=layer.bias)
            if layer.norm is not None:
                made.batch_norm(names[layer.norm], writes, scaled=layer.scaled)
            reads = writes
        return made

    def size_problem(self, spec: ArchitectureSpec, options: Options, shapes: Shapes, height: int, width: int) -> str | None:
        """Images that give another number of places than the first affine layer takes."""
        chain = convolution_chain(shapes)
        if takes(chain, options, (height, width)):
            return None
        places = feature_map(geometry(chain, options), (height, width))
        gives = "of which nothing is left" if places is None else f"which become {places[0]} x {places[1]} places"
        return (
            f"{gives} in {spec}, but {chain.affine[0].name}.weight takes {_places_of(chain)}; choose pooling, strides and "
            "padding as the network has them, or the data set that it was trained on"
        )


def _choices(chain: ConvolutionChain) -> Iterator[dict[str, str]]:
    """Every choice of what shapes can speak for or against, as the options that are not the default's."""
    names = ("pool", "pool_size", "pool_stride", "pool_after", "stride", "padding", "head")
    for values in product(*(OPTIONS[name] for name in names)):
        options = dict(zip(names, values, strict=True))
        chosen = {name: value for name, value in options.items() if value != DEFAULTS[name]}
        if options["pool"] == "average":  # as max: shapes cannot tell them apart
            continue
        if options["pool_after"] == "gaps" and not followed_by_more(chain):
            continue
        if options["pool"] == "none" and any(name.startswith("pool_") for name in chosen):
            continue
        if options["pool_stride"] not in {"size", "1"} and int(options["pool_stride"]) >= int(options["pool_size"]):
            continue
        if options["head"] == "average" and chain.places != 1:
            continue
        yield chosen


def _described(chain: ConvolutionChain) -> str:
    channels = "-".join(str(n) for n in (chain.convolutions[0].inputs, *(layer.outputs for layer in chain.convolutions)))
    widths = "-".join(str(n) for n in (chain.affine[0].inputs, *(layer.outputs for layer in chain.affine)))
    return f"All tensors form a chain of convolutions of {channels} channels and affine layers {widths}."


def _places_of(chain: ConvolutionChain) -> str:
    places = "1 place" if chain.places == 1 else f"{chain.places} places"
    return f"{places} of {chain.convolutions[-1].outputs} channels"


def _renames(chain: ConvolutionChain) -> dict[str, str]:
    """The network's own names -> the file's."""
    names = own_names(chain)
    renames: dict[str, str] = {}
    for layer in chain.layers:
        parts = ["weight", *(["bias"] if layer.bias else [])]
        renames |= {f"{names[layer.name]}.{part}": f"{layer.name}.{part}" for part in parts}
        if layer.norm is not None:
            parts = [*(["weight", "bias"] if layer.scaled else []), "running_mean", "running_var", "num_batches_tracked"]
            renames |= {f"{names[layer.norm]}.{part}": f"{layer.norm}.{part}" for part in parts}
    return {own: name for own, name in renames.items() if own != name}


def own_names(chain: ConvolutionChain) -> dict[str, str]:
    """The file's names of layers and batch norms -> the network's: convolution1, norm1, …, affine1, …; no dots."""
    names = {}
    for kind, layers in (("convolution", chain.convolutions), ("affine", chain.affine)):
        for number, layer in enumerate(layers, start=1):
            names[layer.name] = f"{kind}{number}"
            if layer.norm is not None:
                names[layer.norm] = f"{kind}{number}_norm"
    return names
