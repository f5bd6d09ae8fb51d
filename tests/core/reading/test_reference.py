"""Other people's files: the paper's own networks and what else is in the reference folder, bit for bit."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

from landscape_core.errors import CheckpointRejected
from landscape_core.reading import inspect_in_child, read_canonical, read_checkpoint, read_dataset, read_directions

pytestmark = pytest.mark.reference

CHECKPOINTS = {
    "paper_checkpoints/resnet56.t7": ("torch legacy", "state_dict", "", 287, {"acc": 93.66, "epoch": 300}, ["resnet56"]),
    "paper_checkpoints/resnet56_noshort.t7": ("torch legacy", "state_dict", "", 277, {"acc": 86.69}, ["resnet56_noshort"]),
    "checkpoints/resnet20-12fca82f.th": (
        "torch legacy",
        "state_dict",
        "module.",
        97,
        {"best_prec1": 91.78},
        ["resnet20:shortcut=A"],
    ),
    "checkpoints/uva_resnet_lightning.ckpt": ("torch legacy", "state_dict", "model.", 120, {"epoch": 162}, ["uva_resnet"]),
    "fashion_mnist_checkpoints/mlp_sgd.tar": ("torch zip", "", "", 10, {}, ["mlp"]),
    "golden_surfaces/mnist_mlp_784_128_10_ce.pt": ("torch zip", "", "", 4, {}, ["mlp"]),
    "golden_surfaces/mnist_cnn_margin.pt": ("torch zip", "", "", 6, {}, ["convnet:pool_size=3"]),
    "trajectory_mnist_cnn_margin/epoch_10.pt": ("torch zip", "", "", 6, {}, ["convnet:pool_size=3"]),
}


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_a_checkpoint_is_read_as_torch_reads_it(name, reference, tmp_path):
    form, container, prefix, count, metadata, architectures = CHECKPOINTS[name]
    report = inspect_in_child("checkpoint", reference / name, name.rpartition("/")[2], tmp_path / "out")
    assert (report["format"], report["container"], report["prefix"], report["tensors"]) == (form, container, prefix, count)
    for key, value in metadata.items():
        assert report["metadata"][key] == pytest.approx(value, rel=1e-6)
    if architectures:
        found = report["candidates"][0]["architecture"]
        options = ",".join(f"{key}={value}" for key, value in found["options"].items())
        assert f"{found['name']}:{options}".rstrip(":") == architectures[0]
    tensors = read_canonical(tmp_path / "out")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        loaded = torch.load(reference / name, map_location="cpu", weights_only=False, encoding="latin1")
    state = loaded[container] if container else loaded
    assert list(tensors) == [key.removeprefix(prefix) for key in state]
    for key, value in state.items():
        array = tensors[key.removeprefix(prefix)]
        assert array.shape == tuple(value.shape)
        assert array.tobytes() == value.contiguous().numpy().tobytes(), key


def test_a_file_that_torch_refuses_is_read(reference):
    contents = read_checkpoint(reference / "refuse" / "lightning_attributedict.ckpt")
    assert (len(contents.tensors), contents.container, contents.metadata["epoch"]) == (24, "state_dict", 145)
    assert next(iter(contents.tensors)) == "encoder.net.0.weight"
    assert all(np.isfinite(array).all() for array in contents.tensors.values())


@pytest.mark.parametrize(
    ("name", "says"), [("git_lfs_pointer.pt", "git lfs pull"), ("torchscript.jit", "export the state_dict with `torch.save")]
)
def test_what_cannot_be_read_is_refused_with_the_way_out(name, says, reference, tmp_path):
    with pytest.raises(CheckpointRejected, match=says):
        inspect_in_child("checkpoint", reference / "refuse" / name, name, tmp_path / "out")


def test_data_sets_are_read(reference, tmp_path):
    report = inspect_in_child("dataset", reference / "cifar10" / "test_1000.npz", "test_1000.npz", tmp_path / "out.npz")
    assert (report["shape"], report["splits"], report["classes"], report["dtype"]) == (
        [3, 32, 32],
        {"train": 1000},
        10,
        "uint8",
    )
    with np.load(reference / "cifar10" / "test_1000.npz") as original:
        assert np.array_equal(read_dataset(tmp_path / "out.npz").x, original["x"])


@pytest.mark.parametrize(
    ("name", "count", "two"),
    [("original_code/resnet56_7x5", 173, True), ("original_code/resnet56_states_1d", 344, False)],
)
def test_directions_are_read(name, count, two, reference, tmp_path):
    report = inspect_in_child("directions", reference / f"{name}.directions.h5", "d.h5", tmp_path / "out")
    assert (len(report["shapes"]), report["directions"]) == (count, 2 if two else 1)
    original, canonical = read_directions(reference / f"{name}.directions.h5"), read_directions(tmp_path / "out")
    assert all(np.array_equal(a, b) for a, b in zip(original.x, canonical.x, strict=True))


@pytest.mark.parametrize(
    "name", ["original_code/resnet56_7x5.surface.h5", "recorded_surfaces/three_model_plane_with_nan_51x51.h5"]
)
def test_surfaces_are_read(name, reference, tmp_path):
    report = inspect_in_child("surface", reference / name, "s.h5", tmp_path / "out.npz")
    assert report["measured"] > 30
