"""From tallies to means and standard errors, and the fixed order in which examples are seen. numpy only."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Float64

from landscape_core.quantities import class_name
from landscape_core.requests import SurfaceRequest
from landscape_core.results import MEASURED, NOT_COMPUTED, NOT_FINITE, TOKENS, Surface, Tally

FIRST_CHUNK = 64
"""Examples in the first chunk. 64 make a whole coarse surface of a ResNet-20 in about a second on two cores."""


def chunk_bounds(examples: int) -> list[tuple[int, int]]:
    """Cuts 0 … examples into chunks that double: (0, 64), (64, 128), (128, 256), (256, 512) and so on.

    Tallies are kept per chunk, so a value does not depend on who computed what when.

    Args:
        examples: How many there are.

    Returns:
        (start, stop) of each chunk, in order.

    Example:
        >>> chunk_bounds(300)
        [(0, 64), (64, 128), (128, 256), (256, 300)]
    """
    bounds, start, stop = [], 0, FIRST_CHUNK
    while start < examples:
        bounds.append((start, min(stop, examples)))
        start, stop = stop, 2 * stop
    return bounds


def example_order(available: int, seed: int | None) -> np.ndarray:
    """The fixed order in which a split's examples are taken, (available,) int64.

    A permutation from numpy's PCG64 seeded by `seed`; the data set's own order for None.

    Args:
        available: How many examples the split has.
        seed: Of the permutation.

    Example:
        >>> example_order(5, None).tolist(), sorted(example_order(5, 0).tolist())
        ([0, 1, 2, 3, 4], [0, 1, 2, 3, 4])
        >>> bool((example_order(100, 7) == example_order(100, 7)).all())
        True
    """
    if seed is None:
        return np.arange(available)
    return np.random.Generator(np.random.PCG64(seed)).permutation(available)


def surface_from_tally(request: SurfaceRequest, tally: Tally, provenance: dict[str, Any], decisions: int = 1) -> Surface:
    """The surface of a tally over the request's whole grid.

    Args:
        request: The question; gives the coordinates.
        tally: Arrays of shape (ny, nx); cells with no examples become holes.
        provenance: How it was made.
        decisions: How many of each example `tally.correct` counts (`DatasetFacts.decisions`).

    Returns:
        The surface, as `surface_over` makes it.

    Example:
        >>> request = SurfaceRequest.model_validate({
        ...     "checkpoint": "0" * 64, "architecture": {"name": "mlp"}, "data": {"dataset": "mine"},
        ...     "plane": {"x": {"kind": "random", "seed": 1}}, "grid": {"x": {"start": -1, "stop": 1, "points": 2}},
        ... })
        >>> tally = Tally(np.array([[4, 0]]), np.array([[8.0, 0.0]]), np.array([[20.0, 0.0]]), np.array([[3, 0]]))
        >>> surface = surface_from_tally(request, tally, {"source": "by hand"})
        >>> surface.x.tolist(), surface.loss.tolist(), surface.request is request
        ([-1.0, 1.0], [[2.0, nan]], True)
    """
    x, y = request.grid.x.coordinates, None if request.grid.y is None else request.grid.y.coordinates
    surface = surface_over(x, y, tally, decisions)
    return replace(surface, request=request, provenance=provenance | surface.provenance)


def surface_over(
    x: Float64[np.ndarray, " nx"], y: Float64[np.ndarray, " ny"] | None, tally: Tally, decisions: int = 1
) -> Surface:
    """The surface of a tally over these coordinates, without a request; its provenance only says of decisions that are several.

    Args:
        x: Coordinates along the first direction.
        y: Along the second; None for a curve.
        tally: Arrays of shape (ny, nx); cells with no examples become holes. Where Σ loss² is NaN, so is the standard error.
        decisions: As for `surface_from_tally`.

    Returns:
        Its mean is Σ loss / n, its standard error s/√n with s² = (Σ loss² − n mean²) / (n − 1); accuracies in percent.

    Example:
        >>> tally = Tally(np.array([[4, 0]]), np.array([[8.0, 0.0]]), np.array([[20.0, 0.0]]), np.array([[3, 0]]))
        >>> surface = surface_over(np.array([0.0, 1.0]), None, tally)
        >>> surface.loss.tolist(), surface.state.tolist(), float(surface.accuracy[0, 0])  # the second cell is a hole
        ([[2.0, nan]], [[1, 0]], 75.0)
        >>> round(float(surface.stderr[0, 0]), 6)  # s² = (20 - 4 · 2²) / 3, s/√n
        0.57735
    """
    n = tally.examples
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        mean = tally.loss_sum / n
        variance = np.maximum(tally.loss_sq - n * mean**2, 0.0) / (n - 1)
        stderr = np.sqrt(variance / n)
        accuracy = 100.0 * tally.correct / n / decisions
    seen, finite = n > 0, np.isfinite(mean)
    state = np.where(seen, np.where(finite, MEASURED, NOT_FINITE), NOT_COMPUTED).astype(np.uint8)
    measured = state == MEASURED
    return Surface(
        x=x,
        y=y,
        loss=np.where(measured, mean, np.nan),
        state=state,
        accuracy=np.where(seen, accuracy, np.nan),
        examples=n,
        stderr=np.where(measured & (n > 1), stderr, np.nan),
        provenance={TOKENS: decisions} if decisions > 1 else {},
        quantities=_quantities(tally),
    )


def _quantities(tally: Tally) -> dict[str, Float64[np.ndarray, "rows nx"]]:
    """Percentages of what was counted; a class of which no example was seen anywhere is left out."""
    found, counts = {}, tally.counts
    with np.errstate(divide="ignore", invalid="ignore"):
        if "top5" in counts:
            found["top5"] = 100.0 * counts["top5"] / tally.examples
        if "class_correct" in counts:
            shares = 100.0 * counts["class_correct"] / counts["class_examples"]
            seen = (counts["class_examples"] > 0).any(axis=(0, 1))
            found |= {class_name(int(index)): shares[:, :, index] for index in np.flatnonzero(seen)}
    return found
