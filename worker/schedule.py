"""From a surface to what is computed first, next and last. Everything follows from the `SurfaceJob` alone.

A stage is a complete grid: once it is done there is a whole surface to look at (isolated cells draw nothing).

    1. a coarse grid of 3, 5, 7 or 9 points an axis, with first, middle and last index, on the first chunk of examples;
    2. the gaps between its indices are halved, along x and y in turn, until the grid is full (gaps of 3 at once);
    3. the full grid on each further chunk of `estimate.chunk_bounds`.

So every (cell, chunk) belongs to exactly one stage, and each stage's grid contains the one before. Where a job says so, each
further chunk is cut into parts, from the coarsest level of `landscape_core.ladder` to the full grid: a fast surface asks for
some of these parts only, and an exact one goes on with the others.

A 501 × 501 grid on 50,000 examples is half a million units, so they are not built but made on demand: `Plan.units` is a
sequence that knows its length and gives the unit at a position in about a microsecond per cell.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import accumulate
from typing import overload

import numpy as np

from landscape_core.estimate import chunk_bounds
from landscape_core.ladder import levels_of
from landscape_core.refinement import refined_grids
from worker.job import Stage, SurfaceJob, WorkUnit

COARSE_POINTS = (9, 7, 5, 3)
"""Points an axis of the first stage, finest first."""

FIRST_STAGE_MACS = 100_000_000_000
"""The finest of `COARSE_POINTS` whose grid stays below this is taken, within about 1.2 seconds on two cores: 5 x 5 for a
ResNet-20, 3 x 3 for a ResNet-56. Where not even 3 x 3 does, that is taken."""

FIRST_STAGE_UNITS = 8
"""The first stage is cut into about so many units, that several workers can share it."""


class Units(Sequence[WorkUnit]):
    """The units of a plan in the order of computation, made when they are asked for."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan

    def __len__(self) -> int:
        return self._plan.first_unit[-1]

    @overload
    def __getitem__(self, index: int) -> WorkUnit: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[WorkUnit, ...]: ...
    def __getitem__(self, index: int | slice) -> WorkUnit | tuple[WorkUnit, ...]:
        if isinstance(index, slice):
            return tuple(self._plan.unit(i) for i in range(*index.indices(len(self))))
        return self._plan.unit(index + len(self) if index < 0 else index)

    def __iter__(self) -> Iterator[WorkUnit]:
        return (self._plan.unit(i) for i in range(len(self)))


@dataclass(frozen=True)
class Part:
    """Cells that are computed on one range of examples, one after the other: a stage's, or what one level adds to a chunk.

    Attributes:
        stage: Position of the stage that it belongs to.
        rows: Indices into grid.y of the grid that is complete once it is done.
        columns: Indices into grid.x.
        start: First example.
        stop: One after the last.
        unit_cells: How many cells a unit has; the last may have fewer.
    """

    stage: int
    rows: tuple[int, ...]
    columns: tuple[int, ...]
    start: int
    stop: int
    unit_cells: int


