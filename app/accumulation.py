"""The tallies of one surface, folded unit by unit into whole surfaces.

A value is the sum of its chunks' tallies in the order of the chunks, whatever the order in which they arrive, and is shown
once all cells of the stage's grid have seen all its chunks. So values depend neither on who computed what nor on when, and
equal those of `landscape_core.compute.compute_surface`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from app.snapshots import STAGE
from landscape_core.estimate import surface_from_tally
from landscape_core.results import Surface, Tally
from worker.job import SurfaceJob
from worker.queue import plan

COUNTS = {"top5": {"top5"}, "class_accuracy": {"class_correct", "class_examples"}}
"""What a tally counts for each metric."""


class Accumulation:
    """What is known so far of one surface.

    Args:
        job: The surface's.
    """

    def __init__(self, job: SurfaceJob) -> None:
        self.job, self.plan = job, plan(job)
        self.stage = 0
        """How many stages are complete, and therefore all before them."""
        self._done = np.zeros(len(self.plan.units), bool)
        self._missing = [len(self.plan.stage_units(stage)) for stage in range(len(self.plan.stages))]
        self._whole = Tally.zeros(*self.plan.shape)
        self._chunks: dict[int, Tally] = {}
        self._first_missing = 0
        self._passes_done = 0
        self._counts: set[str] = set().union(*(COUNTS[metric] for metric in job.request.metrics))

    @property
    def stages(self) -> int:
        """How many stages there are."""
        return len(self.plan.stages)

    @property
    def is_complete(self) -> bool:
        """Whether every unit is done."""
        return self.stage == self.stages

    @property
    def total_macs(self) -> int:
        """Multiply-accumulates of the whole surface."""
        return self.job.macs_per_example * self.job.request.grid.cells * self.job.passes_per_cell

    @property
    def done(self) -> float:
        """The share of the work that is done, in 0 … 1."""
        return self._passes_done / (self.job.request.grid.cells * self.job.passes_per_cell)

    @property
    def examples(self) -> int:
        """How many examples each cell of the latest whole surface has seen."""
        return self.plan.stages[self.stage - 1].stop if self.stage else 0

    def is_done(self, unit: int) -> bool:
        """Whether this unit's tallies are in."""
        return 0 <= unit < len(self._done) and bool(self._done[unit])

    def missing(self) -> Iterator[int]:
        """The units that are not done, in the order in which they are wanted."""
        while self._first_missing < len(self._done) and self._done[self._first_missing]:
            self._first_missing += 1
        for unit in range(self._first_missing, len(self._done)):
            if not self._done[unit]:
                yield unit

    def stage_of(self, unit: int) -> int:
        """The stage that a unit belongs to."""
        return self.plan.stage_of(unit)

    def fold(self, index: int, cells: ArrayLike, tally: Tally) -> bool:
        """Takes in a unit's tallies; folding one twice changes nothing.

        Args:
            index: The unit.
            cells: (row, column) of each cell, of shape (cells, 2).
            tally: Arrays of shape (cells,), in the same order.

        Returns:
            False if these are not the tallies of that unit, and nothing was taken in.
        """
        if not 0 <= index < len(self._done):
            return False
        part, own = self.plan.cells_of(index)
        if (
            not np.array_equal(cells, own)
            or tally.counts.keys() != self._counts
            or (tally.examples != part.stop - part.start).any()
        ):
            return False
        if self._done[index]:
            return True
        chunk = self._chunks.get(part.start)
        if chunk is None:
            chunk = self._chunks[part.start] = Tally.zeros(*self.plan.shape)
        rows, columns = own.T.astype(np.int64)
        chunk.put(rows, columns, tally)
        self._done[index] = True
        self._missing[part.stage] -= 1
        self._passes_done += len(own) * self.job.passes(part.start, part.stop)
        self._advance()
        return True

    def surface(self, provenance: dict[str, Any]) -> Surface:
        """The latest whole surface; while it is not the last, its provenance says of which stage it is.

        Args:
            provenance: What else is to be said of how it was made.
        """
        stage = self.plan.stages[self.stage - 1]
        if self._whole.examples.any():
            tally = self._whole
        else:
            inside = np.zeros(self.plan.shape, bool)
            inside[np.ix_(stage.rows, stage.columns)] = True
            tally = self._chunks[0].within(inside)
        about = {} if self.is_complete else self._said_of_stage(stage.rows, stage.columns)
        return surface_from_tally(self.job.request, tally, provenance | about, self.job.decisions)

    def _said_of_stage(self, rows: Iterable[int], columns: Iterable[int]) -> dict[str, Any]:
        """What the provenance says of the latest stage, which has this grid."""
        counts = {"stage": self.stage, "stages": self.stages, "examples": self.examples}
        return {STAGE: {**counts, "rows": list(rows), "columns": list(columns)}}

    def _advance(self) -> None:
        """Counts the stages that are complete; a chunk that has seen the whole grid is added to those before it."""
        while self.stage < self.stages and self._missing[self.stage] == 0:
            start = self.plan.chunks[self.stage][0]
            self.stage += 1
            if self.stage == self.stages or self.plan.chunks[self.stage][0] != start:
                self._whole = self._whole + self._chunks.pop(start)
