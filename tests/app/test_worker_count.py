"""How many workers `lossatlas up` starts unless it is told: on this machine, with as many cores as the test leaves itself."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from app.worker_count import ACCELERATORS, MOST, sharing, usual_workers
from landscape_core.reading import sandbox
from landscape_core.reading.sandbox import machine_cores, machine_memory

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="affinity is Linux's")


@pytest.fixture
def one_core():
    mine = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(mine)})
    yield
    os.sched_setaffinity(0, mine)


def test_there_is_one_for_each_core_within_memory():
    most = max(1, min(MOST, machine_cores(), machine_memory() // 2**31))
    assert usual_workers(["cpu"], None) == sharing(machine_cores(), most)
    assert usual_workers(["cpu"], "1") == most


def test_there_is_one_on_one_core_or_where_its_threads_take_all(one_core):
    assert machine_cores() == 1
    assert usual_workers(["cpu"], None) == 1
    assert usual_workers(["cpu"], "8") == 1


def test_a_control_group_bounds_the_cores_too(tmp_path, monkeypatch):
    group = Path("/proc/self/cgroup").read_text().partition("0::/")[2].strip()
    (tmp_path / group).mkdir(parents=True, exist_ok=True)
    monkeypatch.setattr(sandbox, "_CGROUPS", tmp_path)
    mine = len(os.sched_getaffinity(0))
    for text, bound in (("max 100000", mine), ("50000 100000", 1), ("150000 100000", min(2, mine)), ("9900000 100000", mine)):
        (tmp_path / "cpu.max").write_text(f"{text}\n")
        assert machine_cores() == bound, text


@pytest.mark.parametrize(
    ("found", "most", "workers"),
    [(1, 1, 1), (2, 2, 2), (3, 3, 3), (4, 4, 4), (4, 3, 2), (5, 4, 4), (6, 4, 3), (7, 4, 3), (8, 4, 4), (11, 4, 3), (64, 4, 4)],
)
def test_they_leave_few_cores_idle(found, most, workers):
    assert sharing(found, most) == workers


def test_there_is_one_for_each_accelerator_that_is_named():
    assert usual_workers(["cuda"], None) == 1
    assert usual_workers(["cuda:0", "cuda:1", "cuda:2"], None) == 3


@pytest.mark.skipif(any(path.exists() for path in ACCELERATORS), reason="there is an accelerator")
def test_auto_is_the_cpu_where_no_driver_is():
    assert usual_workers(["auto"], None) == usual_workers(["cpu"], None)
