"""The way of a training run as it lies on a drawn surface or curve: numpy only, for every kind of picture.

A picture between its cells is bilinear, and so is the way's height: it lies on what is drawn. What was measured at the exact
place of a checkpoint is in its `Projection`. A way that leaves the grid is cut off at the rim; nothing is moved.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Float64

from landscape_core.projection import Projection


@dataclass(frozen=True)
class DrawnWay:
    """Where lines and marks stand.

    Attributes:
        line: (points, 3) α, β and height; rows of NaN part pieces that do not touch.
        marks: (checkpoints, 3) likewise; NaN where there is nothing to stand on.
        outside: (checkpoints,) which have no place on the grid.
        over_holes: (checkpoints,) which have one, but where the surface is a hole.
    """

    line: Float64[np.ndarray, "points 3"]
    marks: Float64[np.ndarray, "checkpoints 3"]
    outside: Bool[np.ndarray, " checkpoints"]
    over_holes: Bool[np.ndarray, " checkpoints"]

    @property
    def left_out(self) -> str:
        """What is not drawn, in words; "" if all is."""
        count = len(self.outside)
        parts = [
            f"{number} of {count} checkpoints {verb} {where}"
            for number, verb, where in (
                (int(self.outside.sum()), "lie" if self.outside.sum() > 1 else "lies", "outside the range"),
                (int(self.over_holes.sum()), "lie" if self.over_holes.sum() > 1 else "lies", "over holes"),
            )
            if number
        ]
        return f"{' and '.join(parts)}: not drawn" if parts else ""


SHORTEST = 1e-200
"""A step along an axis that is shorter is none, long before what is divided by it overflows."""


def drawn_way(
    x: Float64[np.ndarray, " nx"],
    y: Float64[np.ndarray, " ny"] | None,
    heights: Float64[np.ndarray, "rows nx"],
    projection: Projection,
) -> DrawnWay:
    """The way of a run over a grid.

    Args:
        x: Coordinates along the first direction.
        y: Along the second; None for a curve, on which β is 0.
        heights: As they are drawn; NaN is a hole.
        projection: The run, with as many coordinates as there are axes.
    """
    places = projection.coordinates if y is not None else np.column_stack([projection.coordinates, np.zeros(len(projection))])
    rows = np.zeros(1) if y is None else y
    inside = projection.inside(x, y)
    marks = np.column_stack([places, _heights(x, rows, heights, places)])
    marks[~inside] = np.nan
    pieces = [piece for pair in pairwise(places) for piece in _piece(x, rows, heights, *pair)]
    line = np.concatenate(pieces) if pieces else np.full((1, 3), np.nan)
    return DrawnWay(line, marks, ~inside, inside & np.isnan(marks[:, 2]))


def _piece(x: np.ndarray, y: np.ndarray, heights: np.ndarray, start: np.ndarray, stop: np.ndarray) -> Iterator[np.ndarray]:
    """The part of a straight piece that lies on the grid, with points where it crosses the grid's lines and halfway between."""
    if not (np.isfinite(start).all() and np.isfinite(stop).all()):
        yield np.full((1, 3), np.nan)
        return
    first, last = 0.0, 1.0
    step_x, step_y = (0.0 if abs(step) < SHORTEST else step for step in stop - start)
    steps = ((x, start[0], step_x), (y, start[1], step_y))
    for axis, at, step in steps:
        if step == 0.0:
            if not axis[0] - 1e-9 <= at <= axis[-1] + 1e-9:
                first, last = 1.0, 0.0
            continue
        near, far = sorted(((axis[0] - at) / step, (axis[-1] - at) / step))
        first, last = max(first, near), min(last, far)
    if first > last:
        yield np.full((1, 3), np.nan)
        return
    crossed = np.concatenate([(axis - at) / step for axis, at, step in steps if step] or [np.zeros(0)])
    ends = np.unique(np.concatenate([[first, last], crossed[(crossed > first) & (crossed < last)]]))
    shares = np.unique(np.concatenate([ends, (ends[1:] + ends[:-1]) / 2]))
    places = start + shares[:, None] * (stop - start)
    yield np.column_stack([places, _heights(x, y, heights, places)])
    if last < 1.0:
        yield np.full((1, 3), np.nan)


def _heights(x: np.ndarray, y: np.ndarray, heights: np.ndarray, places: np.ndarray) -> Float64[np.ndarray, " points"]:
    """Bilinear heights at places; NaN beside holes. What lies outside by rounding is taken for the rim."""
    found = np.zeros(len(places))
    columns, rows = _neighbours(x, places[:, 0]), _neighbours(y, places[:, 1])
    for column, across in columns:
        for row, along in rows:
            weight = across * along
            with np.errstate(invalid="ignore"):
                found += np.where(weight > 0, weight * heights[row, column], 0.0)
    return np.where(np.isfinite(places).all(axis=1), found, np.nan)


def _neighbours(axis: np.ndarray, at: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """The two indices around each place with their weights."""
    if axis.size == 1:
        return [(np.zeros(len(at), int), np.ones(len(at)))]
    clipped = np.clip(np.nan_to_num(at, nan=axis[0]), axis[0], axis[-1])
    low = np.clip(np.searchsorted(axis, clipped, side="right") - 1, 0, axis.size - 2)
    share = (clipped - axis[low]) / (axis[low + 1] - axis[low])
    return [(low, 1 - share), (low + 1, share)]
