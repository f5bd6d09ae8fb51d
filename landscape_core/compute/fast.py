"""The `fast` budget in one process: what it asks for is measured, chunk by chunk, until it is sure enough."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import product

import numpy as np

from landscape_core.fast_budget import next_depths
from landscape_core.ladder import Depths, Ladder, Level
from landscape_core.refinement import refined_grids
from landscape_core.results import Tally

COARSE_POINTS = 5
"""Points an axis of the first grid that sees the first chunk."""

MOST_UNSURE = 0.99
"""The most that is told of the progress while it is not known whether more is needed."""

Cells = Sequence[tuple[int, int]]
"""(row, column) of each."""

TallyOf = Callable[[Cells, int, Callable[[float], None]], Tally]
"""Gives the tally of some cells over the chunk of this number, and tells which share of the cells is done."""


class FastMeasurement:
    """The tallies of a fast surface.

    Args:
        ladder: The surface's.
        tally: Measures cells.
    """

    def __init__(self, ladder: Ladder, tally: TallyOf) -> None:
        self.ladder, self._tally = ladder, tally
        self.depths = ladder.nothing
        self.tallies = [Tally.zeros(*ladder.shape) for _ in ladder.bounds]
        self.grids = refined_grids(*ladder.shape, COARSE_POINTS)
        self._reached, self._is_sure = 0, False

    @property
    def expected(self) -> int:
        """How many stages there will be, as far as is known: one more while it is not sure."""
        if len(self.ladder.bounds) == 1:
            return len(self.grids)
        return len(self.grids) + self._reached + (0 if self._is_sure else 1)

    def measure(self, progress: Callable[[float], None] | None = None) -> None:
        """Measures until the estimated error is small enough.

        Args:
            progress: As for `stages`.
        """
        for _ in self.stages(progress):
            pass

    def stages(self, progress: Callable[[float], None] | None = None) -> Iterator[Level | None]:
        """The same, with a pause whenever there is a whole surface of what has been seen.

        Args:
            progress: Told the share of what is known to be needed that is done, in 0 … 1; it stays where it is while more
                turns out to be, and is 1 only at the end.

        Yields:
            The rows and columns of each grid, from coarse to full, that has seen the first chunk; then None whenever `depths`
            were reached. Of a single chunk the full grid is the last.
        """
        told, wanted = 0.0, next_depths(self.ladder, self.depths, self.tallies)
        while wanted is not None:
            done, whole = self.ladder.share(self.depths), self.ladder.share(wanted)
            for chunk, cells, grid in self._parts(wanted):
                cost = self._cost(chunk, cells)

                def step(share: float, before: float = done, cost: float = cost, whole: float = whole) -> None:
                    nonlocal told
                    told = max(told, (before + share * cost) / whole)
                    if progress is not None:
                        progress(min(MOST_UNSURE, told))

                if cells:
                    rows, columns = np.array(cells).T
                    self.tallies[chunk].put(rows, columns, self._tally(cells, chunk, step))
                done += cost
                if grid is not None:
                    yield grid
            self.depths = wanted
            wanted = next_depths(self.ladder, self.depths, self.tallies)
            self._reached, self._is_sure = self._reached + 1, wanted is None
            if progress is not None and self._is_sure:
                progress(1.0)
            yield None

    def _parts(self, wanted: Depths) -> Iterator[tuple[int, Cells, Level | None]]:
        """Chunks, the cells at which each is seen anew, and the grid of the first one that is then whole, if one is."""
        if self.depths[0] < 0:
            seen: set[tuple[int, int]] = set()
            for number, grid in enumerate(self.grids, start=1):
                cells = [cell for cell in product(*grid) if cell not in seen]
                seen.update(cells)
                yield 0, cells, None if number == len(self.grids) and len(wanted) == 1 else grid
        for chunk in range(1, len(wanted)):
            yield chunk, self.ladder.new_cells(chunk, self.depths, wanted), None

    def _cost(self, chunk: int, cells: Cells) -> float:
        rows, columns = self.ladder.shape
        return self.ladder.passes[chunk] * len(cells) / (sum(self.ladder.passes) * rows * columns)
