"""`lossatlas project`: places of a run on a plane, against a plain least squares on the files."""

from __future__ import annotations

import h5py
import numpy as np
import pytest

import landscape_core as lc
from landscape_core.compute import draw, load
from landscape_core.reading import read_directions
from landscape_core.requests import ArchitectureSpec, Normalisation, RandomDirection

from .running import REFERENCE, lossatlas, mlp_tensors, needs_reference, save_mlp

WIDTHS = (30, 6, 4)


@pytest.fixture
def run(tmp_path):
    """Four networks, the last of which ends the run."""
    return [save_mlp(tmp_path / f"epoch_{seed}.safetensors", seed, WIDTHS) for seed in range(4)]


def steps(*, ignore: str) -> np.ndarray:
    files = [mlp_tensors(seed, WIDTHS) for seed in range(4)]
    return np.stack(
        [
            np.concatenate(
                [((f[n].astype(np.float64) - files[-1][n]) * (ignore == "none" or f[n].ndim > 1)).ravel() for n in f]
            )
            for f in files
        ]
    )


def test_random_directions_are_not_at_right_angles_and_places_are_still_least_squares(run, tmp_path):
    command = ("project", run[-1], "--checkpoints", *run, "--x", "random:3", "--y", "random:4", "--ignore", "none")
    done = lossatlas(*command, "--out", tmp_path / "proj.json", "--directions-out", tmp_path / "dirs.h5", cold=True)
    assert done.returncode == 0, done.stderr
    found = lc.load_projection(tmp_path / "proj.json")
    assert found.names == ("epoch_0.safetensors", "epoch_1.safetensors", "epoch_2.safetensors", "epoch_3.safetensors")
    how = Normalisation(ignore="none")
    module = load(ArchitectureSpec.parse("mlp"), mlp_tensors(3, WIDTHS))
    plane = np.stack(
        [
            np.concatenate([t.double().numpy().ravel() for t in draw(RandomDirection(seed=seed), module, how)])
            for seed in (3, 4)
        ],
        1,
    )
    away = steps(ignore="none")
    places = np.linalg.lstsq(plane, away.T, rcond=None)[0].T
    np.testing.assert_allclose(found.coordinates, places, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(found.off_plane, np.linalg.norm(away - places @ plane.T, axis=1), rtol=1e-6, atol=1e-9)
    lengths = away @ plane / np.linalg.norm(plane, axis=0)  # what the original's `cos` writes
    assert not np.allclose(lengths[:3], found.coordinates[:3], rtol=1e-2)
    with h5py.File(tmp_path / "dirs.h5") as file:
        assert "explained_variance_" not in file
    stored = read_directions(tmp_path / "dirs.h5")
    np.testing.assert_allclose(np.concatenate([part.ravel() for part in stored.y]), plane[:, 1], rtol=1e-6)


def test_principal_directions_and_their_file(run, tmp_path):
    done = lossatlas(
        "project", run[-1], "--checkpoints", *run, "--out", tmp_path / "p.h5", "--directions-out", tmp_path / "d.h5"
    )
    assert done.returncode == 0, done.stderr
    centred = steps(ignore="biasbn")
    _, singular, rows = np.linalg.svd(centred - centred.mean(axis=0), full_matrices=False)
    with h5py.File(tmp_path / "d.h5") as file, h5py.File(tmp_path / "p.h5") as places:
        np.testing.assert_allclose(file["singular_values_"][:], singular[:2], rtol=1e-6)
        np.testing.assert_allclose(file["explained_variance_"][:], singular[:2] ** 2 / 3, rtol=1e-6)
        np.testing.assert_allclose(np.abs(places["proj_xcoord"][:]), np.abs(centred @ rows[0]), rtol=1e-5, atol=1e-6)
    again = lossatlas("project", run[-1], "--checkpoints", *run, "--directions", tmp_path / "d.h5", "--out", tmp_path / "q.h5")
    assert again.returncode == 0, again.stderr
    np.testing.assert_allclose(
        lc.load_projection(tmp_path / "q.h5").coordinates,
        lc.load_projection(tmp_path / "p.h5").coordinates,
        rtol=1e-9,
        atol=1e-12,
    )


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--out", "a.npz"], "--out takes a file that ends in .h5, .json, .csv, not '.npz'."),
        (["--directions-out", "a.csv"], "--directions-out takes a file that ends in .h5, not '.csv'."),
        (["--curve", "--y", "random:1"], "--curve has one direction, so leave out either --y or --curve."),
        (["--directions", "d.h5", "--y", "random:1"], "--directions gives both directions"),
        (["--architecture", "net.py:build"], "no file net.py"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_read(tmp_path, words, sentence):
    save_mlp(tmp_path / "net.safetensors", widths=WIDTHS)
    done = lossatlas("project", "net.safetensors", "--checkpoints", "net.safetensors", "--out", "a.h5", *words, folder=tmp_path)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_another_network_is_refused(tmp_path):
    save_mlp(tmp_path / "net.safetensors", widths=WIDTHS)
    save_mlp(tmp_path / "b.safetensors", widths=(30, 7, 4))
    words = ("project", "net.safetensors", "--checkpoints", "b.safetensors", "--out", "a.h5", "--x", "random:1", "--curve")
    done = lossatlas(*words, folder=tmp_path)
    assert done.returncode == 2
    assert "is of another mlp: its " in done.stderr
    assert not (tmp_path / "a.h5").exists()


@pytest.mark.parametrize("_", [pytest.param(0, marks=needs_reference)])
def test_ten_real_epochs(tmp_path, _):
    """Against a plain SVD and least squares in float64 on the raw files; the original's `cos` and `lstsq` agree here."""
    from landscape_core.reading import read_checkpoint

    paths = [REFERENCE / f"trajectory_mnist_cnn_margin/epoch_{index:02d}.pt" for index in range(1, 11)]
    files = [read_checkpoint(path).tensors for path in paths]
    done = lossatlas("project", paths[-1], "--checkpoints", *paths, "--ignore", "none", "--out", tmp_path / "p.h5")
    assert done.returncode == 0, done.stderr
    away = np.stack([np.concatenate([(f[n].astype(np.float64) - files[-1][n]).ravel() for n in f]) for f in files])
    rows = np.linalg.svd(away - away.mean(axis=0), full_matrices=False)[2][:2]
    expected, cosine = np.linalg.lstsq(rows.T, away.T, rcond=None)[0].T, away @ rows.T
    np.testing.assert_allclose(expected, cosine, atol=1e-12)
    found = lc.load_projection(tmp_path / "p.h5")
    signs = np.sign((found.coordinates * expected).sum(axis=0))
    np.testing.assert_allclose(found.coordinates, expected * signs, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found.off_plane, np.linalg.norm(away - expected @ rows, axis=1), rtol=1e-4, atol=1e-6)
