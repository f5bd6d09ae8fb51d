"""How a network is called: how many examples at a time, in which layout, and how many cells at once.

On CPUs that follows from tables (here and in `batch_sizes`), so that all workers get the same values; `lossatlas bench i` holds
them against the fastest of a probe. On other devices, on which nothing could be measured, images' batch and layout come from a
short probe, and as many cells go into one call as fill the device.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from landscape_core.catalogue import macs_per_example
from landscape_core.compute.architectures import Perceptron
from landscape_core.compute.architectures.activations import PLAIN
from landscape_core.compute.architectures.convnet import ConvNet
from landscape_core.compute.batch_sizes import first_batch, largest_map
from landscape_core.compute.datasets import Examples
from landscape_core.compute.probing import Way, probed
from landscape_core.compute.stacking import STACKED_BATCH, STACKED_WORK, cells_of
from landscape_core.requests import SurfaceRequest

FILL_MACS, MOST_CELLS = 1 << 29, 64
"""Multiply-accumulates that fill a GPU, and most cells: at 10 TFLOP/s they take 0.1 ms, as long as a host starts some twenty
kernels. They bound a call's memory too, since every number of a feature map takes some of them."""

MOVED_MACS = 1 << 26
"""Most of them of one example of all cells: every weight takes one, so that moved tensors have some 256 MiB, and more while
they are made."""

CPU_CELLS = ((16, 1 << 14), (8, 1 << 17))
"""Cells of a perceptron's call on CPUs, with the most numbers of one's widest layer, over all examples of the range, for which
so many are faster than one."""

CPU_MACS = 1 << 24
"""Most multiply-accumulates of a cell for which they are: beyond, the processor is busy with one."""


@dataclass(frozen=True)
class Calls:
    """How a network is called.

    Attributes:
        batch: Examples at a time, while memory suffices.
        channels_last: Whether images and convolutions' weights are laid out so.
        example_macs: Multiply-accumulates of an example, where several cells may go into one call; None where not.
        widest: Units of a perceptron's widest layer, where it runs on a CPU; None elsewhere.
        probed: Whether batch and layout come from a probe.
        stacked: Cells of a call in which they lie side by side (`stacking`); 1 where they do not.
        largest_map: Numbers of the largest feature map of an image, where they do.
    """

    batch: int
    channels_last: bool = True
    example_macs: int | None = None
    widest: int | None = None
    probed: bool = False
    stacked: int = 1
    largest_map: int = 0

    @property
    def shared_batch(self) -> int:
        """Examples at a time in a call of several cells, while memory suffices."""
        return self.batch if self.stacked == 1 else STACKED_BATCH

    @property
    def layout(self) -> str:
        """Of images and convolutions' weights, in words."""
        return "channels last" if self.channels_last else "channels first"

    def cells(self, examples: int, saved_macs: int = 0) -> int:
        """How many cells a call has.

        Args:
            examples: How many are measured at each cell.
            saved_macs: Of `example_macs`, those that need not be done at each cell.

        Example:
            >>> Calls(batch=1024, example_macs=101_632, widest=128).cells(512, saved_macs=100_352)
            8
        """
        if self.example_macs is None:
            return 1
        if self.stacked > 1:
            return self.stacked if self.largest_map * examples <= STACKED_WORK else 1
        each = max(1, self.example_macs - saved_macs)
        if self.widest is None:
            return max(1, min(MOST_CELLS, FILL_MACS // (each * min(self.batch, examples)), MOVED_MACS // each))
        fitting = (cells for cells, most in CPU_CELLS if self.widest * examples <= most and each * examples <= CPU_MACS)
        return next(fitting, 1)


def calls_for(
    request: SurfaceRequest,
    tensors: Mapping[str, np.ndarray],
    examples: Examples,
    module: nn.Module,
    device: torch.device,
    *,
    ours: bool,
) -> Calls:
    """How a request's network is called.

    Args:
        request: The question.
        tensors: The checkpoint's names and arrays, in the file's order.
        examples: The split that the request names.
        module: The network at θ*.
        device: Where it is evaluated.
        ours: Whether it is catalogued, so that its cost is known.
    """
    batch = first_batch(request, tensors, examples, module, device, ours=ours)
    on_cpu, tokens = device.type == "cpu", examples.facts.holds_tokens
    if not ours or tokens or (on_cpu and request.precision != "float32"):
        return Calls(batch, channels_last=ours)
    largest = largest_map(module, examples.facts.shape) if on_cpu and isinstance(module, ConvNet) else 0
    stacked = cells_of(module, largest) if on_cpu else 1
    if on_cpu and stacked == 1 and not (isinstance(module, Perceptron) and module.activation in PLAIN):
        return Calls(batch)
    shapes = {name: tuple(array.shape) for name, array in tensors.items()}
    macs = macs_per_example(request.architecture, shapes, examples.facts.shape)
    if isinstance(module, Perceptron):
        widest = max(module.widths[1:]) if on_cpu else None
        return Calls(batch, example_macs=macs, widest=widest)
    if on_cpu:
        return Calls(batch, example_macs=macs, stacked=stacked, largest_map=largest)
    way = probed(module, examples.facts.shape, device, request.precision, Way(batch))
    return Calls(way.batch, way.channels_last, macs, probed=True)
