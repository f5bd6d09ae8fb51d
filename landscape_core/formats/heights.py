"""Losses as heights, and heights as a body in proportion: what the forms for other programs' 3-D views share.

They draw what the page draws: a facet stands where its four corners were measured and are finite, every other one is a hole.
A cell without a whole facet is no part of a body. Nothing is smoothed, thinned out or filled in.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int64

from landscape_core.errors import InvalidRequest, SurfaceRejected
from landscape_core.results import Surface

MAX_FACETS = 1 << 19
"""Most facets of a mesh, twice the finest grid that can be asked for; imported surfaces may be finer."""

HEIGHT_RATIO = 0.66
"""Highest minus lowest point over the longer side of the grid, as on the page of a square surface."""

LOG_OFFSET = 0.1
"""What is added to a loss before its logarithm is taken (tomgoldstein/loss-landscape, h52vtp.py)."""

NARROWEST = 1e-4
"""Narrowest cell, as a share of the longer side: so far apart, corners stay apart in float32."""


def heights(surface: Surface, *, log: bool, max_loss: float | None) -> Float64[np.ndarray, "rows nx"]:
    """The height of each cell, NaN where there is no finite loss: by default the loss itself.

    Args:
        surface: What to draw.
        log: Takes ln(loss + 0.1), as Li et al.'s export does.
        max_loss: Lowers higher losses to this value first; None leaves them.

    Raises:
        InvalidRequest: If `max_loss` is not finite, or a loss has no logarithm.
        SurfaceRejected: If no loss is finite, or the grid is too fine for a mesh.
    """
    z = np.where(np.isfinite(surface.loss), surface.loss, np.nan)
    if np.isnan(z).all():
        raise SurfaceRejected("The surface has no finite loss, so it has no shape; .npz, .h5, .csv and .json tell its cells.")
    rows, columns = z.shape
    if (rows - 1) * (columns - 1) > MAX_FACETS:
        raise SurfaceRejected(
            f"A mesh has at most {MAX_FACETS:,} facets, but {columns:,} x {rows:,} cells make more; write it as .npz or .h5."
        )
    if max_loss is not None:
        if not math.isfinite(max_loss):
            raise InvalidRequest(f"The highest loss should be a finite number, but {max_loss} came.", field="max_loss")
        z = np.minimum(z, max_loss)
    if not log:
        return z
    if np.nanmin(z) <= -LOG_OFFSET:
        raise InvalidRequest(
            f"ln(loss + {LOG_OFFSET}) needs losses above -{LOG_OFFSET}, but {np.nanmin(z):.6g} occurs: do without it.",
            field="log",
        )
    return np.log(z + LOG_OFFSET)


def whole_facets(z: Float64[np.ndarray, "rows nx"]) -> Bool[np.ndarray, "rows-1 nx-1"]:
    """Which facets have four finite corners; facet [j, i] has the corners [j … j+1, i … i+1].

    Args:
        z: From `heights`.
    """
    known = np.isfinite(z)
    return known[:-1, :-1] & known[:-1, 1:] & known[1:, 1:] & known[1:, :-1]


@dataclass(frozen=True)
class Body:
    """A surface in proportion: x and y keep theirs, and the heights go from 0 to a share of the longer side.

    Attributes:
        x: (nx,) places along the first direction, from 0, ascending.
        y: (ny,) places along the second, likewise.
        z: (ny, nx) heights from 0, all 0 if they are equal; NaN for holes and for cells of no whole facet.
        corners: (facets, 4) indices j · nx + i of the corners of each whole facet: at its least x and y first, then
            counter-clockwise as seen from above. It is bent along the line from the first corner to the third.
        per_coordinate: Length of one unit of x and y.
        per_height: Length of one unit of height; 0 where all heights are equal.
        lowest: The height of the lowest point, in its own unit.
        highest: Likewise of the highest.
    """

    x: Float64[np.ndarray, " nx"]
    y: Float64[np.ndarray, " ny"]
    z: Float64[np.ndarray, "ny nx"]
    corners: Int64[np.ndarray, "facets 4"]
    per_coordinate: float
    per_height: float
    lowest: float
    highest: float

    @classmethod
    def of(cls, surface: Surface, z: np.ndarray, *, size: float, height_ratio: float, form: str) -> Body:
        """The body of these heights.

        Args:
            surface: Whose axes they are over.
            z: (ny, nx) from `heights`.
            size: Length of the longer side.
            height_ratio: Highest minus lowest point, as a share of `size`.
            form: What is being written, for the messages.

        Raises:
            InvalidRequest: If a measure is not positive and finite.
            SurfaceRejected: If there is no area to draw, or a cell is far too narrow.
        """
        for name, value in (("size", size), ("height ratio", height_ratio)):
            check_measure(name, value)
        if surface.y is None or min(z.shape) < 2:
            raise SurfaceRejected(f"A {form} needs at least 2 x 2 cells: a curve has no area; write it as .vtp, .csv or .png.")
        x, y, per_coordinate = _footprint(surface.x, surface.y, size)
        if min(np.diff(x).min(), np.diff(y).min()) < NARROWEST * size:
            raise SurfaceRejected(
                f"The grid's narrowest cell has less than {NARROWEST:g} of its longer side: too uneven for a {form}; "
                "write it as .vtp or .npz."
            )
        whole = np.flatnonzero(whole_facets(z))
        if not whole.size:
            raise SurfaceRejected(f"A {form} needs four neighbouring cells with finite losses, but there are none.")
        first = whole + whole // (x.size - 1)  # facet j · (nx - 1) + i begins at the cell j · nx + i
        corners = first[:, None] + np.array([0, 1, x.size + 1, x.size])
        drawn = np.full(z.shape, np.nan)
        drawn.ravel()[corners] = z.ravel()[corners]
        raised, per_height = _raised(drawn, size * height_ratio)
        return cls(x, y, raised, corners, per_coordinate, per_height, float(np.nanmin(drawn)), float(np.nanmax(drawn)))

    @property
    def places(self) -> Float64[np.ndarray, "cells 3"]:
        """(ny · nx, 3) x, y and height of every cell."""
        across, along = np.meshgrid(self.x, self.y)
        return np.stack([across, along, self.z], axis=-1).reshape(-1, 3)


def check_measure(name: str, value: float) -> None:
    """Refuses what is no length or ratio.

    Args:
        name: What it is, for the message.
        value: Should be from 1e-6 to 1e6.

    Raises:
        InvalidRequest: If it is not.
    """
    if not 1e-6 <= value <= 1e6:
        raise InvalidRequest(f"The {name} should be from 1e-6 to 1e6, but {value:g} came.")


def _footprint(x: np.ndarray, y: np.ndarray, size: float) -> tuple[np.ndarray, np.ndarray, float]:
    """The axes from 0, the longer one to `size`, and the length of one unit. First scaled down: a difference may overflow."""
    scale = max(np.abs(x).max(), np.abs(y).max())
    a, b = x / scale, y / scale
    span = max(a[-1] - a[0], b[-1] - b[0])
    with np.errstate(over="ignore"):
        return (a - a[0]) / span * size, (b - b[0]) / span * size, float(size / span / scale)


def _raised(z: np.ndarray, height: float) -> tuple[np.ndarray, float]:
    """The heights from 0 to `height`, and the length of one unit."""
    scale = np.nanmax(np.abs(z)) or 1.0
    a = z / scale
    low = np.nanmin(a)
    span = np.nanmax(a) - low
    if not span:
        return np.where(np.isnan(z), np.nan, 0.0), 0.0
    with np.errstate(over="ignore"):
        return (a - low) / span * height, float(height / span / scale)
