"""Multi-layer perceptrons of any depth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from landscape_core.catalogue import Candidate, affine_layers
from landscape_core.catalogue.family import Options, Shapes
from landscape_core.compute.architectures.activations import FUNCTIONS


class Perceptron(nn.Module):
    """Affine layers with an activation between them, none after the last; the input is flattened.

    Products are W Xᵀ, one row for each unit: as fast as PyTorch's own X Wᵀ, and added up in an order that decides images on
    the boundary between two classes as surfaces recorded with the original code do.

    Args:
        widths: (inputs, hidden …, outputs).
        biases: For each layer, whether it has a bias.
        activation: One of the catalogue's names, with PyTorch's default constants.

    Example:
        >>> network = Perceptron([4, 3, 2], [True, True], "relu")
        >>> network(torch.zeros(5, 2, 2)).shape  # (n, …) is flattened
        torch.Size([5, 2])
    """

    def __init__(self, widths: Sequence[int], biases: Sequence[bool], activation: str) -> None:
        super().__init__()
        self.widths = tuple(widths)
        pairs = zip(widths[:-1], widths[1:], biases, strict=True)
        self.layers = nn.ModuleList(nn.Linear(before, after, bias=bias) for before, after, bias in pairs)
        self.activation = FUNCTIONS[activation]

    @property
    def first(self) -> nn.Linear:
        """The first layer."""
        return cast("nn.Linear", self.layers[0])

    def forward(self, x: Float[Tensor, "n ..."]) -> Float[Tensor, "n outputs"]:
        """The outputs of the last layer."""
        return self.after_first(affine(self.first.weight, self.first.bias, torch.flatten(x, 1).T))

    def after_first(self, units: Float[Tensor, "hidden n"]) -> Float[Tensor, "n outputs"]:
        """The outputs of the last layer, from those of the first, before its activation, one row for each unit."""
        for layer in cast("list[nn.Linear]", list(self.layers)[1:]):
            units = affine(layer.weight, layer.bias, self.activation(units))
        return units.T.contiguous()


def affine(
    weight: Float[Tensor, "out in"], bias: Float[Tensor, " out"] | None, units: Float[Tensor, "in n"]
) -> Float[Tensor, "out n"]:
    """W X + b, one row for each unit and one column for each example."""
    product = weight @ units
    return product if bias is None else product + bias[:, None]


def build(candidate: Candidate, options: Options, shapes: Shapes) -> Perceptron:
    """The perceptron with the widths that the file's shapes give it."""
    del candidate
    layers = affine_layers(shapes)
    widths = [layers[0].inputs, *(layer.outputs for layer in layers)]
    return Perceptron(widths, [layer.bias is not None for layer in layers], options["activation"])
