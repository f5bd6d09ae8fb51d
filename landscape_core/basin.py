"""The region of low loss around the centre of a surface, with linear interpolation between its cells. numpy only.

Between four neighbouring cells the surface is taken for four flat triangles that meet over their mean in the middle; along
the lines of the grid that is linear interpolation. Where one of the four is a hole, nothing is known between them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float64, Int64

EDGE, HOLE = "the edge of the grid", "a hole of the surface"
"""What a region may run into, so that it is at least as large as what is seen of it."""

SAME = 1e-9
"""Coordinates that differ by less than this share of the axis are one."""

Numbers = Float64[np.ndarray, " n"]


class Extent(NamedTuple):
    """A width or an area, and what it runs into: it is then a lower bound.

    Attributes:
        value: In units of the directions; an area in units of δ times η.
        ends_at: What it runs into, in words; empty if it ends by itself.

    Example:
        >>> x = np.linspace(-2, 2, 5)
        >>> width(x, 0 * x, 1.0)  # flat up to both edges
        Extent(value=4.0, ends_at=frozenset({'the edge of the grid'}))
    """

    value: float
    ends_at: frozenset[str]


def value_along(axis: Numbers, values: Float64[np.ndarray, "*rows n"], at: float) -> Float64[np.ndarray, "*rows"]:
    """The values at one coordinate, linear between neighbours; NaN outside of the axis and beside a hole.

    Args:
        axis: Ascending coordinates.
        values: At these coordinates.
        at: The coordinate.

    Example:
        >>> value_along(np.array([0.0, 1.0]), np.array([[2.0, 4.0]]), 0.25)
        array([2.5])
    """
    near = int(np.abs(axis - at).argmin())
    if abs(axis[near] - at) <= SAME * np.ptp(axis) + np.finfo(float).tiny:
        return np.asarray(values[..., near])
    if not axis[0] < at < axis[-1]:
        return np.full(values.shape[:-1], np.nan)
    right = int(np.searchsorted(axis, at))
    share = (at - axis[right - 1]) / (axis[right] - axis[right - 1])
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray((1 - share) * values[..., right - 1] + share * values[..., right])


def width(axis: Numbers, losses: Numbers, level: float) -> Extent | None:
    """How far one can go from 0 to both sides before the loss exceeds the level; None if it does so at 0, or is not known.

    Args:
        axis: Ascending coordinates.
        losses: Along them; NaN is a hole.
        level: Of the loss.

    Example:
        >>> x = np.linspace(-2, 2, 5)
        >>> width(x, x**2, 1.0)
        Extent(value=2.0, ends_at=frozenset())
    """
    centre = float(value_along(axis, losses, 0.0))
    if not centre <= level:
        return None
    total, ends = 0.0, set()
    for sign in (1.0, -1.0):
        beyond = sign * axis > SAME * np.ptp(axis)
        order = np.argsort(sign * axis[beyond])
        reach, end = _reach((sign * axis[beyond])[order], losses[beyond][order], centre, level)
        total += reach
        ends |= end
    return Extent(total, frozenset(ends))


def _reach(steps: Numbers, losses: Numbers, centre: float, level: float) -> tuple[float, set[str]]:
    """How far from the centre the loss stays at the level or below, and what ends that."""
    at, loss = 0.0, centre
    for step, value in zip(steps.tolist(), losses.tolist(), strict=True):
        if not np.isfinite(value):
            return at, {HOLE}
        if value > level:
            return at + (level - loss) / (value - loss) * (step - at), set()
        at, loss = step, value
    return at, {EDGE}


def area(
    x: Float64[np.ndarray, " nx"], y: Float64[np.ndarray, " ny"], loss: Float64[np.ndarray, "ny nx"], level: float
) -> Extent | None:
    """The area, in units of the plane, of the connected region around (0, 0) in which the loss does not exceed the level.

    None if it exceeds the level there, or is not known.

    Args:
        x: Ascending coordinates along the first direction, at least two.
        y: Along the second, likewise.
        loss: At each cell; NaN is a hole.
        level: Of the loss.

    Example:
        >>> x = np.linspace(-2, 2, 5)
        >>> area(x, x, np.abs(x)[:, None] + np.abs(x), 1.0)  # a square of side √2
        Extent(value=2.0, ends_at=frozenset())
    """
    mesh = _Mesh(loss)
    around, centre = mesh.around(x, y)
    if not centre <= level:
        return None
    inside = mesh.component(mesh.values <= level, around[0])
    below = _share_below(mesh.values[mesh.triangles], level)
    below[~inside[mesh.triangles].any(axis=2)] = 0.0
    cells = np.diff(y)[mesh.rows] * np.diff(x)[mesh.columns]
    total = float((below.sum(axis=1) * cells / 4).sum())
    return Extent(total, frozenset(mesh.ends(inside)))


class _Mesh:
    """The triangles of a surface: those of the cells of four whose corners are all known.

    Args:
        loss: (ny, nx).
    """

    def __init__(self, loss: Float64[np.ndarray, "ny nx"]) -> None:
        self._shape = ny, nx = loss.shape
        corners = np.stack([loss[:-1, :-1], loss[:-1, 1:], loss[1:, 1:], loss[1:, :-1]])
        self._whole = np.isfinite(corners).all(axis=0)
        self.rows, self.columns = np.nonzero(self._whole)
        vertex = np.arange(ny * nx).reshape(ny, nx)
        ring = np.stack([vertex[:-1, :-1], vertex[:-1, 1:], vertex[1:, 1:], vertex[1:, :-1]])[:, self._whole].T
        middle = ny * nx + np.arange(len(ring))
        self.values = np.concatenate([loss.ravel(), (corners[:, self._whole] / 4).sum(axis=0)])
        turned = np.roll(ring, -1, axis=1)
        self.triangles: Int64[np.ndarray, "cells 4 3"] = np.stack(
            [ring, turned, np.broadcast_to(middle[:, None], ring.shape)], axis=2
        )

    def around(self, x: Float64[np.ndarray, " nx"], y: Float64[np.ndarray, " ny"]) -> tuple[list[int], float]:
        """A triangle that (0, 0) lies in, its lowest corner first, and the value there; ([], NaN) if it lies in none."""
        i, j = int(np.abs(x).argmin()), int(np.abs(y).argmin())
        if abs(x[i]) <= SAME * np.ptp(x) and abs(y[j]) <= SAME * np.ptp(y):
            vertex = j * self._shape[1] + i
            return ([vertex], float(self.values[vertex])) if (self.triangles == vertex).any() else ([], np.nan)
        for index, (row, column) in enumerate(zip(self.rows.tolist(), self.columns.tolist(), strict=True)):
            u, v = (-axis[k] / (axis[k + 1] - axis[k]) - 0.5 for axis, k in ((x, column), (y, row)))
            if max(abs(u), abs(v)) <= 0.5 + SAME:
                side = (0 if v < 0 else 2) if abs(v) >= abs(u) else (3 if u < 0 else 1)
                first, second, middle = self.values[self.triangles[index, side]]
                outwards = 2 * max(abs(u), abs(v))
                along = (u, v, -u, -v)[side] / outwards + 0.5 if outwards else 0.5
                value = (1 - outwards) * middle + outwards * ((1 - along) * first + along * second)
                corners = sorted(self.triangles[index, side].tolist(), key=lambda vertex: self.values[vertex])
                return corners, float(max(value, self.values[corners[0]]))
        return [], np.nan

    def component(self, inside: Bool[np.ndarray, " vertices"], start: int) -> Bool[np.ndarray, " vertices"]:
        """The vertices inside that hang together with `start`, over edges whose ends are inside.

        Within a triangle the region is convex and has a corner inside, so that these are all there is to it.
        """
        edges = np.concatenate([self.triangles[:, :, pair].reshape(-1, 2) for pair in ([0, 1], [1, 2], [2, 0])])
        a, b = edges[inside[edges].all(axis=1)].T
        labels = np.arange(inside.size)
        while True:  # each takes the lowest label of its neighbours, and labels point at labels: a logarithm of rounds
            lowest, before = np.minimum(labels[a], labels[b]), labels.copy()
            for ends in (a, b):
                np.minimum.at(labels, before[ends], lowest)
                np.minimum.at(labels, ends, lowest)
            labels = labels[labels]
            if np.array_equal(labels, before):
                return inside & (labels == labels[start])

    def ends(self, region: Bool[np.ndarray, " vertices"]) -> set[str]:
        """What a region runs into."""
        ny, nx = self._shape
        cells = region[: ny * nx].reshape(ny, nx)
        beside = np.zeros((ny, nx), bool)  # corners of what is not known
        for rows, columns in ((0, 0), (0, 1), (1, 0), (1, 1)):
            beside[rows : rows + ny - 1, columns : columns + nx - 1] |= ~self._whole
        found = {HOLE} if (cells & beside).any() else set()
        rim = cells[[0, -1]].any() or cells[:, [0, -1]].any()
        return found | {EDGE} if rim else found


def _share_below(values: Float64[np.ndarray, "cells 4 3"], level: float) -> Float64[np.ndarray, "cells 4"]:
    """Which share of each triangle lies at the level or below, where its corners have these values."""
    low, middle, high = np.moveaxis(np.sort(values, axis=2), 2, 0)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        tip = ((level - low) / (middle - low)) * ((level - low) / (high - low))
        rest = ((high - level) / (high - low)) * ((high - level) / (high - middle))
    share = np.where(level < middle, tip, 1 - rest)
    return np.where(level >= high, 1.0, np.where(level <= low, 0.0, share))


def stations(axis: Numbers, values: Float64[np.ndarray, "*rows n"], epsilon: float) -> Float64[np.ndarray, "*rows found"]:
    """The values at the coordinates inside of ±ε and at its ends: where a piecewise linear maximum can be.

    Args:
        axis: Ascending coordinates.
        values: At these coordinates.
        epsilon: How far from 0, in units of the axis.

    Example:
        >>> stations(np.array([-1.0, 0.0, 1.0]), np.array([2.0, 4.0, 8.0]), 0.5)
        array([3., 4., 6.])
    """
    low, high = max(axis[0], -epsilon), min(axis[-1], epsilon)
    at = [float(low), *axis[(axis > low) & (axis < high)].tolist(), float(high)] if low <= high else []
    found = [value_along(axis, values, where) for where in at]
    return np.stack(found, axis=-1) if found else np.zeros((*values.shape[:-1], 0))
