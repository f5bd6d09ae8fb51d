"""Directions that follow from checkpoints: made once for a surface, and the same bytes for every worker."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save

from landscape_core.compute import compute_surface
from landscape_core.errors import Cancelled, NotFound
from landscape_core.results import Tally
from worker import blobs as keys
from worker.blobs import BlobStore, DamagedBlob
from worker.directions import decode_directions, encode_directions
from worker.inputs import Inputs
from worker.settings import WorkerSettings


def store(blobs: BlobStore, tensors: dict[str, np.ndarray]) -> str:
    """Puts a checkpoint where an inspection puts it; gives its id."""
    canonical = save(tensors, {"order": json.dumps(list(tensors))})
    sha = hashlib.sha256(canonical).hexdigest()
    blobs.put(keys.checkpoint_key(sha), canonical)
    blobs.put(keys.digest_key(keys.checkpoint_key(sha)), sha.encode())
    return sha


def moved(tensors: dict[str, np.ndarray], seed: int) -> dict[str, np.ndarray]:
    """Another network of the same shapes."""
    generator = np.random.default_rng(seed)
    return {name: array + generator.normal(0, 0.3, array.shape).astype(np.float32) for name, array in tensors.items()}


@pytest.fixture
def worker(blobs: BlobStore, tmp_path: Path) -> Callable[[], Inputs]:
    """A fresh worker's inputs, with nothing kept from another."""
    settings = WorkerSettings(data=tmp_path, redis_url="redis://unused", name="w", threads=1)
    return lambda: Inputs(settings, blobs, "cpu", lambda: None)


def whole(inputs: Inputs, problem: Any) -> Tally:
    ny, nx = problem.job.request.grid.shape
    cells = [(row, column) for row in range(ny) for column in range(nx)]
    return inputs.evaluator(problem.job.surface).tally(cells, 0, 200)


def test_a_worker_measures_towards_other_checkpoints(
    blobs: BlobStore, worker: Callable[[], Inputs], ask: Callable[..., Any]
) -> None:
    tensors = ask().tensors
    others = {store(blobs, moved(tensors, seed)): moved(tensors, seed) for seed in (1, 2)}
    x, y = ({"kind": "towards", "checkpoint": sha} for sha in others)
    problem = ask(x=x, y=y)
    tally = whole(worker(), problem)
    right = compute_surface(problem.job.request, tensors, problem.examples, threads=1, checkpoints=others.__getitem__)
    np.testing.assert_allclose((tally.loss_sum / 200).reshape(5, 7), right.loss, rtol=1e-14)
    stored = blobs.get(keys.derived_key(problem.job.surface))
    for sha in others:  # what is stored suffices
        blobs.delete(keys.checkpoint_key(sha))
    again = whole(worker(), problem)
    np.testing.assert_array_equal(again.loss_sum, tally.loss_sum)
    assert blobs.get(keys.derived_key(problem.job.surface)) == stored


def test_a_worker_matches_hidden_units_first(blobs: BlobStore, worker: Callable[[], Inputs], ask: Callable[..., Any]) -> None:
    tensors = ask().tensors
    other = moved(tensors, 1)
    first, second = [name for name, array in other.items() if array.ndim == 2][:2]
    order = np.random.default_rng(3).permutation(len(other[first]))
    other[first], other[second] = other[first][order], np.ascontiguousarray(other[second][:, order])
    bias = next(name for name, array in other.items() if array.shape == order.shape)
    other[bias] = other[bias][order]
    problem = ask(x={"kind": "towards", "checkpoint": (sha := store(blobs, other)), "aligned": True})
    tally = whole(worker(), problem)
    right = compute_surface(problem.job.request, tensors, problem.examples, threads=1, checkpoints={sha: other}.__getitem__)
    np.testing.assert_allclose((tally.loss_sum / 200).reshape(5, 7), right.loss, rtol=1e-14)
    told = worker().describe(problem.job.surface)["directions"]
    assert told == right.provenance["directions"]
    assert told["x_aligned_distance"] < told["x_unaligned_distance"]
    assert told["x_units_moved"] > 0


