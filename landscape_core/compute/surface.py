"""From a request to its surface, in one process."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

import numpy as np
from torch import nn

from landscape_core.compute.datasets import Examples
from landscape_core.compute.derivation import CheckpointReader, derive
from landscape_core.compute.directions import DirectionArrays
from landscape_core.compute.evaluation import Evaluator
from landscape_core.compute.provenance import own_values_of
from landscape_core.estimate import chunk_bounds, surface_from_tally
from landscape_core.requests import SurfaceRequest
from landscape_core.results import Surface, Tally


def compute_surface(
    request: SurfaceRequest,
    tensors: Mapping[str, np.ndarray],
    examples: Examples,
    direction_arrays: DirectionArrays | None = None,
    device: str | None = None,
    threads: int | None = None,
    progress: Callable[[float], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
    own: nn.Module | None = None,
    checkpoints: CheckpointReader | None = None,
) -> Surface:
    """The surface that a request asks for, on all its examples at every cell.

    Tallies are made chunk by chunk (`estimate.chunk_bounds`) and added in that order, as workers do, so that the values do
    not depend on who computes.

    Args:
        request: The question.
        tensors: The checkpoint's names and arrays, in the file's order.
        examples: The split that the request names.
        direction_arrays: What the direction file holds, for directions from a file.
        device: A PyTorch device; None is the CPU.
        threads: How many CPU threads PyTorch uses, for the whole process; None leaves it as it is.
        progress: Told the share of the work done, in 0 … 1.
        should_stop: Asked before every batch.
        own: The network itself, from `load_own`, where the request's architecture is not catalogued.
        checkpoints: Reads the other checkpoints that the request names, by their ids.

    Raises:
        InvalidRequest: The request does not go with the checkpoint, the data set, or another checkpoint that it names.
        DirectionsRejected: The direction file does not belong to the network.
        OutOfMemory: The device's memory does not suffice.
        Cancelled: `should_stop` said so.
    """
    began, started = datetime.now(UTC), time.monotonic()
    about = {}
    if request.plane.is_derived:
        derived = derive(request, tensors, examples, direction_arrays, checkpoints, device or "cpu", threads, should_stop)
        direction_arrays, about = derived, derived.about
    evaluator = Evaluator(request, tensors, examples, direction_arrays, device or "cpu", threads, own, about)
    rows, columns = request.grid.shape
    cells = [(row, column) for row in range(rows) for column in range(columns)]
    total = Tally.zeros(len(cells))
    for start, stop in chunk_bounds(evaluator.examples):
        step = _share_of(progress, start / evaluator.examples, stop / evaluator.examples)
        total += evaluator.tally(cells, start, stop, should_stop, step)
    centre = evaluator.own_loss(should_stop)
    provenance = {
        **evaluator.provenance(),
        **own_values_of(centre),
        "started": began.isoformat(timespec="seconds"),
        "seconds": round(time.monotonic() - started, 3),
    }
    return surface_from_tally(request, total.reshaped(rows, columns), provenance)


def _share_of(progress: Callable[[float], None] | None, start: float, stop: float) -> Callable[[float], None] | None:
    if progress is None:
        return None
    return lambda share: progress(start + (stop - start) * share)
