"""`lossatlas compute --resume`: a half-done file becomes a whole one."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from landscape_core import formats
from landscape_core.results import NOT_COMPUTED

from .running import lossatlas, save_mlp

WIDTHS = (30, 6, 4)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A network, data, its whole surface, and the original's file of it, of which the last two rows are missing."""
    folder = tmp_path_factory.mktemp("resume")
    save_mlp(folder / "net.safetensors", widths=WIDTHS)
    rng = np.random.default_rng(0)
    np.savez(folder / "data.npz", x=rng.normal(size=(200, 30)).astype(np.float32), y=rng.integers(0, 4, 200))
    run = lossatlas(*command(folder), "--grid", "-1:1:4x-1:1:3", "--out", folder / "whole.npz")
    assert run.returncode == 0, run.stderr
    whole = formats.load(folder / "whole.npz")
    with h5py.File(folder / "half.h5", "w") as file:
        file["dir_file"] = "directions.h5"
        file["xcoordinates"], file["ycoordinates"] = whole.x, whole.y
        for name, array in (("train_loss", whole.loss), ("train_acc", whole.accuracy)):
            flat = array.ravel().copy()
            flat[5:] = -1
            file[name] = flat.reshape(4, 3)  # allocated (nx, ny), filled by flat index
    return folder


def command(folder: Path) -> tuple[object, ...]:
    return ("compute", folder / "net.safetensors", "--dataset", folder / "data.npz", "--preprocessing", "none")


def test_the_originals_file_is_completed(folder, tmp_path):
    run = lossatlas(*command(folder), "--resume", folder / "half.h5", "--out", tmp_path / "whole.h5")
    assert run.returncode == 0, run.stderr
    assert "5 cells kept from half.h5, 7 computed" in run.stdout
    whole, found = formats.load(folder / "whole.npz"), formats.load(tmp_path / "whole.h5")
    np.testing.assert_array_equal(found.loss, whole.loss)
    assert (found.examples.ravel() == [0] * 5 + [200] * 7).all()
    with h5py.File(tmp_path / "whole.h5") as file, h5py.File(folder / "half.h5") as half:
        there = half["train_loss"][:].ravel() != -1
        np.testing.assert_array_equal(file["train_loss"][:].ravel()[there], half["train_loss"][:].ravel()[there])
        assert (file["train_loss"][:] != -1).all()
    (told,) = found.provenance["resumed"]
    assert told["kept"] == [[0, 4]]
    assert told["file_sha256"] == hashlib.sha256((folder / "half.h5").read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--grid", "-1:1:5x-1:1:3"], "half.h5 has the x axis -1:1:4, but -1:1:5 was asked for"),
        (["--curve"], "half.h5 is a surface; leave out --curve to complete it."),
        (["--x", "random:7"], "half.h5 holds the loss "),
        (["--out", "half.h5"], "--out would overwrite half.h5"),
    ],
)
def test_what_does_not_fit_is_refused_with_a_sentence(folder, words, sentence):
    run = lossatlas(*command(folder), "--resume", "half.h5", "--out", "out.npz", *words, folder=folder)
    assert run.returncode == 2
    assert sentence in run.stderr
    assert run.stderr.startswith("lossatlas: ")
    assert len(run.stderr.splitlines()) == 1
    assert not (folder / "out.npz").exists()


def test_ours_is_held_against_its_request(folder, tmp_path):
    whole = formats.load(folder / "whole.npz")
    hole = np.zeros(whole.loss.shape, bool)
    hole[2] = True
    arrays = {"loss": np.nan, "accuracy": np.nan, "stderr": np.nan, "examples": 0, "state": NOT_COMPUTED}
    cut = {name: np.where(hole, v, getattr(whole, name)).astype(getattr(whole, name).dtype) for name, v in arrays.items()}
    formats.save(replace(whole, **cut), tmp_path / "half.json")
    run = lossatlas(*command(folder), "--resume", tmp_path / "half.json", "--out", tmp_path / "a.npz")
    assert run.returncode == 0, run.stderr
    np.testing.assert_array_equal(formats.load(tmp_path / "a.npz").loss, whole.loss)
