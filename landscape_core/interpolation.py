"""From the cells of a coarse grid to all cells: interpolation with separable Matérn kernels. numpy only.

A kernel is a Gaussian process's covariance (Rasmussen and Williams 2006, section 4.2.1) along each axis, in units of the axis;
the interpolant is its posterior mean without noise (simple kriging) around the mean of the values. On a product grid it
is one matrix along each axis, W = K(all, known) K(known, known)⁻¹, so that even 501 x 501 cells take milliseconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float64

JITTER = 1e-10
"""What is added to the kernel's diagonal, that it can be inverted."""

FILL_STEPS = 200
"""How often unknown values are replaced by their neighbours' mean, that the values around them can be interpolated."""

Order = Literal[3, 5, 7]


@dataclass(frozen=True)
class Kernel:
    """A Matérn kernel.

    Attributes:
        order: Twice its smoothness ν: 3, 5 or 7.
        length: Its length scale, where an axis has the length 1.
    """

    order: Order
    length: float

    def __str__(self) -> str:
        return f"matern{self.order}/2, length {self.length:g}"

    def at(self, distance: Float64[np.ndarray, "a b"]) -> Float64[np.ndarray, "a b"]:
        """The covariance at these distances."""
        t = np.sqrt(self.order) * distance / self.length
        polynomials = {3: 1 + t, 5: 1 + t + t**2 / 3, 7: 1 + t + 2 * t**2 / 5 + t**3 / 15}
        return np.asarray(polynomials[self.order] * np.exp(-t))


def interpolated(
    field: Float64[np.ndarray, "rows nx"], rows: Sequence[int], columns: Sequence[int], kernel: Kernel
) -> Float64[np.ndarray, "rows nx"]:
    """A field that is known at a coarse grid, at all cells; at those of the coarse grid what it is.

    Args:
        field: (ny, nx); only its values at rows × columns are read, and what is not finite among them is filled from others.
        rows: Of the coarse grid, ascending.
        columns: Alike.
        kernel: How smooth the field is.
    """
    ny, nx = field.shape
    known = np.ix_(list(rows), list(columns))
    values = filled(field[known])
    middle = values.mean()
    result = middle + _weights(ny, tuple(rows), kernel) @ (values - middle) @ _weights(nx, tuple(columns), kernel).T
    result[known] = values
    return np.asarray(result)


def enclosing(bad: Bool[np.ndarray, "rows nx"], rows: Sequence[int], columns: Sequence[int]) -> Bool[np.ndarray, "rows nx"]:
    """Which cells lie beside a bad cell of a coarse grid: where linear interpolation would read it.

    Args:
        bad: (ny, nx); only rows × columns are read.
        rows: Of the coarse grid, ascending.
        columns: Alike.
    """
    ny, nx = bad.shape
    values = bad[np.ix_(list(rows), list(columns))].astype(np.float64)
    return np.asarray(_linear(ny, tuple(rows)) @ values @ _linear(nx, tuple(columns)).T > 0)


def filled(values: Float64[np.ndarray, "a b"]) -> Float64[np.ndarray, "a b"]:
    """The same, with what is not finite replaced by the mean of its neighbours, again and again; 0 if nothing is finite."""
    known = np.isfinite(values)
    if known.all():
        return values
    if not known.any():
        return np.zeros_like(values)
    result = np.where(known, values, values[known].mean())
    for _ in range(FILL_STEPS):
        padded = np.pad(result, 1, mode="edge")
        around = (padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:]) / 4
        result = np.where(known, values, around)
    return result


def local_mean(
    values: Float64[np.ndarray, "rows nx"], known: Bool[np.ndarray, "rows nx"], reach: tuple[int, int]
) -> Float64[np.ndarray, "rows nx"]:
    """The mean of the known values within a reach of each cell; their overall mean where there are none.

    Args:
        values: (ny, nx).
        known: Which of them count.
        reach: How many rows and columns around a cell.
    """
    if not known.any():
        return np.zeros_like(values)
    near = [np.abs(np.subtract.outer(np.arange(n), np.arange(n))) <= r for n, r in zip(values.shape, reach, strict=True)]
    rows, columns = (band.astype(np.float64) for band in near)
    count = rows @ known.astype(np.float64) @ columns
    total = rows @ np.where(known, values, 0.0) @ columns
    return np.where(count > 0, total / np.maximum(count, 1.0), values[known].mean())


@lru_cache(maxsize=256)
def _weights(points: int, known: tuple[int, ...], kernel: Kernel) -> Float64[np.ndarray, "points known"]:
    everywhere = np.arange(points) / max(1, points - 1)
    there = everywhere[list(known)]
    own = kernel.at(np.abs(np.subtract.outer(there, there))) + JITTER * np.eye(len(there))
    return np.asarray(np.linalg.solve(own, kernel.at(np.abs(np.subtract.outer(there, everywhere)))).T)


@lru_cache(maxsize=256)
def _linear(points: int, known: tuple[int, ...]) -> Float64[np.ndarray, "points known"]:
    return np.stack([np.interp(np.arange(points), known, one) for one in np.eye(len(known))], axis=1)
