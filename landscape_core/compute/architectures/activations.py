"""The catalogue's activations, with PyTorch's default constants."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from landscape_core.catalogue.family import ACTIVATIONS


def _identity(x: Tensor) -> Tensor:
    return x


FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "gelu": functional.gelu,
    "elu": functional.elu,
    "leaky_relu": functional.leaky_relu,
    "silu": functional.silu,
    "identity": _identity,
}
PLAIN = frozenset(FUNCTIONS[name] for name in ("relu", "leaky_relu", "identity"))
"""Those whose values do not depend on where in a tensor a number stands. Of the others, PyTorch on CPUs computes the last few
numbers of a tensor one by one, by other approximations of exp than the vectors before them."""

if set(FUNCTIONS) != set(ACTIVATIONS):
    raise AssertionError("the catalogue's activations are not those that can be built")
