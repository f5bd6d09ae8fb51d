"""The chunks of examples and the levels of grids that a surface of the `fast` budget is made of. numpy only."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool

from landscape_core.estimate import chunk_bounds
from landscape_core.refinement import refined_grids
from landscape_core.requests import TOLERANCE, SurfaceRequest

COARSEST = 3
"""Points an axis of the coarsest level: what a parabola needs."""

PILOT_SHARE = 0.005
"""Each chunk but the first is at first seen at the finest level that costs at most this share of everything, …"""

LEAST_LEVEL, LEAST_SHARE = 2, 0.06
"""… but at 5 x 5 points, or at the finest coarser level that has at most this share of the cells; …"""

LEAST_CELLS = 9
"""… and never at fewer cells than 3 x 3, curves as well: from 3 points, interpolation may fail without a sign of it; …"""

LEVELS_TO_LEARN_FROM = 2
"""… the second chunk so many levels finer than that, because what interpolation loses is seen at it."""

Level = tuple[tuple[int, ...], tuple[int, ...]]
"""(rows, columns) of a grid."""

Depths = tuple[int, ...]
"""For each chunk the finest level at which it is seen; -1 if nowhere. They never grow from one chunk to the next."""


def levels_of(shape: tuple[int, int]) -> tuple[Level, ...]:
    """The grids at which the chunks after the first are seen, from coarse to full; each contains the one before.

    Args:
        shape: (ny, nx) of the full grid.
    """
    return tuple(refined_grids(*shape, COARSEST))


@dataclass(frozen=True)
class Ladder:
    """The chunks and levels that a surface is made of, and what each costs.

    Attributes:
        shape: (ny, nx) of the grid.
        bounds: Examples start … stop of each chunk.
        passes: Forward passes that each chunk takes at a cell.
        tolerance: Root mean square error aimed for, as a share of the range.
    """

    shape: tuple[int, int]
    bounds: tuple[tuple[int, int], ...]
    passes: tuple[int, ...]
    tolerance: float = TOLERANCE

    @classmethod
    def of(cls, shape: tuple[int, int], examples: int, tolerance: float = TOLERANCE, statistics: int = 0) -> Ladder:
        """The ladder of a grid and a number of examples.

        Args:
            shape: (ny, nx).
            examples: How many are asked for.
            tolerance: See `Ladder.tolerance`.
            statistics: Examples that batch norm is re-estimated over at each cell and chunk.
        """
        bounds = tuple(chunk_bounds(examples))
        return cls(shape, bounds, tuple(stop - start + statistics for start, stop in bounds), tolerance)

    @classmethod
    def for_request(cls, request: SurfaceRequest, examples: int) -> Ladder:
        """The ladder of a request.

        Args:
            request: The question.
            examples: How many its slice has.
        """
        return cls.of(request.grid.shape, examples, request.tolerance, request.statistics_examples)

    @cached_property
    def levels(self) -> tuple[Level, ...]:
        """(rows, columns) of each level, from coarse to full; each contains the one before."""
        return levels_of(self.shape)

    @property
    def finest(self) -> int:
        """The level that is the whole grid."""
        return len(self.levels) - 1

    def cells(self, level: int) -> int:
        """How many cells a level's grid has; none below the coarsest."""
        return len(self.levels[level][0]) * len(self.levels[level][1]) if level >= 0 else 0

    def inside(self, level: int) -> Bool[np.ndarray, "rows nx"]:
        """Which cells are in a level's grid."""
        mask = np.zeros(self.shape, bool)
        if level >= 0:
            mask[np.ix_(*map(list, self.levels[level]))] = True
        return mask

    def share(self, depths: Depths) -> float:
        """What seeing the chunks at these levels costs, as a share of seeing all at all cells."""
        cost = sum(passes * self.cells(level) for passes, level in zip(self.passes, depths, strict=True))
        return cost / (sum(self.passes) * self.shape[0] * self.shape[1])

    def is_exact(self, depths: Depths) -> bool:
        """Whether everything has been seen everywhere."""
        return min(depths) == self.finest

    def pilot(self) -> Depths:
        """What is seen first: the first chunk everywhere, each of the others at as fine a level as `PILOT_SHARE` pays for."""
        every = sum(self.passes) * self.cells(self.finest)
        allowed = (
            level
            for level in range(1, min(LEAST_LEVEL, self.finest) + 1)
            if self.cells(level) <= LEAST_SHARE * self.cells(self.finest)
        )
        enough = next((level for level in range(self.finest) if self.cells(level) >= LEAST_CELLS), self.finest)
        least = max([enough, *allowed])
        depths = [self.finest]
        for passes in self.passes[1:]:
            affordable = [level for level in range(least, depths[-1] + 1) if passes * self.cells(level) <= PILOT_SHARE * every]
            floor = least if len(depths) > 1 else min(least + LEVELS_TO_LEARN_FROM, self.finest)
            depths.append(max([floor, *affordable]))
        return tuple(depths)

    def new_cells(self, chunk: int, before: Depths, after: Depths) -> list[tuple[int, int]]:
        """The (row, column) of cells at which a chunk is seen anew when levels are raised, row by row.

        Args:
            chunk: Its position.
            before: Of each chunk, what has been seen.
            after: What shall have been seen.
        """
        added = self.inside(after[chunk]) & ~self.inside(before[chunk])
        return [(int(row), int(column)) for row, column in np.argwhere(added)]

    @property
    def nothing(self) -> Depths:
        """Before anything has been seen."""
        return (-1,) * len(self.bounds)
