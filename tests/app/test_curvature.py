"""A curvature map from a server with real workers: asked for, watched, killed, cancelled, gone on with, and equal to the command's."""

from __future__ import annotations

import os
import signal

import h5py
import numpy as np
import pytest

from landscape_core.formats import npz
from tests.app.test_flow import check

WIDTHS = (784, 6, 10)


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
    assert cost["seconds"] == plain["seconds"] + cost["curvature_seconds"]
    assert cost["curvature_seconds"] >= 25 * 0.07  # a network so small takes no less
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


def test_a_surface_without_a_network_gets_no_map(working_site, mlp_bytes, request_for):
    checkpoint = working_site.upload(mlp_bytes(3, (784, 16, 10)))
    assert working_site.http.delete(f"/checkpoints/{checkpoint}").status_code == 204
    answer = working_site.http.post("/surfaces", json=request_for(checkpoint, 5, 100, curvature={"examples": 64}))
    assert (answer.status_code, answer.json()["error"]["field"]) == (422, "checkpoint")
