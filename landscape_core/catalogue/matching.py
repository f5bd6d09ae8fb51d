"""Which architectures fit a file's tensors, what stands in the way of the others, and what one example costs. No torch."""

from __future__ import annotations

import math
import re
from collections.abc import Callable

from landscape_core.catalogue.networks import (
    COUNTER,
    Candidate,
    Shapes,
    architectures,
    expected_resnet,
    listed,
    resnet_ends,
    resnet_specs,
    resolve,
)
from landscape_core.catalogue.perceptrons import affine_layers, mlp_renames
from landscape_core.errors import InvalidRequest
from landscape_core.requests import ArchitectureSpec


def differences(expected: Shapes, shapes: Shapes) -> tuple[int, str]:
    """(how many tensors differ, in words) between a network and a file; (0, "") if the file fits.

    Args:
        expected: The network's names and shapes.
        shapes: The file's.
    """
    missing = [name for name in expected if name not in shapes and not name.endswith(COUNTER)]
    unexpected = [name for name in shapes if name not in expected]
    other = [name for name, shape in shapes.items() if name in expected and tuple(shape) != expected[name]]
    parts = []
    if missing:
        parts.append(f"the file lacks {listed(missing)}")
    if unexpected:
        parts.append(f"it has {listed(unexpected)}, which the network has not")
    if other:
        first = other[0]
        more = f" (and {len(other) - 1} more have other shapes)" if len(other) > 1 else ""
        parts.append(f"{first} has shape {tuple(shapes[first])} where the network has {expected[first]}{more}")
    return len(missing) + len(unexpected) + len(other), "; ".join(parts)


def fit(spec: ArchitectureSpec, shapes: Shapes) -> Candidate:
    """How this architecture fits a file's tensors.

    Args:
        spec: The architecture.
        shapes: The file's names and shapes, in the file's order.

    Raises:
        InvalidRequest: There is no such architecture or option, or it does not fit; the text says what differs.
    """
    resolve(spec)
    if spec.name == "mlp":
        layers = affine_layers(shapes)
        widths = "-".join(str(width) for width in (layers[0].inputs, *(layer.outputs for layer in layers)))
        note = f"All tensors form a chain of affine layers, {widths}. The file does not say the activation; relu is assumed."
        return Candidate(
            architecture=spec,
            note=note,
            input_shape=(layers[0].inputs,),
            classes=layers[-1].outputs,
            renames=mlp_renames(layers),
        )
    count, words = differences(expected_resnet(spec, shapes), shapes)
    if count:
        raise InvalidRequest(f"The checkpoint does not fit {spec}: {words}.", field="architecture")
    channels, classes = resnet_ends(shapes)
    note = f"All {len(shapes)} tensors have the names and shapes of {spec}."
    return Candidate(architecture=spec, note=note, input_shape=(channels, 32, 32), classes=classes)


def match(shapes: Shapes, filename: str = "") -> tuple[Candidate, ...]:
    """The architectures that fit a file's tensors exactly, best first; empty if none does.

    Option A's shortcuts have no parameters, so a file cannot tell them from no shortcuts at all: both are given, and
    the note says how they differ and which was put first.

    Args:
        shapes: The file's names (container and prefixes removed) and shapes, in the file's order.
        filename: The file's name; "noshort" in it puts a network without shortcuts first.

    Example:
        >>> [str(c.architecture) for c in match({"fc1.weight": (5, 4), "fc2.weight": (3, 5)})]
        ['mlp']
    """
    found = []
    for spec in [*resnet_specs(), ArchitectureSpec(name="mlp")]:
        try:
            found.append(fit(spec, shapes))
        except InvalidRequest:
            continue
    if len(found) == 2:
        return _rank_shortcut_free(found, filename)
    return tuple(found)


def _rank_shortcut_free(found: list[Candidate], filename: str) -> tuple[Candidate, ...]:
    marked = "noshort" in re.sub(r"[^a-z]", "", filename.lower())
    option_a, noshort = sorted(found, key=lambda candidate: candidate.architecture.name.endswith("_noshort"))
    reason = "the file's name contains “noshort”" if marked else "the file's name does not contain “noshort”"
    note = (
        f"{option_a.architecture} and {noshort.architecture} have the same tensors: the first adds each block's input to its "
        "output (subsampled and padded with zeros where the width changes), the second has no shortcuts. The file cannot tell "
        f"them apart; {{}} was put first because {reason}. The right one shows the accuracy you know at the centre."
    )
    ranked = (noshort, option_a) if marked else (option_a, noshort)
    text = note.format(ranked[0].architecture)
    return tuple(candidate.model_copy(update={"note": text}) for candidate in ranked)


def explain_no_match(shapes: Shapes) -> str:
    """One sentence for a file that fits no architecture: the nearest one, and what is missing, unexpected or of other shape."""
    if not shapes:
        return "The file holds no tensors, so no architecture fits; give a checkpoint with the network's parameters."
    if all(len(shape) in {1, 2} for shape in shapes.values()):
        try:
            affine_layers(shapes)
        except InvalidRequest as error:
            return f"No catalogued architecture fits. {error}"
    ranked: list[tuple[int, str, ArchitectureSpec]] = []
    for spec in resnet_specs():
        count, words = differences(expected_resnet(spec, shapes), shapes)
        ranked.append((count, words, spec))
    count, words, spec = min(ranked, key=lambda item: item[0])
    expected = expected_resnet(spec, shapes)
    same = sum(expected.get(name) == tuple(shape) for name, shape in shapes.items())
    if 4 * same < len(shapes):
        some = listed([f"{name} {tuple(shape)}" for name, shape in shapes.items()])
        names = ", ".join(entry.name for entry in architectures())
        return f"No catalogued architecture has tensors like this file's ({some}); there are {names}."
    return f"No catalogued architecture fits; the nearest is {spec}, with {same} of {len(shapes)} tensors in common: {words}."


# ---- cost ------------------------------------------------------------------------------------------------------------


def macs_per_example(architecture: ArchitectureSpec, shapes: Shapes, input_shape: tuple[int, ...]) -> int:
    """Multiply-accumulates of one forward pass of one example, in convolutions and affine layers.

    Args:
        architecture: An architecture that fits.
        shapes: The file's names and shapes, in the file's order.
        input_shape: (channels, height, width) or (features,) of one example.

    Raises:
        InvalidRequest: The architecture does not fit the shapes.

    Example:
        >>> macs_per_example(ArchitectureSpec(name="mlp"), {"a.weight": (5, 4), "b.weight": (3, 5)}, (4,))
        35
    """
    fit(architecture, shapes)
    if architecture.name == "mlp":
        return sum(layer.inputs * layer.outputs for layer in affine_layers(shapes))
    places = _places(input_shape)
    total = 0
    for name, shape in expected_resnet(architecture, shapes).items():
        if len(shape) == 4:
            total += places(name) * math.prod(shape)
        elif name == "linear.weight":
            total += math.prod(shape)
    return total


def _places(input_shape: tuple[int, ...]) -> Callable[[str], int]:
    """How many output places a convolution has, by its name: stages 2 and 3 halve height and width, rounding up."""
    height, width = input_shape[-2:] if len(input_shape) == 3 else (32, 32)

    def places(name: str) -> int:
        halvings = {"layer2": 1, "layer3": 2}.get(name.partition(".")[0], 0)
        return math.ceil(height / 2**halvings) * math.ceil(width / 2**halvings)

    return places
