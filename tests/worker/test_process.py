"""Real worker processes: killed, stopped, cancelled, orphaned, and left without Redis."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from worker import schedule
from worker.blobs import BlobStore, unit_key
from worker.job import Announcement
from worker.queue import WorkQueue, decode_unit
from worker.tallies import encode_unit

SLOW = {"width": 1024, "examples": 4096, "points": (41, 41), "unit_macs": 10**15}
"""A surface whose last unit takes minutes, in batches of some milliseconds."""


def announced(queue: WorkQueue) -> list[Announcement]:
    return [announcement for _, announcement in queue.results("0", block_ms=1)]


def expected(problem: Any, index: int) -> bytes:
    """The blob of a unit as this process computes it."""
    unit = schedule.unit(problem.job, index)
    return encode_unit(unit.cells, problem.evaluator().tally(unit.cells, unit.start, unit.stop))


def at_work(queue: WorkQueue, surface: str) -> Callable[[], bool]:
    """Whether a worker is in the middle of a unit (it takes minutes)."""
    began: list[float] = []

    def busy() -> bool:
        if any(worker.state == "busy" and worker.surface == surface for worker in queue.workers()):
            began.append(time.monotonic())
        return bool(began) and time.monotonic() - began[0] > 0.5

    return busy


def asked_again_until_there(queue: WorkQueue, blobs: BlobStore, surface: str, index: int) -> Callable[[], bool]:
    """What the app's sweeper does: enqueue what is neither stored nor in flight."""

    def there() -> bool:
        if blobs.exists(unit_key(surface, index)):
            return True
        queue.enqueue_unit(surface, index, preview=True, attempt=0)
        return False

    return there


def test_two_workers_share_a_surface_and_stop_when_told(
    start_worker: Callable[..., Any], queue: WorkQueue, blobs: BlobStore, ask: Callable[..., Any], wait_until: Any
) -> None:
    problem = ask()
    surface, count = problem.job.surface, schedule.unit_count(problem.job)
    workers = [start_worker("one", wait=False), start_worker("two")]
    measured = lambda: {w.name for w in queue.workers() if w.macs_per_second}  # noqa: E731
    wait_until(lambda: measured() == {"one", "two"}, 60, "both workers are ready")
    for index in range(count):
        queue.enqueue_unit(surface, index, preview=index < 4, attempt=0)
    wait_until(lambda: len(announced(queue)) == count, 30, "all units are announced")
    assert {a.unit for a in announced(queue)} == set(range(count))
    assert {a.kind for a in announced(queue)} == {"unit"}
    for index in range(count):
        assert blobs.get(unit_key(surface, index)) == expected(problem, index)
    assert {a.worker for a in announced(queue)} <= {"one", "two"}
    assert measured() == {"one", "two"}
    wait_until(lambda: queue.units_in_flight(surface) == frozenset(), 5, "nothing is in flight")
    assert queue.clean_abandoned() == ()
    assert queue.redis.keys("rq:job:*") == []
    for worker in workers:
        assert worker.terminate() == 0, worker.log.read_text()
        assert "Traceback" not in worker.log.read_text()
    assert queue.workers() == []


