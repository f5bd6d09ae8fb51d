from __future__ import annotations

import csv
import io
import json
import stat
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings

from landscape_core import formats
from landscape_core.errors import InvalidRequest, SurfaceRejected
from landscape_core.formats import glb, h5, npz, stl, vtp
from landscape_core.formats import json as json_form
from landscape_core.results import NOT_FINITE, Surface

from .surfaces import bowl, same, surfaces


@pytest.mark.parametrize("form", [npz, h5, json_form], ids=["npz", "h5", "json"])
@settings(max_examples=150, deadline=None)
@given(surface=surfaces())
def test_what_was_written_is_read_to_the_last_bit(form, surface):
    data = form.dump(surface)
    assert same(form.load(data), surface)
    assert form.dump(form.load(data)) == data


@pytest.mark.parametrize("form", [npz, h5, json_form], ids=["npz", "h5", "json"])
def test_coordinates_as_far_apart_as_numbers_go_are_read(form):
    wide = replace(bowl(2, None), request=None, x=np.array([-1e308, np.finfo(np.float64).max]))
    assert same(form.load(form.dump(wide)), wide)


@pytest.mark.parametrize("suffix", [".npz", ".h5", ".json"])
@pytest.mark.parametrize(
    "surface", [bowl(), bowl(9, None), bowl(1, 1), bowl(split="test")], ids=["surface", "curve", "cell", "test"]
)
def test_a_saved_file_is_loaded(tmp_path, surface, suffix):
    path = tmp_path / f"a{suffix}"
    formats.save(surface, path)
    assert same(formats.load(path), surface)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_a_saved_file_has_the_usual_mode_and_keeps_its_own_and_a_link_is_followed(tmp_path):
    plain, shared, link = tmp_path / "plain", tmp_path / "shared.npz", tmp_path / "link.npz"
    plain.touch()
    formats.save(bowl(), tmp_path / "new.npz")
    assert (tmp_path / "new.npz").stat().st_mode == plain.stat().st_mode
    shared.touch()
    shared.chmod(0o664)
    link.symlink_to(shared)
    formats.save(bowl(), link)
    assert link.is_symlink()
    assert stat.S_IMODE(shared.stat().st_mode) == 0o664
    assert same(formats.load(shared), bowl())
    formats.write_atomically(tmp_path / "private", b"x")
    assert stat.S_IMODE((tmp_path / "private").stat().st_mode) == 0o600


def test_npz_is_what_the_contract_says(tmp_path):
    surface = bowl()
    path = tmp_path / "a.npz"
    formats.save(surface, path)
    with np.load(path, allow_pickle=False) as file:
        assert {name: (array.shape, array.dtype.str) for name, array in file.items() if array.ndim} == {
            "x": ((7,), "<f8"),
            "y": ((5,), "<f8"),
            "loss": ((5, 7), "<f8"),
            "state": ((5, 7), "|u1"),
            "accuracy": ((5, 7), "<f8"),
            "examples": ((5, 7), "<i8"),
            "stderr": ((5, 7), "<f8"),
        }
        assert str(file["request"]) == surface.request.canonical_json()
        assert json.loads(str(file["provenance"])) == surface.provenance
    formats.save(bowl(5, None), path)
    with np.load(path, allow_pickle=False) as file:
        assert "y" not in file.files
        assert file["loss"].shape == (1, 5)


