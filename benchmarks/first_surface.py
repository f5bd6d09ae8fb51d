"""Seconds from the request to the first whole surface, and to the last, as the client of an event stream sees them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from benchmarks import comparison as compared
from benchmarks.comparison import BEGUN, BEGUN_BY, Comparison
from benchmarks.system import Followed
from benchmarks.table import Goal, Row, Spread

KINDS = (*BEGUN_BY, BEGUN)
UNIT_S = (1, 5)
UNITS = f"in units of {UNIT_S[0]} to {UNIT_S[1]} s, % of all units' time"


def run(comparison: Comparison) -> tuple[list[Row], list[Goal]]:
    """The first surface that is asked of a system's workers, and later ones."""
    rows: list[Row] = []
    first: list[float] = []
    for kind in BEGUN_BY:
        later = comparison.followed(kind)
        runs = {
            f"the first that they compute ({comparison.cold_job.examples:,} examples)": [comparison.cold[kind]],
            f"later ones ({comparison.job.examples:,} examples)": later,
        }
        rows += [_row(compared.KINDS[kind], which, measured) for which, measured in runs.items()]
        first += [run.stages_s[0] for measured in runs.values() for run in measured]
    large = [stages[0] for surfaces in comparison.begun.values() for stages in surfaces]
    if len(comparison.begun) < len(BEGUN_BY):
        large.append(math.nan)
    goals = [
        Goal(f"the first whole surface of {name} within 2 s, at most", most, most <= 2)
        for name, most in (("a perceptron", max(first)), (f"a {comparison.large_job.architecture}", float(np.max(large))))
    ]
    units = _units(comparison)
    large_units = [row[UNITS] for row in units if row["surface"].startswith(str(comparison.large_job))]
    share = min(large_units) if len(large_units) == len(BEGUN_BY) else math.nan
    name, (least, most) = comparison.large_job.architecture, UNIT_S
    asked = f"at least 90 % of the time of a {name}'s units in those of {least} to {most} s"
    return [*rows, *_begun(comparison), *units], [*goals, Goal(asked, share, share >= 90)]


def _units(comparison: Comparison) -> list[Row]:
    """How long units are, of the surfaces that were finished and of the large one that was left."""
    return [
        {
            "workers": compared.KINDS[kind],
            "surface": f"{job}{', left' if job == comparison.large_job else ''}",
            "units": len(taken),
            "a unit, s": Spread.of(taken),
            UNITS: 100 * sum(each for each in taken if UNIT_S[0] <= each <= UNIT_S[1]) / sum(taken),
        }
        for kind in BEGUN_BY
        for job, taken in comparison.unit_s.get(kind, {}).items()
        if taken
    ]


def _begun(comparison: Comparison) -> list[Row]:
    return [
        {
            "workers": compared.KINDS[kind],
            "surface, left after the second stage": str(comparison.large_job),
            "how many": len(comparison.begun[kind]),
            "to the first whole surface, s": Spread.of(stages[0] for stages in comparison.begun[kind]),
            "to the second, s": Spread.of(stages[1] for stages in comparison.begun[kind]),
        }
        for kind in comparison.begun
    ]


def _row(workers: str, which: str, runs: Sequence[Followed]) -> Row:
    return {
        "workers": workers,
        "surface": which,
        "stages": runs[-1].stages,
        "to the first whole surface, s": Spread.of(run.stages_s[0] for run in runs),
        "to the second, s": Spread.of(run.stages_s[min(1, len(run.stages_s) - 1)] for run in runs),
        "to the last, s": Spread.of(run.seconds for run in runs),
        "all events, kB": Spread.of(run.event_bytes / 1000 for run in runs),
    }
