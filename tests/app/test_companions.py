"""Surfaces that need other checkpoints: what is refused, what is kept, and the way through a real worker."""

from __future__ import annotations

import io
import json
from typing import Any

import h5py
import numpy as np
import pytest
from plotly.utils import PlotlyJSONEncoder

from landscape_core.errors import InvalidRequest
from landscape_core.requests import SurfaceRequest


def towards(checkpoint: str) -> dict[str, Any]:
    return {"kind": "towards", "checkpoint": checkpoint}


def random(seed: int) -> dict[str, Any]:
    return {"kind": "random", "seed": seed}


def principal(index: int, *checkpoints: str) -> dict[str, Any]:
    return {"kind": "principal", "index": index, "checkpoints": checkpoints}


def refusal(site: Any, body: dict[str, Any]) -> tuple[int, str, str]:
    answer = site.http.post("/surfaces", json=body)
    error = answer.json()["error"]
    return answer.status_code, error.get("field"), error["message"]


@pytest.mark.slow
def test_a_plane_through_three_checkpoints(working_site, mlp_bytes, request_for, wait_until):
    site = working_site
    first, second, third = (site.upload(mlp_bytes(seed), name=f"{seed}.safetensors") for seed in (1, 2, 3))
    grid = {axis: {"start": 0, "stop": 1, "points": 3} for axis in "xy"}
    plane = {"x": towards(second), "y": towards(third)}
    surface = site.compute(request_for(first, examples=200, plane=plane, grid=grid))
    found = site.services.surface_result(surface)
    point = {axis: {"start": 0, "stop": 0, "points": 1} for axis in "xy"}
    for checkpoint, cell in ((first, (0, 0)), (second, (0, 2)), (third, (2, 0))):
        own = site.services.surface_result(site.compute(request_for(checkpoint, examples=200, grid=point)))
        assert found.loss[cell] == pytest.approx(own.loss[0, 0], rel=1e-5)
    directions = f"/surfaces/{surface}/directions.h5"
    wait_until(lambda: site.http.get(directions).status_code == 200, 20, "the directions")
    given = site.upload(site.http.get(directions).content, "directions", "d.h5")
    files = {axis: {"kind": "file", "file": given} for axis in "xy"}
    same = site.compute(request_for(first, examples=200, plane=files, grid=grid))
    np.testing.assert_array_equal(site.services.surface_result(same).loss, found.loss)
    request = SurfaceRequest.model_validate(site.http.get(f"/surfaces/{surface}").json()["request"])
    assert request.digest == surface


@pytest.mark.slow
def test_a_training_run_over_http(working_site, mlp_bytes, request_for, wait_until):
    site = working_site
    run = [site.upload(mlp_bytes(seed), name=f"epoch_{seed}.safetensors") for seed in (11, 12, 13, 14)]
    plane = {"x": principal(1, *run), "y": principal(2, *run)}
    surface = site.compute(request_for(run[-1], 3, 200, plane=plane))
    about = wait_until(
        lambda: site.http.get(f"/surfaces/{surface}").json()["provenance"].get("trajectory"), 20, "the way of the run"
    )
    assert about["checkpoints"] == run
    assert about["coordinates"][3] == [0.0, 0.0]
    assert len(about["off_plane"]) == 4
    assert 0 < about["explained_variance_ratio"][1] <= about["explained_variance_ratio"][0] < 1
    wait_until(lambda: site.http.get(f"/surfaces/{surface}").json()["preview"] == "done", 60, "the last touches")
    about = site.http.get(f"/surfaces/{surface}").json()["provenance"]["trajectory"]
    assert about["names"] == [f"epoch_{seed}.safetensors" for seed in (11, 12, 13, 14)]
    assert about["own_loss"][3] == about["plane_loss"][3] == pytest.approx(site.services.surface_result(surface).loss[1, 1])
    assert about["own_loss"][0] == pytest.approx(own_loss(site, request_for, run[0]), rel=1e-6)
    assert list(site.services.blobs.list(f"surfaces/{surface}/run/")) == []
    with h5py.File(io.BytesIO(site.http.get(f"/surfaces/{surface}/projection.h5").content)) as file:
        np.testing.assert_array_equal(np.stack([file["proj_xcoord"][:], file["proj_ycoord"][:]], 1), about["coordinates"])
    with h5py.File(io.BytesIO(site.http.get(f"/surfaces/{surface}/directions.h5").content)) as file:
        np.testing.assert_array_equal(file["explained_variance_ratio_"][:], about["explained_variance_ratio"])
    event = site.services.snapshot(surface).event(site.services.surface(surface).progress, "finished")
    assert event["trajectory"]["own_loss"] == about["own_loss"]
    assert site.http.delete(f"/checkpoints/{run[0]}").status_code == 204
    assert site.http.post("/surfaces", json=request_for(run[-1], 3, 100, plane=plane)).status_code == 422


