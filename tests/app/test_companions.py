"""Surfaces that need other checkpoints: what is refused, what is kept, and the way through a real worker."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from landscape_core.errors import InvalidRequest
from landscape_core.requests import SurfaceRequest


def towards(checkpoint: str) -> dict[str, Any]:
    return {"kind": "towards", "checkpoint": checkpoint}


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


def test_other_checkpoints_that_cannot_be_used_are_refused_by_their_field(services, inspected, mlp_bytes, request_for):
    own, wider = inspected(mlp_bytes(1)), inspected(mlp_bytes(2, (784, 17, 10)))
    for plane, field, text in (
        ({"x": towards("c" * 64), "y": {"kind": "random", "seed": 1}}, "plane.x.checkpoint", "There is no checkpoint cccc"),
        ({"x": {"kind": "random", "seed": 1}, "y": towards(wider)}, "plane.y.checkpoint", "is of another mlp"),
        ({"x": towards(own), "y": towards(wider)}, "plane.x.checkpoint", "very checkpoint that it starts from"),
    ):
        request = SurfaceRequest.model_validate(request_for(own, plane=plane))
        with pytest.raises(InvalidRequest, match=text) as refused:
            services.request_surface(request)
        assert refused.value.field == field


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
