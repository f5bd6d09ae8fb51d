"""A surface that was begun earlier or elsewhere: which of its cells are taken over, and whether they answer what is asked."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from jaxtyping import Bool
from pydantic import ValidationError

from landscape_core.errors import InvalidRequest
from landscape_core.quantities import ordered
from landscape_core.requests import TOLERANCE, Axis, Grid, SurfaceRequest
from landscape_core.results import ESTIMATION_ERROR, MEASURED, NOT_COMPUTED, NOT_FINITE, Surface

SAMPLED_CELLS = 5
"""So many of its cells are measured again where a file does not say by itself to which question they are the answer."""

AGREEMENT = 1e-3
"""Most relative difference between a stored loss and the one measured again."""

_ARRAYS = ("loss", "state", "accuracy", "examples", "stderr")


@dataclass(frozen=True)
class HalfDone:
    """A surface with holes, to be completed.

    Attributes:
        surface: As it was read.
        name: Of its file, for people; "" if it is from no file.
        sha256: Of the file's bytes; "" if it is from no file.
    """

    surface: Surface
    name: str = ""
    sha256: str = ""

    @property
    def grid(self) -> Grid:
        """The grid that the surface is on.

        Raises:
            InvalidRequest: Its coordinates are not evenly spaced, or more than can be asked for.
        """
        if self.surface.request is not None:
            return self.surface.request.grid
        y = self.surface.y
        return Grid(x=self._axis(self.surface.x, "x"), y=None if y is None else self._axis(y, "y"))

    def check_grid(self, grid: Grid) -> None:
        """Passes when a grid is the surface's own.

        Args:
            grid: As asked for.

        Raises:
            InvalidRequest: It is not.
        """
        own = self.grid
        for name, asked, stored in (("x", grid.x, own.x), ("y", grid.y, own.y)):
            same = (asked is None) == (stored is None)
            if same and asked is not None and stored is not None:
                same = asked.points == stored.points and np.allclose(asked.coordinates, stored.coordinates, 1e-9, 1e-12)
            if not same:
                raise InvalidRequest(
                    f"{self._called} has the {name} axis {_written(stored)}, but {_written(asked)} was asked for; leave "
                    "out the grid to take the file's, or compute anew.",
                    field=f"grid.{name}",
                )

    def check_request(self, request: SurfaceRequest) -> None:
        """Passes when the surface does not say that it answers another question.

        Args:
            request: As asked for, on the surface's own grid.

        Raises:
            InvalidRequest: It does; the first field that differs is named.
        """
        stored = self.surface.request
        if stored is not None and stored.budget == "fast" and request.budget == "exact":
            stored = stored.model_copy(update={"budget": "exact", "tolerance": TOLERANCE})  # it goes on from what was measured
        if stored is None or stored.digest == request.digest:
            return
        field, was, wanted = _first_difference(stored.model_dump(mode="json"), request.model_dump(mode="json"))
        raise InvalidRequest(
            f"{self._called} is the answer to another question: its {field} is {_short(was)}, but {_short(wanted)} is asked "
            "for; ask for the same, or leave out the half-done file.",
            field=field,
        )

    def kept(self, examples: int) -> Bool[np.ndarray, "rows nx"]:
        """Which cells are taken over: those that were measured, and not over fewer examples than are asked for.

        How many examples a cell of the original's files has seen is not known (0); it is taken for whole.

        Args:
            examples: How many are asked for at every cell.
        """
        seen = self.surface.examples
        return np.isin(self.surface.state, (MEASURED, NOT_FINITE)) & ((seen == 0) | (seen >= examples))

    def sample(self, kept: Bool[np.ndarray, "rows nx"]) -> list[tuple[int, int]]:
        """(row, column) of the cells that are to be measured again before anything is believed; none if its request is known.

        Args:
            kept: From `kept`.
        """
        if self.surface.request is not None:
            return []
        cells = np.argwhere(kept)
        chosen = np.unique(np.linspace(0, len(cells) - 1, min(SAMPLED_CELLS, len(cells))).round().astype(int))
        return [(int(row), int(column)) for row, column in cells[chosen]]

    def check_measured(self, cell: tuple[int, int], loss: float) -> dict[str, Any]:
        """What the provenance says of a cell that was measured again and agrees.

        Args:
            cell: (row, column).
            loss: As measured now.

        Raises:
            InvalidRequest: It differs from the stored one.
        """
        row, column = cell
        stored = float(self.surface.loss[row, column]) if self.surface.state[row, column] == MEASURED else float("nan")
        finite = np.isfinite(stored), np.isfinite(loss)
        if finite != (False, False) and not (all(finite) and abs(loss - stored) <= AGREEMENT * max(abs(stored), 1e-12)):
            y = "" if self.surface.y is None else f", β = {self.surface.y[row]:.6g}"
            raise InvalidRequest(
                f"{self._called} holds the loss {_value(stored)} at α = {self.surface.x[column]:.6g}{y} (row {row}, column "
                f"{column}), but the same cell measured now gives {_value(loss)}; give the network, data, preprocessing, loss "
                "and directions that the file was made with.",
                field="resume",
            )
        return {"row": row, "column": column, "stored": _known(stored), "measured": _known(loss)}

    def completed(self, rest: Surface, kept: Bool[np.ndarray, "rows nx"], checked: list[dict[str, Any]]) -> Surface:
        """The surface of the cells that were kept, bit for bit, and those that were computed.

        Args:
            rest: What was computed, with holes where cells are kept.
            kept: From `kept`.
            checked: What `check_measured` said.
        """
        return replace(self.laid_over(rest, kept), provenance={**rest.provenance, "resumed": self.story(kept, checked)})

    def laid_over(self, rest: Surface, kept: Bool[np.ndarray, "rows nx"], part: Any = ...) -> Surface:
        """What was computed, with the cells that are kept, bit for bit.

        Args:
            rest: On the whole grid or a part of it.
            kept: From `kept`, over the whole grid.
            part: Index of the part, as from `numpy.ix_`; all if not given.
        """
        arrays = {name: np.where(kept[part], getattr(self.surface, name)[part], getattr(rest, name)) for name in _ARRAYS}
        own = {name: table[part] for name, table in self.surface.quantities.items() if name != ESTIMATION_ERROR}
        unknown = np.full(rest.loss.shape, np.nan)
        quantities = {
            name: np.where(kept[part], own.get(name, unknown), rest.quantities.get(name, unknown))
            for name in ordered(own.keys() | rest.quantities.keys())
        }
        return replace(rest, **arrays, quantities=quantities)

    def story(self, kept: Bool[np.ndarray, "rows nx"], checked: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Which cells came from where, for the provenance; earlier times that the surface was resumed come first.

        Args:
            kept: From `kept`.
            checked: What `check_measured` said.
        """
        source = dict(self.surface.provenance)
        earlier = source.pop("resumed", [])
        again = int(((self.surface.state != NOT_COMPUTED) & ~kept).sum())
        told = {
            "file": self.name or None,
            "file_sha256": self.sha256 or None,
            "kept_cells": int(kept.sum()),
            "kept": _runs(kept),
            "computed_cells": int((~kept).sum()),
            "computed_again": again or None,
            "checked": checked or None,
            "source": {name: value for name, value in source.items() if name not in {"trajectory", "stage"}} or None,
        }
        entry = {name: value for name, value in told.items() if value is not None}
        return [*(earlier if isinstance(earlier, list) else []), entry]

    @property
    def _called(self) -> str:
        return self.name or "The half-done surface"

    def _axis(self, values: np.ndarray, name: str) -> Axis:
        try:
            axis = Axis(start=float(values[0]), stop=float(values[-1]), points=values.size)
        except ValidationError as error:
            reason = error.errors(include_url=False)[0]["msg"].removeprefix("Value error, ")
            raise InvalidRequest(f"{self._called} cannot be completed: its {name} axis is refused ({reason}).") from None
        if not np.allclose(axis.coordinates, values, rtol=1e-9, atol=1e-9 * (values[-1] - values[0] or 1.0)):
            raise InvalidRequest(
                f"{self._called} cannot be completed: its {name} coordinates are not evenly spaced, and only such grids are "
                "computed.",
                field=f"grid.{name}",
            )
        return axis


