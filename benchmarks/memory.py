"""The largest memory in use, of the parts of a system and of the core alone, for the same surfaces."""

from __future__ import annotations

from benchmarks.comparison import Comparison
from benchmarks.table import Goal, Row, Skipped

KINDS = ("core", "system")
TITLES = {"web": "web server with the collector", "worker": "worker", "valkey": "Valkey"}


def run(comparison: Comparison) -> tuple[list[Row], list[Goal]]:
    """One row a process.

    Raises:
        Skipped: The system does not tell.
    """
    core = max(run.peak_bytes for run in comparison.alone("core"))
    peaks = comparison.peaks.get("system")
    if peaks is None:
        raise Skipped("the memory of other processes is read from /proc, which this system does not have.")
    rows: list[Row] = [_row("the core alone", core, core)]
    rows += [_row(TITLES[name], size, core) for name, size in peaks.items()]
    return [*rows, _row("the whole system", sum(peaks.values()), core)], []


def _row(what: str, size: int, core: int) -> Row:
    return {"process": what, "largest resident memory, MB": round(size / 1e6), "times the core's": size / core}