def test_hostile_jobs_run_nothing(
    start_worker: Callable[..., Any],
    queue: WorkQueue,
    blobs: BlobStore,
    ask: Callable[..., Any],
    tmp_path: Path,
    wait_until: Any,
) -> None:
    worker, canary = start_worker(), tmp_path / "canary"
    touch = f"touch {canary}"
    write = f"open({str(canary)!r}, 'w')"
    pickled = b"cos\nsystem\n(S'" + touch.encode() + b"'\ntR."
    allowed = ["worker.tasks.run_unit", None, ["e" * 64, 0], {}]
    data: list[tuple[bytes, dict[str, Any]]] = [
        (json.dumps(call).encode(), {})
        for call in (
            ["os.system", None, [touch], {}],
            ["exec", None, [write], {}],
            ["builtins.eval", None, [write], {}],
            ["subprocess.getoutput", None, [touch], {}],
            ["worker.tasks.Tasks", None, [], {}],
            ["worker.tasks.os.system", None, [touch], {}],
            ["system", "os", [touch], {}],
            [["os.system"], None, [touch], {}],
            ["worker.tasks.run_unit", None, ["../../../etc/passwd", 0], {}],
            ["worker.tasks.run_unit", None, ["e" * 64, "x"], {}],
            ["worker.tasks.run_unit", {"a": 1}, ["e" * 64, 0], {}],
            ["worker.tasks.run_intake", None, ["checkpoint", "../" * 5, "x"], {}],
            ["worker.tasks.run_finish", None, [], {"nothing": "expected"}],
            {"not": "a job"},
        )
    ]
    data += [(pickled, {}), (b"", {}), (b"\x80\x05.", {}), (b"[" * 100_000, {})]
    callbacks = {f"{name}_callback_name": "os.system" for name in ("success", "failure", "stopped")}
    webhook = [{"url": f"http://127.0.0.1:1/{n}", "job_status": s} for n, s in enumerate(("failed", "finished"))]
    data += [
        (json.dumps(allowed).encode(), callbacks | {"webhooks": json.dumps(webhook)}),
        (json.dumps(["os.system", None, [touch], {}]).encode(), callbacks | {"retries_left": "5", "repeats_left": "5"}),
        (json.dumps(allowed).encode(), {"timeout": "evil", "status": "evil", "created_at": "evil"}),
        (json.dumps(allowed).encode(), {"status": "evil"}),
        (json.dumps(allowed).encode(), {"meta": pickled, "result": pickled, "dependency_ids": "[]"}),
    ]
    for number, (body, fields) in enumerate(data):
        queue.redis.hset(f"rq:job:evil-{number}", mapping={"data": body, "origin": "intake", "status": "queued"} | fields)
        queue.redis.rpush(queue.queues["intake"].key, f"evil-{number}")
    queue.redis.rpush(queue.queues["intake"].key, "../no job", "\n", "missing")
    problem = ask()
    queue.enqueue_unit(problem.job.surface, 0, preview=False, attempt=0)
    wait_until(lambda: any(a.kind == "unit" for a in announced(queue)), 20, f"the honest job:\n{worker.log.read_text()}")
    assert worker.process.poll() is None
    assert not canary.exists()
    assert queue.lengths() == {"intake": 0, "preview": 0, "compute": 0}
    kinds = {(a.kind, a.subject) for a in announced(queue)}
    assert kinds == {("unit_failed", "e" * 64), ("unit", problem.job.surface)}
    failed = queue.queues["intake"].failed_job_registry
    assert failed.get_job_count(cleanup=False) > 10
    assert 0 < queue.redis.ttl("rq:job:evil-0") <= 3600
    assert worker.terminate() == 0
    assert not canary.exists()


@pytest.mark.slow
def test_a_worker_killed_in_a_unit_is_missed_soon(
    start_worker: Callable[..., Any], queue: WorkQueue, blobs: BlobStore, ask: Callable[..., Any], wait_until: Any
) -> None:
    problem = ask(**SLOW)
    surface, last = problem.job.surface, schedule.unit_count(problem.job) - 1
    worker = start_worker()
    queue.enqueue_unit(surface, last, preview=False, attempt=0)
    wait_until(at_work(queue, surface), 10, "the worker is at it")
    time.sleep(3)
    assert queue.clean_abandoned() == ()
    assert last in queue.units_in_flight(surface)
    worker.kill()
    wait_until(lambda: last not in queue.units_in_flight(surface), 13, "the unit is missed")
    assert queue.clean_abandoned() == (f"unit-{surface}-{last}-0",)
    assert queue.workers() == []
    assert not blobs.exists(unit_key(surface, last))
    assert queue.enqueue_unit(surface, last, preview=False, attempt=1)
    assert queue.units_in_flight(surface) == {last}
    assert announced(queue) == []


