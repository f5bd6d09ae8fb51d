"""Tallies that a device is still at: the host goes on to the next cells before it reads the last ones'."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

import numpy as np
import torch

from landscape_core.compute.losses import float64_sums
from landscape_core.compute.measuring import Measured
from landscape_core.results import Tally

Pending = Callable[[], Tally]
"""Waits for the device, and gives the tally of some cells, mostly one: of shape (cells,)."""


def pending(measured: Sequence[Measured], kept: int) -> Pending:
    """The tally of what was measured batch by batch, not read yet.

    Args:
        measured: Each batch's, at the same cells.
        kept: Of how many cells, the first ones; others only filled the call.
    """
    return partial(_read, measured, kept)


def _read(measured: Sequence[Measured], kept: int) -> Tally:
    each = torch.cat([batch.losses for batch in measured], dim=1)[:kept].cpu()
    sums = np.array([float64_sums([row]) for row in each])
    examples = np.full(len(each), each.shape[1])
    correct = torch.cat([batch.right for batch in measured], dim=1)[:kept].flatten(1).sum(dim=1).cpu().numpy()
    counted = {name: torch.stack([batch.counts[name] for batch in measured]) for name in measured[0].counts}
    counts = {name: each_batch.sum(dim=0)[:kept].cpu().numpy() for name, each_batch in counted.items()}
    return Tally(examples, sums[:, 0], sums[:, 1], correct, counts)


def one_behind(started: Iterable[Pending]) -> Iterator[Tally]:
    """Each call's tally, read when the next has been started, so that the device need not wait for the host between them.

    Args:
        started: Starts a cell, or several, each time it is asked for the next.
    """
    last = None
    for one in started:
        if last is not None:
            yield last()
        last = one
    if last is not None:
        yield last()
