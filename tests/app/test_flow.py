"""From upload to finished surface, with a real worker; and what is refused on the way (issue 2, must hold 6 and 7)."""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import time
import zipfile
from typing import Any

import httpx
import numpy as np
import pytest

from landscape_core.requests import SurfaceRequest
from landscape_core.results import Surface

LFS_POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"a" * 64 + b"\nsize 12345\n"

COMPUTED_HERE: dict[str, Surface] = {}
"""By id, which is the request's digest, files and all: several tests disturb the same surface."""


def computed_here(site: Any, surface: str) -> Surface:
    """What the same request gives in this process, without web, queue or worker."""
    from landscape_core.compute import compute_surface, load_dataset
    from landscape_core.reading import read_canonical
    from worker.blobs import checkpoint_key

    request = SurfaceRequest.model_validate(site.http.get(f"/surfaces/{surface}").json()["request"])
    if surface not in COMPUTED_HERE:
        tensors = read_canonical(site.services.blobs.local_path(checkpoint_key(request.checkpoint)))
        examples = load_dataset(request.data.dataset, request.data.split, site.settings.datasets_folder)
        COMPUTED_HERE[surface] = compute_surface(request, tensors, examples, threads=1)
    return COMPUTED_HERE[surface]


def check(site: Any, surface: str) -> Surface:
    """The stored surface equals the undisturbed one, value for value; gives the latter."""
    from landscape_core.formats import npz

    found, right = npz.load(site.http.get(f"/surfaces/{surface}/data.npz").content), computed_here(site, surface)
    for name in ("x", "y", "loss", "stderr", "accuracy", "examples", "state"):
        np.testing.assert_array_equal(getattr(found, name), getattr(right, name), name)
    assert list(found.quantities) == list(right.quantities)
    for name, table in right.quantities.items():
        np.testing.assert_array_equal(found.quantities[name], table, name)
    return right


def data_file(**arrays: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


# -- the way ------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_from_upload_to_share(working_site, mlp_bytes, request_for, wait_until):
    site = working_site
    checkpoint = site.upload(mlp_bytes(), name="mine.safetensors")
    info = site.http.get(f"/checkpoints/{checkpoint}").json()
    assert (info["state"], info["format"], info["tensors"]) == ("ready", "safetensors", 4)
    assert [candidate["name"] for candidate in info["candidates"]] == ["mlp"]
    body = request_for(checkpoint, 15, 200, architecture={"name": "infer"})
    cost = site.http.post("/surfaces/estimate", json=body).json()
    assert (cost["cells"], cost["examples"], cost["macs"]) == (225, 200, 225 * 200 * (784 * 16 + 160))
    assert cost["forward_passes"] == 225 * 200
    answer = site.http.post("/surfaces", json=body)
    assert answer.status_code == 202
    surface = answer.json()["id"]
    events = site.events(f"/surfaces/{surface}/events")
    stages = [data["stage"] for kind, _, data in events if kind == "surface"]
    assert stages == sorted(set(stages))
    assert stages[-1] == site.http.get(f"/surfaces/{surface}").json()["progress"]["stages"] >= 3
    assert events[-1][2] == {"state": "finished", "problem": None}
    check(site, surface)
    again = site.http.post("/surfaces", json=body)
    assert (again.status_code, again.json()) == (200, {"id": surface, "state": "finished"})
    wait_until(lambda: site.http.get(f"/surfaces/{surface}/preview.png").status_code == 200, 20, "the picture")
    provenance = wait_until(
        lambda: (p := site.services.surface(surface).provenance).get("own_loss") and p, 20, "the last touches"
    )
    centre = site.services.surface_result(surface)
    assert provenance["own_loss"] == centre.loss[7, 7]
    assert provenance["device"] == "cpu"
    directions = site.http.get(f"/surfaces/{surface}/directions.h5")
    given = site.upload(directions.content, "directions", "d.h5")
    plane = {axis: {"kind": "file", "file": given} for axis in ("x", "y")}
    same = site.compute(request_for(checkpoint, 15, 200, plane=plane))
    assert same != surface
    np.testing.assert_array_equal(site.services.surface_result(same).loss, centre.loss)


@pytest.mark.slow
def test_uploaded_data_and_imported_surfaces(working_site, mlp_bytes, request_for):
    site = working_site
    checkpoint = site.upload(mlp_bytes(3, (12, 8, 3)))
    random = np.random.default_rng(0)
    dataset = site.upload(
        data_file(x=random.random((50, 12), np.float32), y=random.integers(0, 3, 50)), "datasets", "points.npz"
    )
    info = site.http.get(f"/datasets/{dataset}").json()
    assert (info["title"], info["splits"], info["shape"], info["classes"]) == ("points", {"train": 50}, [12], 3)
    surface = site.compute(request_for(checkpoint, 7, data={"dataset": dataset, "examples": None}))
    assert site.http.get(f"/surfaces/{surface}").json()["request"]["data"]["examples"] == 50
    for suffix in ("npz", "h5"):
        content = site.http.get(f"/surfaces/{surface}/data.{suffix}").content
        imported = site.http.post("/surfaces/import", params={"filename": f"mine.{suffix}"}, content=content)
        assert imported.status_code == 201, imported.text
        assert (imported.json()["id"], imported.json()["title"]) == (hashlib.sha256(content).hexdigest(), "mine")
        loss = site.services.surface_result(imported.json()["id"]).loss
        np.testing.assert_array_equal(loss, site.services.surface_result(surface).loss)
    assert site.http.delete(f"/datasets/{dataset}").status_code == 204
    assert site.http.get(f"/surfaces/{surface}/data.csv").status_code == 200


# -- what is refused ----------------------------------------------------------------------------------------------------


def torchscript() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in ("data.pkl", "constants.pkl", "code/__torch__.py", "version"):
            archive.writestr(f"model/{name}", b"\x80\x02}q\x00.")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"", "empty"),
        (b"<html>not here</html>", "web page"),
        (LFS_POINTER, "Git LFS"),
        (torchscript(), "TorchScript"),
        ("truncated", ""),
        ("unknown", "No catalogued architecture"),
    ],
)
def test_files_that_cannot_be_used_are_refused_in_a_sentence(working_site, mlp_bytes, content, word):
    site = working_site
    if content == "truncated":
        content = mlp_bytes()[:-100]
    if content == "unknown":
        from safetensors.numpy import save

        content = save({"a.weight": np.zeros((3, 3, 3, 3), np.float32), "strange": np.zeros(7, np.float32)})
    checkpoint = site.upload(content)
    info = site.http.get(f"/checkpoints/{checkpoint}").json()
    assert info["state"] == "rejected", info
    assert word in info["problem"]
    assert info["problem"].endswith((".", ")", "`"))
    assert "Traceback" not in info["problem"]
    body = {"checkpoint": checkpoint, "architecture": {"name": "mlp"}, "data": {"dataset": "fashion-mnist-sample"},
            "plane": {"x": {"kind": "random", "seed": 1}}, "grid": {"x": {"start": -1, "stop": 1, "points": 5}}}  # fmt: skip
    asked = site.http.post("/surfaces", json=body)
    assert (asked.status_code, asked.json()["error"]["field"]) == (422, "checkpoint")
    assert "was rejected" in asked.json()["error"]["message"]
    assert site.http.get("/health").json()["status"] == "ok"


