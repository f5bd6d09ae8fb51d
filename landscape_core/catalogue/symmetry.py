"""Which hidden units of a network may change places without changing what it computes. No torch.

The units of a hidden layer are exchanged together with the rows of what writes them, the columns of what reads them, and
everything in between that has one number for each of them (batch norm). Layers that a shortcut adds to each other are one
layer here: their units have to keep to one order (Ainsworth, Hayase, Srinivasa 2023, Git Re-Basin, section 3 and appendix).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

Channels = Mapping[str, tuple[int, ...]]
"""What stands along one axis of a tensor: for each hidden layer the position of each of its units. What is of none, stays."""

FIXED: Channels = {}
"""Inputs and outputs of the network, which keep their order."""

_NORM = ("weight", "bias", "running_mean", "running_var")


class Place(NamedTuple):
    """Where the units of a hidden layer stand in one tensor.

    Attributes:
        tensor: The network's own name of it.
        axis: The axis along which they stand.
        at: The position of each unit, counted in units.
        span: How many consecutive entries a unit takes: the places of a feature map that is flattened, else 1.
    """

    tensor: str
    axis: int
    at: tuple[int, ...]
    span: int = 1


class Symmetry:
    """The hidden layers of a network, written down layer by layer from input to output, and where their units stand.

    Attributes:
        layers: For each hidden layer, all its places. Every order of its units gives the same function.

    Example:
        >>> made = Symmetry()
        >>> hidden = made.units("hidden", 3)
        >>> made.affine("a", FIXED, hidden)
        >>> made.affine("b", hidden, FIXED, bias=False)
        >>> [(place.tensor, place.axis) for place in made.layers["hidden"]]
        [('a.weight', 0), ('a.bias', 0), ('b.weight', 1)]
    """

    def __init__(self) -> None:
        self.layers: dict[str, list[Place]] = {}

    def units(self, name: str, count: int) -> Channels:
        """A new hidden layer of so many units, which stand in a row."""
        self.layers[name] = []
        return {name: tuple(range(count))}

    def widened(self, name: str, channels: Channels, before: int, after: int) -> Channels:
        """Channels padded with zeros on both sides, half before and half after, as option A's shortcuts do.

        What is added to the zeros is a hidden layer of its own: its units may change places with each other, but not with
        those that come through the shortcut, which keep to the order that they have.

        Args:
            name: Of the new hidden layer.
            channels: What stands along the narrow axis, all of it of hidden layers.
            before: How many there are.
            after: How many there are with the zeros.
        """
        first = (after - before) // 2
        carried = {layer: tuple(first + position for position in at) for layer, at in channels.items()}
        self.layers[name] = []
        return {**carried, name: tuple(n for n in range(after) if not first <= n < first + before)}

    def convolution(self, name: str, reads: Channels, writes: Channels, *, bias: bool = False) -> None:
        """A convolution, whose kernel has its outputs along axis 0 and its inputs along axis 1."""
        self._weight(name, reads, writes, 1, bias=bias)

    def affine(self, name: str, reads: Channels, writes: Channels, *, span: int = 1, bias: bool = True) -> None:
        """An affine layer; after a flattened feature map, each channel is `span` of its inputs."""
        self._weight(name, reads, writes, span, bias=bias)

    def batch_norm(self, name: str, over: Channels, *, scaled: bool = True) -> None:
        """Batch norm: weight, bias and running statistics go with their channels."""
        for part in _NORM if scaled else _NORM[2:]:
            self._stands(f"{name}.{part}", 0, over, 1)

    def _weight(self, name: str, reads: Channels, writes: Channels, span: int, *, bias: bool) -> None:
        self._stands(f"{name}.weight", 0, writes, 1)
        self._stands(f"{name}.weight", 1, reads, span)
        if bias:
            self._stands(f"{name}.bias", 0, writes, 1)

    def _stands(self, tensor: str, axis: int, channels: Channels, span: int) -> None:
        for layer, at in channels.items():
            self.layers[layer].append(Place(tensor, axis, at, span))
