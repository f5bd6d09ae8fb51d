"""How much faster two workers are than one, with one thread each."""

from __future__ import annotations

from benchmarks.comparison import CORES, Comparison
from benchmarks.table import Goal, Row, Skipped, Spread

KINDS = ("core1", "cores2", "system1", "system2")


def run(comparison: Comparison) -> tuple[list[Row], list[Goal]]:
    """Workers beside two processes of the bare core, which share nothing: what the machine itself gives.

    Raises:
        Skipped: There is one core.
    """
    if CORES < 2:
        raise Skipped("two workers need two cores, and this process has one.")
    workers = _ratio(comparison, "system1", "system2")
    machine = _ratio(comparison, "core1", "cores2")
    rows: list[Row] = []
    for what, ratio, kinds in (
        ("Loss Atlas, two workers against one", workers, ("system1", "system2")),
        ("bare core, two processes against one (the machine's own limit)", machine, ("core1", "cores2")),
    ):
        one, two = (Spread.of(comparison.seconds(kind)) for kind in kinds)
        rows.append({"what": what, "one, s": one, "two, s": two, "times as fast": Spread.of(ratio)})
    measured = Spread.of(workers).median
    return rows, [Goal("two workers at least 1.8 times as fast as one", measured, measured >= 1.8)]


def _ratio(comparison: Comparison, one: str, two: str) -> list[float]:
    return [a / b for a, b in zip(comparison.seconds(one), comparison.seconds(two), strict=True)]
