"""How much of a measured surface curves downwards: convex against chaotic in one number. numpy only.

Li et al. 2018 (section 6.2, figure 7) tell convex from non-convex regions by the most negative eigenvalue of the network's
Hessian. Here it is the Hessian of the drawn surface L(α, β), two by two, from central differences of the cells around. Along
the two directions it is a projection of the network's Hessian: if it has a negative eigenvalue, the network's has one too, but
not the other way round. So a surface that curves downwards proves non-convexity; one that does not proves nothing beyond its
plane.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from landscape_core.errors import InvalidRequest
from landscape_core.results import ESTIMATED, MEASURED, Surface

ROUNDING = 2.0**-20
"""Relative error of a loss that is allowed for: means of float32 losses, some units in the last place."""


@dataclass(frozen=True)
class NegativeCurvature:
    """Where a surface curves downwards.

    Attributes:
        cells: How many cells were looked at.
        negative: At how many of them the smallest eigenvalue is surely negative.

    Example:
        >>> NegativeCurvature(cells=8, negative=2).share
        0.25
    """

    cells: int
    negative: int

    @property
    def share(self) -> float:
        """`negative` of `cells`, in 0 … 1; NaN if no cell could be looked at."""
        return self.negative / self.cells if self.cells else float("nan")


def negative_curvature(surface: Surface, *, radius: float | None = None, standard_errors: float = 0.0) -> NegativeCurvature:
    """At how many cells the surface's Hessian has a negative eigenvalue.

    With h and k the distances of neighbouring coordinates, the Hessian at an inner cell is

        L_αα = (L[j, i+1] - 2 L[j, i] + L[j, i-1]) / h²,    L_ββ alike with k,
        L_αβ = (L[j+1, i+1] - L[j+1, i-1] - L[j-1, i+1] + L[j-1, i-1]) / (4 h k),

    and λ = vᵀ H v its smallest eigenvalue, v the eigenvector. A cell counts if λ < -t, where t = r + s e; r is what λ can be
    wrong by if each of the nine losses is wrong by the share `ROUNDING` of itself, s is `standard_errors`, and e the standard
    error of λ, that of a weighted sum of nine independent means (first order: v held fixed). All cells see the same examples,
    so their errors mostly go together, and e is then too large: the share for s > 0 is a cautious one. With s = 0 it says how
    the surface of just these examples curves.

    Cells at the rim, and those of whose nine losses one was not measured or is not finite, are not looked at.

    Args:
        surface: With two evenly spaced axes of at least three points.
        radius: Only cells at most so far from α = β = 0 are looked at; None looks at all.
        standard_errors: s; without a unit, at least 0. Cells without a standard error count as exact.

    Raises:
        InvalidRequest: The surface is a curve, has fewer than 3 x 3 cells, or its axes are not even; or `standard_errors` is
            negative.

    Example:
        >>> import numpy as np
        >>> from landscape_core.results import Surface
        >>> x = np.linspace(-1, 1, 5)
        >>> loss = x[None, :] ** 2 - x[:, None] ** 2
        >>> n = np.full(loss.shape, 10)
        >>> saddle = Surface(x, x, loss, np.ones(loss.shape, np.uint8), loss * np.nan, n, loss * np.nan)
        >>> negative_curvature(saddle).share
        1.0
    """
    h, k = _steps(surface)
    if not standard_errors >= 0:
        raise InvalidRequest(
            f"standard_errors is a number of at least 0, but {standard_errors!r} came.", field="standard_errors"
        )
    known = _windows(np.isin(surface.state, (MEASURED, ESTIMATED))).all(axis=(2, 3))
    if radius is not None and surface.y is not None:
        known &= np.hypot(surface.x[None, 1:-1], surface.y[1:-1, None]) <= radius
    loss = _windows(surface.loss)[known]
    lowest, weights = _lowest(loss, h, k)
    error = np.nan_to_num(_windows(surface.stderr)[known])
    rounding = ROUNDING * np.abs(weights * loss).sum(axis=(1, 2))
    spread = np.sqrt(((weights * error) ** 2).sum(axis=(1, 2)))
    return NegativeCurvature(cells=len(loss), negative=int((lowest < -(rounding + standard_errors * spread)).sum()))


def _steps(surface: Surface) -> tuple[float, float]:
    """Distances of neighbouring coordinates along x and y.

    Raises:
        InvalidRequest: As `negative_curvature` does.
    """
    if surface.y is None or min(surface.loss.shape) < 3:
        raise InvalidRequest("Curvature over a plane takes a surface of at least 3 x 3 cells.", field="grid")
    steps = [np.diff(axis) for axis in (surface.x, surface.y)]
    if any(not np.allclose(step, step[0], rtol=1e-6, atol=0) for step in steps):
        raise InvalidRequest("Curvature over a plane takes axes that are evenly spaced, but these are not.", field="grid")
    return float(steps[0].mean()), float(steps[1].mean())


def _windows(table: np.ndarray) -> np.ndarray:
    """(ny - 2, nx - 2, 3, 3): each inner cell with its neighbours."""
    return np.lib.stride_tricks.sliding_window_view(table, (3, 3))


def _lowest(
    loss: Float64[np.ndarray, "cells 3 3"], h: float, k: float
) -> tuple[Float64[np.ndarray, " cells"], Float64[np.ndarray, "cells 3 3"]]:
    """The smallest eigenvalue at each cell, and the weights of the nine losses in it."""
    second = np.array([1.0, -2.0, 1.0])
    stencils = np.zeros((3, 3, 3))
    stencils[0, 1, :] = second / h**2
    stencils[1, :, 1] = second / k**2
    stencils[2] = np.outer([-1.0, 0.0, 1.0], [-1.0, 0.0, 1.0]) / (4 * h * k)
    xx, yy, xy = np.einsum("sij,nij->sn", stencils, loss)
    values, vectors = np.linalg.eigh(np.stack([np.stack([xx, xy], -1), np.stack([xy, yy], -1)], -2))
    v, w = vectors[:, 0, 0], vectors[:, 1, 0]
    weights = np.einsum("sn,sij->nij", np.stack([v * v, w * w, 2 * v * w]), stencils)
    return values[:, 0], weights