@pytest.mark.parametrize(
    ("change", "field", "word"),
    [
        ({"grid": {"x": {"start": -1, "stop": 1, "points": 0}, "y": {"start": -1, "stop": 1, "points": 5}}}, "grid.x.points", "from 1 to 501, but 0 came"),
        ({"grid": {"x": {"start": -1, "stop": 1, "points": 10000}, "y": {"start": -1, "stop": 1, "points": 5}}}, "grid.x.points", "but 10000 came"),
        ({"grid": {"x": {"start": -1, "stop": 1, "points": "abc"}, "y": {"start": -1, "stop": 1, "points": 5}}}, "grid.x.points", 'a whole number from 1 to 501, but "abc" came'),
        ({"plane": {"x": {"kind": "spiral"}, "y": {"kind": "random", "seed": 1}}}, "plane.x.kind", 'one of "random", "file", "towards", "principal", "hessian"'),
        ({"plane": {"x": {"kind": "random", "seed": 1}, "y": {"kind": "random", "seed": 1}}}, "plane.y.seed", "span a line"),
        ({"plane": {"x": {"kind": "file", "file": "0" * 64}, "y": {"kind": "random", "seed": 1}}}, "plane.x.file", "upload it first"),
        ({"checkpoint": "0" * 64}, "checkpoint", "upload the file first"),
        ({"architecture": {"name": "resnet9000"}}, "architecture.name", "choose one of resnet20"),
        ({"architecture": {"name": "resnet56"}}, "architecture", "does not fit resnet56"),
        ({"architecture": {"name": "mine.py:build", "options": {"code": "0" * 16}}}, "architecture.name", "There is no architecture"),
        ({"architecture": {"name": "mlp", "options": {"activation": "swoosh"}}}, "architecture.options", "relu"),
        ({"data": {"dataset": "imagenet-22k"}}, "data.dataset", "fashion-mnist-sample"),
        ({"data": {"dataset": "/etc/passwd"}}, "data.dataset", "There is no data set"),
        ({"data": {"dataset": "cifar10"}}, "data.dataset", "not on this machine"),
        ({"data": {"dataset": "fashion-mnist-sample", "examples": 3001}}, "data.examples", "at most 3,000"),
        ({"data": {"dataset": "fashion-mnist-sample", "preprocessing": "cifar10"}}, "data.preprocessing", "channel"),
        ({"budget": "quick"}, "budget", '"exact", "fast"'),
        ({"curvature": {"examples": 0}}, "curvature.examples", "1"),
        ({"precision": "tf32"}, "precision", "every worker of this server computes on another (cpu)"),
        ({"precision": "half"}, "precision", 'one of "float32", "tf32", "bfloat16"'),
    ],
)  # fmt: skip
def test_questions_that_cannot_be_asked_are_refused_with_their_field(working_site, mlp_bytes, request_for, change, field, word):
    site = working_site
    checkpoint = site.upload(mlp_bytes())
    for path in ("/surfaces", "/surfaces/estimate"):
        answer = site.http.post(path, json=request_for(checkpoint, 9, 100) | change)
        assert answer.status_code == 422, answer.text
        assert answer.json()["error"]["code"] == "invalid_request"
        assert answer.json()["error"]["field"] == field
        assert word in answer.json()["error"]["message"]


