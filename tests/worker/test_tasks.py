"""The tasks themselves, in this process: results first, announcements then, and every failure in a sentence."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import redis
import torch

from landscape_core.compute import compute_surface
from landscape_core.errors import OutOfMemory
from landscape_core.estimate import surface_from_tally
from landscape_core.formats import npz, to_bytes
from landscape_core.results import Tally
from worker import blobs as keys
from worker import schedule, tasks
from worker.blobs import BlobStore
from worker.job import Announcement
from worker.queue import WorkQueue, decode_unit
from worker.settings import WorkerSettings
from worker.warm import HandedBack, Vitals

SHA = "d" * 64


def heard(queue: WorkQueue) -> list[Announcement]:
    found = [announcement for _, announcement in queue.results("0", block_ms=1)]
    queue.redis.flushall()
    return found


def assembled(problem: Any, blobs: BlobStore) -> Tally:
    """What the collector makes of all units: tallies (ny, nx)."""
    total = Tally.zeros(*problem.job.request.grid.shape)
    for unit in schedule.units(problem.job):
        cells, tally = decode_unit(blobs.get(keys.unit_key(problem.job.surface, unit.index)))
        rows, columns = np.array(cells).T
        for name in ("examples", "loss_sum", "loss_sq", "correct"):
            getattr(total, name)[rows, columns] += getattr(tally, name)
    return total


def test_units_make_the_very_surface_that_one_process_computes(
    vitals: Vitals, queue: WorkQueue, blobs: BlobStore, ask: Callable[..., Any]
) -> None:
    problem = ask()
    surface, count = problem.job.surface, schedule.unit_count(problem.job)
    assert count > 5
    for index in reversed(range(count)):
        tasks.run_unit(surface, index)
    announced = heard(queue)
    assert [(a.kind, a.subject, a.unit, a.problem, a.worker) for a in announced] == [
        ("unit", surface, index, None, "w") for index in reversed(range(count))
    ]
    assert all(a.seconds is not None and a.seconds > 0 for a in announced)
    assert vitals.macs_per_second is not None
    ours = surface_from_tally(problem.job.request, assembled(problem, blobs), {})
    theirs = compute_surface(problem.job.request, problem.tensors, problem.examples, threads=1)
    for name in ("loss", "accuracy", "examples", "stderr", "state"):
        np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))
    ours = dataclasses.replace(ours, quantities={"top5": ours.accuracy, "class_accuracy_3": ours.accuracy / 2})
    blobs.put(keys.surface_key(surface), to_bytes(ours, ".npz"))
    tasks.run_finish(surface)
    assert [(a.kind, a.subject, a.problem) for a in heard(queue)] == [("finishing", surface, None)]
    assert blobs.get(keys.preview_key(surface)).startswith(b"\x89PNG")
    assert blobs.get(keys.surface_directions_key(surface)).startswith(b"\x89HDF")
    finished = npz.load(blobs.get(keys.surface_key(surface)))
    np.testing.assert_array_equal(finished.loss, ours.loss)
    assert finished.provenance["own_loss"] == ours.loss[2, 3] == theirs.provenance["own_loss"]
    assert finished.provenance["own_top5"] == finished.provenance["own_accuracy"] == ours.accuracy[2, 3]
    assert finished.provenance["own_class_accuracy"] == {"3": ours.accuracy[2, 3] / 2}
    assert finished.provenance["torch"] == torch.__version__


def test_a_unit_that_is_there_is_announced_and_not_computed_again(
    vitals: Vitals, queue: WorkQueue, blobs: BlobStore, ask: Callable[..., Any]
) -> None:
    surface = ask().job.surface
    path = blobs._root / keys.unit_key(surface, 0)
    tasks.run_unit(surface, 0)
    before = path.stat().st_mtime_ns, path.read_bytes()
    tasks.run_unit(surface, 0)
    assert (path.stat().st_mtime_ns, path.read_bytes()) == before
    assert [(a.kind, a.unit) for a in heard(queue)] == [("unit", 0), ("unit", 0)]


def test_a_unit_whose_blob_rotted_is_computed_again(
    vitals: Vitals, queue: WorkQueue, blobs: BlobStore, ask: Callable[..., Any]
) -> None:
    surface = ask().job.surface
    tasks.run_unit(surface, 0)
    good = blobs.get(keys.unit_key(surface, 0))
    blobs.put(keys.unit_key(surface, 0), good[:-9] + b"\xff" + good[-8:])
    tasks.run_unit(surface, 0)
    assert blobs.get(keys.unit_key(surface, 0)) == good
    assert [a.kind for a in heard(queue)] == ["unit", "unit"]


def test_a_checkpoint_that_rotted_is_found(vitals: Vitals, queue: WorkQueue, blobs: BlobStore, ask: Callable[..., Any]) -> None:
    job = ask().job
    key = keys.checkpoint_key(job.request.checkpoint)
    good = blobs.get(key)
    blobs.put(key, good[:-9] + b"\xff" + good[-8:])
    tasks.run_unit(job.surface, 0)
    (announced,) = heard(queue)
    assert (announced.kind, announced.unit, announced.retry) == ("unit_failed", 0, False)
    assert announced.problem is not None
    assert "damaged" in announced.problem
    assert not blobs.exists(key), "else an upload of the same file would be taken for one that is there"


def test_a_cancelled_surface_is_left_alone(vitals: Vitals, queue: WorkQueue, blobs: BlobStore, ask: Callable[..., Any]) -> None:
    surface = ask().job.surface
    queue.cancel(surface)
    tasks.run_unit(surface, 0)
    assert heard(queue) == []
    assert not blobs.exists(keys.unit_key(surface, 0))
    queue.uncancel(surface)
    tasks.run_unit(surface, 0)
    assert [a.kind for a in heard(queue)] == ["unit"]


def test_a_worker_that_stops_hands_its_unit_back(vitals: Vitals, queue: WorkQueue, ask: Callable[..., Any]) -> None:
    surface = ask().job.surface
    vitals.stop.set()
    with pytest.raises(HandedBack):
        tasks.run_unit(surface, 0)
    assert heard(queue) == []


def test_redis_away_is_no_failure_of_the_unit(
    vitals: Vitals, queue: WorkQueue, blobs: BlobStore, ask: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> None:
        raise redis.ConnectionError("away")

    surface = ask().job.surface
    for method in ("announce", "is_cancelled"):
        monkeypatch.setattr(queue, method, away)
    with pytest.raises(redis.ConnectionError):
        tasks.run_unit(surface, 0)
    assert blobs.exists(keys.unit_key(surface, 0))


@pytest.mark.parametrize(
    ("error", "text", "retry"),
    [
        (OutOfMemory("The memory of cuda does not suffice."), "^The memory of cuda does not suffice.$", True),
        (MemoryError(), "memory did not suffice", True),
        (OSError(errno.EIO, "Input/output error"), "could not use its disk .Input/output error.; .* Retry", True),
        (ValueError("secret /etc/path"), r"^An internal error \(ref [0-9a-f]{8}\); the worker's log says more.$", True),
    ],
)
def test_what_goes_wrong_is_told_in_a_sentence(
    vitals: Vitals,
    queue: WorkQueue,
    ask: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    text: str,
    retry: bool,
) -> None:
    def fail(*_: object) -> None:
        raise error

    surface = ask().job.surface
    monkeypatch.setattr("worker.inputs.Evaluator.tally", fail)
    tasks.run_unit(surface, 0)
    (announced,) = heard(queue)
    assert (announced.kind, announced.subject, announced.unit, announced.retry) == ("unit_failed", surface, 0, retry)
    with pytest.raises(AssertionError, match=text):
        raise AssertionError(announced.problem)


def test_a_full_disk_is_waited_for(
    vitals: Vitals, queue: WorkQueue, blobs: BlobStore, ask: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    full_until, put = time.monotonic() + 1.5, blobs.put

    def full(key: str, data: bytes | Path) -> None:
        if time.monotonic() < full_until:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        put(key, data)

    surface = ask().job.surface
    monkeypatch.setattr(blobs, "put", full)
    tasks.run_unit(surface, 0)
    assert [a.kind for a in heard(queue)] == ["unit"]
    monkeypatch.setattr(tasks, "SPACE_WITHIN_S", 0.0)
    full_until = time.monotonic() + 60
    tasks.run_unit(surface, 1)
    (announced,) = heard(queue)
    assert announced.problem is not None
    assert "No space left on device" in announced.problem


@pytest.mark.parametrize("dataset", ["/etc/passwd", "../secret.npz", "/tmp/x.npz", "no-such-set"])
def test_a_data_set_is_never_a_path(
    vitals: Vitals, queue: WorkQueue, blobs: BlobStore, ask: Callable[..., Any], dataset: str
) -> None:
    job = ask().job
    request = job.request.model_copy(update={"data": job.request.data.model_copy(update={"dataset": dataset})})
    changed = job.model_copy(update={"request": request, "surface": request.digest})
    blobs.put(keys.job_key(changed.surface), changed.canonical_json().encode())
    tasks.run_unit(changed.surface, 0)
    (announced,) = heard(queue)
    assert (announced.kind, announced.retry) == ("unit_failed", False)
    assert announced.problem is not None
    assert dataset in announced.problem


def test_a_surface_that_is_deleted_and_cut_otherwise(
    vitals: Vitals, queue: WorkQueue, blobs: BlobStore, ask: Callable[..., Any]
) -> None:
    for unit_macs in (10**6, 10**15):
        job = ask(unit_macs=unit_macs).job
        last = schedule.unit_count(job) - 1
        tasks.run_unit(job.surface, last)
        cells, _ = decode_unit(blobs.get(keys.unit_key(job.surface, last)))
        assert np.array_equal(cells, schedule.unit(job, last).cells)
        assert blobs.exists(keys.provenance_key(job.surface))
        blobs.delete_prefix(keys.surface_prefix(job.surface))
    assert [a.kind for a in heard(queue)] == ["unit", "unit"]


def test_a_deleted_surface(vitals: Vitals, queue: WorkQueue) -> None:
    tasks.run_unit(SHA, 0)
    tasks.run_finish(SHA)
    assert [(a.kind, a.retry) for a in heard(queue)] == [("unit_failed", False), ("finishing", False)]


def test_an_upload_is_inspected_once(vitals: Vitals, queue: WorkQueue, blobs: BlobStore) -> None:
    blobs.put(keys.quarantine_key("checkpoint", SHA), b"<html>not a checkpoint</html>")
    for _ in range(2):
        tasks.run_intake("checkpoint", SHA, "x.pt")
        (announced,) = heard(queue)
        assert (announced.kind, announced.subject, announced.retry) == ("intake", SHA, False)
        assert announced.problem == json.loads(blobs.get(keys.report_key("checkpoint", SHA)))["problem"]
        assert not blobs.exists(keys.quarantine_key("checkpoint", SHA))
        assert not blobs.exists(keys.checkpoint_key(SHA))


def test_the_same_bytes_wait_as_files_of_two_kinds(vitals: Vitals, queue: WorkQueue, blobs: BlobStore, tmp_path: Path) -> None:
    """A data set that was dropped among the checkpoints by mistake is still there to be read as what it is."""
    np.savez(tmp_path / "data.npz", x=np.zeros((4, 3), np.float32), y=np.arange(4) % 2)
    for kind in ("checkpoint", "dataset"):
        blobs.put(keys.quarantine_key(kind, SHA), (tmp_path / "data.npz").read_bytes())
    tasks.run_intake("checkpoint", SHA, "data.npz")
    tasks.run_intake("dataset", SHA, "data.npz")
    assert [a.problem is None for a in heard(queue)] == [False, True]


def test_a_good_upload_becomes_canonical(vitals: Vitals, queue: WorkQueue, blobs: BlobStore, tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", x=np.zeros((4, 3), np.float32), y=np.arange(4) % 2)
    blobs.move_in(keys.quarantine_key("dataset", SHA), tmp_path / "data.npz")
    tasks.run_intake("dataset", SHA, "data.npz")
    assert [(a.kind, a.problem) for a in heard(queue)] == [("intake", None)]
    assert json.loads(blobs.get(keys.report_key("dataset", SHA)))
    blobs.fetch(keys.dataset_key(SHA), tmp_path / "copy.npz", blobs.get(keys.digest_key(keys.dataset_key(SHA))).decode())
    with np.load(tmp_path / "copy.npz", allow_pickle=False) as arrays:
        assert arrays["x"].shape == (4, 3)
    assert not blobs.exists(keys.quarantine_key("dataset", SHA))


def test_an_upload_that_is_gone(vitals: Vitals, queue: WorkQueue) -> None:
    tasks.run_intake("checkpoint", SHA, "x.pt")
    (announced,) = heard(queue)
    assert announced.problem == "The upload is no longer there; upload the file again."


def test_work_for_another_machine_is_copied_once(tmp_path: Path, blobs: BlobStore, ask: Callable[..., Any]) -> None:
    from worker.inputs import Inputs

    job = ask().job
    remote = BlobStore("memory:///")
    for key in blobs.list("surfaces") + blobs.list("checkpoints") + blobs.list("datasets") + blobs.list("digests"):
        remote.put(key, blobs.get(key))
    settings = WorkerSettings(data=tmp_path / "other", redis_url="redis://unused", threads=1)
    first = Inputs(settings, remote, "cpu", lambda: None).evaluator(job.surface)
    remote.delete(keys.checkpoint_key(job.request.checkpoint))
    second = Inputs(settings, remote, "cpu", lambda: None).evaluator(job.surface)
    for evaluator in (first, second):
        assert evaluator.examples == 200
    assert len(list((tmp_path / "other" / "cache").iterdir())) == 2


def test_a_remote_blob_that_rotted_is_removed_and_a_bad_copy_of_a_good_one_fetched_again(tmp_path: Path) -> None:
    import hashlib

    from worker.blobs import DamagedBlob
    from worker.inputs import Inputs
    from worker.settings import WorkerSettings

    remote, key = BlobStore("memory:///"), keys.checkpoint_key("a" * 64)
    inputs = Inputs(WorkerSettings(data=tmp_path), remote, "cpu", lambda: None)
    remote.put(key, b"good")
    remote.put(keys.digest_key(key), hashlib.sha256(b"good").hexdigest().encode())
    inputs._file(key).write_bytes(b"bad copy")
    assert inputs._file(key).read_bytes() == b"good"
    inputs._file(key).unlink()
    remote.put(key, b"rotten")
    with pytest.raises(DamagedBlob):
        inputs._file(key)
    assert not remote.exists(key)


class _SameBytesComeAgain(BlobStore):
    """Blobs to which somebody brings the same file, in the moment before its quarantined copy is removed."""

    def delete(self, key: str) -> None:
        if key == keys.quarantine_key("checkpoint", SHA):
            super().delete(keys.report_key("checkpoint", SHA))
            super().put(key, b"text")
        super().delete(key)


def test_an_upload_that_comes_again_in_the_middle_of_its_inspection_is_not_lost(
    vitals: Vitals, queue: WorkQueue, tmp_path: Path
) -> None:
    del vitals
    blobs = _SameBytesComeAgain(tmp_path / "blobs")
    settings = WorkerSettings(data=tmp_path, redis_url="redis://unused", name="w", threads=1)
    tasks.install(tasks.Tasks(settings, queue, blobs, Vitals(), "cpu", tmp_path / "tmp"))
    blobs.put(keys.quarantine_key("checkpoint", SHA), b"text")
    tasks.run_intake("checkpoint", SHA, "a.pt")
    assert "not a checkpoint but text" in json.loads(blobs.get(keys.report_key("checkpoint", SHA)))["problem"]
    tasks.run_intake("checkpoint", SHA, "a.pt")
    assert ["not a checkpoint but text" in (announced.problem or "") for announced in heard(queue)] == [True, True]
