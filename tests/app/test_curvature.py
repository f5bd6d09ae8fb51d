"""A curvature map from a server with real workers: asked for, watched, killed, cancelled, gone on with, and equal to the command's."""

from __future__ import annotations

import os
import signal

import h5py
import numpy as np
import pytest

from app.services.curvature_costs import LEAST_CELL_S, MOST_CELL_MACS, cells_of_unit, check_curvature, map_seconds
from landscape_core.errors import InvalidRequest
from landscape_core.formats import npz
from landscape_core.requests import SurfaceRequest
from tests.app.test_flow import check
from worker.job import WorkerStatus, eigenvalues_of

WIDTHS = (784, 6, 10)
BODY = {
    "checkpoint": "0" * 64,
    "architecture": {"name": "mlp"},
    "data": {"dataset": "d", "examples": 200},
    "plane": {"x": {"kind": "random", "seed": 1}, "y": {"kind": "random", "seed": 2}},
    "grid": {axis: {"start": -1, "stop": 1, "points": 5} for axis in "xy"},
}


def asked(site, mlp_bytes, request_for, points=5, examples=32):
    """A surface with a curvature map that was just asked for, on a site with an idle worker."""
    checkpoint = site.upload(mlp_bytes(0, WIDTHS))
    answer = site.http.post("/surfaces", json=request_for(checkpoint, points, 100, curvature={"examples": examples}))
    assert answer.status_code == 202, answer.text
    return answer.json()["id"]


def measures(site, surface, what):
    return lambda: site.http.get(f"/surfaces/{surface}").json()["progress"]["measures"] == what


@pytest.mark.slow
def test_a_map_is_watched_as_it_sharpens_and_equals_that_of_one_process(working_site, mlp_bytes, request_for, tmp_path):
    site = working_site
    body = request_for(site.upload(mlp_bytes(0, WIDTHS)), 5, 100)
    plain = site.http.post("/surfaces/estimate", json=body).json()
    cost = site.http.post("/surfaces/estimate", json=body | {"curvature": {"examples": 32}}).json()
    assert cost["macs"] == plain["macs"] * (100 + 200 * 32) / 100
    assert plain["curvature_seconds"] is None
    assert cost["seconds"] > cost["curvature_seconds"] > 0
    surface = asked(site, mlp_bytes, request_for)
    events = site.events(f"/surfaces/{surface}/events")
    assert events[-1][2] == {"state": "finished", "problem": None}
    last = [data for kind, _, data in events if kind == "surface"][-1]
    assert set(last["quantities"]) == {"max_eig", "min_eig"}
    assert last["stage"] == last["stages"]
    provenance, theirs = site.services.surface(surface).provenance, check(site, surface).provenance
    assert provenance["curvature"] == theirs["curvature"]
    for suffix in ("npz", "h5"):
        (tmp_path / f"a.{suffix}").write_bytes(site.http.get(f"/surfaces/{surface}/data.{suffix}").content)
    whole = npz.load((tmp_path / "a.npz").read_bytes())
    with h5py.File(tmp_path / "a.h5") as file:
        for name in ("max_eig", "min_eig"):
            np.testing.assert_array_equal(file[name][()].squeeze(), whole.quantities[name])


@pytest.mark.slow
def test_neither_a_killed_worker_nor_a_cancellation_nor_a_rotten_unit_changes_a_value(
    settings, start_site, mlp_bytes, request_for, wait_until
):
    site = start_site(settings)
    site.start_worker()
    surface = asked(site, mlp_bytes, request_for, points=7, examples=48)
    wait_until(measures(site, surface, "eigenvalues"), 60, "eigenvalues are measured")
    os.kill(site.workers[0].pid, signal.SIGKILL)
    site.workers[0].wait()
    assert site.http.get(f"/surfaces/{surface}").json()["state"] == "running"
    assert site.http.post(f"/surfaces/{surface}/cancel").json()["state"] == "cancelled"
    snapshot = site.services.snapshot(surface)
    assert snapshot is not None
    assert snapshot.stage < snapshot.stages
    stored = site.services.blobs.list(f"surfaces/{surface}/units")
    site.services.blobs.put(stored[-1], b"rotten")
    assert site.http.post(f"/surfaces/{surface}/retry").json()["state"] == "queued"
    site.start_worker()
    wait_until(measures(site, surface, "eigenvalues"), 60, "it goes on with eigenvalues")
    site.stop()
    again = start_site(site.settings)
    again.finished(surface, 90)
    check(again, surface)


