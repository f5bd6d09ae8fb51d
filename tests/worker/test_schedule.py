"""Every plan, whatever the grid, covers everything once, in whole surfaces that grow."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from landscape_core.estimate import chunk_bounds
from landscape_core.requests import SurfaceRequest
from worker import schedule
from worker.job import SurfaceJob


def make_job(
    nx: int, ny: int | None, examples: int, macs: int = 1000, unit_macs: int = 10**6, batch_norm: str = "fixed"
) -> SurfaceJob:
    direction, axis = {"kind": "random", "seed": 1}, {"start": -1, "stop": 1}
    request = SurfaceRequest.model_validate(
        {
            "checkpoint": "a" * 64,
            "architecture": {"name": "mlp"},
            "data": {"dataset": "d", "examples": examples},
            "plane": {"x": direction, "y": direction if ny else None},
            "grid": {"x": axis | {"points": nx}, "y": axis | {"points": ny} if ny else None},
            "batch_norm": batch_norm,
        }
    )
    return SurfaceJob(surface=request.digest, request=request, macs_per_example=macs, unit_macs=unit_macs)


jobs = st.builds(
    make_job,
    st.integers(1, 60),
    st.none() | st.integers(1, 40),
    st.integers(1, 700),
    st.integers(1, 10**9),
    st.integers(1, 10**12),
    st.sampled_from(["fixed", "reestimated"]),
)


@settings(max_examples=150, deadline=None)
@given(jobs)
def test_every_cell_sees_every_chunk_once(job: SurfaceJob) -> None:
    rows, columns = job.request.grid.shape
    seen = Counter((cell, unit.start, unit.stop) for unit in schedule.units(job) for cell in unit.cells)
    chunks = chunk_bounds(job.request.data.examples or 0)
    expected = Counter(((r, c), a, b) for r in range(rows) for c in range(columns) for a, b in chunks)
    assert seen == expected


@settings(max_examples=150, deadline=None)
@given(jobs)
def test_after_every_stage_there_is_a_whole_surface_that_holds_the_one_before(job: SurfaceJob) -> None:
    plan = schedule.plan(job)
    rows, columns = job.request.grid.shape
    computed: dict[tuple[int, int], int] = {}
    before: set[tuple[int, int]] = set()
    for number, stage in enumerate(plan.stages):
        for index in plan.stage_units(number):
            unit = plan.unit(index)
            assert (unit.index, unit.stage, unit.surface) == (index, number, job.surface)
            for cell in unit.cells:
                assert computed.get(cell, 0) == unit.start
                computed[cell] = unit.stop
        grid = {(r, c) for r in stage.rows for c in stage.columns}
        assert before <= grid
        assert set(computed) == grid
        assert {computed[cell] for cell in grid} == {stage.stop}
        assert (stage.rows[0], stage.rows[-1], stage.columns[0], stage.columns[-1]) == (0, rows - 1, 0, columns - 1)
        before = grid
    assert before == {(r, c) for r in range(rows) for c in range(columns)}
    assert plan.stages[-1].stop == job.request.data.examples


@given(jobs)
def test_the_first_stage_has_first_middle_and_last_index(job: SurfaceJob) -> None:
    first = schedule.stages(job)[0]
    for indices, points in ((first.rows, job.request.grid.shape[0]), (first.columns, job.request.grid.shape[1])):
        assert indices[0] == 0
        assert indices[-1] == points - 1
        assert {(points - 1) // 2, points // 2} & set(indices)
        assert len(indices) == min(points, len(indices))
        assert len(indices) in {3, 5, 7, 9} or len(indices) == points


@given(jobs)
def test_a_plan_follows_from_the_job_alone(job: SurfaceJob) -> None:
    again = SurfaceJob.model_validate_json(job.model_dump_json())
    units = schedule.units(job)
    schedule._plan.cache_clear()
    assert tuple(schedule.units(again)[:50]) == units[:50]
    assert schedule.unit_count(again) == len(units)


def test_cheap_networks_begin_finer_than_dear_ones() -> None:
    def coarse(macs: int) -> int:
        return len(schedule.stages(make_job(51, 51, 1000, macs))[0].columns)

    assert [coarse(macs) for macs in (100_000, 25_000_000, 41_000_000, 126_000_000)] == [9, 7, 5, 3]


def test_the_first_stage_is_shared_by_several_workers() -> None:
    plan = schedule.plan(make_job(51, 51, 1000, macs=1000, unit_macs=10**15))
    assert len(plan.stage_units(0)) >= 2
    assert all(len(plan.stage_units(stage)) == 1 for stage in range(1, len(plan.stages)))


def test_half_a_million_units_are_not_built() -> None:
    job = make_job(501, 501, 50_000, macs=41_000_000, unit_macs=200_000_000_000)
    units = schedule.units(job)
    assert len(units) > 500_000
    assert units[-1].cells == ((500, 500),)
    assert units[0].cells[0] == (0, 0)


def test_indices_outside_are_refused() -> None:
    units = schedule.units(make_job(3, None, 10))
    assert units[-1] == units[len(units) - 1]
    for index in (len(units), -len(units) - 1):
        with pytest.raises(IndexError):
            units[index]


@settings(max_examples=60, deadline=None)
@given(jobs)
def test_the_passes_of_the_units_are_those_of_the_estimate(job: SurfaceJob) -> None:
    passes = sum(len(unit.cells) * job.passes(unit.start, unit.stop) for unit in schedule.units(job))
    assert passes == job.request.grid.cells * job.passes_per_cell


def test_re_estimated_batch_norm_costs_its_passes_once_a_cell_and_chunk() -> None:
    fixed, anew = (make_job(9, 9, 10_000, batch_norm=how) for how in ("fixed", "reestimated"))
    chunks = len(chunk_bounds(10_000))
    assert fixed.passes_per_cell == 10_000
    assert anew.passes_per_cell == 10_000 + 512 * chunks
    assert make_job(9, 9, 100, batch_norm="reestimated").passes_per_cell == 100 + 2 * 100  # as many as there are
    sizes = [max(len(unit.cells) for unit in schedule.units(job) if unit.start == 64) for job in (fixed, anew)]
    assert sizes[0] > 5 * sizes[1]  # so that a unit takes as long as any other
