"""Seconds from the request to the first whole surface, and to the last, as the client of an event stream sees them."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.comparison import Comparison
from benchmarks.system import Followed
from benchmarks.table import Goal, Row, Spread

KINDS = ("system",)


def run(comparison: Comparison) -> tuple[list[Row], list[Goal]]:
    """The first surface that is asked of a worker, and later ones."""
    later = comparison.followed("system")
    cold = comparison.cold["system"]
    rows = [
        _row(f"the first that this worker computes ({comparison.cold_job.examples:,} examples)", [cold]),
        _row(f"later ones ({comparison.job.examples:,} examples)", later),
    ]
    return rows, []


def _row(which: str, runs: Sequence[Followed]) -> Row:
    return {
        "surface": which,
        "stages": runs[-1].stages,
        "to the first whole surface, s": Spread.of(run.stages_s[0] for run in runs),
        "to the second, s": Spread.of(run.stages_s[min(1, len(run.stages_s) - 1)] for run in runs),
        "to the last, s": Spread.of(run.seconds for run in runs),
        "all events, kB": Spread.of(run.event_bytes / 1000 for run in runs),
    }
