"""The original's files: those it wrote, and ours read as its code reads them."""

from __future__ import annotations

import io
import os
from pathlib import Path

import h5py
import numpy as np
import pytest

from landscape_core import formats
from landscape_core.errors import SurfaceRejected
from landscape_core.formats import h5
from landscape_core.results import ESTIMATED, MEASURED, NOT_COMPUTED, NOT_FINITE, Surface

from .surfaces import bowl, same

REFERENCE = os.environ.get("LOSSATLAS_REFERENCE")
reference = [
    pytest.mark.reference,
    pytest.mark.skipif(REFERENCE is None, reason="LOSSATLAS_REFERENCE, the folder of reference data, is not set"),
]


def _reference(name: str) -> Path:
    return Path(REFERENCE or "") / name


@pytest.mark.parametrize(
    ("name", "shape", "holes", "not_finite"),
    [
        ("golden_surfaces/mnist_cnn_margin.surface.h5", (15, 15), 0, 0),
        ("golden_surfaces/mnist_mlp_784_128_10_ce.surface.h5", (15, 15), 0, 0),
        ("golden_surfaces/mnist_mlp_784_128_10_ce.half_done_25x25.h5", (25, 25), 525, 0),
        ("recorded_surfaces/three_model_plane_with_nan_51x51.h5", (51, 51), 0, 715),
        ("recorded_surfaces/zhenyu_31x31.h5", (31, 31), 0, 1),
        ("original_code/resnet56_7x5.surface.h5", (5, 7), 0, 0),
        ("original_code/resnet56_states_1d.surface.h5", (1, 9), 0, 0),
        ("original_code/resnet56_weightnorm_5x5.surface.h5", (5, 5), 0, 0),
    ],
)
class TestReference:
    pytestmark = reference

    def test_is_read_value_for_value(self, name, shape, holes, not_finite):
        surface = formats.load(_reference(name))
        assert surface.loss.shape == shape
        assert ((surface.state == NOT_COMPUTED).sum(), surface.not_finite) == (holes, not_finite)
        with h5py.File(_reference(name)) as file:
            loss, accuracy = (file[n][:].ravel().reshape(shape) for n in ("train_loss", "train_acc"))
            np.testing.assert_array_equal(surface.x, file["xcoordinates"][:])
        measured = surface.state == MEASURED
        np.testing.assert_array_equal(surface.loss[measured], loss[measured])
        np.testing.assert_array_equal(surface.accuracy[surface.state != NOT_COMPUTED], accuracy[surface.state != NOT_COMPUTED])
        assert np.isnan(surface.loss[~measured]).all()
        assert (surface.examples == 0).all()
        assert np.isnan(surface.stderr).all()
        assert surface.request is None
        assert surface.provenance["source"]["format"] == "loss-landscape .h5"

    def test_written_again_holds_the_same_arrays(self, name, shape, holes, not_finite):
        surface = formats.load(_reference(name))
        again = h5.dump(surface)
        assert same(h5.load(again), surface)
        with h5py.File(_reference(name)) as theirs, h5py.File(io.BytesIO(again)) as ours:
            for key in ("xcoordinates", "ycoordinates", "train_loss", "train_acc"):
                assert (key in theirs) == (key in ours)
                if key in theirs:
                    assert ours[key].shape == theirs[key].shape
                    np.testing.assert_array_equal(ours[key][:], theirs[key][:])


@pytest.mark.parametrize("name", ["resnet56_7x5", "resnet56_states_1d"])
class TestReferenceDirections:
    pytestmark = reference

    def test_written_again_hold_the_same_arrays(self, name, tmp_path):
        with h5py.File(_reference(f"original_code/{name}.directions.h5")) as theirs:
            arrays = {
                group: [np.asarray(theirs[group][str(i)][()]) for i in range(len(theirs[group]))]
                for group in ("xdirection", "ydirection")
                if group in theirs
            }
        formats.directions_h5(arrays["xdirection"], arrays.get("ydirection"), tmp_path / "d.h5")
        with h5py.File(tmp_path / "d.h5") as ours:
            assert sorted(ours) == sorted(arrays)
            for group, tensors in arrays.items():
                assert len(ours[group]) == len(tensors)
                for index, tensor in enumerate(tensors):
                    member = ours[group][str(index)]
                    assert (member.shape, member.dtype) == (np.shape(tensor), np.float32)
                    np.testing.assert_array_equal(member[()], tensor)


def _theirs(**datasets: object) -> bytes:
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        for name, value in datasets.items():
            file[name] = value
    return buffer.getvalue()


def test_the_layout_trap_is_written_as_the_original_writes_it():
    surface = bowl(7, 5)
    with h5py.File(io.BytesIO(h5.dump(surface))) as file:
        assert file["train_loss"].shape == (7, 5)  # as allocated: (nx, ny)
        flat = file["train_loss"][:].ravel()
        xs, ys = (mesh.ravel() for mesh in np.meshgrid(file["xcoordinates"][:], file["ycoordinates"][:]))
    for value, x, y in zip(flat, xs, ys, strict=True):  # the original's scheduler: coordinates by flat index of the meshgrid
        assert value == surface.loss[np.flatnonzero(surface.y == y)[0], np.flatnonzero(surface.x == x)[0]]


