"""A surface as a file: the same as the core writes, named and typed for browsers."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from landscape_core.flatness import Flatness
from landscape_core.formats import WRITABLE, load_projection, npz, to_bytes

TYPES = {
    "npz": "application/x-npz",
    "h5": "application/x-hdf5",
    "csv": "text/csv; charset=utf-8",
    "json": "application/json",
    "vtp": "application/xml",
    "stl": "model/stl",
    "glb": "model/gltf-binary",
}


@pytest.fixture(scope="module")
def surface(site):
    """A finished surface: the gallery's."""
    return next(s["id"] for s in site.http.get("/surfaces").json() if s["origin"] == "gallery")


def test_every_form_but_the_picture_is_a_download():
    assert {f".{suffix}" for suffix in TYPES} | {".png"} == set(WRITABLE)


@pytest.mark.parametrize("suffix", TYPES)
def test_a_download_is_what_the_core_writes_under_a_name_and_type(site, surface, suffix):
    answer = site.http.get(f"/surfaces/{surface}/data.{suffix}")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == TYPES[suffix]
    assert re.fullmatch(rf'attachment; filename="[\w-]+-{surface[:8]}\.{suffix}"', answer.headers["content-disposition"])
    if suffix != "h5":  # it holds the time at which it was made
        stored = npz.load(site.http.get(f"/surfaces/{surface}/data.npz").content)
        assert answer.content == to_bytes(stored, f".{suffix}")


@pytest.mark.parametrize("suffix", ["png", "obj", "gltf", "x" * 300])
def test_another_form_is_refused_with_those_there_are(site, surface, suffix):
    answer = site.http.get(f"/surfaces/{surface}/data.{suffix}")
    assert answer.status_code == 404
    assert "can be had as npz, h5, csv, json, vtp, stl or glb, but not as" in answer.json()["error"]["message"]


@pytest.mark.parametrize("suffix", TYPES)
def test_what_has_no_values_yet_is_no_file(settings, start_site, ready_checkpoint, request_for, suffix):
    site = start_site(settings)
    waiting = site.http.post("/surfaces", json=request_for(ready_checkpoint, 5)).json()["id"]
    answer = site.http.get(f"/surfaces/{waiting}/data.{suffix}")
    assert answer.status_code == 404
    assert "has no values yet" in answer.json()["error"]["message"]


RUN = {"coordinates": [[-0.5, 0.25], [0.0, 0.0]], "off_plane": [1.0, 0.0], "own_loss": [2.0, 0.5], "names": ["a.pt", "b.pt"]}


@pytest.mark.slow
def test_a_training_run_is_a_download_also_behind_a_link(working_site, tmp_path):
    site = working_site
    surface = next(s["id"] for s in site.http.get("/surfaces").json() if s["origin"] == "gallery")
    stored = npz.load(site.http.get(f"/surfaces/{surface}/data.npz").content)
    with_run = replace(stored, request=None, provenance={"trajectory": RUN})
    answer = site.http.post("/surfaces/import", params={"filename": "run.npz"}, content=to_bytes(with_run, ".npz"))
    mine = answer.json()["id"]
    token = site.http.post(f"/surfaces/{mine}/shares", json={}).json()["token"]
    for base in (f"/surfaces/{mine}", f"/shares/{token}"):
        for suffix in ("h5", "json"):
            answer = site.http.get(f"{base}/projection.{suffix}")
            assert answer.status_code == 200, answer.text
            assert re.search(rf'filename="run-{mine[:8]}\.projection\.{suffix}"', answer.headers["content-disposition"])
            (tmp_path / f"p.{suffix}").write_bytes(answer.content)
            found = load_projection(tmp_path / f"p.{suffix}").as_provenance()
            assert {name: found[name] for name in RUN} == RUN
        assert site.http.get(f"{base}/projection.csv").text.splitlines()[1].startswith("1,-0.5,0.25,1.0,2.0,")
        assert "but not as 'npz'" in site.http.get(f"{base}/projection.npz").json()["error"]["message"]
    without = site.http.get(f"/surfaces/{surface}/projection.h5")
    assert (without.status_code, "has no training run" in without.json()["error"]["message"]) == (404, True)


def test_flatness_is_what_the_core_says(site, surface):
    stored = npz.load(site.http.get(f"/surfaces/{surface}/data.npz").content)
    assert Flatness.model_validate(site.http.get(f"/surfaces/{surface}/flatness").json()) == stored.flatness()
    asked = site.http.get(f"/surfaces/{surface}/flatness", params={"level": 1.5, "epsilon": 0.1}).json()
    assert Flatness.model_validate(asked) == stored.flatness(1.5, 0.1)
    token = site.http.post(f"/surfaces/{surface}/shares").json()["token"]
    assert site.http.get(f"/shares/{token}/flatness").json() == site.http.get(f"/surfaces/{surface}/flatness").json()
    low = site.http.get(f"/surfaces/{surface}/flatness", params={"level": 0})
    assert (low.status_code, low.json()["error"]["field"]) == (422, "level")
    assert low.json()["error"]["message"].startswith("The level should be above the loss at the centre")
    for words in ({"epsilon": "nan"}, {"epsilon": -1}, {"level": "abc"}, {"level": "inf"}):
        answer = site.http.get(f"/surfaces/{surface}/flatness", params=words)
        assert (answer.status_code, list(answer.json())) == (422, ["error"])
    assert site.http.get("/surfaces/none/flatness").status_code == 404
