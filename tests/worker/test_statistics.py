"""Batch norm re-estimated by workers: the very values of one process, whoever computes what."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save

from landscape_core import formats
from landscape_core.catalogue import macs_per_example
from landscape_core.compute import compute_surface, load_dataset
from landscape_core.estimate import surface_from_tally
from landscape_core.requests import SurfaceRequest
from landscape_core.results import Tally
from worker import blobs as keys
from worker import schedule, tasks
from worker.blobs import BlobStore
from worker.job import SurfaceJob
from worker.queue import WorkQueue, decode_unit
from worker.settings import WorkerSettings
from worker.warm import Vitals

EXAMPLES = 150


@pytest.fixture
def tensors() -> dict[str, np.ndarray]:
    """A convolution, batch norm, an affine layer; for images of 9 x 9 in three classes."""
    random = np.random.default_rng(2)
    return {
        "conv.weight": random.normal(0, 0.4, (4, 1, 3, 3)).astype(np.float32),
        "conv.bias": random.normal(0, 0.1, 4).astype(np.float32),
        "bn.weight": random.uniform(0.5, 1.5, 4).astype(np.float32),
        "bn.bias": random.normal(0, 0.3, 4).astype(np.float32),
        "bn.running_mean": random.normal(0, 0.3, 4).astype(np.float32),
        "bn.running_var": random.uniform(0.5, 1.5, 4).astype(np.float32),
        "bn.num_batches_tracked": np.array(3),
        "fc.weight": random.normal(0, 0.3, (3, 36)).astype(np.float32),
        "fc.bias": random.normal(0, 0.1, 3).astype(np.float32),
    }


@pytest.fixture
def data(tmp_path: Path) -> Path:
    random = np.random.default_rng(3)
    x, y = random.integers(0, 256, (EXAMPLES, 9, 9), np.uint8), random.integers(0, 3, EXAMPLES)
    np.savez(tmp_path / "data.npz", x=x, y=y)
    return tmp_path / "data.npz"


def asked(checkpoint: str, dataset: str) -> SurfaceRequest:
    axis = {"start": -1, "stop": 1, "points": 3}
    return SurfaceRequest.model_validate(
        {
            "checkpoint": checkpoint,
            "architecture": {"name": "convnet"},
            "data": {"dataset": dataset, "examples": EXAMPLES},
            "plane": {"x": {"kind": "random", "seed": 1}, "y": {"kind": "random", "seed": 2}, "orthogonal": True},
            "grid": {"x": axis, "y": axis},
            "batch_norm": "reestimated",
        }
    )


def stored(blobs: BlobStore, tensors: dict[str, np.ndarray], data: Path) -> SurfaceJob:
    """Checkpoint, data set and job, as the app and the intake store them."""
    canonical = save(tensors, {"order": json.dumps(list(tensors))})
    blobs.put(keys.checkpoint_key("a" * 64), canonical)
    blobs.put(keys.digest_key(keys.checkpoint_key("a" * 64)), hashlib.sha256(canonical).hexdigest().encode())
    blobs.put(keys.dataset_key("b" * 64), data.read_bytes())
    request = asked("a" * 64, "b" * 64)
    macs = macs_per_example(request.architecture, {name: a.shape for name, a in tensors.items()}, (1, 9, 9))
    job = SurfaceJob(surface=request.digest, request=request, macs_per_example=macs, unit_macs=300 * macs)
    blobs.put(keys.job_key(job.surface), job.canonical_json().encode())
    return job


def test_units_of_several_workers_make_the_surface_of_one_process(
    queue: WorkQueue, blobs: BlobStore, tmp_path: Path, tensors: dict[str, np.ndarray], data: Path
) -> None:
    job, threads = stored(blobs, tensors, data), torch.get_num_threads()
    (tmp_path / "tmp").mkdir()
    for turn in range(schedule.unit_count(job)):  # each unit by a worker that has seen no other
        settings = WorkerSettings(data=tmp_path, redis_url="redis://unused", name=f"w{turn}", threads=1)
        tasks.install(tasks.Tasks(settings, queue, blobs, Vitals(), "cpu", tmp_path / "tmp"))
        tasks.run_unit(job.surface, schedule.unit_count(job) - 1 - turn)
    total = Tally.zeros(3, 3)
    for unit in schedule.units(job):
        cells, tally = decode_unit(blobs.get(keys.unit_key(job.surface, unit.index)))
        rows, columns = np.array(cells).T
        for name in ("examples", "loss_sum", "loss_sq", "correct"):
            getattr(total, name)[rows, columns] += getattr(tally, name)
    ours = surface_from_tally(job.request, total, {})
    theirs = compute_surface(job.request, tensors, load_dataset(data, "train", tmp_path), threads=1)
    np.testing.assert_array_equal(ours.loss, theirs.loss)
    np.testing.assert_array_equal(ours.stderr, theirs.stderr)
    blobs.put(keys.surface_key(job.surface), formats.to_bytes(ours, ".npz"))
    tasks.run_finish(job.surface)
    finished = formats.npz.load(blobs.get(keys.surface_key(job.surface)))
    assert finished.provenance["own_loss"] == theirs.provenance["own_loss"] != pytest.approx(ours.loss[1, 1], rel=1e-3)
    assert finished.provenance["batch_norm_examples"] == EXAMPLES
    torch.set_num_threads(threads)