def _runs(kept: np.ndarray) -> list[list[int]]:
    """[first, last] of each run of kept cells, counted row by row from 0."""
    cells = np.flatnonzero(kept)
    breaks = [-1, *(i for i, (a, b) in enumerate(pairwise(cells.tolist())) if b != a + 1), len(cells) - 1]
    return [[int(cells[a + 1]), int(cells[b])] for a, b in pairwise(breaks)] if len(cells) else []


def _first_difference(stored: Any, asked: Any, path: str = "") -> tuple[str, Any, Any]:
    """(dotted path, stored, asked) of the first field in which two requests in JSON form differ."""
    if isinstance(stored, dict) and isinstance(asked, dict):
        for name in {**stored, **asked}:
            if stored.get(name) != asked.get(name):
                return _first_difference(stored.get(name), asked.get(name), f"{path}.{name}" if path else name)
    return path, stored, asked


def _short(value: Any) -> str:
    text = "not given" if value is None else str(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def _written(axis: Axis | None) -> str:
    return "none (a curve)" if axis is None else f"{axis.start:g}:{axis.stop:g}:{axis.points}"


def _value(loss: float) -> str:
    return f"{loss:.9g}" if np.isfinite(loss) else "that is not finite"


def _known(value: float) -> float | None:
    return value if np.isfinite(value) else None
