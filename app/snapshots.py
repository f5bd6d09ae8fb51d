"""What a browser is shown of a surface: the complete grid of its latest stage, and how that travels in an event."""

from __future__ import annotations

import base64
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from app.estimates import estimate_of
from app.schemas import Progress, SurfaceState
from landscape_core.projection import run_of
from landscape_core.quantities import ordered
from landscape_core.results import NOT_FINITE, Surface

STAGE = "stage"
"""Where an unfinished surface's provenance says of which stage it is: {"stage", "stages", "examples", "rows", "columns"}."""

EIGENVALUES = "eigenvalues"
"""Where it says so on which grid eigenvalues are known, while that is not the whole one: {"rows", "columns"}."""


@dataclass(frozen=True)
class StageSnapshot:
    """A whole surface, as far as it is measured.

    Attributes:
        stage: How many whole surfaces there have been, counted from 1.
        stages: How many there will be.
        examples: Each cell has seen so many.
        surface: The whole grid of the request; cells outside the stage's grid are holes.
        rows: Indices into the grid's y of the stage's complete grid.
        columns: Indices into the grid's x.
        eigenvalues: The same of the complete grid on which eigenvalues are known, if that is another one: (rows, columns).
    """

    stage: int
    stages: int
    examples: int
    surface: Surface
    rows: np.ndarray
    columns: np.ndarray
    eigenvalues: tuple[np.ndarray, np.ndarray] | None = None

    @classmethod
    def of(cls, surface: Surface, stages: int = 1) -> StageSnapshot:
        """The snapshot of a stored surface, which is whole if it does not say in good order of which stage it is.

        Args:
            surface: Perhaps imported: what its provenance says is not to be trusted.
            stages: How many stages a whole one has had.
        """
        ny, nx = surface.loss.shape
        found = surface.provenance.get(STAGE)
        about = found if isinstance(found, dict) else {}
        stage, most, examples = (_count(about.get(name)) for name in ("stage", "stages", "examples"))
        rows, columns = _indices(about.get("rows"), ny), _indices(about.get("columns"), nx)
        if rows is None or columns is None or not (stage and most and examples):
            return cls(stages, stages, int(surface.examples.max(initial=0)), surface, np.arange(ny), np.arange(nx))
        return cls(stage, most, examples, surface, rows, columns, _grid(about.get(EIGENVALUES), rows, columns))

    def event(self, progress: Progress, state: SurfaceState) -> dict[str, Any]:
        """The data of a "surface" event, complete in itself.

        Arrays are little-endian, row by row, in base64; NaN is a hole. `perplexity` says whether exp(loss) is one. `quantities`
        is there only if the surface has any, `estimate` if cells are estimated (`estimate_of`), `trajectory` if it has a run.
        `eigenvalues` holds the rows and columns of the event on which they are known, while these are not all.

        Args:
            progress: How far the surface is.
            state: Its state.
        """
        whole = self.surface
        cells = np.ix_(self.rows, self.columns)
        y = None if whole.y is None else whole.y[self.rows].tolist()
        quantities = {name: _base64(whole.quantities[name][cells], "<f4") for name in ordered(whole.quantities)}
        return {
            "stage": self.stage,
            "stages": self.stages,
            "examples": self.examples,
            "x": whole.x[self.columns].tolist(),
            "y": y,
            "rows": len(self.rows),
            "columns": len(self.columns),
            "loss": _base64(whole.loss[cells], "<f4"),
            "stderr": _base64(whole.stderr[cells], "<f4"),
            "accuracy": _base64(whole.accuracy[cells], "<f4"),
            "counts": _base64(whole.examples[cells], "<i4"),
            "not_finite": int((whole.state[cells] == NOT_FINITE).sum()),
            **({} if (estimate := estimate_of(self.shown())) is None else {"estimate": estimate}),
            "flatness": self.shown().flatness().model_dump(mode="json"),
            "range": {
                "x": [float(whole.x[0]), float(whole.x[-1])],
                "y": None if whole.y is None else [float(whole.y[0]), float(whole.y[-1])],
            },
            "perplexity": whole.has_perplexity,
            "progress": progress.model_dump(mode="json"),
            "state": state,
            **({"quantities": quantities} if quantities else {}),
            **({} if self.eigenvalues is None else {"eigenvalues": self._positions(self.eigenvalues)}),
            **({} if (run := run_of(whole)) is None else {"trajectory": run.as_provenance()}),
        }

    def _positions(self, grid: tuple[np.ndarray, np.ndarray]) -> dict[str, list[int]]:
        """Where indices into the grid of the request stand among those that an event holds."""
        rows, columns = grid
        return {
            "rows": np.searchsorted(self.rows, rows).tolist(),
            "columns": np.searchsorted(self.columns, columns).tolist(),
        }

    def shown(self) -> Surface:
        """The stage's complete grid as a surface of its own."""
        whole, cells = self.surface, np.ix_(self.rows, self.columns)
        return replace(
            whole,
            x=whole.x[self.columns],
            y=None if whole.y is None else whole.y[self.rows],
            loss=whole.loss[cells],
            state=whole.state[cells],
            accuracy=whole.accuracy[cells],
            examples=whole.examples[cells],
            stderr=whole.stderr[cells],
            quantities={name: table[cells] for name, table in whole.quantities.items()},
        )


def _count(value: Any) -> int:
    """The value, if it is a plausible count; else 0."""
    return value if type(value) is int and 0 < value < 2**53 else 0


def _indices(values: Any, length: int) -> np.ndarray | None:
    """The values, if they are ascending indices into an axis of that length."""
    if not isinstance(values, list) or not values or not all(type(value) is int for value in values):
        return None
    ascending = all(a < b for a, b in pairwise(values))
    return np.array(values) if ascending and values[0] >= 0 and values[-1] < length else None


def _grid(found: Any, rows: np.ndarray, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """The grid that is told of, if it lies in that of the stage."""
    told = found if isinstance(found, dict) else {}
    inner = [_indices(told.get(name), int(axis[-1]) + 1) for name, axis in (("rows", rows), ("columns", columns))]
    if inner[0] is None or inner[1] is None or not (np.isin(inner[0], rows).all() and np.isin(inner[1], columns).all()):
        return None
    return inner[0], inner[1]


def _base64(cells: np.ndarray, dtype: str) -> str:
    with np.errstate(over="ignore"):
        return base64.b64encode(np.ascontiguousarray(cells).astype(dtype).tobytes()).decode()