REFUSED = [
    ({"curvature": {"examples": 5000}}, "curvature.examples", "at most 4,096 examples"),
    ({"curvature": {"examples": 64}, "batch_norm": "reestimated"}, "", "choose batch_norm fixed"),
    ({"curvature": {"examples": "some"}}, "curvature.examples", "a whole number from 1"),
]


@pytest.mark.parametrize(("change", "field", "word"), REFUSED)
def test_maps_that_cannot_be_measured_are_refused_in_a_sentence(working_site, mlp_bytes, request_for, change, field, word):
    checkpoint = working_site.upload(mlp_bytes())
    for path in ("/surfaces", "/surfaces/estimate"):
        answer = working_site.http.post(path, json=request_for(checkpoint, 5, 100) | change)
        error = answer.json()["error"]
        assert (answer.status_code, error["code"], error.get("field") or "") == (422, "invalid_request", field), error
        assert word in error["message"]
        assert error["message"].endswith(".")


def test_the_limit_follows_the_cost_of_a_cell(services, ready_checkpoint, request_for):
    request = SurfaceRequest.model_validate(request_for(ready_checkpoint, 5, 100, curvature={"examples": 251}))
    check_curvature(request, MOST_CELL_MACS // 200 // 251)
    with pytest.raises(InvalidRequest, match="at most 250 examples, but 251 were asked for") as caught:
        check_curvature(request, MOST_CELL_MACS // 200 // 250)
    assert caught.value.field == "curvature.examples"
    with pytest.raises(InvalidRequest, match="at most 1 examples"):
        check_curvature(request, MOST_CELL_MACS)


def test_the_cost_is_as_workers_have_measured_such_cells():
    status = {"pid": 1, "host": "h", "device": "cpu", "threads": 1, "state": "idle", "started": 0.0}
    fresh = WorkerStatus(name="fresh", speeds={"": 1e9}, **status)
    known = WorkerStatus(name="known", speeds={"": 1e9, "mlp": 4e9, eigenvalues_of("mlp"): 1e7}, **status)
    request = SurfaceRequest.model_validate(BODY | {"curvature": {"examples": 50}})
    macs = 1000  # of a cell: 1e7
    assert map_seconds([fresh], request, macs) == pytest.approx(25 * LEAST_CELL_S)
    assert map_seconds([known], request, macs) == pytest.approx(25 * 1.0)
    assert map_seconds([known, known], request, macs) == pytest.approx(12.5)
    assert cells_of_unit([fresh], request, macs, 1.5) == 21
    assert cells_of_unit([fresh, known], request, macs, 1.5) == 1
    assert cells_of_unit([], request, macs, 1.5) == 1
    assert map_seconds([], request, macs) is None
    assert map_seconds([known], request.model_copy(update={"curvature": None}), macs) is None


def test_a_surface_without_a_network_gets_no_map(working_site, mlp_bytes, request_for):
    checkpoint = working_site.upload(mlp_bytes(3, (784, 16, 10)))
    assert working_site.http.delete(f"/checkpoints/{checkpoint}").status_code == 204
    answer = working_site.http.post("/surfaces", json=request_for(checkpoint, 5, 100, curvature={"examples": 64}))
    assert (answer.status_code, answer.json()["error"]["field"]) == (422, "checkpoint")
