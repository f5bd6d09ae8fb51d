"""The `fast` budget in one process: what it asks for is measured, chunk by chunk, until it is sure enough."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from landscape_core.compute.evaluation import Evaluator
from landscape_core.fast_budget import next_depths
from landscape_core.fast_surface import fast_surface
from landscape_core.ladder import Ladder
from landscape_core.requests import SurfaceRequest
from landscape_core.results import Surface, Tally


class FastMeasurement:
    """The tallies of a fast surface.

    Args:
        request: With the budget `fast`.
        evaluator: Of the request.
    """

    def __init__(self, request: SurfaceRequest, evaluator: Evaluator) -> None:
        self._request, self._evaluator = request, evaluator
        self.ladder = Ladder.for_request(request, evaluator.examples)
        self.depths = self.ladder.nothing
        self.tallies = [Tally.zeros(*self.ladder.shape) for _ in self.ladder.bounds]

    def measure(self, progress: Callable[[float], None] | None = None, should_stop: Callable[[], bool] | None = None) -> None:
        """Measures until the estimated error is small enough.

        Args:
            progress: Told the share of what is known to be needed that is done, in 0 … 1; it stays where it is while more
                turns out to be.
            should_stop: Asked before every batch.

        Raises:
            Cancelled: `should_stop` said so.
            OutOfMemory: The device's memory does not suffice for one example.
        """
        told = 0.0
        while (wanted := next_depths(self.ladder, self.depths, self.tallies)) is not None:
            done, whole = self.ladder.share(self.depths), self.ladder.share(wanted)
            for chunk, (start, stop) in enumerate(self.ladder.bounds):
                cells = self.ladder.new_cells(chunk, self.depths, wanted)
                cost = self.ladder.passes[chunk] * len(cells) / (sum(self.ladder.passes) * self._request.grid.cells)

                def step(share: float, before: float = done, cost: float = cost, whole: float = whole) -> None:
                    nonlocal told
                    told = max(told, (before + share * cost) / whole)
                    if progress is not None:
                        progress(min(1.0, told))

                if cells:
                    rows, columns = np.array(cells).T
                    self.tallies[chunk].put(rows, columns, self._evaluator.tally(cells, start, stop, should_stop, step))
                done += cost
            self.depths = wanted

    def surface(self, provenance: dict[str, Any]) -> Surface:
        """What has been measured, with the rest estimated.

        Args:
            provenance: How it was made.
        """
        decisions = self._evaluator.decisions
        return fast_surface(self._request, self.ladder, self.depths, self.tallies, provenance, decisions)
