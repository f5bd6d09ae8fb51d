"""How many workers `lossatlas up` starts unless it is told: on this machine, with as many cores as the test leaves itself."""

from __future__ import annotations

import os
import sys

import pytest

from app.worker_count import ACCELERATORS, MOST, cores, usual_workers
from landscape_core.reading.sandbox import machine_memory

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="affinity is Linux's")


@pytest.fixture
def one_core():
    mine = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(mine)})
    yield
    os.sched_setaffinity(0, mine)


def test_there_is_one_for_each_core_within_memory():
    assert usual_workers(["cpu"], None) == min(MOST, cores(), machine_memory() // 2**31)
    assert usual_workers(["cpu"], "1") == usual_workers(["cpu"], None)


def test_there_is_one_on_one_core_or_where_its_threads_take_all(one_core):
    assert cores() == 1
    assert usual_workers(["cpu"], None) == 1
    assert usual_workers(["cpu"], "8") == 1


def test_there_is_one_for_each_accelerator_that_is_named():
    assert usual_workers(["cuda"], None) == 1
    assert usual_workers(["cuda:0", "cuda:1", "cuda:2"], None) == 3


@pytest.mark.skipif(any(path.exists() for path in ACCELERATORS), reason="there is an accelerator")
def test_auto_is_the_cpu_where_no_driver_is():
    assert usual_workers(["auto"], None) == usual_workers(["cpu"], None)
