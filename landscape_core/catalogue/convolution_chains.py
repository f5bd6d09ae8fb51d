"""Recognising plain convolutional networks: the chain of convolutions and affine layers of a file's tensors. No torch."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import pairwise

from landscape_core.catalogue.family import COUNTER, Shapes, listed
from landscape_core.errors import InvalidRequest
from landscape_core.requests import Message

MAX_MODULES = 128
STATISTICS = ("running_mean", "running_var")

Modules = dict[str, dict[str, tuple[int, ...]]]
"""The shapes of a file's tensors by what their names have before the last dot, then after it, in the file's order."""


class ChainLayer(Message):
    """One convolution or affine layer of a file, and the batch norm after it.

    Attributes:
        name: The file's name of the layer: `features.0` of `features.0.weight`.
        inputs: Channels, or numbers of an affine layer.
        outputs: Likewise.
        kernel: (height, width) of a convolution's kernel; empty for an affine layer.
        bias: Whether it has one.
        norm: The file's name of the batch norm after it; None if there is none.
        scaled: Whether that batch norm has weight and bias.
    """

    name: str
    inputs: int
    outputs: int
    kernel: tuple[int, ...]
    bias: bool
    norm: str | None = None
    scaled: bool = True


class ConvolutionChain(Message):
    """Convolutions, then affine layers. `order` names layers and batch norms as the network's code most likely has them."""

    convolutions: tuple[ChainLayer, ...]
    affine: tuple[ChainLayer, ...]
    order: tuple[str, ...]

    @property
    def layers(self) -> tuple[ChainLayer, ...]:
        """All of them, in the order in which an image goes through them."""
        return (*self.convolutions, *self.affine)

    @property
    def places(self) -> int:
        """How many places of the last feature map the first affine layer takes: rows times columns."""
        return self.affine[0].inputs // self.convolutions[-1].outputs


def followed_by_more(chain: ConvolutionChain) -> set[int]:
    """Which convolutions are followed by more modules without tensors than others, as the numbers in their names tell.

    In a `torch.nn.Sequential`, an activation takes a number and a pooling another: after `0` (convolution), `1` (batch norm)
    and `2` (activation), a convolution called `4` tells of a pooling. Empty where names have no such numbers, or tell of no
    difference.
    """
    steps = []
    for before, after in pairwise(chain.convolutions):
        last, following = (_prefix_and_number(name) for name in (before.norm or before.name, after.name))
        if last is None or following is None or last[0] != following[0]:
            return set()
        steps.append(following[1] - last[1])
    return {index for index, step in enumerate(steps) if step > min(steps)}


def _prefix_and_number(name: str) -> tuple[str, int] | None:
    found = re.fullmatch(r"(.*?)([0-9]{1,9})", name)
    return None if found is None else (found[1], int(found[2]))


def convolution_chain(shapes: Shapes) -> ConvolutionChain:
    """The chain of convolutions and affine layers that a file's tensors form, each perhaps with batch norm after it.

    The layers' order is the file's; in one that is sorted by name, as safetensors files are, that of the numbers in the names.
    A batch norm belongs to the layer before it in that order; where none stands there (`conv1`, `conv2`, `bn1`, `bn2`), the
    first batch norm belongs to the first convolution, and so on.

    Raises:
        InvalidRequest: They form no chain; the text says what stands in the way.
    """
    modules = _modules(shapes)
    problem = _not_a_chain_at_all(modules, shapes)
    by_number, by_file = sorted(modules, key=_by_number), list(modules)
    orders = (by_number, by_file) if _is_sorted(shapes) else (by_file, by_number)
    for order in orders if problem is None else ():
        layers = [_layer(name, modules) for name in order if not _is_norm(modules[name])]
        broken = _broken_link(layers)
        if broken is None:
            owners, broken = _owners(layers, order, modules)
        if broken is None:
            return _chain([_with_norm(layer, owners, modules) for layer in layers], modules, shapes)
        problem = problem or broken
    raise _no_chain(problem or "its layers have no order")


def _no_chain(problem: str) -> InvalidRequest:
    return InvalidRequest(f"The checkpoint is no plain convolutional network: {problem}.", field="architecture")


def _is_sorted(shapes: Shapes) -> bool:
    """Whether the tensors stand in the order of their names; batch norm's counters, of another type, may stand apart."""
    names = [name for name in shapes if not name.endswith(COUNTER)]
    return names == sorted(names)


def _modules(shapes: Shapes) -> Modules:
    """In the order of what is no counter: safetensors files have the counters of all batch norms before all else."""
    modules: Modules = {}
    for counter in (False, True):
        for name, shape in shapes.items():
            if name.endswith(COUNTER) is counter:
                head, _, last = name.rpartition(".")
                modules.setdefault(head, {})[last] = tuple(shape)
    return modules


def _is_norm(parts: Mapping[str, tuple[int, ...]]) -> bool:
    return set(STATISTICS) <= parts.keys()


def _by_number(name: str) -> list[tuple[bool, int, str]]:
    """Sorts `features.10` after `features.2`."""
    parts = re.split(r"([0-9]{1,9})", name)  # numbers at every second place
    return [(index % 2 == 1, int(part) if index % 2 else 0, part) for index, part in enumerate(parts)]


