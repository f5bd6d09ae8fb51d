"""Several cells of a small convolutional network as one network, on CPUs: their channels lie one after the other.

oneDNN's kernels take as long for three channels as for sixteen, and for a first convolution of one channel as long for three as
for thirty. Side by side, the first convolutions of all cells are one, as they see the same images; the later ones are grouped.
That a group's channels are few is what makes it pay: with 32 and 64 of them grouped convolutions are slower than as many calls.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.nn.utils import skip_init

from landscape_core.catalogue.convolution_chains import ChainLayer
from landscape_core.compute.architectures.activations import PLAIN
from landscape_core.compute.architectures.convnet import ConvNet
from landscape_core.compute.fusing import Fusion, fused

STACKED = ((16, 8), (32, 4))
"""Channels of a network's widest convolution, with the cells of a call, for which a call is faster than one for each cell."""

STACKED_BATCH = 32
"""Images of a call."""

STACKED_WORK = 1 << 25
"""Most numbers of a cell's largest feature maps, over all examples of the range: about 0.1 s on one thread, so that a unit of
work has many cells. One of fewer than a call would be padded, and slower than cell by cell."""

STACKED_NUMBERS, STACKED_PARAMETERS = 1 << 21, 1 << 17
"""Most numbers of a call's largest feature map, and most parameters of one cell: what a call holds should stay in the cache."""


def cells_of(module: nn.Module, largest_map: int) -> int:
    """How many cells of a network on a CPU are measured as one: 1 unless it is a small convolutional one.

    It has no batch norm, and nothing in it depends by a rounding on which of the cells is meant: averages, and all activations
    but `PLAIN`, are computed by vectors and, what is left, one by one.

    Args:
        module: The network.
        largest_map: Numbers of its largest feature map, of one image.
    """
    if not isinstance(module, ConvNet) or any(layer.norm is not None for layer in module.chain.layers):
        return 1
    if module.averages or module.activation not in PLAIN:
        return 1
    if sum(parameter.numel() for parameter in module.parameters()) > STACKED_PARAMETERS:
        return 1
    widest = max(layer.outputs for layer in module.chain.convolutions)
    fitting = (cells for most, cells in STACKED if widest <= most and largest_map * cells * STACKED_BATCH <= STACKED_NUMBERS)
    return next(fitting, 1)


class StackedConvNet(nn.Module):
    """So many networks of one shape.

    Args:
        network: One of them, without batch norm; its weights are not taken.
        cells: How many.
    """

    def __init__(self, network: ConvNet, cells: int) -> None:
        super().__init__()
        self.cells, self._of = cells, [network]  # in a list, so that its parameters are none of this module's
        self.convolutions = nn.ModuleList()
        for layer, step in zip(network.chain.convolutions, network.steps, strict=True):
            size, stride, padding = step.convolution
            groups = cells if len(self.convolutions) else 1
            shape = layer.inputs * groups, layer.outputs * cells, size, stride, padding
            self.convolutions.append(skip_init(nn.Conv2d, *shape, groups=groups, bias=layer.bias))  # without random weights
        for index, layer in enumerate(network.chain.affine):
            self.register_buffer(f"weight{index}", torch.zeros(cells, layer.inputs, layer.outputs))
            self.register_buffer(f"bias{index}", torch.zeros(cells, 1, layer.outputs))
        self.eval().requires_grad_(False)

    def take(self, tensors: Mapping[str, Shaped[Tensor, "cells ..."]]) -> None:
        """Makes the networks those with these tensors, by name."""
        network = self._of[0]
        for convolution, layer in zip(self.convolutions, network.chain.convolutions, strict=True):
            for own, (name, _) in zip(convolution.parameters(), _named(layer), strict=True):
                own.copy_(tensors[f"{network.name_of(layer)}.{name}"].flatten(0, 1))
        for index, layer in enumerate(network.chain.affine):
            for name, axes in _named(layer):
                given = tensors[f"{network.name_of(layer)}.{name}"]
                self.get_buffer(f"{name}{index}").copy_(given.transpose(1, 2) if axes == 2 else given[:, None])

    def forward(self, x: Float[Tensor, "n channels h w"]) -> Float[Tensor, "cells n classes"]:
        """The outputs of each network's last layer."""
        network = self._of[0]
        for convolution, step in zip(self.convolutions, network.steps, strict=True):
            x = network.pooled(step, network.activation(convolution(x)))
        x = torch.flatten(network.averaged(x), 1).unflatten(1, (self.cells, -1)).transpose(0, 1)
        last = len(network.chain.affine) - 1
        for index in range(last + 1):
            x = torch.baddbmm(self.get_buffer(f"bias{index}"), x, self.get_buffer(f"weight{index}"))
            x = x if index == last else network.activation(x)
        return x


class Stack:
    """Several networks of one shape as one, with convolutions by oneDNN.

    Args:
        fusion: A `StackedConvNet` that is fused.
        stacked: The same as it was.
    """

    def __init__(self, fusion: Fusion, stacked: StackedConvNet) -> None:
        self._fusion, self._stacked = fusion, stacked
        self._taken: Mapping[str, Tensor] | None = None

    @classmethod
    def of(cls, network: nn.Module, cells: int, example: Float[Tensor, "1 channels h w"]) -> Stack | None:
        """So many networks of this one's shape; None if oneDNN is not there.

        Args:
            network: A `ConvNet` without batch norm.
            cells: How many.
            example: An image.
        """
        stacked = StackedConvNet(cast("ConvNet", network), cells)
        own = {name: parameter.expand(cells, *parameter.shape) for name, parameter in network.named_parameters()}
        with torch.inference_mode():
            stacked.take(own)
        fusion = fused(stacked, example)
        return None if fusion is None else cls(fusion, stacked)

    @property
    def cells(self) -> int:
        """How many networks."""
        return self._stacked.cells

    def forget(self) -> None:
        """Drops the tensors of the last call."""
        self._taken = None

    def outputs(self, tensors: Mapping[str, Tensor], x: Tensor) -> Float[Tensor, "cells n classes"]:
        """What the networks with these tensors give.

        Args:
            tensors: Of each network, by name, (cells, …).
            x: The examples.
        """
        if self._taken is not tensors:
            self._stacked.take(tensors)
            self._fusion.repack()
            self._taken = tensors
        made: Tensor = self._fusion.module(x)
        return made


def _named(layer: ChainLayer) -> list[tuple[str, int]]:
    """The names of a layer's parameters, and how many axes those of an affine layer have."""
    return [("weight", 2), ("bias", 1)] if layer.bias else [("weight", 2)]