def test_a_training_run_is_described_by_every_worker_alike(
    blobs: BlobStore, worker: Callable[[], Inputs], ask: Callable[..., Any]
) -> None:
    tensors = ask().tensors
    run = {store(blobs, moved(tensors, seed)): moved(tensors, seed) for seed in range(4)}
    x, y = ({"kind": "principal", "index": index, "checkpoints": list(run)} for index in (1, 2))
    problem = ask(x=x, y=y)
    tally = whole(worker(), problem)
    right = compute_surface(problem.job.request, tensors, problem.examples, threads=1, checkpoints=run.__getitem__)
    np.testing.assert_allclose((tally.loss_sum / 200).reshape(5, 7), right.loss, rtol=1e-14)
    for sha in run:
        blobs.delete(keys.checkpoint_key(sha))
    described = worker().describe(problem.job.surface)["trajectory"]
    assert described == {name: right.provenance["trajectory"][name] for name in described}
    projected = ask(trajectory=[store(blobs, moved(tensors, seed)) for seed in range(3)])
    assert len(worker().describe(projected.job.surface)["trajectory"]["coordinates"]) == 4


def test_an_eigenvector_is_found_once_and_used_by_all(
    blobs: BlobStore, worker: Callable[[], Inputs], ask: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    problem = ask(x={"kind": "hessian", "index": 1}, y={"kind": "hessian", "index": 2})
    tally = whole(worker(), problem)
    right = compute_surface(problem.job.request, problem.tensors, problem.examples, threads=1)
    np.testing.assert_allclose((tally.loss_sum / 200).reshape(5, 7), right.loss, rtol=1e-14)
    monkeypatch.setattr("worker.inputs.derive", lambda *_: pytest.fail("the directions are there"))
    np.testing.assert_array_equal(whole(worker(), problem).loss_sum, tally.loss_sum)
    described = worker().describe(problem.job.surface)["directions"]
    assert described == right.provenance["directions"]
    assert described["x_eigenvalue"] > described["y_eigenvalue"] > 0


def test_a_search_ends_when_another_worker_has_found_it(
    blobs: BlobStore, worker: Callable[[], Inputs], ask: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    problem = ask(x={"kind": "hessian", "index": 1})
    key = keys.derived_key(problem.job.surface)
    whole(worker(), problem)
    theirs = blobs.get(key)
    blobs.delete(key)
    monkeypatch.setattr("worker.inputs.LOOK_S", 0.0)
    asked: list[bool] = []

    def should_stop() -> bool:
        asked.append(True)
        if len(asked) == 3:  # in the midst of the search
            blobs.put(key, theirs)
        return False

    found = worker().evaluator(problem.job.surface, should_stop)
    assert len(asked) == 3
    np.testing.assert_array_equal(found.directions()[0][0], decode_directions(theirs).x[0])
    assert blobs.get(key) == theirs


def test_a_search_that_is_cancelled_leaves_nothing(
    blobs: BlobStore, worker: Callable[[], Inputs], ask: Callable[..., Any]
) -> None:
    problem = ask(x={"kind": "hessian", "index": 1})
    with pytest.raises(Cancelled):
        worker().evaluator(problem.job.surface, lambda: True)
    assert not blobs.exists(keys.derived_key(problem.job.surface))


def test_directions_that_rotted_are_made_again(blobs: BlobStore, worker: Callable[[], Inputs], ask: Callable[..., Any]) -> None:
    tensors = ask().tensors
    problem = ask(x={"kind": "towards", "checkpoint": store(blobs, moved(tensors, 1))})
    key = keys.derived_key(problem.job.surface)
    before = whole(worker(), problem)
    good = blobs.get(key)
    blobs.put(key, good[:-9] + b"\xff" + good[-8:])
    np.testing.assert_array_equal(whole(worker(), problem).loss_sum, before.loss_sum)
    assert decode_directions(blobs.get(key)).y is None


def test_a_checkpoint_that_is_gone(blobs: BlobStore, worker: Callable[[], Inputs], ask: Callable[..., Any]) -> None:
    problem = ask(x={"kind": "towards", "checkpoint": "c" * 64})
    with pytest.raises(NotFound):
        worker().evaluator(problem.job.surface)


def test_what_is_encoded_comes_back() -> None:
    x = [np.float32([[1, 2]]), np.float32(3), np.zeros((0, 2), np.float32)]
    y = [array + 1 for array in x]
    back = decode_directions(encode_directions(x, y, {"a": [1, None]}))
    assert back.y is not None
    for found, given in zip(back.x + back.y, x + y, strict=True):
        assert (found.shape, found.dtype) == (np.shape(given), np.float32)
        np.testing.assert_array_equal(found, given)
    assert back.about == {"a": [1, None]}
    random = decode_directions(encode_directions([], None, {}))
    assert (random.x, random.y, random.about) == ([], None, {})
    blob = encode_directions(x, None, {})
    for damaged in (b"", blob[:50], b"X" + blob[1:], blob[:-1]):
        with pytest.raises(DamagedBlob):
            decode_directions(damaged)