def _not_a_chain_at_all(modules: Modules, shapes: Shapes) -> str | None:
    if (empty := next((name for name, shape in shapes.items() if 0 in shape), None)) is not None:
        return f"{empty} has no elements"
    for name, parts in modules.items():
        if (objection := _unknown_module(name, parts)) is not None:
            return objection
    ranks = {len(parts["weight"]) for parts in modules.values() if not _is_norm(parts)}
    if len(modules) > MAX_MODULES:
        return f"it has {len(modules)} layers and batch norms, more than {MAX_MODULES}"
    if ranks != {2, 4}:
        return "it has no affine layer of 2 dimensions" if 4 in ranks else "it has no convolution of 4 dimensions"
    return None


def _unknown_module(name: str, parts: Mapping[str, tuple[int, ...]]) -> str | None:
    affine = {"weight", "bias"}
    if _is_norm(parts):
        known = parts.keys() - {*STATISTICS, COUNTER} in (set(), affine)
    else:
        known = "weight" in parts and parts.keys() <= affine
    if not name or not known:
        tensors = [f"{name}.{part}" if name else part for part in parts]
        return f"{listed(tensors)} belongs to no convolution, affine layer or batch norm"
    if not _is_norm(parts) and len(parts["weight"]) not in {2, 4}:
        return f"{name}.weight has shape {parts['weight']}, where a convolution has 4 dimensions and an affine layer 2"
    return None


def _layer(name: str, modules: Modules) -> ChainLayer:
    outputs, inputs, *kernel = modules[name]["weight"]
    return ChainLayer(name=name, inputs=inputs, outputs=outputs, kernel=tuple(kernel), bias="bias" in modules[name])


def _broken_link(layers: list[ChainLayer]) -> str | None:
    convolutions, affine = ([layer for layer in layers if bool(layer.kernel) is kind] for kind in (True, False))
    for kind in (convolutions, affine):
        for before, after in pairwise(kind):
            if before.outputs != after.inputs:
                return (
                    f"{before.name}.weight gives {before.outputs} {_what(before)}, but {after.name}.weight takes {after.inputs}"
                )
    last, first = convolutions[-1], affine[0]
    if first.inputs % last.outputs:
        return (
            f"{first.name}.weight takes {first.inputs} numbers, which is no multiple of the {last.outputs} channels "
            f"that {last.name}.weight gives"
        )
    return None


def _what(layer: ChainLayer) -> str:
    return "channels" if layer.kernel else "numbers"


def _owners(layers: list[ChainLayer], order: list[str], modules: Modules) -> tuple[dict[str, str], str | None]:
    """Layer -> its batch norm, and what stands in the way: nothing tells, or a vector has another length than its layer."""
    norms = [name for name in order if _is_norm(modules[name])]
    owners = _preceding(order, norms)
    if owners is None and (owners := _by_turn(layers, norms)) is None:
        return {}, f"the names do not say which layers the {len(norms)} batch norms ({listed(norms)}) belong to"
    for layer in layers:
        norm = owners.get(layer.name)
        vectors = {} if norm is None else {f"{norm}.{part}": v for part, v in modules[norm].items() if part != COUNTER}
        if layer.bias:
            vectors[f"{layer.name}.bias"] = modules[layer.name]["bias"]
        for name, shape in vectors.items():
            if shape != (layer.outputs,):
                return {}, f"{name} has shape {shape}, but {layer.name}.weight gives {layer.outputs} {_what(layer)}"
    return owners, None


def _with_norm(layer: ChainLayer, owners: dict[str, str], modules: Modules) -> ChainLayer:
    norm = owners.get(layer.name)
    return layer.model_copy(update={"norm": norm, "scaled": norm is not None and "weight" in modules[norm]})


def _preceding(order: list[str], norms: list[str]) -> dict[str, str] | None:
    """Layer -> batch norm where each batch norm comes right after a layer; None if one does not."""
    owners = {}
    for before, name in pairwise(["", *order]):
        if name in norms:
            if before in norms or not before:
                return None
            owners[before] = name
    return owners


def _by_turn(layers: list[ChainLayer], norms: list[str]) -> dict[str, str] | None:
    """Layer -> batch norm by their turn, where all convolutions have one, or all layers, or all but the last."""
    convolutions = sum(bool(layer.kernel) for layer in layers)
    if len(norms) not in {convolutions, len(layers) - 1, len(layers)}:
        return None
    in_turn = sorted(layers, key=lambda layer: not layer.kernel)
    return dict(zip([layer.name for layer in in_turn], norms, strict=False))


def _chain(layers: list[ChainLayer], modules: Modules, shapes: Shapes) -> ConvolutionChain:
    order = list(modules)
    if _is_sorted(shapes):
        in_turn = sorted(layers, key=lambda layer: not layer.kernel)  # convolutions, then affine layers
        order = [name for layer in in_turn for name in (layer.name, layer.norm) if name is not None]
    return ConvolutionChain(
        convolutions=tuple(layer for layer in layers if layer.kernel),
        affine=tuple(layer for layer in layers if not layer.kernel),
        order=tuple(order),
    )
