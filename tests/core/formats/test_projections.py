"""Projection files: the original's form, and everything that we know beside it; refused where they are no such files."""

from __future__ import annotations

import csv
import io
import json

import h5py
import numpy as np
import pytest
import torch
from torch import nn

import landscape_core as lc
from landscape_core.errors import SurfaceRejected
from landscape_core.formats import principal_values, projection_bytes, save_projection
from landscape_core.projection import Projection
from landscape_core.requests import Normalisation, PlaneSpec, PrincipalDirection, RandomDirection
from landscape_core.training_run import Run

KNOWN = {
    "coordinates": [[-2.5, 0.125], [None, None], [0.0, 0.0]],
    "off_plane": [1.5, None, 0.0],
    "explained_variance_ratio": [0.75, None],
    "own_loss": [3.0, None, 0.5],
    "plane_loss": [2.0, None, 0.5],
    "names": ["=1+1.pt", "b.pt", ""],
    "checkpoints": ["a", "b", "c"],
}


@pytest.mark.parametrize("suffix", [".h5", ".json"])
def test_what_is_written_comes_back(tmp_path, suffix):
    run = Projection.read(KNOWN, 2)
    save_projection(run, tmp_path / f"run{suffix}")
    assert lc.load_projection(tmp_path / f"run{suffix}").as_provenance() == KNOWN


def test_the_originals_form_is_written_and_read(tmp_path):
    with h5py.File(io.BytesIO(projection_bytes(Projection.read(KNOWN, 2), ".h5"))) as file:
        np.testing.assert_array_equal(file["proj_xcoord"][:], [-2.5, np.nan, 0])
        np.testing.assert_array_equal(file["proj_ycoord"][:], [0.125, np.nan, 0])
    with h5py.File(tmp_path / "directions.h5_proj_cos.h5", "w") as file:
        file["proj_xcoord"], file["proj_ycoord"] = np.array([3.0, 1.0, 0.0]), np.array([1, 2, 0])
    run = lc.load_projection(tmp_path / "directions.h5_proj_cos.h5")
    assert run.coordinates.tolist() == [[3, 1], [1, 2], [0, 0]]
    assert run.called(0) == "1 of 3"
    line = Projection.read({"coordinates": [[1.0], [0.0]]}, 1)
    with h5py.File(io.BytesIO(projection_bytes(line, ".h5"))) as file:
        assert "proj_ycoord" not in file


def test_a_table_has_a_row_for_each_checkpoint_and_nothing_that_a_spreadsheet_computes():
    head, *rows = csv.reader(io.StringIO(projection_bytes(Projection.read(KNOWN, 2), ".CSV").decode()))
    assert head[:4] == ["checkpoint", "alpha", "beta", "off_plane"]
    assert [row[0] for row in rows] == ["1", "2", "3"]
    assert (rows[0][1], rows[1][1], rows[0][-1]) == ("-2.5", "", "'=1+1.pt")


def test_files_that_are_none_are_refused_with_a_sentence(tmp_path):
    bad = tmp_path / "bad.h5"
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = [1.0]
    for write, sentence in (
        (lambda file: file.create_dataset("x", data=[1.0]), "has no proj_xcoord"),
        (lambda file: file.update({"proj_xcoord": [1.0], "proj_ycoord": [1.0, 2.0]}), "of the same length"),
        (lambda file: file.create_dataset("proj_xcoord", (10_001,), dtype="f8"), "one row of at most 10,000 numbers"),
        (lambda file: file.create_dataset("proj_xcoord", data=np.zeros((0,))), "should hold 1 to 10,000 places"),
        (lambda file: file.update({"proj_xcoord": h5py.ExternalLink("other.h5", "x")}), "lies in the file itself"),
    ):
        with h5py.File(bad, "w") as file:
            write(file)
        with pytest.raises(SurfaceRejected, match=sentence):
            lc.load_projection(bad)
    for text, sentence in (
        (b"", "is no projection"),
        (b"[1]", "is no projection"),
        (json.dumps({"format": "loss-atlas projection", "coordinates": [[1, 2], 3]}).encode(), "is no projection"),
        (json.dumps({"format": "loss-atlas projection", "coordinates": [[1, 2], [3]]}).encode(), "should hold 1 to"),
        (b"\x89HDF\r\n\x1a\nrubbish", "not a readable .h5 projection"),
    ):
        bad.write_bytes(text)
        with pytest.raises(SurfaceRejected, match=sentence):
            lc.load_projection(bad)
    with pytest.raises(SurfaceRejected, match="cannot be read"):
        lc.load_projection(tmp_path / "none.h5")
    with pytest.raises(SurfaceRejected, match="is written as"):
        projection_bytes(Projection.read(KNOWN, 2), ".npz")


def test_what_the_original_writes_beside_principal_directions_is_that_of_an_svd():
    rng = np.random.default_rng(1)
    nets = [nn.Linear(5, 3, bias=False).requires_grad_(False) for _ in range(7)]
    for net in nets:
        net.weight.copy_(torch.from_numpy(rng.normal(size=(3, 5))))
    run = Run([nets[-1].weight.numpy()], [[net.weight.numpy()] for net in nets], Normalisation())
    x, y = ([torch.from_numpy(part) for part in run.principal(index, "plane.x.index")] for index in (1, 2))
    seen = run.seen_along(x, y)
    steps = np.stack([(net.weight.double() - nets[-1].weight.double()).numpy().ravel() for net in nets])
    singular = np.linalg.svd(steps - steps.mean(axis=0), compute_uv=False)
    first, second = (PrincipalDirection(index=index, checkpoints=("a" * 64,)) for index in (1, 2))
    found = principal_values(PlaneSpec(x=first, y=second), seen)
    np.testing.assert_allclose(found["singular_values_"], singular[:2], rtol=1e-6)
    np.testing.assert_allclose(found["explained_variance_"], singular[:2] ** 2 / 6, rtol=1e-6)
    np.testing.assert_allclose(found["explained_variance_ratio_"], singular[:2] ** 2 / (singular**2).sum(), rtol=1e-6)
    assert principal_values(PlaneSpec(x=first, y=RandomDirection(seed=1)), seen) == {}
    assert principal_values(PlaneSpec(x=first, y=second), None) == {}