def test_npz_does_not_depend_on_the_clock_or_the_order_of_keys():
    surface = bowl()
    turned = Surface(**{**surface.__dict__, "provenance": dict(reversed(surface.provenance.items()))})
    assert npz.dump(surface) == npz.dump(turned)
    with zipfile.ZipFile(io.BytesIO(npz.dump(surface))) as archive:
        assert {i.date_time for i in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert {i.compress_type for i in archive.infolist()} == {zipfile.ZIP_STORED}


def test_an_npz_of_numpys_savez_is_read(tmp_path):
    surface = bowl()
    arrays = {n: getattr(surface, n) for n in ("x", "y", "loss", "state", "accuracy", "examples", "stderr")}
    for save in (np.savez, np.savez_compressed):
        save(tmp_path / "a.npz", **arrays)
        loaded = formats.load(tmp_path / "a.npz")
        assert same(loaded, Surface(**arrays))


def test_nan_in_the_provenance_becomes_null():
    surface = Surface(**{**bowl().__dict__, "provenance": {"own": float("nan"), "all": [float("inf"), 1.5]}})
    for form in (npz, h5, json_form):
        assert form.load(form.dump(surface)).provenance == {"own": None, "all": [None, 1.5]}


def test_json_has_null_for_holes_and_no_nan():
    surface = bowl(3, 2)
    loss, state = surface.loss.copy(), surface.state.copy()
    loss[1, 2], state[1, 2] = np.nan, NOT_FINITE
    document = json.loads(
        json_form.dump(Surface(**{**surface.__dict__, "loss": loss, "state": state})),
        parse_constant=pytest.fail,
    )
    assert document["loss"][1][2] is None
    assert document["states"][document["state"][1][2]] == "not_finite"
    assert document["x"] == [-1.0, 0.0, 1.0]


def test_csv_has_one_row_per_cell_and_empty_fields_for_holes():
    surface = bowl(3, 2)
    loss, state, accuracy = surface.loss.copy(), surface.state.copy(), surface.accuracy.copy()
    loss[0, 1], state[0, 1] = np.nan, NOT_FINITE
    loss[1, 0], state[1, 0], accuracy[1, 0] = np.nan, 0, np.nan
    examples = np.where(state == 0, 0, surface.examples)
    stderr = np.where(np.isnan(loss), np.nan, surface.stderr)
    changed = {"loss": loss, "state": state, "accuracy": accuracy, "examples": examples, "stderr": stderr}
    text = formats.to_bytes(Surface(**{**surface.__dict__, **changed}), ".csv")
    rows = list(csv.DictReader(io.StringIO(text.decode())))
    assert list(rows[0]) == ["x", "y", "loss", "accuracy", "stderr", "examples", "state"]
    assert len(rows) == 6
    assert [(float(r["x"]), float(r["y"])) for r in rows[:4]] == [(-1, -0.5), (0, -0.5), (1, -0.5), (-1, 0.75)]
    assert float(rows[2]["loss"]) == loss[0, 2]
    assert rows[1] | {"accuracy": ""} == {
        "x": "0.0", "y": "-0.5", "loss": "", "accuracy": "", "stderr": "", "examples": "100", "state": "not_finite",
    }  # fmt: skip
    assert rows[3]["loss"] == rows[3]["accuracy"] == ""
    assert (rows[3]["state"], rows[3]["examples"]) == ("not_computed", "0")


def test_csv_of_a_curve_has_an_empty_y():
    rows = list(csv.DictReader(io.StringIO(formats.to_bytes(bowl(3, None), ".csv").decode())))
    assert [r["y"] for r in rows] == ["", "", ""]


@pytest.mark.parametrize("name", ["a.obj", "a", "a.txt"])
def test_unknown_forms_are_refused(tmp_path, name):
    with pytest.raises(SurfaceRejected, match=r"written as .npz, .h5, .csv, .json, .png, .vtp, .stl, .glb, not as"):
        formats.save(bowl(), tmp_path / name)
    with pytest.raises(SurfaceRejected, match=r"read from .npz, .h5, .json, not from"):
        formats.load(tmp_path / name)


@pytest.mark.parametrize("suffix", [".npz", ".h5", ".csv", ".JSON", ".png"])
def test_measurements_are_neither_clipped_nor_their_logarithms(suffix):
    for option in ({"log": True}, {"max_loss": 1.0}):
        with pytest.raises(
            InvalidRequest, match=rf"A {suffix.lower()} holds what was measured: .* are for .vtp, .stl and .glb\."
        ):
            formats.to_bytes(bowl(), suffix, **option)


def test_a_shape_is_saved_by_its_suffix_with_the_heights_that_are_asked_for(tmp_path):
    for form in (vtp, stl, glb):
        path = tmp_path / f"a.{form.__name__.rpartition('.')[2].upper()}"
        formats.save(bowl(), path)
        assert path.read_bytes() == form.dump(bowl())
        formats.save(bowl(), path, log=True, max_loss=1.5)
        assert path.read_bytes() == form.dump(bowl(), log=True, max_loss=1.5) != form.dump(bowl())


def test_a_failed_save_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.npz"
    formats.save(bowl(), path)
    before = path.read_bytes()
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        formats.save(bowl(9, 9), path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.npz"]
