"""What a worker keeps ready between units, and how little it fetches."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from landscape_core.errors import NotFound
from worker import blobs as keys
from worker.blobs import BlobStore
from worker.job import PROBE
from worker.settings import WorkerSettings
from worker.warm import MOST_SPEEDS, Vitals


def test_surfaces_of_one_checkpoint_fetch_it_once_and_stay_ready_in_turn(
    tmp_path: Path, blobs: BlobStore, ask: Callable[..., Any]
) -> None:
    from worker.inputs import Inputs

    jobs = [ask(x={"kind": "random", "seed": seed}).job for seed in range(3, 8)]
    remote = BlobStore("memory:///")
    for key in blobs.list("surfaces") + blobs.list("checkpoints") + blobs.list("datasets") + blobs.list("digests"):
        remote.put(key, blobs.get(key))
    settings = WorkerSettings(data=tmp_path / "other", redis_url="redis://unused", threads=1)
    inputs = Inputs(settings, remote, "cpu", lambda: None)
    first = inputs.evaluator(jobs[0].surface)
    remote.delete(keys.checkpoint_key(jobs[0].request.checkpoint))
    remote.delete(keys.dataset_key(jobs[0].request.data.dataset))
    for path in (tmp_path / "other" / "cache").iterdir():
        path.unlink()
    ready = [first, *(inputs.evaluator(job.surface) for job in jobs[1:])]
    assert [inputs.evaluator(job.surface) for job in jobs] == ready
    inputs.forget()
    with pytest.raises(NotFound):
        inputs.evaluator(jobs[0].surface)


def test_what_is_kept_is_bounded_by_number_and_by_memory() -> None:
    from worker.recent import Recent

    made: list[int] = []

    def keep(kept: Recent[int], *keys: int) -> list[int]:
        made.clear()
        for key in keys:
            kept.get(key, lambda key=key: made.append(key) or key)
        return made

    assert keep(Recent(3), 1, 2, 3, 1, 2, 4, 3) == [1, 2, 3, 4, 3]
    assert keep(Recent(9, 10, lambda value: value, always=2), 4, 5, 4, 5, 1, 4) == [4, 5, 1]
    assert keep(Recent(9, 10, lambda value: value, always=2), 4, 5, 6, 4) == [4, 5, 6, 4]
    assert keep(Recent(9, 10, lambda value: value, always=2), 50, 60, 50, 60) == [50, 60]


def test_a_worker_knows_its_speed_by_architecture_and_forgets_the_oldest() -> None:
    vitals = Vitals(macs_per_second=100.0, speeds={PROBE: 100.0})
    for _ in range(30):
        vitals.measured(1000.0, 1.0, "mlp")
        vitals.measured(10.0, 1.0, "resnet20")
    vitals.measured(10.0, 1.0)
    assert vitals.speeds == {PROBE: 100.0, "mlp": pytest.approx(1000.0), "resnet20": pytest.approx(10.0)}
    for number in range(MOST_SPEEDS + 1):
        vitals.measured(1.0, 1.0, f"net{number}")
    assert "mlp" not in vitals.speeds
    assert vitals.speeds[PROBE] == 100.0
    assert len(vitals.speeds) <= MOST_SPEEDS + 2
