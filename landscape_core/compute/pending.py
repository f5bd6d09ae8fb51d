"""Tallies that a device is still at: the host goes on to the next cell before it reads the last one's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from landscape_core.compute.losses import float64_sums
from landscape_core.results import Tally

Pending = Callable[[], Tally]
"""Waits for the device, and gives the tally of one cell: of shape (1,)."""


def pending(losses: Sequence[Tensor], right: Sequence[Tensor], counted: Sequence[Mapping[str, Tensor]]) -> Pending:
    """The tally of what was measured batch by batch, not read yet.

    Args:
        losses: Of each batch its examples' losses, (n,), on the device.
        right: Of each batch whether its decisions were right.
        counted: Of each batch what else was counted.
    """

    def read() -> Tally:
        examples, (loss_sum, loss_sq) = sum(map(len, losses)), float64_sums(losses)
        correct = int(torch.cat(list(right)).sum())
        total = {name: torch.stack([counts[name] for counts in counted]).sum(dim=0).cpu().numpy() for name in counted[0]}
        return Tally(np.array([examples]), np.array([loss_sum]), np.array([loss_sq]), np.array([correct]), total)

    return read


def one_behind(started: Iterable[Pending]) -> Iterator[Tally]:
    """Each cell's tally, read when the next cell has been started, so that the device need not wait for the host between them.

    Args:
        started: Starts a cell each time it is asked for the next.
    """
    last = None
    for one in started:
        if last is not None:
            yield last()
        last = one
    if last is not None:
        yield last()
