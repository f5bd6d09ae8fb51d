"""Multi-layer perceptrons of any depth."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from landscape_core.catalogue.networks import ACTIVATIONS


def _identity(x: Tensor) -> Tensor:
    return x


_FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "gelu": functional.gelu,
    "elu": functional.elu,
    "leaky_relu": functional.leaky_relu,
    "silu": functional.silu,
    "identity": _identity,
}
if set(_FUNCTIONS) != set(ACTIVATIONS):
    raise AssertionError("the catalogue's activations are not those that can be built")


class Perceptron(nn.Module):
    """Affine layers with an activation between them, none after the last; the input is flattened.

    Args:
        widths: (inputs, hidden …, outputs).
        biases: For each layer, whether it has a bias.
        activation: One of the catalogue's names, with PyTorch's default constants.
    """

    def __init__(self, widths: Sequence[int], biases: Sequence[bool], activation: str) -> None:
        super().__init__()
        pairs = zip(widths[:-1], widths[1:], biases, strict=True)
        self.layers = nn.ModuleList(nn.Linear(before, after, bias=bias) for before, after, bias in pairs)
        self.activation = _FUNCTIONS[activation]

    @property
    def first(self) -> nn.Linear:
        """The first layer."""
        return cast("nn.Linear", self.layers[0])

    def forward(self, x: Float[Tensor, "n ..."]) -> Float[Tensor, "n outputs"]:
        """The outputs of the last layer."""
        return self.after_first(self.first(torch.flatten(x, 1)))

    def after_first(self, out: Float[Tensor, "n hidden"]) -> Float[Tensor, "n outputs"]:
        """The outputs of the last layer, from those of the first, before its activation."""
        for layer in self.layers[1:]:
            out = layer(self.activation(out))
        return out
