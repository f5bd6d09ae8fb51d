"""Further quantities of a surface in its files: as the original has them, as tables, and refused in one sentence."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

import h5py
import numpy as np
import pytest

from landscape_core import formats
from landscape_core.errors import SurfaceRejected
from landscape_core.formats import h5, npz
from landscape_core.formats import json as json_form
from landscape_core.results import NOT_COMPUTED, Surface

from .surfaces import bowl, same


def curved(nx: int = 3, ny: int = 2) -> Surface:
    """A surface that knows its top-5 accuracy, the eigenvalues (one of them -1, one unknown), and a class."""
    surface = bowl(nx, ny)
    table = np.arange(nx * ny, dtype=np.float64).reshape(ny, nx)
    low = np.where(table == 2, np.nan, table - 1)
    return replace(surface, quantities={"top5": table, "max_eig": 10 * table, "min_eig": low, "class_accuracy_7": table / 2})


def test_npz_holds_each_table_by_its_name_and_files_without_are_as_before(tmp_path):
    (tmp_path / "a.npz").write_bytes(npz.dump(curved()))
    with np.load(tmp_path / "a.npz", allow_pickle=False) as file:
        found = [name for name in file.files if name.startswith("quantity_")]
        assert found == ["quantity_top5", "quantity_max_eig", "quantity_min_eig", "quantity_class_accuracy_7"]
        np.testing.assert_array_equal(file["quantity_max_eig"], 10 * np.arange(6.0).reshape(2, 3))
    (tmp_path / "b.npz").write_bytes(npz.dump(bowl()))
    with np.load(tmp_path / "b.npz", allow_pickle=False) as file:
        assert file.files == ["x", "y", "loss", "state", "accuracy", "examples", "stderr", "request", "provenance"]
    turned = replace(curved(), quantities=dict(reversed(curved().quantities.items())))
    assert npz.dump(turned) == npz.dump(curved())


def test_csv_and_json_have_them_beside_the_rest():
    rows = list(csv.DictReader(io.StringIO(formats.to_bytes(curved(), ".csv").decode())))
    assert list(rows[0])[6:] == ["state", "top5", "max_eig", "min_eig", "class_accuracy_7"]
    assert [row["min_eig"] for row in rows] == ["-1.0", "0.0", "", "2.0", "3.0", "4.0"]
    document = json.loads(json_form.dump(curved()))
    assert document["quantities"]["min_eig"] == [[-1.0, 0.0, None], [2.0, 3.0, 4.0]]
    assert "quantities" not in json.loads(json_form.dump(bowl()))


def test_h5_has_the_eigenvalues_where_the_originals_code_looks_for_them(tmp_path):
    (tmp_path / "a.h5").write_bytes(h5.dump(curved()))
    with h5py.File(tmp_path / "a.h5") as file:
        assert file["max_eig"].shape == (3, 2)  # allocated (nx, ny) …
        np.testing.assert_array_equal(
            file["max_eig"][:].ravel(), 10 * np.arange(6.0)
        )  # … and filled by flat index over (ny, nx)
        np.testing.assert_array_equal(file["min_eig"][:].ravel(), [-1, 0, -1, 2, 3, 4])
        assert "top5" not in file
    assert same(formats.load(tmp_path / "a.h5"), curved())


def test_an_originals_h5_gives_its_eigenvalues_and_minus_one_is_unknown(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["xcoordinates"], file["ycoordinates"] = [0.0, 1.0, 2.0], [0.0, 1.0]
        file["train_loss"] = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, -1.0]])
        file["max_eig"] = np.array([[1.0, 2.0], [-1.0, 4.0], [np.inf, 6.0]])
        file["min_eig"] = np.full((3, 2), -1.0)
    surface = formats.load(tmp_path / "a.h5")
    assert list(surface.quantities) == ["max_eig"]  # nothing is known of the other
    np.testing.assert_array_equal(surface.quantities["max_eig"], [[1, 2, np.nan], [4, np.nan, np.nan]])
    assert surface.state[1, 2] == NOT_COMPUTED


def test_what_the_originals_code_changed_since_is_believed_rather_than_our_tables(tmp_path):
    (tmp_path / "a.h5").write_bytes(h5.dump(curved()))
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        file["train_loss"][0, 0] = 7.5
        file["min_eig"][1, 0] = -4.0  # flat index 2: row 0, column 2
    surface = formats.load(tmp_path / "a.h5")
    np.testing.assert_array_equal(surface.quantities["top5"], [[np.nan, 1, 2], [3, 4, 5]])
    np.testing.assert_array_equal(surface.quantities["max_eig"], 10 * np.arange(6.0).reshape(2, 3))
    np.testing.assert_array_equal(surface.quantities["min_eig"], [[np.nan, 0, -4], [2, 3, 4]])


TABLE = np.ones((2, 3))
REFUSED = [
    ("hidden", TABLE, "holds a quantity 'hidden', but no surface stores that; it stores top5, estimation_error, max_eig"),
    ("perplexity", TABLE, "holds a quantity 'perplexity', but no surface stores that"),
    ("class_accuracy_100", TABLE, "class_accuracy_0 to class_accuracy_99"),
    ("top5", np.ones((3, 2)), "top5 should have the shape (2, 3) of the axes"),
    ("top5", np.full((2, 3), 100.5), "top5 should be a percentage from 0 to 100"),
    ("class_accuracy_3", -TABLE, "class_accuracy_3 should be a percentage from 0 to 100"),
    ("min_eig", np.full((2, 3), -np.inf), "min_eig should be finite, and NaN where it is unknown"),
]


@pytest.mark.parametrize(("name", "table", "sentence"), REFUSED)
def test_what_is_no_quantity_is_refused_by_every_reader(tmp_path, name, table, sentence):
    changed = replace(curved(), quantities={})
    np.savez(tmp_path / "a.npz", **{n: getattr(changed, n) for n in ("x", "y", "loss", "state", "accuracy", "examples", "stderr")},
             **{f"quantity_{name}": table})  # fmt: skip
    (tmp_path / "a.h5").write_bytes(h5.dump(changed))
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        file[f"loss_atlas/quantity_{name}"] = table
    document = json.loads(json_form.dump(changed))
    (tmp_path / "a.json").write_text(json.dumps(document | {"quantities": {name: table.tolist()}}))
    for suffix in ("npz", "json", "h5"):
        if suffix == "json" and np.isinf(table).any():
            sentence = "not valid JSON"
        if suffix == "h5" and table.shape != (2, 3):
            sentence = "should have the shape (2, 3) of the axes"
        if suffix == "h5" and np.isinf(table).any():
            sentence = "min_eig should be finite"
        with pytest.raises(SurfaceRejected) as refusal:
            formats.load(tmp_path / f"a.{suffix}")
        assert sentence in str(refusal.value)


def test_a_value_where_nothing_was_computed_is_refused(tmp_path):
    surface = curved()
    surface.state[0, 0], surface.loss[0, 0], surface.accuracy[0, 0], surface.examples[0, 0] = NOT_COMPUTED, np.nan, np.nan, 0
    formats.save(surface, tmp_path / "a.npz")
    with pytest.raises(SurfaceRejected, match="A cell that was not computed should have no top5, but some have"):
        formats.load(tmp_path / "a.npz")


def test_more_numbers_than_there_can_be_are_not_even_read(tmp_path):
    tables = {f"quantity_class_accuracy_{n}": np.zeros((2001, 2001)) for n in range(7)}
    np.savez_compressed(tmp_path / "a.npz", **tables)
    with pytest.raises(SurfaceRejected, match=r"quantities in the file hold 28,.* numbers; at most 25,"):
        formats.load(tmp_path / "a.npz")
    (tmp_path / "b.json").write_text(json.dumps(json.loads(json_form.dump(bowl())) | {"quantities": [1]}))
    with pytest.raises(SurfaceRejected, match='"quantities" should be an object of names and tables'):
        formats.load(tmp_path / "b.json")
