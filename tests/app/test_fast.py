"""Surfaces of the `fast` budget on a server: the values of the core, whatever happens on the way, and no work done twice."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from app.fast_accumulation import FastAccumulation
from app.pages.surface import panels
from app.schemas import Progress
from app.snapshots import StageSnapshot
from landscape_core.fast_budget import next_depths
from landscape_core.fast_surface import fast_surface
from landscape_core.formats import npz
from landscape_core.ladder import Ladder
from landscape_core.results import ESTIMATED, MEASURED, Surface, Tally
from tests.app.hands import Hands
from tests.app.test_accumulation import SQUARE, job
from tests.app.test_collector import expected
from tests.app.test_flow import check as check_flow
from worker.blobs import surface_prefix, unit_key
from worker.job import SurfaceJob, WorkUnit

ARRAYS = ("loss", "stderr", "accuracy", "examples", "state")


def smooth(unit: WorkUnit) -> Tally:
    """Tallies of a bowl that every range of examples tilts a little, so that differences can be interpolated."""
    row, column = (np.array(part, float) for part in zip(*unit.cells, strict=True))
    n, tilt = unit.stop - unit.start, np.random.default_rng(unit.start).normal(0, 1, 3)
    height = 20 + row**2 / 9 + column**2 / 5 + (tilt[0] + tilt[1] * np.sin(row / 9) + tilt[2] * np.cos(column / 7)) / np.sqrt(n)
    right = np.full(len(row), n // 3)
    return Tally(np.full(len(row), n), n * height, n * (height**2 + 1), right)


class SmoothHands(Hands):
    """Gives results that can be interpolated."""

    def tally(self, unit: WorkUnit) -> Tally:
        return smooth(unit)


def test_workers_and_the_end_are_shown_as_words():
    assert "first on cpu, second on cuda:0" in str(panels.value_text("workers", {"first": "cpu", "second": "cuda:0"}))
    assert panels.value_text("finished", "2026-11-30T15:31:18+00:00") == "2026-11-30 15:31"


def fast_job(shape: tuple[int, int] = SQUARE, examples: int = 2000, tolerance: float = 0.001) -> SurfaceJob:
    exact = job(shape, examples)
    request = exact.request.model_copy(update={"budget": "fast", "tolerance": tolerance})
    return exact.model_copy(update={"surface": request.digest, "request": request, "by_level": True})


def straight(of: SurfaceJob) -> Surface:
    """What the core makes of the same tallies, asked for level by level."""
    request = of.request
    ladder = Ladder.for_request(request, request.data.examples or 0)
    tallies = []
    for start, stop in ladder.bounds:
        cells = tuple((row, column) for row in range(ladder.shape[0]) for column in range(ladder.shape[1]))
        unit = WorkUnit(surface=of.surface, index=0, stage=0, cells=cells, start=start, stop=stop)
        tallies.append(smooth(unit).reshaped(*ladder.shape))
    depths = ladder.nothing
    while (wanted := next_depths(ladder, depths, tallies)) is not None:
        depths = wanted
    return fast_surface(request, ladder, depths, tallies, {}, of.decisions)


def same(found: Surface, right: Surface) -> None:
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(found, name), getattr(right, name), name)
    for name, table in right.quantities.items():
        np.testing.assert_array_equal(found.quantities[name], table, name)


@pytest.mark.parametrize("shape", [SQUARE, (1, 43), (25, 25), (1, 1)])
@pytest.mark.parametrize("seed", range(3))
def test_units_in_any_order_with_others_among_them_give_the_same_values(shape, seed):
    rng, of = np.random.default_rng(seed), fast_job(shape)
    accumulation, shown, given = FastAccumulation(of), [], set()
    while wanted := list(accumulation.missing()):
        assert accumulation.done < 1
        stray = rng.choice(len(accumulation.plan.units), 2)
        for index in [*rng.permutation(wanted)[: 1 + len(wanted) // 2], *(stray if seed else [])]:
            unit = accumulation.plan.unit(int(index))
            assert accumulation.fold(unit.index, unit.cells, smooth(unit))
            given.add(unit.index)
            if accumulation.stage > len(shown):
                shown.append(accumulation.surface({}))
    assert accumulation.is_complete
    assert (accumulation.done, accumulation.stage) == (1, accumulation.stages)
    found = accumulation.surface({})
    same(found, straight(of))
    assert "stage" not in found.provenance
    stages = [earlier.provenance["stage"] for earlier in shown if "stage" in earlier.provenance]
    for earlier, about in zip(shown, stages, strict=False):
        assert np.isfinite(earlier.loss[np.ix_(about["rows"], about["columns"])]).all()
    if shape == (25, 25) and not seed:
        share = found.provenance["fast"]["cost_share"]
        assert accumulation.total_macs == pytest.approx(share * of.macs_per_example * 625 * 2000, rel=1e-4)
        assert len(given) < len(accumulation.plan.units)


@pytest.fixture
def asked(settings, start_site, ready_checkpoint, request_for):
    """A site whose worker the test is, and what asks it for a surface."""
    site = start_site(settings)

    def ask(**parts: Any) -> tuple[int, str]:
        answer = site.http.post("/surfaces", json=request_for(ready_checkpoint, (19, 17), 1000, **parts))
        return answer.status_code, answer.json()["id"]

    return site, ask


def test_exact_goes_on_from_fast_and_repeats_nothing(asked, wait_until):
    site, ask = asked
    _, fast = ask(budget="fast", tolerance=0.001)
    hands = SmoothHands(site.services)
    hands.work_until_idle(fast)
    info = site.finished(fast, 20)
    assert info["progress"]["stage"] == info["progress"]["stages"]
    found = site.services.surface_result(fast)
    same(found, straight(hands.job(fast)))
    assert {ESTIMATED, MEASURED} == set(np.unique(found.state))
    hands.finish(fast, own_loss=1.5)
    wait_until(lambda: site.services.surface(fast).provenance.get("own_loss") == 1.5, 5, "the last touches are known")
    before = set(hands.taken)
    assert hands.taken_twice == set()
    assert ask(budget="fast", tolerance=0.001) == (200, fast)

    status, exact = ask()
    assert (status, exact != fast) == (202, True)
    hands.taken.clear()
    hands.work_until_idle(exact)
    site.finished(exact, 20)
    again = set(hands.taken)
    assert not again & before, "what the fast surface has is not computed again"
    assert again | before == set(range(len(hands.plan(exact).units)))
    whole, right = site.services.surface_result(exact), expected(hands, exact)
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(whole, name), getattr(right, name))
    assert not whole.quantities

    hands.taken.clear()
    assert ask(budget="fast", tolerance=0.01) == (200, exact), "what is measured answers better than an estimate"
    site.http.delete(f"/surfaces/{exact}")
    assert ask(budget="fast", tolerance=0.02)[0] == 202


def test_another_tolerance_begins_with_what_is_there(asked):
    site, ask = asked
    _, rough = ask(budget="fast", tolerance=0.05)
    hands = SmoothHands(site.services)
    hands.work_until_idle(rough)
    site.finished(rough, 20)
    before = set(hands.taken)
    hands.taken.clear()
    _, fine = ask(budget="fast", tolerance=0.0001)
    hands.work_until_idle(fine)
    site.finished(fine, 20)
    assert not set(hands.taken) & before
    same(site.services.surface_result(fine), straight(hands.job(fine)))


def test_a_collector_that_begins_anew_and_damaged_blobs_change_no_value(asked, wait_until):
    site, ask = asked
    _, fast = ask(budget="fast", tolerance=0.001)
    hands = SmoothHands(site.services)
    units = len(hands.plan(fast).stage_units(0)) + 3
    given = []
    for _ in range(units):
        given.append(hands.wait_for(fast))
        hands.give(fast, given[-1])
    site.stop()
    key = unit_key(fast, given[-1])
    site.services.blobs.put(key, site.services.blobs.get(key)[:-4] + b"rot!")
    hands.forget_jobs()
    site.start()
    hands = SmoothHands(site.services)
    hands.work_until_idle(fast)
    site.finished(fast, 20)
    same(site.services.surface_result(fast), straight(hands.job(fast)))
    assert set(hands.taken) & set(given) <= {given[-1]}
    assert site.services.blobs.list(f"{surface_prefix(fast)}units/")


def test_requests_are_checked_and_their_cost_is_that_of_the_pilot(asked, request_for, ready_checkpoint):
    site, _ = asked
    body = request_for(ready_checkpoint, 51, 3000)
    exact = site.http.post("/surfaces/estimate", json=body).json()
    fast = site.http.post("/surfaces/estimate", json=body | {"budget": "fast"}).json()
    assert 0.02 < fast["macs"] / exact["macs"] < 0.1
    assert fast["forward_passes"] < 0.1 * exact["forward_passes"]
    for change, field, sentence in (
        ({"tolerance": 0.01}, "", "an exact surface has no tolerance; choose budget fast, or leave out tolerance"),
        ({"budget": "fast", "tolerance": 0.5}, "tolerance", "0.2"),
        ({"budget": "fast", "curvature": {"examples": 8}}, "", "estimates losses, not eigenvalues"),
        ({"budget": "quick"}, "budget", 'one of "exact", "fast"'),
    ):
        answer = site.http.post("/surfaces", json=body | change)
        assert answer.status_code == 422
        assert (answer.json()["error"].get("field") or "") == field
        assert sentence in answer.json()["error"]["message"]


@pytest.mark.slow
def test_a_real_worker_gives_the_values_of_the_command_line(working_site, mlp_bytes, request_for):
    site = working_site
    checkpoint = site.upload(mlp_bytes(seed=5))
    surface = site.compute(request_for(checkpoint, 17, 700, budget="fast", metrics=["top5", "class_accuracy"]))
    right = check_flow(site, surface)
    found = npz.load(site.http.get(f"/surfaces/{surface}/data.npz").content)
    assert found.estimated
    assert found.provenance["fast"] == right.provenance["fast"]
    for suffix in ("h5", "csv", "json", "vtp", "stl", "glb"):
        assert site.http.get(f"/surfaces/{surface}/data.{suffix}").status_code == 200


def test_a_worker_that_dies_changes_no_value(asked):
    site, ask = asked
    _, fast = ask(budget="fast", tolerance=0.001)
    hands = SmoothHands(site.services)
    for _ in hands.plan(fast).stage_units(0):
        hands.give(fast, hands.wait_for(fast))
    lost = hands.wait_for(fast)
    hands.die(fast, lost, attempt=0)
    hands.work_until_idle(fast)
    site.finished(fast, 20)
    assert hands.taken[lost] == 2
    same(site.services.surface_result(fast), straight(hands.job(fast)))


@pytest.mark.parametrize(
    "about",
    [None, 7, {}, {"estimated_rmse": 3}, {"estimated_rmse": {"share_of_range": "<b>"}, "cost_share": True, "form": ["x"]},
     {"estimated_rmse": {"share_of_range": float("inf")}, "met": "yes"}],
)  # fmt: skip
def test_an_imported_file_cannot_lie_about_its_estimate(about):
    whole = straight(fast_job())
    told = StageSnapshot.of(whole).event(Progress(), "finished")["estimate"]
    assert told == {
        "cells": whole.estimated,
        "undecided": 0,
        "share": whole.provenance["fast"]["estimated_rmse"]["share_of_range"],
        "log_share": whole.provenance["fast"]["estimated_rmse"]["share_of_log_range"],
        "cost": whole.provenance["fast"]["cost_share"],
    }
    whole.provenance["fast"] = about
    told = StageSnapshot.of(whole).event(Progress(), "finished")["estimate"]
    assert told == {"cells": whole.estimated, "undecided": 0, "share": None, "log_share": None, "cost": None}
    assert panels.estimated(about) == []
