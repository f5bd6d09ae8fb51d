"""Where a plane is measured: one axis or two, of evenly spaced coordinates."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import AfterValidator, Field, model_validator

from landscape_core.message import Message

MAX_POINTS = 501
"""Most points on one axis: 501² cells are a quarter of a million evaluations of the network."""

Finite = Annotated[float, Field(allow_inf_nan=False, ge=-1e6, le=1e6), AfterValidator(lambda value: value + 0.0)]
"""A number of moderate size; -0.0 becomes 0.0, so that one question has one digest."""


class Axis(Message):
    """Evenly spaced coordinates from start to stop, both included; a single point stands at start.

    Attributes:
        start: First coordinate, in units of the direction; from -10⁶ to 10⁶, as `stop`.
        stop: Last coordinate; above `start` unless there is one point.
        points: 1 … `MAX_POINTS`.

    Raises:
        ValidationError: A number is out of range, or neighbouring points would be the same number.

    Example:
        >>> Axis(start=-1, stop=1, points=5).coordinates.tolist()
        [-1.0, -0.5, 0.0, 0.5, 1.0]
        >>> finer = Axis(start=-1, stop=1, points=9)  # contains the coarser one exactly
        >>> bool((finer.coordinates[::2] == Axis(start=-1, stop=1, points=5).coordinates).all())
        True
    """

    start: Finite
    stop: Finite
    points: int = Field(ge=1, le=MAX_POINTS)

    @model_validator(mode="after")
    def _ascending(self) -> Axis:
        if self.points > 1 and not self.start < self.stop:
            raise ValueError(f"start must be below stop, but {self.start:g} is not below {self.stop:g}")
        if self.points > 1 and not (np.diff(self.coordinates) > 0).all():
            raise ValueError(
                f"{self.points} points do not fit between {self.start!r} and {self.stop!r}: neighbours are the same number; "
                "take a wider range or fewer points"
            )
        return self

    @property
    def coordinates(self) -> np.ndarray:
        """The coordinates, (points,) float64, in units of the direction.

        Written so that an axis of 2R-1 points contains that of R points exactly, and stop is met exactly.
        """
        if self.points == 1:
            return np.array([self.start])
        t = np.arange(self.points) / (self.points - 1)
        values = self.start + (self.stop - self.start) * t
        values[-1] = self.stop
        return values


class Grid(Message):
    """One axis (a curve) or two (a surface).

    Attributes:
        x: Along the first direction.
        y: Along the second; None for a curve.

    Example:
        >>> grid = Grid(x=Axis(start=-1, stop=1, points=25), y=Axis(start=0, stop=1, points=3))
        >>> grid.shape, grid.cells
        ((3, 25), 75)
        >>> Grid.model_validate({"x": {"start": 0, "stop": 1, "points": 11}}).shape  # a curve
        (1, 11)
    """

    x: Axis
    y: Axis | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """(ny, nx); ny is 1 for a curve."""
        return (1 if self.y is None else self.y.points, self.x.points)

    @property
    def coordinates(self) -> tuple[np.ndarray, np.ndarray]:
        """((nx,), (ny,)) coordinates of the columns and of the rows; a curve has the row 0."""
        return self.x.coordinates, np.zeros(1) if self.y is None else self.y.coordinates

    @property
    def cells(self) -> int:
        """How many cells the grid has."""
        return self.shape[0] * self.shape[1]


CURVATURE_PASSES = 200
"""About how many evaluations of its examples a cell's eigenvalues take: some 40 products, each as long as five."""