def own_loss(site: Any, request_for: Any, checkpoint: str) -> float:
    point = {axis: {"start": 0, "stop": 0, "points": 1} for axis in "xy"}
    alone = site.compute(request_for(checkpoint, examples=200, grid=point))
    return float(site.services.surface_result(alone).loss[0, 0])


@pytest.mark.slow
def test_hessian_directions_over_http(working_site, mlp_bytes, request_for, wait_until):
    site = working_site
    checkpoint = site.upload(mlp_bytes(21))
    plane = {"x": {"kind": "hessian", "index": 1, "examples": 100}, "y": random(1)}
    body = request_for(checkpoint, 3, 200, plane=plane)
    assert site.http.post("/surfaces/estimate", json=body).status_code == 200
    surface = site.compute(body)
    check = f"/surfaces/{surface}"
    about = wait_until(lambda: site.http.get(check).json()["provenance"].get("directions"), 20, "the eigenvalue")
    assert about["x_eigenvalue"] > 0
    assert about["x_norm"] == pytest.approx(1, rel=1e-6)
    wrong = plane | {"x": {"kind": "hessian", "index": 0}}
    assert refusal(site, body | {"plane": wrong})[:2] == (422, "plane.x.index")


def test_other_checkpoints_that_cannot_be_used_are_refused_by_their_field(services, inspected, mlp_bytes, request_for):
    own, wider = inspected(mlp_bytes(1)), inspected(mlp_bytes(2, (784, 17, 10)))
    for plane, field, text in (
        ({"x": towards("c" * 64), "y": random(1)}, "plane.x.checkpoint", "There is no checkpoint cccc"),
        ({"x": random(1), "y": towards(wider)}, "plane.y.checkpoint", "is of another mlp"),
        ({"x": towards(own), "y": towards(wider)}, "plane.x.checkpoint", "very checkpoint that it starts from"),
        ({"x": principal(1, own, wider), "y": random(1)}, "plane.x.checkpoints", "is of another mlp"),
        ({"x": principal(2, own, wider), "y": random(1)}, "plane.x.index", "at most 1 principal direction, so no number 2"),
        ({"x": random(1), "y": random(2), "trajectory": ["c" * 64]}, "plane.trajectory", "There is no checkpoint cccc"),
    ):
        request = SurfaceRequest.model_validate(request_for(own, plane=plane))
        with pytest.raises(InvalidRequest, match=text) as refused:
            services.request_surface(request)
        assert refused.value.field == field


def test_how_a_run_varies_is_said_beside_the_figure():
    from app.pages.surface.panels import shares

    def text(trajectory: Any) -> str:
        return json.dumps([part.to_plotly_json() for part in shares(trajectory)], cls=PlotlyJSONEncoder, ensure_ascii=False)

    said = text({"explained_variance_ratio": [0.625, None]})
    assert "Run's variance along δ" in said
    assert "62.5 %" in said
    assert "η" not in said
    assert [shares(damaged) for damaged in (None, {}, [1], {"explained_variance_ratio": 3})] == [[], [], [], []]


def test_over_http_the_answer_names_the_field(site, mlp_bytes, request_for):
    answer = site.http.put("/checkpoints", params={"filename": "a.safetensors"}, content=mlp_bytes(7))
    own = answer.json()["id"]
    status, field, text = refusal(site, request_for(own, plane={"x": {"kind": "towards", "checkpoint": "nonsense"}, "y": None}))
    assert (status, field) == (422, "plane.x.checkpoint")
    assert "pattern" in text or "64" in text


def test_a_checkpoint_that_a_surface_needs_is_not_deleted(services, inspected, mlp_bytes, request_for):
    from app.errors import Conflict

    own, other, third = (inspected(mlp_bytes(seed)) for seed in (1, 2, 3))
    plane = {"x": towards(other), "y": {"kind": "random", "seed": 1}}
    info, created = services.request_surface(SurfaceRequest.model_validate(request_for(own, plane=plane)))
    assert created
    with pytest.raises(Conflict, match="1 surface is being computed from this checkpoint"):
        services.delete_checkpoint(other)
    services.delete_checkpoint(third)
    services.cancel(info.id)
    services.delete_checkpoint(other)
