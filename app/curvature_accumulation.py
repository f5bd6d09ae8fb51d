"""The eigenvalues of one surface, taken in unit by unit; shown as complete grids, as its losses are.

A cell's eigenvalues follow from the request and the cell alone: it matters neither who measured them, nor when, nor how often.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from worker.job import Stage, SurfaceJob
from worker.queue import Eigenvalues, curvature_plan


class CurvatureAccumulation:
    """What is known so far of one surface's eigenvalues.

    Args:
        job: The surface's; it asks for them.
    """

    def __init__(self, job: SurfaceJob) -> None:
        plan = curvature_plan(job)
        if plan is None:
            raise ValueError("the surface's request does not ask for eigenvalues")
        self.plan = plan
        self.stage = 0
        """How many of its stages are complete, and therefore all before them."""
        self._units = range(plan.first, plan.first + len(plan))
        self._missing = [len(plan.own.stage_units(stage)) for stage in range(len(plan.stages))]
        self._tables = {name: np.full(plan.own.shape, np.nan) for name in ("max_eig", "min_eig")}
        self._found: dict[int, Eigenvalues] = {}
        self._cells = 0

    @property
    def stages(self) -> int:
        """How many stages there are."""
        return len(self.plan.stages)

    @property
    def is_complete(self) -> bool:
        """Whether every unit is done."""
        return self.stage == self.stages

    @property
    def done(self) -> float:
        """The share of the cells that are done, in 0 … 1."""
        rows, columns = self.plan.own.shape
        return self._cells / (rows * columns)

    @property
    def grid(self) -> Stage | None:
        """The cells whose eigenvalues are shown; None before the first stage is complete."""
        return self.plan.stages[self.stage - 1] if self.stage else None

    def owns(self, unit: int) -> bool:
        """Whether this unit is one of eigenvalues."""
        return unit in self._units

    def is_done(self, unit: int) -> bool:
        """Whether this unit's eigenvalues are in."""
        return unit in self._found

    def missing(self) -> Iterator[int]:
        """The units that are not done, in the order in which they are wanted."""
        return (unit for unit in self._units if unit not in self._found)

    def stage_of(self, unit: int) -> int:
        """The stage that a unit belongs to, among all stages of the surface."""
        return self.plan.unit(unit).stage

    def fold(self, index: int, found: Eigenvalues) -> bool:
        """Takes in what a unit found; doing so twice changes nothing.

        Args:
            index: The unit.
            found: What it found.

        Returns:
            False if this is not what that unit finds, and nothing was taken in.
        """
        if not self.owns(index):
            return False
        unit = self.plan.unit(index)
        if found.cells != unit.cells or found.examples != unit.stop or len(found.max_eig) != len(unit.cells):
            return False
        if index in self._found:
            return True
        rows, columns = np.array(unit.cells).T
        self._tables["max_eig"][rows, columns], self._tables["min_eig"][rows, columns] = found.max_eig, found.min_eig
        self._found[index] = found
        self._cells += len(unit.cells)
        self._missing[unit.stage - self.plan.first_stage] -= 1
        while self.stage < self.stages and self._missing[self.stage] == 0:
            self.stage += 1
        return True

    def quantities(self) -> dict[str, np.ndarray]:
        """`max_eig` and `min_eig` on the latest complete grid, (ny, nx) each NaN elsewhere; nothing if there is none yet."""
        if self.grid is None:
            return {}
        inside = np.zeros(self.plan.own.shape, bool)
        inside[np.ix_(self.grid.rows, self.grid.columns)] = True
        return {name: np.where(inside, table, np.nan) for name, table in self._tables.items()}

    def about(self) -> dict[str, Any]:
        """How they were measured, as far as they are; as `PlaneCurvature.provenance` says it. JSON-able."""
        if not self._found:
            return {}
        first = next(iter(self._found.values()))
        return {
            "examples": first.examples,
            "parameters": first.parameters,
            "products": sum(found.products for found in self._found.values()),
            "not_separated": sum(found.not_separated for found in self._found.values()),
        }