@dataclass(frozen=True)
class Plan:
    """All stages of a surface, and its units.

    Attributes:
        surface: Id of the surface.
        shape: (ny, nx) of the grid.
        stages: In the order of computation.
        parts: Of all stages, in the order of computation. On one range of examples each contains the one before.
    """

    surface: str
    shape: tuple[int, int]
    stages: tuple[Stage, ...]
    parts: tuple[Part, ...]

    @cached_property
    def new_cells(self) -> tuple[np.ndarray, ...]:
        """For each part, the cells (n, 2) int16 as (row, column) that it adds, row by row."""
        arrays, done, start = [], np.zeros(self.shape, bool), -1
        for part in self.parts:
            if part.start != start:
                done, start = np.zeros(self.shape, bool), part.start
            grid = np.zeros(self.shape, bool)
            grid[np.ix_(part.rows, part.columns)] = True
            arrays.append(np.argwhere(grid & ~done).astype(np.int16))
            done = grid
        return tuple(arrays)

    @cached_property
    def first_unit(self) -> tuple[int, ...]:
        """For each part the index of its first unit, and at the end the number of all units."""
        counts = (-(-len(cells) // part.unit_cells) for cells, part in zip(self.new_cells, self.parts, strict=True))
        return tuple(accumulate(counts, initial=0))

    @cached_property
    def chunks(self) -> tuple[tuple[int, int], ...]:
        """For each stage, the examples start … stop that its new cells are computed on."""
        return tuple({part.stage: (part.start, part.stop) for part in self.parts}.values())

    @property
    def units(self) -> Units:
        """All units, made on demand."""
        return Units(self)

    def stage_units(self, stage: int) -> range:
        """The indices of one stage's units."""
        own = [index for index, part in enumerate(self.parts) if part.stage == stage]
        return range(self.first_unit[own[0]], self.first_unit[own[-1] + 1])

    def part_units(self, part: int) -> range:
        """The indices of one part's units."""
        return range(self.first_unit[part], self.first_unit[part + 1])

    def stage_of(self, index: int) -> int:
        """The stage that a unit belongs to."""
        return self.parts[bisect_right(self.first_unit, index) - 1].stage

    def unit(self, index: int) -> WorkUnit:
        """The unit at a position.

        Raises:
            IndexError: There is no such unit.
        """
        part, found = self.cells_of(index)
        cells = tuple((row, column) for row, column in found.tolist())
        return WorkUnit(surface=self.surface, index=index, stage=part.stage, cells=cells, start=part.start, stop=part.stop)

    def cells_of(self, index: int) -> tuple[Part, np.ndarray]:
        """The part that a unit belongs to, and the unit's cells (n, 2) int16 as (row, column).

        Raises:
            IndexError: There is no such unit.
        """
        if not 0 <= index < self.first_unit[-1]:
            raise IndexError(f"unit {index} of {self.first_unit[-1]}")
        number = bisect_right(self.first_unit, index) - 1
        part = self.parts[number]
        first = (index - self.first_unit[number]) * part.unit_cells
        return part, self.new_cells[number][first : first + part.unit_cells]


def plan(job: SurfaceJob) -> Plan:
    """The plan of a surface; the same in every process. The last few are remembered."""
    return _plan(job.canonical_json())


def stages(job: SurfaceJob) -> tuple[Stage, ...]:
    """The stages of a surface, in the order of computation."""
    return plan(job).stages


def units(job: SurfaceJob) -> Units:
    """The units of a surface, in the order of computation."""
    return plan(job).units


def unit(job: SurfaceJob, index: int) -> WorkUnit:
    """One unit of a surface."""
    return plan(job).unit(index)


def unit_count(job: SurfaceJob) -> int:
    """How many units a surface has."""
    return len(plan(job).units)


@lru_cache(maxsize=16)
def _plan(text: str) -> Plan:
    job = SurfaceJob.model_validate_json(text)
    examples = job.request.data.examples
    if examples is None:
        raise ValueError("a SurfaceJob's request has a number of examples")
    chunks = chunk_bounds(examples)
    ny, nx = shape = job.request.grid.shape
    whole = (tuple(range(ny)), tuple(range(nx)))
    grids = refined_grids(ny, nx, coarse_points(ny, nx, job.passes(*chunks[0]) * job.macs_per_example))
    stages = [Stage(rows=rows, columns=columns, stop=chunks[0][1]) for rows, columns in grids]
    stages += [Stage(rows=whole[0], columns=whole[1], stop=stop) for _, stop in chunks[1:]]
    seen = [(stage, grid, chunks[0]) for stage, grid in enumerate(grids)]
    levels = levels_of(shape) if job.by_level else (whole,)
    seen += [(stage, grid, chunk) for stage, chunk in enumerate(chunks[1:], len(grids)) for grid in levels]
    parts: list[Part] = []
    for stage, (rows, columns), (start, stop) in seen:
        cells = max(1, job.unit_macs // (job.passes(start, stop) * job.macs_per_example))
        if not parts:
            cells = min(cells, -(-len(rows) * len(columns) // FIRST_STAGE_UNITS))
        parts.append(Part(stage, rows, columns, start, stop, cells))
    return Plan(surface=job.surface, shape=shape, stages=tuple(stages), parts=tuple(parts))


def coarse_points(ny: int, nx: int, cell_macs: int) -> int:
    """How many points an axis the first grid has.

    Args:
        ny: Points of the second axis of the full grid.
        nx: Of the first.
        cell_macs: Multiply-accumulates of one cell.
    """
    for points in COARSE_POINTS:
        if min(points, ny) * min(points, nx) * cell_macs <= FIRST_STAGE_MACS:
            return points
    return COARSE_POINTS[-1]
