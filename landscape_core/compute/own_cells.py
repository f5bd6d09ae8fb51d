"""The cells of a surface of the user's own network, from a coarse grid to the full one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
from jaxtyping import Bool

from landscape_core.catalogue.plane_checks import check_curvature_memory
from landscape_core.compute.fast import COARSE_POINTS
from landscape_core.compute.own_hessian import OwnHessian
from landscape_core.compute.own_measure import Measure
from landscape_core.compute.own_network import OwnNetwork
from landscape_core.compute.own_sums import Sums
from landscape_core.compute.plane_curvature import PlaneCurvature
from landscape_core.errors import InvalidRequest
from landscape_core.estimate import surface_over
from landscape_core.refinement import refined_grids
from landscape_core.requests import Grid, Normalisation
from landscape_core.results import Surface, Tally
from landscape_core.resuming import HalfDone

EIGENVALUES = ("max_eig", "min_eig")


class OwnCurvature:
    """The Hessian's extreme eigenvalues at the cells of a surface of the user's own network.

    Args:
        network: The borrowed network.
        how: Of the plane.
        count: Over how many examples.
        measure: Puts the network to a place.
        grid: The cells.

    Raises:
        InvalidRequest: No parameter is left, or there are too many.
    """

    def __init__(self, network: OwnNetwork, how: Normalisation, count: int, measure: Measure, grid: Grid) -> None:
        check_curvature_memory(sum(parameter.numel() for parameter in network.module.parameters()))
        self._place = (0.0, 0.0)
        self._hessian = OwnHessian(network, how, count, lambda: measure.stand(*self._place))
        self._plane = PlaneCurvature(self._hessian, self._move_to, grid)

    def at(self, row: int, column: int) -> tuple[float, float]:
        """(largest, smallest) eigenvalue at a cell, as `PlaneCurvature.at` gives them."""
        with self._hessian.differentiable():
            return self._plane.at(row, column)

    def provenance(self) -> dict[str, Any]:
        """How they were measured. JSON-able."""
        return self._plane.provenance()

    def _move_to(self, alpha: float, beta: float) -> None:
        self._place = (alpha, beta)


class OwnCells:
    """What is known of the cells so far.

    Args:
        measure: Measures a cell.
        grid: All cells.
        half: A half-done surface of which cells are kept.
        kept: Which.
        curvature: Measures eigenvalues, if they are asked for.
    """

    def __init__(
        self,
        measure: Measure,
        grid: Grid,
        half: HalfDone | None,
        kept: Bool[np.ndarray, "rows nx"],
        curvature: OwnCurvature | None = None,
    ) -> None:
        self._measure, self._grid, self._half, self._kept, self._curvature = measure, grid, half, kept, curvature
        shape = grid.shape
        self._examples = np.zeros(shape, np.int64)
        self._losses, self._squares, self._correct = (np.full(shape, np.nan) for _ in range(3))
        self._counts: dict[str, np.ndarray] = {}
        self._eigenvalues = {name: np.full(shape, np.nan) for name in EIGENVALUES if curvature is not None}
        self._done, self._bent = kept.copy(), self._known_eigenvalues()

    @property
    def expected(self) -> int:
        """How many stages there will be."""
        return len(refined_grids(*self._grid.shape, COARSE_POINTS))

    def provenance(self) -> dict[str, Any]:
        """How eigenvalues were measured so far, if they are asked for. JSON-able."""
        return {} if self._curvature is None else {"curvature": self._curvature.provenance()}

    def stages(self, progress: Callable[[float], None]) -> Iterator[Surface]:
        """Whole surfaces on grids from coarse to full, each of which contains the one before; at least one.

        Args:
            progress: Told the share of the cells that are done, in 0 … 1.
        """
        missing, done = int((~(self._done & self._bent)).sum()), 0
        for rows, columns in refined_grids(*self._grid.shape, COARSE_POINTS):
            for cell in product(rows, columns):
                if self._done[cell] and self._bent[cell]:
                    continue
                self._visit(*cell)
                done += 1
                progress(done / missing)
            yield self._surface(rows, columns)

    def _known_eigenvalues(self) -> Bool[np.ndarray, "rows nx"]:
        """Where eigenvalues need not be measured; those that the half-done surface holds are kept, bit for bit."""
        if self._curvature is None:
            return np.ones(self._grid.shape, bool)
        stored = {} if self._half is None else self._half.surface.quantities
        if not stored.keys() >= {*EIGENVALUES}:
            return np.zeros(self._grid.shape, bool)
        known = self._kept & np.isfinite(stored["max_eig"]) & np.isfinite(stored["min_eig"])
        for name, table in self._eigenvalues.items():
            table[known] = stored[name][known]
        return known

    def _visit(self, row: int, column: int) -> None:
        if not self._done[row, column]:
            self._keep(row, column, self._measure.cell(self._grid, (row, column)))
        if self._curvature is not None and not self._bent[row, column]:
            for table, value in zip(self._eigenvalues.values(), self._curvature.at(row, column), strict=True):
                table[row, column] = value
        self._done[row, column] = self._bent[row, column] = True

    def _keep(self, row: int, column: int, sums: Sums) -> None:
        self._examples[row, column], self._losses[row, column] = sums.examples, sums.losses
        self._squares[row, column], self._correct[row, column] = sums.squares, sums.correct
        for name, count in sums.counts.items():
            if name not in self._counts:
                self._counts[name] = np.zeros((*self._grid.shape, *count.shape[1:]), np.int64)
            self._counts[name][row, column] = count[0]

    def _surface(self, rows: tuple[int, ...], columns: tuple[int, ...]) -> Surface:
        part = np.ix_(rows, columns)
        known = np.isfinite(self._correct[part])
        right = np.where(known, self._correct[part], 0).astype(np.int64)
        counts = {name: table[part] for name, table in self._counts.items()}
        tally = Tally(self._examples[part], self._losses[part], self._squares[part], right, counts)
        alphas, y = self._grid.x.coordinates[list(columns)], None
        if self._grid.y is not None:
            y = self._grid.y.coordinates[list(rows)]
        surface = surface_over(alphas, y, tally)
        surface = replace(surface, accuracy=np.where(known, surface.accuracy, np.nan))
        if self._half is not None:
            surface = self._half.laid_over(surface, self._kept, part)
        eigenvalues = {name: table[part] for name, table in self._eigenvalues.items()}
        return replace(surface, quantities=surface.quantities | eigenvalues)


def check_curvature(curvature: Any, *, batch_norm: str) -> None:
    """Passes when eigenvalues at every cell can be had as they are asked for.

    Args:
        curvature: As given to `landscape`.
        batch_norm: As given to `landscape`.

    Raises:
        InvalidRequest: If not.
    """
    if curvature is None:
        return
    if not isinstance(curvature, int) or isinstance(curvature, bool) or curvature < 1:
        raise InvalidRequest(
            f"curvature should be over how many examples the Hessian is, a whole number of at least 1, but {curvature!r} came.",
            field="curvature",
        )
    if batch_norm == "reestimated":
        raise InvalidRequest(
            "Eigenvalues are those with fixed statistics; leave batch_norm fixed, or leave out curvature.", field="curvature"
        )
