"""The core alone, in a warm process of its own: what a worker computes, without queue, database, web or files.

    python -m benchmarks.bare_core POINTS EXAMPLES THREADS PART PARTS

Each line on stdin is a seed: every PARTS-th cell of the surface along its directions is measured, from the PART-th on, and a
line on stdout says how long that took.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO

from benchmarks import processes
from benchmarks.material import images, request, tensors
from benchmarks.system import SHAPE, WIDTHS, Job, environment, stop
from landscape_core.errors import ComputationFailed


@dataclass(frozen=True)
class Alone:
    """What the core said of itself.

    Attributes:
        seconds: From the request to the last cell.
        cpu_s: Processor seconds meanwhile.
        peak_bytes: The largest memory that the process has had in use.
    """

    seconds: float
    cpu_s: float
    peak_bytes: int


class BareCore:
    """The core in a process.

    Args:
        process: It, with its stdin and stdout.
    """

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def begin(self, seed: int) -> None:
        """Has it begin with the surface of this seed."""
        _pipe(self._process.stdin).write(f"{seed}\n".encode())
        _pipe(self._process.stdin).flush()

    def result(self) -> Alone:
        """What came of it, once it is done.

        Raises:
            ComputationFailed: The process ended.
        """
        line = _pipe(self._process.stdout).readline()
        if not line:
            raise ComputationFailed(f"The bare core ended with status {self._process.wait()}; it was measuring.")
        return Alone(**json.loads(line))


@contextmanager
def bare_core(job: Job, threads: int, part: int = 0, parts: int = 1) -> Iterator[BareCore]:
    """A process that is ready to measure.

    Args:
        job: The surface.
        threads: Of its own.
        part: Which cells it measures: from this one on …
        parts: … every so many.
    """
    from worker.main import SPIN_COUNT  # noqa: PLC0415 - rq takes a moment to import

    numbers = map(str, (job.points, job.examples, threads, part, parts))
    with subprocess.Popen(
        [sys.executable, "-P", "-m", "benchmarks.bare_core", *numbers],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment(threads) | {"GOMP_SPINCOUNT": SPIN_COUNT},
        start_new_session=True,
    ) as process:
        try:
            core = BareCore(process)
            core.result()
            yield core
        finally:
            stop(process)


def main(arguments: list[str]) -> None:
    """Measures as it is told on stdin, until that ends."""
    points, examples, threads, part, parts = map(int, arguments)
    job, weights = Job(points, examples), tensors("mlp", WIDTHS)
    x, y = images(examples, SHAPE)
    from landscape_core.compute import Evaluator, Examples  # noqa: PLC0415 - PyTorch takes seconds to load
    from landscape_core.estimate import chunk_bounds  # noqa: PLC0415

    held = Examples.from_arrays(x, y)
    cells = [(row, column) for row in range(job.points) for column in range(job.points)][part::parts]

    def measure(seed: int, count: int) -> Alone:
        began, used = time.perf_counter(), time.process_time()
        evaluator = Evaluator(request("mlp", job.points, examples=examples, seed=seed), weights, held, threads=threads)
        for start, stop_ in chunk_bounds(examples):
            evaluator.tally(cells[:count], start, stop_)
        took, spent = time.perf_counter() - began, time.process_time() - used
        return Alone(took, spent, _peak_bytes())

    found = measure(0, 4)
    while True:
        sys.stdout.write(json.dumps(vars(found)) + "\n")
        sys.stdout.flush()
        seed = sys.stdin.readline()
        if not seed:
            return
        found = measure(int(seed), len(cells))


def _peak_bytes() -> int:
    """The largest memory of this process; what `getrusage` says may be that of the one that started it."""
    if processes.PROC.exists():
        return processes.peak_bytes([os.getpid()])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _pipe(stream: IO[bytes] | None) -> IO[bytes]:
    if stream is None:
        raise ValueError("expected a process with pipes")
    return stream


if __name__ == "__main__":
    main(sys.argv[1:])