def test_data_of_another_shape_are_refused(working_site, mlp_bytes, request_for):
    site = working_site
    checkpoint = site.upload(mlp_bytes())
    other = site.upload(data_file(x=np.zeros((20, 5, 5), np.uint8), y=np.zeros(20, np.int64)), "datasets", "tiny.npz")
    answer = site.http.post("/surfaces", json=request_for(checkpoint, data={"dataset": other}))
    assert (answer.status_code, answer.json()["error"]["field"]) == (422, "data.dataset")
    assert "784" in answer.json()["error"]["message"]
    wrong = site.upload(data_file(x=np.zeros((20, 5, 5), np.uint8), y=np.zeros(19, np.int64)), "datasets", "wrong.npz")
    assert site.http.get(f"/datasets/{wrong}").json()["state"] == "rejected"
    asked = site.http.post("/surfaces", json=request_for(checkpoint, data={"dataset": wrong}))
    assert (asked.status_code, asked.json()["error"]["field"]) == (422, "data.dataset")


def test_a_direction_file_of_another_network_fails_in_a_sentence(working_site, mlp_bytes, request_for, wait_until):
    from landscape_core.formats import directions_h5

    site = working_site
    checkpoint = site.upload(mlp_bytes())
    path = site.settings.data / "other.h5"
    directions_h5([np.ones((3, 3), np.float32)], None, path)
    given = site.upload(path.read_bytes(), "directions", "other.h5")
    plane = {"x": {"kind": "file", "file": given}, "y": {"kind": "file", "file": given}}
    refused = site.http.post("/surfaces", json=request_for(checkpoint, plane=plane))
    assert (refused.status_code, refused.json()["error"]["field"]) == (422, "plane.y.file")
    mixed = site.http.post("/surfaces", json=request_for(checkpoint, plane=plane | {"y": {"kind": "random", "seed": 1}}))
    assert mixed.status_code == 202
    info = wait_until(lambda: (i := site.services.surface(mixed.json()["id"])).state == "failed" and i, 20, "it fails")
    assert "Traceback" not in (info.problem or "")
    assert info.problem


def test_a_surface_file_that_is_none_is_refused_and_forgotten(working_site):
    site = working_site
    before = site.http.get("/surfaces").json()
    answer = site.http.post("/surfaces/import", params={"filename": "x.npz"}, content=b"PK not a surface")
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "surface_rejected")
    assert site.http.get("/surfaces").json() == before


# -- what must survive --------------------------------------------------------------------------------------------------


@pytest.fixture
def disturbed(settings, start_site, mlp_bytes, request_for, wait_until):
    """A site in the middle of a surface of some seconds, and the surface's id."""
    site = start_site(settings)
    site.start_worker()
    checkpoint = site.upload(mlp_bytes())
    wait_until(lambda: [w for w in site.services.workers() if w.state == "idle"], 30, "the worker is ready")
    surface = site.http.post("/surfaces", json=request_for(checkpoint, 41, 1000, metrics=["top5", "class_accuracy"])).json()[
        "id"
    ]
    wait_until(lambda: site.services.surface(surface).progress.stage >= 2, 30, "some stages")
    assert site.services.surface(surface).state == "running"
    return site, surface


@pytest.mark.slow
def test_a_killed_worker_is_replaced_and_changes_no_value(disturbed):
    site, surface = disturbed
    os.kill(site.workers[0].pid, signal.SIGKILL)
    site.workers[0].wait()
    site.start_worker()
    site.finished(surface, 90)
    check(site, surface)


@pytest.mark.slow
def test_a_flushed_redis_changes_no_value(disturbed):
    site, surface = disturbed
    site.services.queue.redis.flushall()
    site.finished(surface, 90)
    check(site, surface)


@pytest.mark.slow
def test_a_web_server_that_starts_again_changes_no_value(disturbed, start_site):
    site, surface = disturbed
    site.stop()
    time.sleep(1)
    again = start_site(site.settings)
    again.finished(surface, 90)
    check(again, surface)


@pytest.mark.slow
def test_a_cancelled_surface_stops_and_goes_on(disturbed, wait_until):
    site, surface = disturbed
    assert site.http.post(f"/surfaces/{surface}/cancel").json()["state"] == "cancelled"
    wait_until(lambda: all(w.surface is None for w in site.services.workers()), 5, "the worker stops")
    partial = site.services.snapshot(surface)
    assert partial is not None
    assert partial.stage < partial.stages
    assert json.loads(site.http.get(f"/surfaces/{surface}/data.json").text)
    assert site.http.post(f"/surfaces/{surface}/retry").json()["state"] == "queued"
    site.finished(surface, 90)
    check(site, surface)
    assert httpx.get(f"{site.url}/api/v1/health").json()["status"] == "ok"
