"""Eigenvalues join the losses once these are whole, in whole grids; whatever arrives in whatever order."""

from __future__ import annotations

import numpy as np
import pytest

from app.gathering import Gathering
from app.schemas import Progress
from app.snapshots import StageSnapshot
from landscape_core.requests import CurvatureSpec
from tests.app.test_accumulation import CURVE, SQUARE, job, measured
from worker.job import SurfaceJob, WorkUnit
from worker.queue import DamagedBlob, Eigenvalues, encode_unit


def curved(shape: tuple[int, int], examples: int = 700) -> SurfaceJob:
    plain = job(shape, examples)
    request = plain.request.model_copy(update={"curvature": CurvatureSpec(examples=64)})
    return plain.model_copy(update={"request": request, "surface": request.digest, "curvature_cells": 8})


def eigenvalues(unit: WorkUnit, **changed) -> Eigenvalues:
    """Values that depend on the cell alone; one cell in seven has none."""
    largest = np.array([np.nan if (row + column) % 7 == 3 else row + 100.0 * column for row, column in unit.cells])
    parts = {"examples": unit.stop, "parameters": 5, "products": 40 * len(unit.cells), "not_separated": 1}
    return Eigenvalues(unit.cells, largest, -largest / 10, **(parts | changed))


def blob(gathering: Gathering, index: int) -> bytes:
    if index < len(gathering.losses.plan.units):
        unit = gathering.losses.plan.unit(index)
        return encode_unit(unit.cells, measured(unit))
    return eigenvalues(gathering.curvature.plan.unit(index)).encode()


def work(job: SurfaceJob, units) -> Gathering:
    gathering = Gathering(job)
    for index in units:
        assert gathering.fold(index, blob(gathering, index))
    return gathering


@pytest.mark.parametrize("shape", [CURVE, SQUARE, (1, 1)])
def test_any_order_of_arrival_gives_the_same_values(shape):
    asked, count = curved(shape), Gathering(curved(shape)).units
    order = [int(index) for index in np.random.default_rng(0).permutation(count)]
    first, second = work(asked, range(count)), work(asked, [*order, *order[:9]])
    assert second.is_complete
    assert second.done == first.done == 1.0
    assert (second.stage, list(second.missing())) == (second.stages, [])
    one, other = first.surface({"a": 1}), second.surface({"a": 1})
    assert one.provenance == other.provenance
    assert other.provenance["a"] == 1
    assert "stage" not in other.provenance
    cells = shape[0] * shape[1]
    about = other.provenance["curvature"]
    assert (about["examples"], about["parameters"], about["products"]) == (64, 5, 40 * cells)
    assert about["not_separated"] == len(second.curvature.plan)
    for name in ("loss", "stderr", "accuracy"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    assert list(other.quantities) == ["max_eig", "min_eig"]
    for row in range(shape[0]):
        for column in range(shape[1]):
            hole = (row + column) % 7 == 3
            np.testing.assert_equal(other.quantities["max_eig"][row, column], np.nan if hole else row + 100.0 * column)


def test_stages_of_eigenvalues_follow_those_of_losses_and_are_whole_grids():
    gathering, seen = Gathering(curved(SQUARE)), []
    losses, most = gathering.losses.stages, gathering.stages
    for index in gathering.missing():
        assert gathering.fold(index, blob(gathering, index))
        if gathering.stage == len(seen):
            continue
        surface = gathering.surface({})
        snapshot = StageSnapshot.of(surface, most)
        event = snapshot.event(Progress(), "running")
        seen.append(gathering.measures)
        assert (snapshot.stage, snapshot.stages, event["stage"]) == (len(seen), most, len(seen))
        assert (surface.state[np.ix_(snapshot.rows, snapshot.columns)] == 1).all()
        if len(seen) <= losses:
            assert surface.quantities == {}
            assert "eigenvalues" not in event
        elif len(seen) < most:
            rows, columns = event["eigenvalues"]["rows"], event["eigenvalues"]["columns"]
            inside = np.zeros(SQUARE, bool)
            inside[np.ix_(rows, columns)] = True
            sums = np.add.outer(range(SQUARE[0]), range(SQUARE[1]))
            np.testing.assert_array_equal(np.isfinite(surface.quantities["max_eig"]), inside & (sums % 7 != 3))
            assert (len(snapshot.rows), len(snapshot.columns)) == SQUARE
            assert set(event["quantities"]) == {"max_eig", "min_eig"}
    assert len(seen) == most >= losses + 2
    assert seen == ["losses"] * (losses - 1) + ["eigenvalues"] * (most - losses) + ["losses"]
    assert StageSnapshot.of(surface, most).eigenvalues is None


def test_eigenvalues_that_are_there_before_the_losses_wait_for_them():
    asked = curved(SQUARE)
    losses = len(Gathering(asked).losses.plan.units)
    gathering = work(asked, [*range(losses, Gathering(asked).units), 0, 1, 2])
    assert gathering.measures == "losses"
    assert gathering.curvature.is_complete
    assert gathering.stage == gathering.losses.stage
    assert next(gathering.missing()) == 3
    share = gathering.curvature_macs / gathering.total_macs
    assert share < gathering.done < 1.0


def test_what_a_unit_does_not_find_is_not_taken_in():
    gathering = Gathering(curved(SQUARE))
    plan = gathering.curvature.plan
    first, second = plan.unit(plan.first), plan.unit(plan.first + 1)
    assert not gathering.fold(first.index, eigenvalues(second).encode())
    assert not gathering.fold(first.index, eigenvalues(first, examples=63).encode())
    assert not gathering.curvature.fold(0, eigenvalues(first))
    with pytest.raises(DamagedBlob):
        gathering.fold(first.index, blob(gathering, 0))
    with pytest.raises(DamagedBlob):
        gathering.fold(0, eigenvalues(first).encode())
    assert gathering.done == 0.0
    assert gathering.is_preview(0)
    assert not gathering.is_preview(first.index)


@pytest.mark.parametrize("told", [None, 3, {"rows": [0]}, {"rows": [0, 99], "columns": [0]}, {"rows": [1], "columns": ["x"]}])
def test_an_imported_file_cannot_lie_about_its_eigenvalues(told):
    gathering = work(curved(SQUARE), range(Gathering(curved(SQUARE)).units - 1))
    surface = gathering.surface({})
    surface.provenance["stage"]["eigenvalues"] = told
    assert StageSnapshot.of(surface).eigenvalues is None
