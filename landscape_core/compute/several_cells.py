"""Several cells in one call, where one does not fill the device.

A small network's batch takes a GPU less time than the host takes to start its kernels. The network is a function of its moved
tensors (`torch.func.functional_call`), and this function is mapped over those of several cells (`torch.func.vmap`): products
become batched products, convolutions grouped ones. Values differ from those of one cell at a time by rounding. A call always
has the same number of cells, so that a value does not depend on how many were left.

CPUs gain from it too, with small perceptrons (`calls`), and with small convolutional networks another way (`stacking`). There
was no GPU to run it on; tests run every kind of network on CPUs.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.func import functional_call, vmap

from landscape_core.compute.architectures import Perceptron
from landscape_core.compute.devices import is_out_of_memory
from landscape_core.compute.first_layer import FirstLayer
from landscape_core.compute.planes import Plane
from landscape_core.compute.precision import computing_in
from landscape_core.compute.stacking import Stack
from landscape_core.requests import Precision

AGREES = 1e-4
"""Largest difference from the plain network's outputs, of the largest one; rounding alone reaches a tenth."""


@dataclass(frozen=True)
class Cells:
    """The cells of a call.

    Attributes:
        places: (α, β) of each; β is 0 for a curve.
        alphas: (cells,) on the device.
        betas: (cells,) on the device.
        tensors: The network's moved tensors by name, (cells, …).
    """

    places: Sequence[tuple[float, float]]
    alphas: Float[Tensor, " cells"]
    betas: Float[Tensor, " cells"]
    tensors: dict[str, Shaped[Tensor, ...]]


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
        device: Where the network is evaluated.
        stack: What stands for so many of it side by side, if that is faster; calls have as many cells then.
    """

    def __init__(self, plane: Plane, first: FirstLayer | None, device: torch.device, stack: Stack | None = None) -> None:
        self._plane, self._first, self._device, self._stack = plane, first, device, stack
        self._called = plane.module if first is None else _AfterFirst(cast("Perceptron", plane.module))
        self._prefix = "" if first is None else "network."

    def agrees(self, example: Float[Tensor, "1 ..."], precision: Precision) -> bool:
        """Whether every operator can be mapped, in float32 and as it is to be rounded, and the plain network's outputs come.

        Where those are not finite, there is nothing to compare. The network is at θ*.

        Args:
            example: The first example.
            precision: How its outputs are to be rounded.
        """
        try:
            with torch.inference_mode(), warnings.catch_warnings():
                expected = self._plane.module(example)
                # so PyTorch says that it would go through the cells one by one
                warnings.filterwarnings("error", message="There is a performance drop")
                cells = self.at([(0.0, 0.0)] * (2 if self._stack is None else self._stack.cells))
                given = self.inputs(cells, example, 0, 1)
                with computing_in(precision, self._device):
                    self.outputs(cells, given)
                made = self.outputs(cells, given)
        except (RuntimeError, UserWarning) as error:
            if is_out_of_memory(error):
                raise
            return False
        near = bool((made - expected).abs().max() <= AGREES * expected.abs().max())
        return near or not bool(expected.isfinite().all())

    def at(self, places: Sequence[tuple[float, float]]) -> Cells:
        """The cells of a call, with their tensors; where the network stands makes no difference.

        Args:
            places: (α, β) of each.
        """
        alphas, betas = torch.tensor(places, dtype=torch.float32).to(self._device).unbind(1)
        moved = self._plane.several(alphas, betas)
        return Cells(places, alphas, betas, {self._prefix + name: tensor for name, tensor in moved.items()})

    def forget(self) -> None:
        """Drops what is held of the last call."""
        if self._stack is not None:
            self._stack.forget()

    def inputs(self, cells: Cells, x: Tensor, start: int, stop: int) -> Tensor:
        """What the network is called with: the examples, or of each cell what its first layer makes of them, in float32.

        Args:
            cells: From `at`.
            x: The examples start … stop.
            start: First example, in the slice's order.
            stop: One after the last.
        """
        return x if self._first is None else self._first.at_several(cells.alphas, cells.betas, start, stop)

    def outputs(self, cells: Cells, given: Tensor) -> Float[Tensor, "cells n classes"]:
        """What the network gives at each cell.

        Args:
            cells: From `at`.
            given: From `inputs`.
        """
        if self._stack is not None:
            return self._stack.outputs(cells.tensors, given)
        if self._first is None:
            return vmap(lambda tensors: functional_call(self._called, tensors, (given,)))(cells.tensors)
        return vmap(lambda tensors, units: functional_call(self._called, tensors, (units,)))(cells.tensors, given)
