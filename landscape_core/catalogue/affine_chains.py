"""Recognising multi-layer perceptrons: the chain of affine layers that a file's tensors form. No torch."""

from __future__ import annotations

import re
from itertools import pairwise

from landscape_core.catalogue.family import Shapes, listed
from landscape_core.errors import InvalidRequest
from landscape_core.requests import Message


class AffineLayer(Message):
    """One affine layer of a file: x W^T + b. `weight` and `bias` are the file's names.

    Attributes:
        weight: (outputs, inputs).
        bias: (outputs,); None if there is none.
        inputs: How many numbers it reads.
        outputs: How many it gives.

    Example:
        >>> affine_layers({"fc1.weight": (5, 4), "fc1.bias": (5,)})
        (AffineLayer(weight='fc1.weight', bias='fc1.bias', inputs=4, outputs=5),)
    """

    weight: str
    bias: str | None
    inputs: int
    outputs: int


def _numbered(names: list[str]) -> list[str] | None:
    """The names by the one number in which they differ (layers.0, layers.2, layers.10); None if they differ otherwise."""
    for position in range(min((len(re.findall(r"\d+", name)) for name in names), default=0)):
        keys = []
        for name in names:
            parts = re.split(r"(\d+)", name)
            number = int(parts[2 * position + 1])
            keys.append((number, "".join(parts[: 2 * position + 1]), "".join(parts[2 * position + 2 :])))
        if len({key[1:] for key in keys}) == 1 and len({key[0] for key in keys}) == len(names):
            return [name for _, name in sorted(zip([key[0] for key in keys], names, strict=True))]
    return None


def _biases_of(weights: list[str], shapes: Shapes) -> list[str | None]:
    """The bias of each weight: `x.bias` for `x.weight`; under other names as many vectors as weights, in their order."""
    stems = [name.removesuffix("weight") for name in weights]
    if all(stem != name and stem[-1:] in {"", "."} for stem, name in zip(stems, weights, strict=True)):
        return [f"{stem}bias" if f"{stem}bias" in shapes else None for stem in stems]
    vectors = [name for name, shape in shapes.items() if len(shape) == 1]
    if len(vectors) != len(weights):
        return [None] * len(weights)
    return list(_numbered(vectors) or vectors)


def affine_layers(shapes: Shapes) -> tuple[AffineLayer, ...]:
    """The chain of affine layers that a file's tensors form.

    The layers' order is that of the one number in which their names differ (`fc1`, `fc2`; `layers.0`, `layers.2`),
    because safetensors files are sorted by name; if there is no such number, or they do not chain that way, the file's.

    Args:
        shapes: The file's names and shapes.

    Raises:
        InvalidRequest: They form no chain; the text says what stands in the way.

    Example:
        >>> chain = affine_layers({"fc2.weight": (3, 5), "fc1.weight": (5, 4)})
        >>> [layer.weight for layer in chain], chain[0].inputs, chain[-1].outputs
        (['fc1.weight', 'fc2.weight'], 4, 3)
    """
    weights = [name for name, shape in shapes.items() if len(shape) == 2]
    problem = _no_chain_at_all(shapes, weights)
    for order in (_numbered(weights), weights):
        if order is None or problem:
            continue
        layers = tuple(
            AffineLayer(weight=weight, bias=bias, inputs=shapes[weight][1], outputs=shapes[weight][0])
            for weight, bias in zip(order, _biases_of(order, shapes), strict=True)
        )
        problem = _broken_link(layers, shapes)
        if problem is None:
            return layers
        if order is not weights and order != weights:
            problem = None  # the file's own order is still to be tried
    raise InvalidRequest(f"The checkpoint is no chain of affine layers: {problem}.", field="architecture")


def _no_chain_at_all(shapes: Shapes, weights: list[str]) -> str | None:
    other = next((name for name, shape in shapes.items() if len(shape) not in {1, 2}), None)
    if other is not None:
        return f"{other} has {len(shapes[other])} dimensions, where an mlp has weights of 2 and biases of 1"
    if not weights:
        return "it has no weight of 2 dimensions"
    if any(0 in shapes[name] for name in weights):
        return "a weight has no elements"
    return None


def _broken_link(layers: tuple[AffineLayer, ...], shapes: Shapes) -> str | None:
    for before, after in pairwise(layers):
        if before.outputs != after.inputs:
            return f"{before.weight} gives {before.outputs} numbers, but {after.weight} takes {after.inputs}"
    for layer in layers:
        if layer.bias is not None and shapes[layer.bias] != (layer.outputs,):
            return f"{layer.bias} has shape {shapes[layer.bias]}, but {layer.weight} gives {layer.outputs} numbers"
    used = {layer.weight for layer in layers} | {layer.bias for layer in layers}
    extra = [name for name in shapes if name not in used]
    return f"{listed(extra)} belongs to no layer" if extra else None


def mlp_renames(layers: tuple[AffineLayer, ...]) -> dict[str, str]:
    """The network's own names (`layers.0.weight`, `layers.0.bias`, `layers.1.weight` …) -> the file's, where they differ."""
    names: dict[str, str] = {}
    for index, layer in enumerate(layers):
        names[f"layers.{index}.weight"] = layer.weight
        if layer.bias is not None:
            names[f"layers.{index}.bias"] = layer.bias
    return {own: name for own, name in names.items() if own != name}
