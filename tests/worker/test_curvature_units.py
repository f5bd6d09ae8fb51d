"""Units of eigenvalues: planned after all losses, in whole grids; computed, stored and lost as those of losses are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from landscape_core.compute import compute_surface
from landscape_core.requests import SurfaceRequest
from worker import schedule, tasks
from worker.blobs import BlobStore, unit_key
from worker.curvature_schedule import CurvaturePlan, curvature_plan, unit
from worker.eigenvalues import Eigenvalues
from worker.inputs import Inputs
from worker.job import Announcement, SurfaceJob
from worker.queue import DamagedBlob, WorkQueue, decode_unit
from worker.settings import WorkerSettings
from worker.warm import HandedBack, Vitals


def make_job(nx: int, ny: int | None, examples: int, curvature: int, macs: int, cells: int) -> SurfaceJob:
    direction, axis = {"kind": "random", "seed": 1}, {"start": -1, "stop": 1}
    request = SurfaceRequest.model_validate(
        {
            "checkpoint": "a" * 64,
            "architecture": {"name": "mlp"},
            "data": {"dataset": "d", "examples": examples},
            "plane": {"x": direction, "y": direction if ny else None},
            "grid": {"x": axis | {"points": nx}, "y": axis | {"points": ny} if ny else None},
            "curvature": {"examples": curvature},
        }
    )
    return SurfaceJob(surface=request.digest, request=request, macs_per_example=macs, unit_macs=10**6, curvature_cells=cells)


def planned(job: SurfaceJob) -> CurvaturePlan:
    plan = curvature_plan(job)
    assert plan is not None
    return plan


jobs = st.builds(
    make_job,
    st.integers(1, 40),
    st.none() | st.integers(1, 30),
    st.integers(1, 700),
    st.integers(1, 500),
    st.integers(1, 10**9),
    st.integers(1, 2000),
)


@settings(max_examples=100, deadline=None)
@given(jobs)
def test_every_cell_is_measured_once_in_whole_grids_after_all_losses(job: SurfaceJob) -> None:
    plan, losses = planned(job), schedule.plan(job)
    examples = min(job.request.curvature.examples, job.request.data.examples)
    rows, columns = job.request.grid.shape
    assert (plan.first, plan.first_stage) == (len(losses.units), len(losses.stages))
    assert unit(job, plan.first - 1) == losses.unit(plan.first - 1)
    computed: set[tuple[int, int]] = set()
    index = plan.first
    for number, stage in enumerate(plan.stages):
        while index < plan.first + len(plan) and (found := unit(job, index)).stage == plan.first_stage + number:
            assert (found.kind, found.index, found.start, found.stop) == ("curvature", index, 0, examples)
            assert not computed & set(found.cells)
            computed |= set(found.cells)
            index += 1
        assert computed == {(row, column) for row in stage.rows for column in stage.columns}
    assert index == plan.first + len(plan)
    assert len(computed) == rows * columns
    with pytest.raises(IndexError):
        unit(job, index)


def test_the_first_grid_is_shared_by_several_workers_and_coarse_where_a_cell_is_dear() -> None:
    many = planned(make_job(21, 21, 1000, 100, 1000, 20))
    assert len(many.unit(many.first).cells) == 11
    assert len(many.unit(many.first + len(many) - 2).cells) == 20
    assert [len(planned(make_job(21, 21, 64, 64, macs, 1)).stages[0].columns) for macs in (10**4, 10**9)] == [9, 3]


def heard(queue: WorkQueue) -> list[Announcement]:
    found = [announcement for _, announcement in queue.results("0", block_ms=1)]
    queue.redis.flushall()
    return found


def test_units_make_the_very_eigenvalues_that_one_process_measures(
    vitals: Vitals, queue: WorkQueue, blobs: BlobStore, ask: Callable[..., Any]
) -> None:
    problem = ask(points=(5, 3), curvature=40)
    job, plan = problem.job, planned(problem.job)
    tables = {name: np.full(job.request.grid.shape, np.nan) for name in ("max_eig", "min_eig")}
    products = 0
    for index in reversed(range(plan.first, plan.first + len(plan))):
        tasks.run_unit(job.surface, index)
        found = Eigenvalues.decode(blobs.get(unit_key(job.surface, index)))
        assert found.cells == unit(job, index).cells
        rows, columns = np.array(found.cells).T
        tables["max_eig"][rows, columns], tables["min_eig"][rows, columns] = found.max_eig, found.min_eig
        products += found.products
    assert [(a.kind, a.problem) for a in heard(queue)] == [("unit", None)] * len(plan)
    assert vitals.macs_per_second is not None
    assert vitals.progress > products
    theirs = compute_surface(job.request, problem.tensors, problem.examples, threads=1)
    for name, table in tables.items():
        np.testing.assert_array_equal(table, theirs.quantities[name])
    about = theirs.provenance["curvature"]
    assert (found.examples, found.parameters, products) == (about["examples"], about["parameters"], about["products"])


def test_a_unit_that_is_there_is_left_and_one_that_rotted_or_is_of_losses_is_computed_again(
    vitals: Vitals, queue: WorkQueue, blobs: BlobStore, ask: Callable[..., Any]
) -> None:
    del vitals
    job = ask(points=(3, 2), curvature=20).job
    first = planned(job).first
    key = unit_key(job.surface, first)
    tasks.run_unit(job.surface, first)
    good, written = blobs.get(key), (blobs._root / key).stat().st_mtime_ns
    tasks.run_unit(job.surface, first)
    assert (blobs._root / key).stat().st_mtime_ns == written
    tasks.run_unit(job.surface, 0)
    for bad in (good[:-9] + b"\xff" + good[-8:], blobs.get(unit_key(job.surface, 0)), b""):
        with pytest.raises(DamagedBlob):
            Eigenvalues.decode(bad)
        blobs.put(key, bad)
        tasks.run_unit(job.surface, first)
        assert blobs.get(key) == good
    with pytest.raises(DamagedBlob):
        decode_unit(good)
    assert {a.kind for a in heard(queue)} == {"unit"}


def test_a_cancelled_or_stopping_unit_ends_between_its_batches_and_the_next_one_does_not(
    vitals: Vitals, queue: WorkQueue, blobs: BlobStore, ask: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    job = ask(points=(3, 2), curvature=20).job
    first, asked = planned(job).first, []
    tasks.run_unit(job.surface, first + 1)
    heard(queue)

    def cancelled_later(surface: str) -> bool:
        asked.append(surface)
        return len(asked) > 1

    monkeypatch.setattr(tasks, "CANCEL_CHECK_S", 0.0)
    with monkeypatch.context() as patch:
        patch.setattr(queue, "is_cancelled", cancelled_later)
        tasks.run_unit(job.surface, first)
    assert len(asked) == 2
    assert heard(queue) == []
    assert not blobs.exists(unit_key(job.surface, first))
    tasks.run_unit(job.surface, first)  # with the network that is kept
    assert [a.kind for a in heard(queue)] == ["unit"]
    vitals.stop.set()
    with pytest.raises(HandedBack):
        tasks.run_unit(job.surface, first + 2)


def test_surfaces_in_turn_stay_ready_and_give_back_their_memory(
    tmp_path: Path, blobs: BlobStore, ask: Callable[..., Any]
) -> None:
    inputs = Inputs(WorkerSettings(data=tmp_path, redis_url="redis://unused", threads=1), blobs, "cpu", lambda: None)
    surfaces = [ask(curvature=examples).job.surface for examples in (20, 30)]
    first, second = (inputs.curvature(surface, lambda: False) for surface in surfaces)
    assert [inputs.curvature(surface, lambda: False) for surface in surfaces] == [first, second]
    assert second.nbytes - first.nbytes == 10 * 8 * 4
    inputs.forget()
    assert inputs.curvature(surfaces[0], lambda: False) is not first
