"""What a worker does with an uploaded file."""

from __future__ import annotations

import io

import numpy as np
import pytest
from safetensors.numpy import load_file, save

from landscape_core.errors import CheckpointRejected, DirectionsRejected, FileRejected
from worker.intake import CANONICAL_SUFFIXES, inspect

WEIGHTS = {"fc1.weight": np.ones((3, 4), np.float32), "fc1.bias": np.zeros(3, np.float32)}


def test_a_checkpoint_becomes_canonical_safetensors(tmp_path):
    (tmp_path / "upload").write_bytes(save(WEIGHTS))
    report = inspect("checkpoint", tmp_path / "upload", "mlp.safetensors", tmp_path / "out.safetensors")
    assert report["candidates"][0]["architecture"]["name"] == "mlp"
    assert load_file(tmp_path / "out.safetensors").keys() == WEIGHTS.keys()


def test_a_data_set_becomes_an_uncompressed_npz(tmp_path):
    buffer = io.BytesIO()
    np.savez_compressed(buffer, x=np.arange(48, dtype=np.uint8).reshape(3, 4, 4), y=np.array([0, 1, 1]))
    (tmp_path / "upload").write_bytes(buffer.getvalue())
    report = inspect("dataset", tmp_path / "upload", "digits.npz", tmp_path / "out.npz")
    assert (report["title"], report["classes"]) == ("digits", 2)
    with np.load(tmp_path / "out.npz", allow_pickle=False) as stored:
        assert stored["x"].shape == (3, 4, 4)


def test_a_refusal_is_the_kinds_own(tmp_path):
    (tmp_path / "upload").write_bytes(b"nonsense")
    for kind, error in (("checkpoint", CheckpointRejected), ("directions", DirectionsRejected)):
        with pytest.raises(error) as refused:
            inspect(kind, tmp_path / "upload", "x", tmp_path / "out")
        assert isinstance(refused.value, FileRejected)
    assert not (tmp_path / "out").exists()


def test_every_kind_has_a_canonical_form():
    assert CANONICAL_SUFFIXES == {"checkpoint": ".safetensors", "dataset": ".npz", "directions": ".npz", "surface": ".npz"}