def test_the_split_names_the_arrays_and_a_curve_has_no_second_axis():
    with h5py.File(io.BytesIO(h5.dump(bowl(9, None, split="test")))) as file:
        assert {"test_loss", "test_acc", "xcoordinates", "dir_file"} <= set(file)
        assert "ycoordinates" not in file
        assert "train_loss" not in file
        assert file["test_loss"].shape == (9,)


def test_minus_one_is_a_hole_unless_an_accuracy_says_that_it_was_measured():
    axes = {"xcoordinates": [0.0, 1.0, 2.0, 3.0]}
    surface = h5.load(_theirs(**axes, train_loss=[-1.0, -1.0, np.inf, -0.5], train_acc=[-1.0, 40.0, 10.0, -1.0]))
    assert surface.state.tolist() == [[NOT_COMPUTED, MEASURED, NOT_FINITE, MEASURED]]
    assert surface.loss[0, 1] == -1
    np.testing.assert_array_equal(surface.accuracy, [[np.nan, 40, 10, np.nan]])
    surface = h5.load(_theirs(**axes, train_loss=[-1.0, 1.0, np.nan, 2.0]))
    assert surface.state.tolist() == [[NOT_COMPUTED, MEASURED, NOT_FINITE, MEASURED]]
    assert np.isnan(surface.accuracy).all()


def test_only_test_arrays_are_read_too_and_written_under_the_same_name():
    surface = h5.load(_theirs(xcoordinates=[0.0, 1.0], test_loss=[1.0, 2.0], dir_file="d.h5"))
    assert surface.provenance == {"source": {"format": "loss-landscape .h5", "split": "test", "dir_file": "d.h5"}}
    with h5py.File(io.BytesIO(h5.dump(surface))) as file:
        assert file["dir_file"][()] == b"d.h5"
        assert "test_loss" in file


def test_what_the_original_code_filled_in_afterwards_is_believed():
    full = bowl(3, 2)
    hole = np.zeros((2, 3), bool)
    hole[1, 1] = True
    part = Surface(
        x=full.x,
        y=full.y,
        loss=np.where(hole, np.nan, full.loss),
        state=np.where(hole, NOT_COMPUTED, ESTIMATED).astype(np.uint8),
        accuracy=np.where(hole, np.nan, full.accuracy),
        examples=np.where(hole, 0, full.examples),
        stderr=np.where(hole, np.nan, full.stderr),
    )
    buffer = io.BytesIO(h5.dump(part))
    with h5py.File(buffer, "r+") as file:
        loss, accuracy = file["train_loss"][:], file["train_acc"][:]
        assert loss.ravel()[4] == accuracy.ravel()[4] == -1
        loss.ravel()[4], accuracy.ravel()[4] = 7.5, 12.5
        file["train_loss"][:], file["train_acc"][:] = loss, accuracy
    surface = h5.load(buffer.getvalue())
    assert surface.state.tolist() == [[3, 3, 3], [3, 1, 3]]
    assert (surface.loss[1, 1], surface.accuracy[1, 1], surface.examples[1, 1]) == (7.5, 12.5, 0)
    assert np.isnan(surface.stderr[1, 1])


def test_a_value_that_was_changed_afterwards_loses_our_error_bars():
    before = bowl(3, 2)
    buffer = io.BytesIO(h5.dump(before))
    with h5py.File(buffer, "r+") as file:
        loss = file["train_loss"][:]
        loss.ravel()[4] *= 1000
        file["train_loss"][:] = loss
    surface = h5.load(buffer.getvalue())
    changed = np.zeros((2, 3), bool)
    changed[1, 1] = True
    assert surface.loss[1, 1] == 1000 * before.loss[1, 1]
    np.testing.assert_array_equal(surface.examples, np.where(changed, 0, before.examples))
    np.testing.assert_array_equal(surface.stderr, np.where(changed, np.nan, before.stderr))


def test_a_long_provenance_fits():
    surface = Surface(**{**bowl().__dict__, "provenance": {"log": "x" * 1_000_000}})
    assert same(h5.load(h5.dump(surface)), surface)


def test_external_and_virtual_data_is_not_followed(tmp_path):
    secret = tmp_path / "secret"
    secret.write_bytes(np.arange(3.0).tobytes())
    path = tmp_path / "evil.h5"
    with h5py.File(path, "w") as file:
        file["xcoordinates"] = [0.0, 1.0, 2.0]
        file.create_dataset("train_loss", (3,), "f8", external=[(str(secret), 0, 24)])
    with pytest.raises(SurfaceRejected, match=r"train_loss in the .h5 should be a data set that lies in the file itself"):
        formats.load(path)
    with h5py.File(path, "w") as file:
        file["xcoordinates"] = [0.0, 1.0, 2.0]
        file["train_loss"] = h5py.ExternalLink(str(_other(tmp_path)), "train_loss")
    with pytest.raises(SurfaceRejected, match="lies in the file itself"):
        formats.load(path)
    layout = h5py.VirtualLayout((3,), "f8")
    layout[:] = h5py.VirtualSource(str(_other(tmp_path)), "train_loss", (3,))
    with h5py.File(path, "w") as file:
        file["xcoordinates"] = [0.0, 1.0, 2.0]
        file.create_virtual_dataset("train_loss", layout)
    with pytest.raises(SurfaceRejected, match="lies in the file itself"):
        formats.load(path)


def _other(folder: Path) -> Path:
    path = folder / "other.h5"
    path.write_bytes(_theirs(train_loss=[1.0, 2.0, 3.0]))
    return path
