"""Train and test surfaces of one plane in one file of the original's form, and in files of their own."""

from __future__ import annotations

from dataclasses import replace

import h5py
import numpy as np
import pytest

import landscape_core as lc
from landscape_core import formats
from landscape_core.errors import SurfaceRejected
from landscape_core.formats import h5
from landscape_core.reading import inspect_in_child
from landscape_core.results import NOT_FINITE, Surface
from tests.cli.running import measured


@pytest.fixture
def pair() -> tuple[Surface, Surface]:
    """A train surface, and a test surface that is higher, with a cell that is not finite."""
    train = measured(4, 3)
    loss, state = train.loss + 3.0, train.state.copy()
    loss[1, 2], state[1, 2] = np.nan, NOT_FINITE
    return train, replace(
        train, loss=loss, state=state, accuracy=train.accuracy / 2, stderr=np.where(state == NOT_FINITE, np.nan, 0.2)
    )


@pytest.mark.parametrize("ny", [3, None])
def test_one_h5_holds_both_as_the_original_does(tmp_path, pair, ny):
    train, test = pair if ny else (measured(5, None), replace(measured(5, None), loss=np.full((1, 5), 2.0)))
    file = tmp_path / "both.h5"
    assert formats.save_splits(train, test, file) == [file]
    with h5py.File(file) as raw:
        assert {"xcoordinates", "train_loss", "train_acc", "test_loss", "test_acc"} <= set(raw)
        for split, surface in (("train", train), ("test", test)):
            np.testing.assert_array_equal(raw[f"{split}_loss"][:].ravel(), surface.loss.ravel())
            np.testing.assert_array_equal(raw[f"{split}_acc"][:].ravel(), surface.accuracy.ravel())
    for split, surface in ((None, train), ("train", train), ("test", test)):
        read = lc.load(file, split=split)
        for name in ("x", "loss", "state", "accuracy", "examples", "stderr"):
            np.testing.assert_array_equal(getattr(read, name), getattr(surface, name), err_msg=f"{split} {name}")


def test_the_original_s_own_file_with_both_gives_either(tmp_path):
    file = tmp_path / "theirs.h5"
    random = np.random.default_rng(0)
    values = {name: random.uniform(1, 90, (4, 3)) for name in ("train_loss", "train_acc", "test_loss", "test_acc")}
    with h5py.File(file, "w") as raw:
        raw["xcoordinates"], raw["ycoordinates"] = np.linspace(-1, 1, 4), np.linspace(-1, 1, 3)
        for name, table in values.items():
            raw[name] = table
    for split, other in (("train", "test"), ("test", "train")):
        read = lc.load(file, split=split)
        np.testing.assert_array_equal(read.loss, values[f"{split}_loss"].ravel().reshape(3, 4))
        np.testing.assert_array_equal(read.accuracy, values[f"{split}_acc"].ravel().reshape(3, 4))
        assert read.provenance["source"] == {
            "format": "loss-landscape .h5", "split": split, "dir_file": "", "also_in_file": [other],
        }  # fmt: skip
        plain = tmp_path / "plain.npz"
        inspect_in_child("surface", file, file.name, plain, split)
        np.testing.assert_array_equal(lc.load(plain).loss, read.loss)


def test_other_forms_have_a_file_for_each(tmp_path, pair):
    files = formats.save_splits(*pair, tmp_path / "a.b.npz")
    assert (
        [file.name for file in files]
        == ["a.b.train.npz", "a.b.test.npz"]
        == [p.name for p in formats.split_paths(tmp_path / "a.b.npz")]
    )
    for file, surface in zip(files, pair, strict=True):
        np.testing.assert_array_equal(lc.load(file).loss, surface.loss)


def test_what_a_file_does_not_hold_is_said(tmp_path, pair):
    train, test = pair
    formats.save(train, tmp_path / "train.h5")
    with pytest.raises(SurfaceRejected, match="holds no test_loss, only train_loss"):
        lc.load(tmp_path / "train.h5", split="test")
    with pytest.raises(SurfaceRejected, match="coordinates differ"):
        h5.dump_splits(train, replace(test, x=test.x * 2))
    with pytest.raises(SurfaceRejected, match="coordinates differ"):
        h5.dump_splits(train, measured(4, None))
