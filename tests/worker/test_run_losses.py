"""The losses of a run's checkpoints: measured in the last touches, kept one by one, the same whoever measures them."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save

from landscape_core.compute import compute_surface, run_losses
from landscape_core.formats import npz, to_bytes
from worker import blobs as keys
from worker import tasks
from worker.blobs import BlobStore
from worker.queue import WorkQueue
from worker.settings import WorkerSettings
from worker.warm import Vitals

LISTS = ("own_loss", "own_accuracy", "plane_loss", "plane_accuracy")


class Killed(BaseException):
    """Stands for the end of the process: nothing catches it."""


@pytest.fixture
def fresh_worker(queue: WorkQueue, blobs: BlobStore, tmp_path: Path) -> Callable[[], None]:
    """Installs the tasks of a worker that has nothing in memory yet."""
    settings = WorkerSettings(data=tmp_path, redis_url="redis://unused", name="w", threads=1)
    (tmp_path / "tmp").mkdir()
    return lambda: tasks.install(tasks.Tasks(settings, queue, blobs, Vitals(), "cpu", tmp_path / "tmp"))


def store(blobs: BlobStore, tensors: dict[str, np.ndarray], seed: int) -> tuple[str, dict[str, np.ndarray]]:
    generator = np.random.default_rng(seed)
    moved = {name: array + generator.normal(0, 0.3, array.shape).astype(np.float32) for name, array in tensors.items()}
    canonical = save(moved, {"order": json.dumps(list(moved))})
    sha = hashlib.sha256(canonical).hexdigest()
    blobs.put(keys.checkpoint_key(sha), canonical)
    return sha, moved


@pytest.fixture
def finished(blobs: BlobStore, ask: Callable[..., Any]) -> tuple[str, dict[str, Any]]:
    """A surface that is whole but for its last touches, and what it should say of its run."""
    tensors = ask().tensors
    run = dict(store(blobs, tensors, seed) for seed in range(3))
    problem = ask(trajectory=list(run))
    right = compute_surface(problem.job.request, tensors, problem.examples, threads=1, checkpoints=run.__getitem__)
    whole = dataclasses.replace(right, provenance={})
    blobs.put(keys.surface_key(problem.job.surface), to_bytes(whole, ".npz"))
    return problem.job.surface, right.provenance["trajectory"]


def test_a_killed_worker_loses_nothing_that_was_measured(
    finished: tuple[str, dict[str, Any]],
    fresh_worker: Callable[[], None],
    blobs: BlobStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    surface, right = finished
    measured: list[str] = []
    losses = run_losses.losses

    def dying(evaluator: Any, checkpoint: str, *rest: Any) -> Any:
        if len(measured) == 2:
            raise Killed
        measured.append(checkpoint)
        return losses(evaluator, checkpoint, *rest)

    monkeypatch.setattr(run_losses, "losses", dying)
    fresh_worker()
    with pytest.raises(Killed):
        tasks.run_finish(surface)
    assert len(list(blobs.list(f"{keys.surface_prefix(surface)}run/"))) == 2
    assert "own_loss" not in npz.load(blobs.get(keys.surface_key(surface))).provenance.get("trajectory", {})
    blobs.put(keys.run_losses_key(surface, 1), b"not JSON: bit rot")
    again: list[str] = []
    monkeypatch.setattr(
        run_losses, "losses", lambda e, checkpoint, *rest: again.append(checkpoint) or losses(e, checkpoint, *rest)
    )
    fresh_worker()
    tasks.run_finish(surface)
    assert again == [right["checkpoints"][index] for index in (1, 2, 3)]
    told = npz.load(blobs.get(keys.surface_key(surface))).provenance["trajectory"]
    assert {name: told[name] for name in LISTS} == {name: right[name] for name in LISTS}
    tasks.run_finish(surface)
    assert len(again) == 3
    assert blobs.get(keys.preview_key(surface)).startswith(b"\x89PNG")


def test_a_checkpoint_that_was_deleted_has_no_loss_of_its_own(
    finished: tuple[str, dict[str, Any]], fresh_worker: Callable[[], None], blobs: BlobStore
) -> None:
    surface, right = finished
    fresh_worker()
    tasks._tasks[0]._inputs.describe(surface)  # the directions are derived and stored
    blobs.delete(keys.checkpoint_key(right["checkpoints"][0]))
    tasks.run_finish(surface)
    told = npz.load(blobs.get(keys.surface_key(surface))).provenance["trajectory"]
    assert told["own_loss"] == [None, *right["own_loss"][1:]]
    assert told["plane_loss"] == right["plane_loss"]
