"""What the parts make of what was measured; here the measurements are given, so that the numbers are known."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path

import pytest

from benchmarks import first_surface, memory, parts, whole_system, workers
from benchmarks.bare_core import Alone
from benchmarks.comparison import CORES, LARGE_QUICK, QUICK, Comparison
from benchmarks.system import Atlas, Followed
from benchmarks.table import Goal, Row, Skipped
from landscape_core.errors import ComputationFailed


def followed(seconds: float, web: float = 0.2) -> Followed:
    cpu = {"web": web, "worker": seconds, "valkey": 0.1}
    return Followed("ab", (0.5, 1.0, seconds), seconds, 3, 5000, seconds - 1, 10, cpu)


@pytest.fixture
def comparison(tmp_path: Path) -> Comparison:
    """Three rounds in which the core takes 10, 20 and 10 seconds alone, and 5 in two halves."""
    alone = [Alone(seconds, seconds, 300_000_000) for seconds in (10.0, 20.0, 10.0)]
    later = [Alone(seconds, seconds, 300_000_000) for seconds in (12.0, 20.0, 10.0)]
    slow, fast = [followed(seconds) for seconds in (10.2, 20.4, 11.0)], [followed(seconds) for seconds in (6.0, 10.2, 5.5)]
    return Comparison(
        tmp_path,
        quick=True,
        cold={"system": followed(4.0), "system2": followed(3.0)},
        peaks={"system": {"web": 200_000_000, "worker": 400_000_000, "valkey": 10_000_000}},
        _alone={"core1": alone, "core1 again": later, "core": alone, "core again": later},
        begun={"system": [[1.5, 2.0], [1.0, 2.5]], "system2": [[2.5, 3.0]]},
        unit_s={
            "system": {QUICK: [0.5, 0.5, 1.0, 2.0], LARGE_QUICK: [0.25, 1.5, 2.0, 1.25]},
            "system2": {QUICK: [], LARGE_QUICK: [1.0, 6.0]},
        },
        _followed={"system1": slow, "system2": fast, "system": slow},
        _pairs=[5.0, 10.0, 5.0],
        _done=True,
    )


@pytest.mark.skipif(CORES < 2, reason="one core")
def test_ratios_are_of_the_same_round(comparison):
    rows, goals = workers.run(comparison)
    assert [row["times as fast"].median for row in rows] == [2.0, 2.0]
    assert rows[0]["times as fast"].least == pytest.approx(1.7)
    assert (goals[0].measured, goals[0].reached) == (2.0, True)
    rows, goals = whole_system.run(comparison)
    assert [row["times as long"].median for row in rows] == pytest.approx([1.02, 1.02])
    assert rows[0]["times as long"].least == pytest.approx(10.2 / 11)
    assert rows[0]["bare core again, times as long"].most == pytest.approx(1.2)
    assert rows[0]["a unit, s"].median == pytest.approx(1.0)
    assert rows[0]["worker's processor time, times the core's"].most == pytest.approx(1.1)
    assert goals[0].reached
    assert goals[1].measured == pytest.approx(100 * 0.3 / 11.3)
    assert goals[1].reached


def test_the_first_surface_and_memory(comparison):
    rows, goals = first_surface.run(comparison)
    assert [row["to the last, s"].median for row in rows[:4]] == [4.0, 11.0, 3.0, 6.0]
    assert [(goal.measured, goal.reached) for goal in goals[:2]] == [(0.5, True), (2.5, False)]
    assert [(row["how many"], row["to the second, s"].median) for row in rows[4:6]] == [(2, 2.25), (1, 3.0)]
    shares = [row["in units of 1 to 5 s, % of all units' time"] for row in rows[6:]]
    assert shares == pytest.approx([75, 95, 100 / 7])
    assert [(row["surface"].endswith(", left"), row["units"]) for row in rows[6:]] == [(False, 4), (True, 4), (True, 2)]
    assert (goals[2].measured, goals[2].reached) == (pytest.approx(100 / 7), False)
    assert rows[1]["to the second, s"].median == 1.0
    rows, _ = memory.run(comparison)
    assert [row["largest resident memory, MB"] for row in rows] == [300, 200, 400, 10, 610]
    comparison.peaks.clear()
    with pytest.raises(Skipped, match="/proc"):
        memory.run(comparison)


def test_a_part_that_fails_does_not_end_the_others(tmp_path):
    class Broken:
        @staticmethod
        def run(_comparison: Comparison) -> tuple[list[Row], list[Goal]]:
            raise RuntimeError("on fire")

    comparison = Comparison(tmp_path, quick=True)
    failed = parts._section(parts.PARTS[1], Broken, comparison)
    assert (failed.failed, failed.skipped) == (True, "an error, RuntimeError: on fire")
    missing = parts._section(parts.PARTS[1], None, comparison)
    assert (missing.failed, missing.skipped) == (False, "this release does not have it yet.")


def test_a_large_surface_that_does_not_begin_leaves_its_goal_unreached(comparison, tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and nobody listens
        gone = Atlas(subprocess.Popen(["true"]), f"http://127.0.0.1:{taken.getsockname()[1]}", tmp_path)
        comparison.begun, comparison.unit_s = {}, {}
        comparison._begin({"system": gone, "system2": gone})
    assert gone.process.wait() == 0
    rows, (cheap, large, units) = first_surface.run(comparison)
    assert len(rows) == 4
    assert (cheap.reached, large.reached, units.reached) == (True, False, False)
    assert "Measured: nan, not reached" in str(large)


def test_what_went_wrong_once_is_told_by_every_part(tmp_path):
    (tmp_path / "system1").mkdir()  # where its data would go
    comparison = Comparison(tmp_path, wanted={"system1"})
    with pytest.raises(FileExistsError):
        comparison.followed("system1")
    with pytest.raises(ComputationFailed, match="ended with FileExistsError"):
        comparison.seconds("system1")
