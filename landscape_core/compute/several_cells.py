"""Several cells in one call, where one does not fill the device.

A small network's batch takes a GPU less time than the host takes to start its kernels. The network is a function of its moved
tensors (`torch.func.functional_call`), and this function is mapped over those of several cells (`torch.func.vmap`): products
become batched products, convolutions grouped ones. Values differ from those of one cell at a time by rounding. A call always
has the same number of cells, so that a value does not depend on how many were left.

There was no GPU to run this on; tests run it on CPUs, where it is not used (`docs/engine.md` says what it takes there).
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call, vmap

from landscape_core.compute.architectures import Perceptron
from landscape_core.compute.first_layer import FirstLayer
from landscape_core.compute.planes import Plane

AGREES = 1e-4
"""Largest difference from the plain network's outputs, of the largest one; rounding alone reaches a tenth."""


class _AfterFirst(nn.Module):
    """A perceptron from its first layer's outputs on."""

    def __init__(self, network: Perceptron) -> None:
        super().__init__()
        self.network = network

    def forward(self, units: Tensor) -> Tensor:
        return self.network.after_first(units)


class SeveralCells:
    """A network at several places of its plane in one call.

    Args:
        plane: It, on its plane. Its batch norms keep the statistics that the plane gives them.
        first: What moves a perceptron's first layer; None if the plane moves it.
    """

    def __init__(self, plane: Plane, first: FirstLayer | None) -> None:
        self._plane, self._first = plane, first
        self._called = plane.module if first is None else _AfterFirst(cast("Perceptron", plane.module))
        self._prefix = "" if first is None else "network."

    @classmethod
    def where_it_agrees(cls, plane: Plane, first: FirstLayer | None, example: Float[Tensor, "1 ..."]) -> SeveralCells | None:
        """The same, unless an operator cannot be mapped, or something else than the plain network's outputs comes.

        Args:
            plane: The network at θ*, on its plane.
            first: What moves a perceptron's first layer.
            example: The first example.
        """
        several = cls(plane, first)
        try:
            with torch.inference_mode(), warnings.catch_warnings():
                warnings.simplefilter("error")  # so PyTorch says that it goes through the cells one by one
                expected = plane.module(example)
                made = several.outputs([(0.0, 0.0), (0.0, 0.0)], example, 0, 1)
                agrees = bool((made - expected).abs().max() <= AGREES * expected.abs().max())
        except torch.OutOfMemoryError:
            raise
        except (RuntimeError, UserWarning):
            return None
        return several if agrees or not bool(expected.isfinite().all()) else None

    def outputs(
        self, places: Sequence[tuple[float, float]], x: Tensor, start: int, stop: int
    ) -> Float[Tensor, "cells n classes"]:
        """What the network gives at each place; where it stands makes no difference.

        Args:
            places: (α, β) of each cell; β is 0 for a curve.
            x: The examples start … stop.
            start: First example, in the slice's order.
            stop: One after the last.
        """
        alphas, betas = torch.tensor(places, dtype=torch.float32, device=x.device).unbind(1)
        moved = {self._prefix + name: tensor for name, tensor in self._plane.several(alphas, betas).items()}
        if self._first is None:
            return vmap(lambda tensors: functional_call(self._called, tensors, (x,)))(moved)
        units = self._first.at_several(alphas, betas, start, stop)
        return vmap(lambda tensors, each: functional_call(self._called, tensors, (each,)))(moved, units)
