"""What queue, database, web and files cost on top of the computation."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.bare_core import Alone
from benchmarks.comparison import AGAIN, CORES, Comparison
from benchmarks.system import Followed
from benchmarks.table import Goal, Row, Spread

KINDS = ("core1", "system1", f"core1{AGAIN}", "core", "system", f"core{AGAIN}")


def run(comparison: Comparison) -> tuple[list[Row], list[Goal]]:
    """The whole system against the bare core, with one thread and with all."""
    pairs = [("1", "core1", "system1")] + ([(str(CORES), "core", "system")] if CORES > 1 else [])
    rows: list[Row] = []
    ratios: list[float] = []
    shares: list[float] = []
    for threads, alone, system in pairs:
        runs = list(zip(comparison.alone(alone), comparison.alone(alone + AGAIN), strict=True))
        ratio, share, row = _row(runs, comparison.followed(system))
        rows.append({"threads": threads} | row)
        ratios.append(ratio)
        shares += share
    goals = [Goal("the whole system takes at most 1.03 times as long as the bare core", max(ratios), max(ratios) <= 1.03)]
    if shares:
        goals.append(
            Goal("less than 3 % of all processor time for Redis, database, JSON and web", max(shares), max(shares) < 3)
        )
    return rows, goals


def _row(alone: Sequence[tuple[Alone, Alone]], followed: Sequence[Followed]) -> tuple[float, list[float], dict[str, object]]:
    """How often a system takes as long as the mean of the core's runs before and after it, what else it costs, and the row."""
    between = [(before.seconds + after.seconds) / 2 for before, after in alone]
    ratio = Spread.of(run.seconds / core for core, run in zip(between, followed, strict=True))
    row: dict[str, object] = {
        "bare core, s": Spread.of(core.seconds for pair in alone for core in pair),
        "bare core again, times as long": Spread.of(after.seconds / before.seconds for before, after in alone),
        "whole system, s": Spread.of(run.seconds for run in followed),
        "times as long": ratio,
        "units": followed[-1].units,
        "a unit, s": Spread.of(run.computed_s / run.units for run in followed),
        "worker without a unit, % of the time": Spread.of(100 * (1 - run.computed_s / run.seconds) for run in followed),
    }
    if not followed[-1].cpu_s:
        return ratio.median, [], row
    for name, title in (("web", "web and database"), ("valkey", "Valkey")):
        spent = [100 * run.cpu_s[name] / sum(run.cpu_s.values()) for run in followed]
        row[f"{title}, % of all processor time"] = Spread.of(spent)
    own = [(before.cpu_s + after.cpu_s) / 2 for before, after in alone]
    row["worker's processor time, times the core's"] = Spread.of(
        run.cpu_s["worker"] / core for core, run in zip(own, followed, strict=True)
    )
    around = Spread.of(100 * (1 - run.cpu_s["worker"] / sum(run.cpu_s.values())) for run in followed)
    return ratio.median, [around.median], row
