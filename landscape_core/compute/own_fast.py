"""The `fast` budget for a network of the user's own: their batches, put together as chunks, are what is seen in parts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, get_args

import numpy as np

from landscape_core.compute.fast import Cells, FastMeasurement
from landscape_core.compute.own_measure import Measure
from landscape_core.errors import InvalidRequest
from landscape_core.estimate import surface_over
from landscape_core.fast_surface import FAST, fast_surface_over
from landscape_core.ladder import Level
from landscape_core.requests import LEAST_TOLERANCE, MOST_TOLERANCE, Budget, Grid, check_budget
from landscape_core.results import Surface, Tally


def checked_budget(budget: Any, tolerance: Any, *, eigenvalues: bool, resumes: bool) -> float | None:
    """The tolerance of a fast surface; None for an exact one.

    Args:
        budget: As given to `landscape`.
        tolerance: Alike.
        eigenvalues: Whether they are asked for.
        resumes: Whether a half-done surface is to be completed.

    Raises:
        InvalidRequest: It cannot be had so.

    Example:
        >>> checked_budget("fast", 0.01, eigenvalues=False, resumes=False)
        0.01
    """
    if not isinstance(budget, str) or budget not in get_args(Budget):
        raise InvalidRequest(f"budget should be exact or fast, but {budget!r} came.", field="budget")
    number = isinstance(tolerance, int | float | np.integer | np.floating) and not isinstance(tolerance, bool)
    if not number or not LEAST_TOLERANCE <= tolerance <= MOST_TOLERANCE:
        raise InvalidRequest(
            f"tolerance takes a share of the losses' range from {LEAST_TOLERANCE:g} to {MOST_TOLERANCE:g}, but {tolerance!r} "
            "came.",
            field="tolerance",
        )
    try:
        check_budget("fast" if budget == "fast" else "exact", float(tolerance), eigenvalues=eigenvalues)
    except ValueError as error:
        sentence = str(error)
        raise InvalidRequest(f"{sentence[0].upper()}{sentence[1:]}.", field="budget") from None
    if budget == "fast" and resumes:
        raise InvalidRequest("A half-done surface is completed by measuring; choose budget exact.", field="budget")
    return float(tolerance) if budget == "fast" else None


class OwnFastCells:
    """What is known of the cells so far, and what else has to be for the tolerance.

    Args:
        measure: Measures a chunk at a cell.
        grid: All cells.
        tolerance: As `Ladder.tolerance`.
    """

    def __init__(self, measure: Measure, grid: Grid, tolerance: float) -> None:
        self._measure, self._grid = measure, grid
        self._fast = FastMeasurement(measure.ladder(grid.shape, tolerance), self._tally)
        self._knows_accuracy = True

    @property
    def expected(self) -> int:
        """How many stages there will be, as far as is known."""
        return self._fast.expected

    def provenance(self) -> dict[str, Any]:
        """In which order the batches make up the chunks. JSON-able."""
        return {"batch_order": self._measure.order}

    def stages(self, progress: Callable[[float], None]) -> Iterator[Surface]:
        """Whole surfaces: of the first chunk on grids from coarse to full, then of all examples, measured and estimated.

        Args:
            progress: Told the share of what is known to be needed that is done, in 0 … 1.
        """
        for grid in self._fast.stages(progress):
            yield self._estimated() if grid is None else self._of_first_chunk(grid)

    def _tally(self, cells: Cells, chunk: int, step: Callable[[float], None]) -> Tally:
        found = []
        for count, cell in enumerate(cells, start=1):
            sums = self._measure.chunk(self._grid, cell, chunk)
            self._knows_accuracy &= not np.isnan(sums.correct)
            found.append(sums.tally)
            step(count / len(cells))
        return Tally.joined(found)

    def _of_first_chunk(self, grid: Level) -> Surface:
        rows, columns = map(list, grid)
        x, y = self._grid.x.coordinates[columns], None
        if self._grid.y is not None:
            y = self._grid.y.coordinates[rows]
        surface = surface_over(x, y, self._fast.tallies[0].at(np.ix_(rows, columns)))
        ladder = self._fast.ladder
        seen = {"examples": list(ladder.bounds[0]), "columns": len(columns), "rows": len(rows)}
        about = {FAST: {"tolerance": ladder.tolerance, "met": False, "seen": [seen]}}
        return self._told(replace(surface, provenance=about))

    def _estimated(self) -> Surface:
        fast, y = self._fast, None if self._grid.y is None else self._grid.y.coordinates
        surface = fast_surface_over(self._grid.x.coordinates, y, fast.ladder, fast.depths, fast.tallies)
        if not self._knows_accuracy:
            surface.provenance[FAST]["estimated_rmse"]["accuracy_points"] = None
        return self._told(surface)

    def _told(self, surface: Surface) -> Surface:
        """What is not known of accuracies is not told."""
        return surface if self._knows_accuracy else replace(surface, accuracy=np.full_like(surface.accuracy, np.nan))