def test_a_unit_is_left_when_it_is_cancelled_and_handed_back_when_the_worker_stops(
    start_worker: Callable[..., Any], queue: WorkQueue, blobs: BlobStore, ask: Callable[..., Any], wait_until: Any
) -> None:
    problem = ask(**SLOW)
    surface, last = problem.job.surface, schedule.unit_count(problem.job) - 1
    worker = start_worker()
    queue.enqueue_unit(surface, last, preview=False, attempt=0)
    wait_until(at_work(queue, surface), 10, "the worker is at it")
    queue.cancel(surface)
    wait_until(lambda: queue.workers()[0].state == "idle", 3, "it stops when the surface is cancelled")
    wait_until(lambda: not queue.units_in_flight(surface), 3, "nothing is in flight")
    queue.uncancel(surface)
    for index in (last, 0):
        queue.enqueue_unit(surface, index, preview=False, attempt=0)
    wait_until(at_work(queue, surface), 10, "the worker is at it")
    assert worker.terminate() == 0, worker.log.read_text()
    assert queue.queues["compute"].get_job_ids() == [f"unit-{surface}-{last}-0", f"unit-{surface}-0-0"]
    assert queue.clean_abandoned() == ()
    assert announced(queue) == []
    assert queue.workers() == []
    assert not blobs.exists(unit_key(surface, last))


@pytest.mark.slow
def test_redis_killed_while_computing_and_while_idle(
    start_worker: Callable[..., Any], queue: WorkQueue, blobs: BlobStore, server: Any, ask: Callable[..., Any], wait_until: Any
) -> None:
    slow, quick = ask(**SLOW | {"examples": 1024, "points": (21, 21)}), ask()
    surface, last = slow.job.surface, schedule.unit_count(slow.job) - 1
    worker = start_worker()
    queue.enqueue_unit(surface, last, preview=False, attempt=0)
    wait_until(at_work(queue, surface), 10, "the worker is at it")
    server.kill()
    time.sleep(2)
    server.start()
    wait_until(lambda: queue.workers() != [], 10, "the worker is seen again")
    there = asked_again_until_there(queue, blobs, quick.job.surface, 0)
    wait_until(there, 30, f"work goes on:\n{worker.log.read_text()}")
    time.sleep(1)
    server.kill()
    time.sleep(2)
    server.start()
    wait_until(lambda: queue.workers() != [], 10, "the worker is seen again")
    assert np.array_equal(decode_unit(blobs.get(unit_key(surface, last)))[0], schedule.unit(slow.job, last).cells)
    assert worker.process.poll() is None
    queue.redis.flushall()
    wait_until(lambda: queue.workers() != [], 5, "a flushed Redis hears of it again")
    there = asked_again_until_there(queue, blobs, quick.job.surface, 2)
    wait_until(there, 20, "work goes on after a flush")
    assert worker.terminate() == 0


