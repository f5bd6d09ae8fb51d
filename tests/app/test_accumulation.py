"""Values do not depend on the order in which units arrive, and a stage is shown only when it is whole."""

from __future__ import annotations

import numpy as np
import pytest

from app.accumulation import Accumulation
from app.schemas import Progress
from app.snapshots import StageSnapshot
from landscape_core.estimate import chunk_bounds, surface_from_tally
from landscape_core.requests import (
    ArchitectureSpec,
    Axis,
    BatchNorm,
    DataSlice,
    Grid,
    PlaneSpec,
    RandomDirection,
    SurfaceRequest,
)
from landscape_core.results import Surface, Tally
from worker.job import SurfaceJob, WorkUnit

CURVE, SQUARE = (1, 23), (13, 11)


def job(shape: tuple[int, int], examples: int = 700, batch_norm: BatchNorm = "fixed") -> SurfaceJob:
    ny, nx = shape
    y = None if ny == 1 else RandomDirection(seed=2)
    request = SurfaceRequest(
        checkpoint="0" * 64,
        architecture=ArchitectureSpec(name="mlp"),
        data=DataSlice(dataset="d", examples=examples),
        plane=PlaneSpec(x=RandomDirection(seed=1), y=y),
        grid=Grid(x=Axis(start=-1, stop=1, points=nx), y=None if ny == 1 else Axis(start=-2, stop=1, points=ny)),
        batch_norm=batch_norm,
    )
    return SurfaceJob(surface=request.digest, request=request, macs_per_example=1000, unit_macs=1_500_000)


def measured(unit: WorkUnit) -> Tally:
    """Tallies that depend on cell and examples alone, of sizes whose sums round."""
    sums = [np.random.default_rng((row, column, unit.start)).normal(0, 10.0 ** (unit.start % 7)) for row, column in unit.cells]
    n = unit.stop - unit.start
    return Tally(np.full(len(sums), n), np.array(sums), np.array(sums) ** 2 + 1, np.full(len(sums), n // 3))


def in_chunk_order(job: SurfaceJob) -> Surface:
    ny, nx = job.request.grid.shape
    cells = tuple((row, column) for row in range(ny) for column in range(nx))
    total = Tally.zeros(len(cells))
    for start, stop in chunk_bounds(job.request.data.examples or 0):
        total += measured(WorkUnit(surface=job.surface, index=0, stage=0, cells=cells, start=start, stop=stop))
    return surface_from_tally(job.request, total.reshaped(ny, nx), {})


@pytest.mark.parametrize("shape", [CURVE, SQUARE, (1, 1)])
@pytest.mark.parametrize("seed", range(4))
def test_any_order_of_arrival_gives_the_same_values_bit_for_bit(shape, seed):
    accumulation = Accumulation(job(shape, batch_norm="reestimated" if seed % 2 else "fixed"))
    order = np.random.default_rng(seed).permutation(len(accumulation.plan.units))
    for index in [*order, *order[:5]]:
        unit = accumulation.plan.unit(int(index))
        assert accumulation.fold(unit.index, unit.cells, measured(unit))
    assert accumulation.is_complete
    assert accumulation.done == 1.0
    found, expected = accumulation.surface({}), in_chunk_order(job(shape))
    for name in ("loss", "stderr", "accuracy", "examples", "state"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))


def test_each_stage_is_a_whole_grid_of_equal_examples():
    accumulation = Accumulation(job(SQUARE))
    shown = 0
    for unit in accumulation.plan.units:
        accumulation.fold(unit.index, unit.cells, measured(unit))
        if accumulation.stage == shown:
            continue
        shown = accumulation.stage
        stage, surface = accumulation.plan.stages[shown - 1], accumulation.surface({})
        inside = np.zeros(SQUARE, bool)
        inside[np.ix_(stage.rows, stage.columns)] = True
        assert (surface.examples[inside] == stage.stop).all()
        assert (surface.examples[~inside] == 0).all()
        snapshot = StageSnapshot.of(surface, accumulation.stages)
        assert (snapshot.stage, snapshot.stages, snapshot.examples) == (shown, accumulation.stages, stage.stop)
        assert snapshot.event(Progress(), "running")["columns"] == len(stage.columns)
    assert shown == accumulation.stages


def test_what_is_no_tally_of_the_unit_is_not_taken_in():
    accumulation = Accumulation(job(SQUARE))
    first, second = accumulation.plan.unit(0), accumulation.plan.unit(1)
    assert not accumulation.fold(0, second.cells, measured(second))
    assert not accumulation.fold(10_000, first.cells, measured(first))
    short = measured(first)
    assert not accumulation.fold(0, first.cells, Tally(short.examples - 1, short.loss_sum, short.loss_sq, short.correct))
    assert accumulation.done == 0.0
    assert next(accumulation.missing()) == 0


def test_losses_that_are_not_finite_stay_so_and_are_counted():
    accumulation = Accumulation(job(CURVE, examples=40))
    for unit in accumulation.plan.units:
        tally = measured(unit)
        tally.loss_sum[:1] = np.inf
        accumulation.fold(unit.index, unit.cells, tally)
    surface = accumulation.surface({})
    assert surface.not_finite == len(accumulation.plan.units)
    event = StageSnapshot.of(surface).event(Progress(), "finished")
    assert event["not_finite"] == surface.not_finite


@pytest.mark.parametrize(
    "about",
    [None, 3, {}, {"stage": 1}, {"stage": 1, "stages": 2, "examples": 5, "rows": [0, 99], "columns": [0]},
     {"stage": 1, "stages": 2, "examples": 5, "rows": [0, 0], "columns": [0]}, {"stage": True, "stages": 2, "examples": 5, "rows": [0], "columns": [0]},
     {"stage": 1, "stages": 2, "examples": 5, "rows": [], "columns": [0]}, {"stage": "x", "stages": 2, "examples": 5, "rows": [0], "columns": [0]}],
)  # fmt: skip
def test_an_imported_file_cannot_lie_about_its_stage(about):
    whole = in_chunk_order(job(SQUARE))
    whole.provenance["stage"] = about
    snapshot = StageSnapshot.of(whole)
    assert (len(snapshot.rows), len(snapshot.columns)) == SQUARE
