"""A surface file of the original's form with both splits becomes two surfaces that are shown together."""

from __future__ import annotations

import base64
import hashlib
import io
import json
from typing import Any

import h5py
import httpx
import numpy as np
import pytest

from app.schemas import SurfaceInfo
from app.services.imports import halves
from landscape_core.formats import to_bytes
from landscape_core.results import MEASURED, Surface


def both(shift: float = 0.0, **changed: Any) -> bytes:
    """A file as the original's plot_surface.py leaves it with test data: 4 x 3 points, filled by flat index over (3, 4)."""
    x, y = np.linspace(-1, 1, 4), np.linspace(-1, 1, 3)
    train = x[None, :] ** 2 + 2 * y[:, None] ** 2 + shift
    parts = {
        "xcoordinates": x, "ycoordinates": y, "dir_file": "net.h5",
        "train_loss": train.reshape(4, 3), "train_acc": np.full((4, 3), 90.0),
        "test_loss": (train + 0.5).reshape(4, 3), "test_acc": np.full((4, 3), 80.0),
    } | changed  # fmt: skip
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        for name, values in parts.items():
            file[name] = values
    return buffer.getvalue()


def imported(site: Any, content: bytes, name: str = "net.h5") -> httpx.Response:
    """The verdict on a file; while a busy machine takes longer than an answer waits, the same is asked again."""
    for _ in range(12):
        answer = site.http.post("/surfaces/import", params={"filename": name}, content=content)
        if answer.status_code != 202:
            return answer
    return pytest.fail("the file is not inspected")


@pytest.fixture(scope="module")
def paged(working_site):
    """A site with pages and a worker."""
    running = type(working_site)(working_site.settings, pages=True).start()
    yield running
    running.stop()


@pytest.mark.slow
def test_one_file_makes_two_surfaces_shown_together(paged):
    content = both()
    answer = imported(paged, content)
    assert answer.status_code == 201, answer.text
    info = answer.json()
    assert (info["id"], info["title"]) == (hashlib.sha256(content).hexdigest(), "net (train)")
    ids = info["provenance"]["splits"]
    assert ids["train"] == info["id"]
    test = paged.finished(ids["test"])
    assert (test["title"], test["origin"], test["provenance"]["splits"]) == ("net (test)", "imported", ids)
    losses = {split: paged.services.surface_result(each) for split, each in ids.items()}
    np.testing.assert_allclose(losses["test"].loss - losses["train"].loss, 0.5)
    assert losses["train"].loss[0, 1] == pytest.approx(1 / 9 + 2)
    assert (losses["train"].accuracy[0, 0], losses["test"].accuracy[0, 0]) == (90, 80)
    for path in (f"/compare?a={ids['train']}&b={ids['test']}", f"/surface/{ids['test']}"):
        assert httpx.get(f"{paged.url}{path}").status_code == 200
    told = httpx.get(f"{paged.url}/surface/{ids['test']}/content").text
    assert "Its file held both splits" in told
    assert "lossatlas convert" not in told
    pair = httpx.get(f"{paged.url}/compare/content?a={ids['train']}&b={ids['test']}").text
    assert "Split: train / test" in pair
    assert "does not say how it was made" not in pair
    for one, other in (("train", "test"), ("test", "train")):
        shown = httpx.get(f"{paged.url}/compare/content?a={ids[one]}").text
        assert f"/compare?a={ids[one]}\\u0026b={ids[other]}" in shown or f"/compare?a={ids[one]}&b={ids[other]}" in shown
        assert f"The same on the {other} split" in shown
    assert imported(paged, content).json()["id"] == info["id"]
    assert paged.http.delete(f"/surfaces/{ids['test']}").status_code == 204
    assert "came in the same file" not in httpx.get(f"{paged.url}/compare/content?a={ids['train']}").text


@pytest.mark.slow
def test_an_upload_by_tus_names_both(working_site, wait_until):
    content, names = both(1.0), {"filename": "net.h5", "kind": "surface"}
    metadata = ",".join(f"{name} {base64.b64encode(value.encode()).decode()}" for name, value in names.items())
    tus = {"tus-resumable": "1.0.0"}
    made = working_site.http.post(
        "/uploads/", headers={**tus, "upload-length": str(len(content)), "upload-metadata": metadata}
    ).headers["location"]
    headers = {**tus, "upload-offset": "0", "content-type": "application/offset+octet-stream"}
    address = made if made.startswith("http") else f"{working_site.url}{made}"
    httpx.patch(address, headers=headers, content=content, timeout=30)
    where = f"/uploads/{made.rpartition('/')[2]}/result"
    result = wait_until(
        lambda: working_site.http.get(where).status_code == 200 and working_site.http.get(where).json(), 30, "it"
    )
    assert result["id"] == hashlib.sha256(content).hexdigest()
    assert working_site.finished(result["test_half"])["title"] == "net (test)"


@pytest.mark.slow
def test_a_half_that_was_deleted_comes_back_with_its_file(working_site):
    content, http = both(2.0), working_site.http
    ids = http.post("/surfaces/import", params={"filename": "net.h5"}, content=content).json()["provenance"]["splits"]
    working_site.finished(ids["test"])
    assert http.delete(f"/surfaces/{ids['test']}").status_code == 204
    again = http.post("/surfaces/import", params={"filename": "net.h5"}, content=content)
    assert again.json()["provenance"]["splits"] == ids
    for each in ids.values():
        working_site.finished(each)
        assert http.get(f"/surfaces/{each}/data.npz").status_code == 200


@pytest.mark.slow
def test_the_test_surface_keeps_its_values_when_the_file_is_sent_as_a_state(working_site, wait_until):
    content, http = both(3.0), working_site.http
    ids = http.post("/surfaces/import", params={"filename": "net.h5"}, content=content).json()["provenance"]["splits"]
    working_site.finished(ids["test"])
    assert http.delete(f"/surfaces/{ids['train']}").status_code == 204
    live = http.post("/surfaces/live", json={}).json()
    where, secret = f"/surfaces/{live['id']}/live", {"X-Live-Secret": live["secret"]}
    http.put(where, params={"stage": 1}, headers=secret, content=content)
    wait_until(lambda: http.get(f"/surfaces/{live['id']}").json()["progress"]["stage"] == 1, 30, "the state is shown")
    assert http.get(f"/surfaces/{ids['test']}/data.npz").status_code == 200


@pytest.mark.slow
def test_a_file_whose_test_half_is_damaged_is_refused_whole(working_site):
    content = both(test_loss=np.zeros(5))
    answer = imported(working_site, content)
    assert answer.status_code == 422
    assert "test_loss" in answer.json()["error"]["message"]
    assert working_site.http.get(f"/surfaces/{hashlib.sha256(content).hexdigest()}").status_code == 404


@pytest.mark.slow
@pytest.mark.parametrize("claimed", ["text", 7, {"train": "a", "test": "b"}, {"train": "0" * 64, "test": "1" * 64}])
def test_what_a_file_claims_of_other_surfaces_is_not_believed(working_site, claimed):
    cell = np.ones((1, 1))
    surface = Surface(
        x=np.zeros(1), y=np.zeros(1), loss=cell, state=np.full((1, 1), MEASURED, np.uint8), accuracy=cell, stderr=cell,
        examples=np.ones((1, 1), np.int64), provenance={"splits": claimed},
    )  # fmt: skip
    answer = imported(working_site, to_bytes(surface, ".npz"), "a.npz")
    assert answer.status_code == 201, answer.text
    info = SurfaceInfo.model_validate_json(json.dumps(answer.json()))
    assert halves(info) == {}
