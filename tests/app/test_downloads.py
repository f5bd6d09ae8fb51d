"""A surface as a file: the same as the core writes, named and typed for browsers."""

from __future__ import annotations

import re

import pytest

from landscape_core.flatness import Flatness
from landscape_core.formats import WRITABLE, npz, to_bytes

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
