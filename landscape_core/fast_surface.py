"""The surface of the `fast` budget: measured cells as they are, the others estimated with their errors. numpy only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Float64

from landscape_core.estimate import surface_over
from landscape_core.fast_budget import best, tried
from landscape_core.fast_trial import Estimate, Trial
from landscape_core.interpolation import Kernel
from landscape_core.ladder import Depths, Ladder
from landscape_core.quantities import class_name, ordered
from landscape_core.requests import SurfaceRequest
from landscape_core.results import ESTIMATED, ESTIMATION_ERROR, MEASURED, NOT_COMPUTED, NOT_FINITE, Surface, Tally
from landscape_core.telescoping import KERNELS, Form, Means, telescoped

FAST = "fast"
"""Where a surface's provenance says how it was estimated."""


def fast_surface(
    request: SurfaceRequest,
    ladder: Ladder,
    depths: Depths,
    tallies: Sequence[Tally],
    provenance: dict[str, Any],
    decisions: int = 1,
) -> Surface:
    """The surface of what has been seen, as `fast_surface_over` makes it, with its request.

    Args:
        request: The question.
        ladder: From it.
        depths: What has been seen.
        tallies: Of each chunk over the whole grid; only what is within `depths` is read.
        provenance: How it was made.
        decisions: How many of each example a tally's `correct` counts (`DatasetFacts.decisions`).
    """
    x, y = request.grid.x.coordinates, None if request.grid.y is None else request.grid.y.coordinates
    surface = fast_surface_over(x, y, ladder, depths, tallies, decisions)
    return replace(surface, request=request, provenance=provenance | surface.provenance)


def fast_surface_over(
    x: Float64[np.ndarray, " nx"],
    y: Float64[np.ndarray, " ny"] | None,
    ladder: Ladder,
    depths: Depths,
    tallies: Sequence[Tally],
    decisions: int = 1,
) -> Surface:
    """The surface of what has been seen over these coordinates, without a request; its provenance says how it was estimated.

    Where all examples were seen a cell is measured, with the values of the exact surface. Elsewhere loss, accuracy and what
    else was counted are estimated; `examples` is how many were seen there, `stderr` the root of s²/N + e², with s² the
    variance of the losses seen at the cell, N all examples and e the estimation error, which the quantity `estimation_error`
    has alone (0 where measured). A cell that saw a loss that is not finite is not finite; one beside which that happened on a
    coarser grid is a hole.

    Args:
        x: Coordinates along the first direction.
        y: Along the second; None for a curve.
        ladder: Of a grid of this shape.
        depths: What has been seen.
        tallies: Of each chunk over the whole grid; only what is within `depths` is read. Where Σ loss² is NaN, so is `stderr`.
        decisions: How many of each example a tally's `correct` counts (`DatasetFacts.decisions`).
    """
    seen = [tally.within(ladder.inside(level)) for tally, level in zip(tallies, depths, strict=True)]
    total = seen[0]
    for tally in seen[1:]:
        total = total + tally
    surface = surface_over(x, y, total, decisions)
    trials = tried(ladder, depths, seen)
    estimate = best(ladder, trials)
    counting = _counting(ladder, depths, seen)
    counted = _counted(ladder, depths, seen, decisions, counting.form.kernel)
    surface = _estimated(surface, ladder, estimate, total, counted)
    about = _about(surface, ladder, trials, estimate)
    about["estimated_rmse"]["accuracy_points"] = float(f"{100 * counting.mean_square**0.5 / decisions:.4g}")
    return replace(surface, provenance=surface.provenance | {FAST: about})


