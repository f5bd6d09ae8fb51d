"""A short probe: with which batch and layout a convolutional network takes a device the least time for an image.

It is for devices that nothing was measured on. What it chooses may change with the device and with what else that does, and
values then by rounding, as they do from one kind of GPU to another; so what is usual is kept unless another way is clearly
faster, and a process asks once. There was no GPU to run this on; tests run it on CPUs.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn

from landscape_core.compute.devices import is_out_of_memory
from landscape_core.compute.precision import computing_in
from landscape_core.requests import Precision

SIZES = (64, 256, 1024)
PROBE_S = 0.5
"""No further way is tried so many seconds after the usual one."""

RUNS = 3
CLEARLY = 1.05
"""What is faster than the usual way by less is not chosen."""


@dataclass(frozen=True)
class Way:
    """A way to call a network.

    Attributes:
        batch: Images at a time.
        channels_last: Whether images and weights are laid out so.
    """

    batch: int
    channels_last: bool = True


_found: dict[tuple[object, ...], Way] = {}


def probed(module: nn.Module, shape: tuple[int, ...], device: torch.device, precision: Precision, usual: Way) -> Way:
    """The fastest way, from a probe that this process makes once for networks of the same layers.

    Args:
        module: A convolutional network in evaluation mode; it is not changed.
        shape: (channels, height, width) of an image.
        device: Where it is to be evaluated.
        precision: In which it is.
        usual: What is chosen unless another way is clearly faster, tried first.
    """
    key = (str(module), shape, str(device), precision, usual)
    if key not in _found:
        _found[key] = fastest(_speeds(module, shape, device, precision, usual), usual)
    return _found[key]


def fastest(speeds: Mapping[Way, float], usual: Way) -> Way:
    """The way with the most images a second, or the usual one if none is clearly faster.

    Args:
        speeds: Images a second of each way that was tried.
        usual: One of them, unless it failed.

    Example:
        >>> fastest({Way(64): 100.0, Way(256): 104.0}, Way(64)), fastest({Way(64): 100.0, Way(256): 106.0}, Way(64))
        (Way(batch=64, channels_last=True), Way(batch=256, channels_last=True))
    """
    best = max(speeds, key=speeds.__getitem__, default=usual)
    return best if usual not in speeds or speeds[best] > CLEARLY * speeds[usual] else usual


def _speeds(
    module: nn.Module, shape: tuple[int, ...], device: torch.device, precision: Precision, usual: Way
) -> dict[Way, float]:
    """Images a second, of as many ways as there is time for; those that do not fit into memory are left out."""
    ways = dict.fromkeys([usual, *(Way(batch, last) for batch in SIZES for last in (True, False))])
    began, speeds = math.inf, dict[Way, float]()
    for way in ways:
        try:
            speeds[way] = images_per_second(module, shape, device, precision, way)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
        began = min(began, time.perf_counter())  # from the end of the first: libraries may have been loaded for it
        if time.perf_counter() - began > PROBE_S:
            break
    return speeds


@torch.inference_mode()
def images_per_second(module: nn.Module, shape: tuple[int, ...], device: torch.device, precision: Precision, way: Way) -> float:
    """How many images go through a network in a second, the fastest of some runs.

    Args:
        module: In evaluation mode; it is not changed.
        shape: (channels, height, width) of an image.
        device: Where it is tried.
        precision: In which it is.
        way: How it is called.
    """
    layout = torch.channels_last if way.channels_last else torch.contiguous_format
    tried = copy.deepcopy(module).to(device).to(memory_format=layout)  # type: ignore[call-overload]
    x = torch.zeros(way.batch, *shape, device=device).contiguous(memory_format=layout)
    taken = []
    with computing_in(precision, device):
        for _ in range(1 + RUNS):  # in the first, libraries choose their kernels
            began = time.perf_counter()
            tried(x)
            if device.type != "cpu":
                torch.accelerator.synchronize(device)
            taken.append(time.perf_counter() - began)
    return way.batch / min(taken[1:])