def test_a_worker_whose_parent_ends_ends_too(
    server: Any, queue: WorkQueue, tmp_path: Path, clean_environment: dict[str, str], wait_until: Any
) -> None:
    own = {"DATA": str(tmp_path), "REDIS_URL": server.url, "THREADS": "1", "NAME": "child"}
    environment = clean_environment | {f"LOSSATLAS_{key}": value for key, value in own.items()}
    command = [sys.executable, "-m", "worker.main"]
    start = f"import subprocess; p = subprocess.Popen({command}); print(p.pid, flush=True); p.wait()"
    parent = subprocess.Popen([sys.executable, "-c", start], env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    try:
        wait_until(lambda: any(w.state == "idle" for w in queue.workers()), 30, "the worker is ready")
    finally:
        parent.kill()
        parent.wait()
        parent.stdout.close()
    wait_until(lambda: queue.workers() == [], 8, "the worker is gone")

    def gone() -> bool:
        try:
            return "State:\tZ" in Path(f"/proc/{child}/status").read_text()
        except FileNotFoundError:
            return True

    wait_until(gone, 5, "the process is gone")


def test_settings_that_cannot_be_used_are_named(start_worker: Callable[..., Any], server: Any) -> None:
    cases = [
        ({"THREADS": "0"}, "LOSSATLAS_THREADS cannot be used"),
        ({"THREADS": "many"}, "LOSSATLAS_THREADS cannot be used"),
        ({"THREAD": "4"}, "LOSSATLAS_THREAD is no setting of Loss Atlas"),
        ({"NAME": "a/b"}, "LOSSATLAS_NAME cannot be used"),
        ({"REDIS_URL": "localhost:6379"}, "LOSSATLAS_REDIS_URL is no address of a Redis"),
        ({"REDIS_URL": f"redis://:guessed@127.0.0.1:{server.port}/0"}, "Redis refuses the name or password"),
        ({"DEVICE": "quantum"}, "There is no device 'quantum'"),
    ]
    started = [(start_worker(f"case-{n}", wait=False, **variables), text) for n, (variables, text) in enumerate(cases)]
    for worker, text in started:
        assert worker.process.wait(60) == 2
        printed = worker.log.read_text()
        assert text in printed
        assert len(printed.strip().splitlines()) == 1
        assert "guessed" not in printed


def test_a_second_worker_of_the_same_name_is_refused(
    start_worker: Callable[..., Any], queue: WorkQueue, tmp_path: Path, wait_until: Any
) -> None:
    first, left = start_worker("same", wait=False), tmp_path / "tmp" / "workers" / "same"
    wait_until(lambda: queue.workers() != [], 30, "the first one beats")
    second = start_worker("same", wait=False)
    assert second.process.wait(30) == 2
    assert "There is a worker named same already" in second.log.read_text()
    (left / "half").write_bytes(b"x")
    start_worker("other", wait=False)
    wait_until(lambda: len(queue.workers()) == 2, 30, "another one beats")
    assert left.exists()
    first.kill()
    start_worker("third", wait=False)
    wait_until(lambda: not left.exists(), 30, "what the dead one left is removed")


def test_stopping_before_it_is_ready(start_worker: Callable[..., Any], queue: WorkQueue, wait_until: Any) -> None:
    worker = start_worker(wait=False)
    wait_until(lambda: any(w.state == "starting" for w in queue.workers()), 30, "it beats while it loads")
    os.kill(worker.process.pid, signal.SIGTERM)
    assert worker.process.wait(40) == 0, worker.log.read_text()
    assert queue.workers() == []


HANGING = """
import sys, threading, time
from worker import main, warm
from landscape_core import compute
warm.BEAT_S, warm.HANG_S, warm.STOP_WITHIN_S = 0.2, {hang}, 1.0
compute.Evaluator.tally = lambda *_: (sys.stderr.write("it hangs\\n"), sys.stderr.flush(), time.sleep(60))
import worker.speed
worker.speed.measured_macs_per_second = lambda *_: 1e9
sys.exit(main.main())
"""


@pytest.mark.parametrize(("hang", "status"), [(2.0, 70), (60.0, 0)])
def test_a_unit_that_hangs_ends_the_process(
    start_worker: Callable[..., Any], queue: WorkQueue, ask: Callable[..., Any], wait_until: Any, hang: float, status: int
) -> None:
    queue.enqueue_unit(ask().job.surface, 0, preview=False, attempt=0)
    worker = start_worker(program=["-c", HANGING.format(hang=hang)])
    wait_until(lambda: "it hangs" in worker.log.read_text(), 30, "the worker hangs")
    if status == 0:
        worker.process.send_signal(signal.SIGTERM)
    assert worker.process.wait(55) == status, worker.log.read_text()
    assert queue.lengths()["compute"] == (1 if status == 0 else 0)
    assert "handing it back" in worker.log.read_text() or "made no progress" in worker.log.read_text()