def _estimated(surface: Surface, ladder: Ladder, estimate: Estimate, total: Tally, counted: dict[str, np.ndarray]) -> Surface:
    """The surface of all that was seen at each cell becomes one of all examples."""
    known = np.isfinite(estimate.loss) & np.isfinite(estimate.error)
    state = np.where(estimate.measured, surface.state, np.where(known, ESTIMATED, NOT_COMPUTED))
    state = np.where(surface.state == NOT_FINITE, NOT_FINITE, state).astype(np.uint8)
    guessed, hole = state == ESTIMATED, state == NOT_COMPUTED
    with np.errstate(over="ignore", invalid="ignore"):
        spread = np.square(surface.stderr) * surface.examples / ladder.bounds[-1][1]
        stderr = np.where(guessed, np.sqrt(spread + np.square(estimate.error)), surface.stderr)
    own = surface.quantities | {"accuracy": surface.accuracy}
    counted = {name: np.where(hole, np.nan, np.where(estimate.measured, own[name], table)) for name, table in counted.items()}
    finite = (state == MEASURED) | guessed
    counted[ESTIMATION_ERROR] = np.where(finite, np.where(guessed, estimate.error, 0.0), np.nan)
    accuracy = counted.pop("accuracy")
    return replace(
        surface,
        loss=np.where(guessed, estimate.loss, np.where(finite, surface.loss, np.nan)),
        state=state,
        accuracy=accuracy,
        examples=np.where(hole, 0, total.examples),
        stderr=np.where(finite, stderr, np.nan),
        quantities={name: counted[name] for name in ordered(counted)},
    )


def _counting(ladder: Ladder, depths: Depths, seen: Sequence[Tally]) -> Estimate:
    """The estimate of right decisions an example, with the kernel for which its error is least: often a rougher one."""
    means = Means.of(ladder, depths, [tally.correct for tally in seen])
    trials = [Trial(ladder, depths, Form("additive", kernel), means) for kernel in KERNELS]
    return min((trial.estimate for trial in trials), key=lambda estimate: estimate.mean_square)


def _counted(ladder: Ladder, depths: Depths, seen: Sequence[Tally], decisions: int, kernel: Kernel) -> dict[str, np.ndarray]:
    """What was counted, over all examples, by the names of its quantities: estimated additively, in percent, within 0 … 100."""
    examples = ladder.bounds[-1][1]

    def percent(counts: Sequence[np.ndarray], of: int) -> np.ndarray:
        means = telescoped(ladder, depths, Means.of(ladder, depths, counts), kernel)
        return np.clip(100.0 * means * examples / of, 0.0, 100.0)

    found = {"accuracy": percent([tally.correct for tally in seen], examples * decisions)}
    if "top5" in seen[0].counts:
        found["top5"] = percent([tally.counts["top5"] for tally in seen], examples)
    if "class_correct" in seen[0].counts:
        there = sum(tally.counts["class_examples"].max(axis=(0, 1)) for tally in seen)
        for index in np.flatnonzero(there):
            counts = [tally.counts["class_correct"][:, :, index] for tally in seen]
            found[class_name(int(index))] = percent(counts, int(there[index]))
    return found


def _about(surface: Surface, ladder: Ladder, trials: Sequence[Trial], estimate: Estimate) -> dict[str, Any]:
    """What the provenance says."""
    levels = [
        {"examples": list(bounds), "columns": len(ladder.levels[level][1]), "rows": len(ladder.levels[level][0])}
        for bounds, level in zip(ladder.bounds, estimate.depths, strict=True)
    ]
    return {
        "form": str(estimate.form),
        "tolerance": ladder.tolerance,
        "met": estimate.meets(ladder.tolerance),
        "estimated_rmse": _told(estimate),
        "cost_share": round(ladder.share(estimate.depths), 6),
        "seen": levels,
        "measured_cells": int((surface.state == MEASURED).sum()),
        "estimated_cells": int((surface.state == ESTIMATED).sum()),
        "undecided_cells": int((surface.state == NOT_COMPUTED).sum()),
        "tried": {str(trial.estimate.form): _told(trial.estimate) for trial in trials},
    }


def _told(estimate: Estimate) -> dict[str, float | None]:
    """The estimated root mean square errors as shares of the ranges."""
    found = {"share_of_range": estimate.linear, "share_of_log_range": estimate.log}
    return {name: float(f"{value:.4g}") if np.isfinite(value) else None for name, value in found.items()}
