"""Exact means at some cells or all of them, and how far a fast surface is from them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Any

import numpy as np
from jaxtyping import Float64, Int64

from benchmarks.table import Row, Spread
from landscape_core.fast_budget import tried
from landscape_core.ladder import Depths, Ladder
from landscape_core.results import ESTIMATION_ERROR, Surface, Tally

DRAWS = 2000
"""Bootstrap draws of the cells that a surface is held against."""


@dataclass(frozen=True)
class Truth:
    """What is known exactly.

    Attributes:
        rows: (n,) of the cells.
        columns: (n,).
        loss: (n,) mean losses over all examples.
        accuracy: (n,) percent.
        examples: How many those are.
    """

    rows: Int64[np.ndarray, " n"]
    columns: Int64[np.ndarray, " n"]
    loss: Float64[np.ndarray, " n"]
    accuracy: Float64[np.ndarray, " n"]
    examples: int

    @classmethod
    def of(cls, cells: Sequence[tuple[int, int]], tallies: Sequence[Tally], decisions: int) -> Truth:
        """The truth of tallies of all chunks at these cells, (n,) each.

        Args:
            cells: (row, column) of each.
            tallies: Of each chunk.
            decisions: How many of each example a tally's `correct` counts.
        """
        total, (rows, columns) = reduce(add, tallies), np.array(cells).T
        accuracy = 100 * total.correct / (total.examples * decisions)
        return cls(rows, columns, total.loss_sum / total.examples, accuracy, int(total.examples.max()))

    def at(self, table: np.ndarray) -> np.ndarray:
        """(n,) what a table (ny, nx) has at the cells."""
        return table[self.rows, self.columns]

    def errors(self, loss: np.ndarray, change: Callable[[np.ndarray], np.ndarray] = np.asarray) -> np.ndarray:
        """(n,) differences of a surface (ny, nx), in per cent of its range with the truth put in; NaN where there is none.

        Args:
            loss: The surface.
            change: Of both, as `np.log`.
        """
        whole = loss.copy()
        whole[self.rows, self.columns] = self.loss
        with np.errstate(divide="ignore", invalid="ignore"):
            changed = change(whole)
            finite = changed[np.isfinite(changed)]
            reach = np.ptp(finite) if finite.size else np.nan
            return np.asarray(100 * (change(self.at(loss)) - change(self.loss)) / reach)


def row(label: str, truth: Truth, fast: Surface) -> dict[str, Any]:
    """How a fast surface compares with the truth."""
    assert fast.request is not None
    about = fast.provenance["fast"]
    told, loss, log = about["estimated_rmse"], truth.errors(fast.loss), truth.errors(fast.loss, np.log)
    ny, nx = fast.loss.shape
    return {
        "network": label,
        "cells": f"{nx} x {ny}",
        "examples": truth.examples,
        "tolerance, %": 100 * fast.request.tolerance,
        "cost, %": 100 * about["cost_share"],
        "error of the loss, %": _rms(loss),
        "at most, %": float(np.max(np.abs(loss))),
        "estimated": _percent(told["share_of_range"]),
        "error of its log, %": _rms(log),
        "log at most, %": float(np.max(np.abs(log))),
        "estimated log": _percent(told["share_of_log_range"]),
        "within twice the estimate, % of cells": _covered(truth, fast),
        "error of the accuracy, points": _rms(truth.at(fast.accuracy) - truth.accuracy),
        "form": about["form"],
    }


def row_of_sample(label: str, truth: Truth, fast: Surface, time_share: float) -> Row:
    """The same where the truth is that of some cells: 5 % and 95 % of bootstrap draws of them in brackets.

    Args:
        label: Of the network.
        truth: At some cells.
        fast: The surface.
        time_share: What it took, in per cent of the time of all cells.
    """
    found, draws = row(label, truth, fast), np.random.default_rng(0).integers(0, len(truth.loss), (DRAWS, len(truth.loss)))
    for name, errors in (
        ("error of the loss, %", truth.errors(fast.loss)),
        ("error of its log, %", truth.errors(fast.loss, np.log)),
    ):
        least, most = np.quantile(np.sqrt(np.mean(np.square(errors[draws]), 1)), (0.05, 0.95))
        found[name] = Spread(found[name], float(least), float(most), DRAWS)
    head = {name: found.pop(name) for name in ("network", "cells", "examples")}
    return head | {"held against": f"{len(truth.loss)} cells", "time, %": time_share} | found


def forms(label: str, truth: Truth, fast: Surface, ladder: Ladder, depths: Depths, tallies: Sequence[Tally]) -> list[Row]:
    """What each form of interpolation makes of the same measurements, as root mean square errors in per cent of the range.

    A form that makes a loss zero or negative has no error of the logarithm.

    Args:
        label: Of the network.
        truth: What they are held against.
        fast: The surface, which says what form was taken.
        ladder: The surface's.
        depths: What it has seen.
        tallies: Of each chunk, (ny, nx) each.
    """
    seen = [tally.within(ladder.inside(level)) for tally, level in zip(tallies, depths, strict=True)]
    made = {"first examples alone": seen[0].loss_sum / ladder.bounds[0][1]}
    made |= {str(trial.estimate.form): trial.estimate.loss for trial in tried(ladder, depths, seen)}
    ny, nx = ladder.shape
    head = {"network": label, "cells": f"{nx} x {ny}", "examples": truth.examples}
    changes: dict[str, Callable[[np.ndarray], np.ndarray]] = {"the loss": np.asarray, "its log": np.log}
    return [
        head
        | {"error of": what}
        | {f"{name}, %": _told(_rms(truth.errors(loss, change))) for name, loss in made.items()}
        | {"taken": fast.provenance["fast"]["form"]}
        for what, change in changes.items()
    ]


def _rms(errors: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(errors))))


def _percent(share: float | None) -> float:
    return float("nan") if share is None else 100 * share


def _told(error: float) -> float | str:
    return error if np.isfinite(error) else "none"


def _covered(truth: Truth, fast: Surface) -> float:
    """Of the cells that are estimated, how many are off by at most twice what was estimated; 100 where none is."""
    told, off = truth.at(fast.quantities[ESTIMATION_ERROR]), np.abs(truth.at(fast.loss) - truth.loss)
    guessed = told > 0
    return float(100 * np.mean(off[guessed] <= 2 * told[guessed])) if guessed.any() else 100.0
