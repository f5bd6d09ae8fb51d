"""The core in a process of its own."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from benchmarks.bare_core import bare_core
from benchmarks.system import Job


@pytest.mark.skipif(sys.platform != "linux", reason="told by /proc")
def test_its_memory_is_not_that_of_the_process_that_started_it():
    large = np.ones(6 * 10**8, np.uint8)
    with bare_core(Job(5, 64), threads=1) as core:
        core.begin(1)
        found = core.result()
    assert 50_000_000 < found.peak_bytes < large.nbytes
    assert found.seconds > 0
    assert found.cpu_s > 0
