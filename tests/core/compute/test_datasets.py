"""Data sets as they lie on a machine, and examples as the network gets them."""

from __future__ import annotations

import gzip
import hashlib
import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from landscape_core.catalogue import available_datasets, datasets
from landscape_core.catalogue.data import DEBIAN_FASHION_MNIST, SAMPLE_FILE, SAMPLE_SPLITS, TEXT_SAMPLE_FILE
from landscape_core.compute import Examples, load_dataset, prepare
from landscape_core.errors import DatasetRejected, InvalidRequest, NotFound
from landscape_core.estimate import example_order
from landscape_core.requests import DataSlice, Standardisation


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


@pytest.fixture
def digits(tmp_path: Path) -> tuple[Path, np.ndarray, np.ndarray]:
    """A folder with seven images called MNIST: training files plain, test files packed."""
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (7, 4, 5), np.uint8), rng.integers(0, 10, 7).astype(np.uint8)
    place = tmp_path / "mnist"
    place.mkdir()
    (place / "train-images-idx3-ubyte").write_bytes(idx(x[:4]))
    (place / "train-labels-idx1-ubyte").write_bytes(idx(y[:4]))
    (place / "t10k-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(x[4:])))
    (place / "t10k-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(y[4:])))
    return tmp_path, x, y


def resized(monkeypatch, name: str, shape: tuple[int, ...]) -> None:
    """Lets the catalogue's entry have small images."""
    entries = [entry.model_copy(update={"shape": shape}) if entry.id == name else entry for entry in datasets()]
    monkeypatch.setattr("landscape_core.catalogue.data.datasets", lambda: entries)


def test_idx_files_plain_and_packed(digits, monkeypatch):
    folder, x, y = digits
    resized(monkeypatch, "mnist", (1, 4, 5))
    train, test = (load_dataset("mnist", split, folder) for split in ("train", "test"))
    assert np.array_equal(train.x, x[:4])
    assert np.array_equal(test.y, y[4:])
    assert train.facts.splits == {"train": 4, "test": 3}
    assert [facts.id for facts in available_datasets(folder) if facts.id == "mnist"] == ["mnist"]


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda data: data[:-3], "should hold 80 values by its header but holds only 77"),
        (lambda data: data + b"x", "should hold 80 values by its header but holds more"),
        (lambda data: b"<html>404", "not an IDX file"),
        (lambda data: data[:7], "ends within its header"),
        (lambda data: b"", "not an IDX file"),
        (lambda data: data[:4] + b"\xff" * 12 + data[16:], "which a file of its size cannot"),
        (lambda data: data[:4] + b"\0" * 12 + data[16:], "should hold 0 values by its header"),
    ],
)
def test_damaged_idx_files_are_refused(digits, monkeypatch, damage, words):
    folder, x, _ = digits
    resized(monkeypatch, "mnist", (1, 4, 5))
    (folder / "mnist" / "train-images-idx3-ubyte").write_bytes(damage(idx(x[:4])))
    with pytest.raises(DatasetRejected, match=words):
        load_dataset("mnist", "train", folder)


def test_a_damaged_archive_is_refused_and_left_out_of_the_list(digits):
    folder, _, _ = digits
    (folder / "mnist" / "t10k-images-idx3-ubyte.gz").write_bytes(b"\x1f\x8b not really")
    with pytest.raises(DatasetRejected, match="cannot be unpacked"):
        load_dataset("mnist", "train", folder)
    assert "mnist" not in {facts.id for facts in available_datasets(folder)}


def test_what_is_not_here_says_where_it_belongs(tmp_path):
    with pytest.raises(NotFound, match=r"CIFAR-10 is not on this machine; put its files into .*cifar-10-batches-bin"):
        load_dataset("cifar10", "train", tmp_path)
    with pytest.raises(NotFound, match="MNIST is not on this machine"):
        load_dataset("mnist", "train", tmp_path)
    with pytest.raises(NotFound, match="There is no data set 'cifar11'; choose one of fashion-mnist-sample"):
        load_dataset("cifar11", "train", tmp_path)


def test_cifar_records_become_images(tmp_path):
    place = tmp_path / "cifar-10-batches-bin"
    place.mkdir()
    rng = np.random.default_rng(0)
    records = rng.integers(0, 256, (10, 3073), np.uint8)
    records[:, 0] %= 10
    for n in range(5):
        (place / f"data_batch_{n + 1}.bin").write_bytes(records[2 * n : 2 * n + 2].tobytes())
    train = load_dataset("cifar10", "train", tmp_path)
    assert train.facts.splits == {"train": 10}
    assert np.array_equal(train.y, records[:, 0])
    x, _ = prepare(train, DataSlice(dataset="cifar10", seed=None))
    torch.testing.assert_close(x, torch.from_numpy(records[:, 1:].reshape(10, 3, 32, 32)).float() / 255)
    with pytest.raises(InvalidRequest, match="no test split"):
        load_dataset("cifar10", "test", tmp_path)
    (place / "data_batch_3.bin").write_bytes(b"x" * 3074)
    with pytest.raises(DatasetRejected, match="no whole number of CIFAR-10's 3073-byte records"):
        load_dataset("cifar10", "train", tmp_path)


def test_an_npz_of_ones_own(tmp_path):
    x, y = np.arange(2 * 3 * 4 * 3, dtype=np.uint8).reshape(2, 3, 4, 3), np.array([2, 0])
    np.savez(tmp_path / "own.npz", x=x, y=y, x_test=x[:1], y_test=np.array([5]))
    own = load_dataset(str(tmp_path / "own.npz"), "test", tmp_path)
    assert own.facts.model_dump(include={"splits", "shape", "classes", "dtype"}) == {
        "splits": {"train": 2, "test": 1},
        "shape": (3, 3, 4),
        "classes": 6,
        "dtype": "uint8",
    }
    np.savez(tmp_path / "train.npz", x=x, y=y)
    with pytest.raises(InvalidRequest, match=r"train\.npz has no test split"):
        load_dataset(tmp_path / "train.npz", "test", tmp_path)


@pytest.mark.parametrize(
    ("x", "y", "words"),
    [
        (np.zeros((3, 4), np.float32), np.zeros(2, int), "as many labels as examples"),
        (np.zeros((0, 4), np.float32), np.zeros(0, int), "at least one"),
        (np.zeros((3, 4), np.float32), np.zeros((3, 1), int), "as many labels"),
        (np.zeros((3, 4), np.float32), np.array([0, -1, 2]), "whole numbers from 0"),
        (np.zeros((3, 4), np.float32), np.zeros(3), "whole numbers from 0"),
        (np.zeros((3, 4), np.int64), np.zeros(3, int), "of tokens, as many as tokens"),
        (np.zeros((3, 4), bool), np.zeros(3, int), "expected uint8 images, floating"),
        (np.zeros((3, 4, 1, 1, 1), np.float32), np.zeros(3, int), "x has 5 dimensions"),
    ],
)
def test_what_are_no_examples_is_refused(x, y, words):
    with pytest.raises(DatasetRejected, match=words):
        Examples.from_arrays(x, y)


def test_the_order_of_examples_never_changes():
    """The same request stands for the same examples in every release of numpy and of ours."""
    assert example_order(10, 0).tolist() == [4, 6, 2, 7, 3, 5, 9, 0, 8, 1]
    assert example_order(10, 7).tolist() == [8, 0, 7, 1, 3, 6, 2, 4, 5, 9]
    assert example_order(50_000, 0)[:6].tolist() == [25461, 5892, 10377, 28814, 9578, 43565]
    assert example_order(4, None).tolist() == [0, 1, 2, 3]


def test_pixels_are_scaled_standardised_and_put_channels_first():
    rng = np.random.default_rng(0)
    stored, labels = rng.integers(0, 256, (6, 5, 4, 3), np.uint8), np.arange(6)
    scaling = Standardisation(mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7))
    data = DataSlice(dataset="d", examples=4, seed=9, preprocessing=scaling)
    x, y = prepare(Examples.from_arrays(stored, labels), data)
    order = example_order(6, 9)[:4]
    expected = ((stored[order] / 255.0 - np.array(scaling.mean)) / np.array(scaling.std)).transpose(0, 3, 1, 2)
    assert x.dtype == torch.float32
    np.testing.assert_allclose(x.numpy(), expected, atol=1e-6)
    assert y.tolist() == labels[order].tolist()


@pytest.mark.parametrize("shape", [(5, 7), (5, 3, 4), (5, 2, 3, 4)])
@pytest.mark.parametrize("kind", [np.float32, np.float64, np.float16])
def test_floating_numbers_are_used_as_they_are(shape, kind):
    stored = np.random.default_rng(0).normal(size=shape).astype(kind)
    x, _ = prepare(Examples.from_arrays(stored, np.zeros(5, int)), DataSlice(dataset="d", seed=None))
    expected = stored[:, None] if len(shape) == 3 else stored
    assert np.array_equal(x.numpy(), expected.astype(np.float32))
    standard = DataSlice(dataset="d", seed=None, preprocessing=Standardisation(mean=(1,), std=(2,)))
    if len(shape) < 4:
        scaled, _ = prepare(Examples.from_arrays(stored, np.zeros(5, int)), standard)
        np.testing.assert_allclose(scaled.numpy(), (expected.astype(np.float32) - 1) / 2, rtol=1e-6)


def test_preparing_leaves_the_stored_examples_alone():
    stored = np.ones((3, 4), np.float32)
    prepare(
        Examples.from_arrays(stored, np.zeros(3, int)),
        DataSlice(dataset="d", seed=None, preprocessing=Standardisation(mean=(1,), std=(2,))),
    )
    assert (stored == 1).all()


def test_preparing_refuses_what_does_not_fit():
    grey = Examples.from_arrays(np.zeros((3, 4, 4), np.uint8), np.zeros(3, int))
    with pytest.raises(InvalidRequest, match="4 examples were asked for, but arrays has 3"):
        prepare(grey, DataSlice(dataset="d", examples=4))
    with pytest.raises(InvalidRequest, match="The preprocessing has 3 channels, but arrays has 1"):
        prepare(grey, DataSlice(dataset="d", preprocessing="cifar10"))


def test_the_shipped_sample_is_always_there(tmp_path):
    facts = available_datasets(tmp_path / "nowhere")[0]
    assert facts.id == "fashion-mnist-sample"
    for split, count in SAMPLE_SPLITS.items():
        sample = load_dataset("fashion-mnist-sample", split, tmp_path)
        assert sample.x.shape == (count, 28, 28)
        assert set(np.unique(sample.y)) == set(range(10))
        assert facts.splits[split] == count
    assert "MIT License" in (SAMPLE_FILE.parent / "LICENSE-fashion-mnist.txt").read_text()


def test_the_shipped_text_is_always_there_as_bytes_that_follow_each_other(tmp_path):
    facts = next(one for one in available_datasets(tmp_path / "nowhere") if one.id == "devils-dictionary")
    text = TEXT_SAMPLE_FILE.read_bytes()
    assert text.startswith(b"NOTORIETY, n.  The fame of one's competitor for public honors.")
    assert hashlib.sha256(text).hexdigest() == "864ce8377796200b4a2a8cb0b2c166fee4cadbc0b2b187d4ba17125a6507d3c8"
    parts = {split: load_dataset(facts.id, split, tmp_path) for split in ("train", "test")}
    assert {split: len(part.x) for split, part in parts.items()} == facts.splits
    read = np.concatenate([parts[split].x.ravel() for split in ("train", "test")])
    followed = np.concatenate([parts[split].y.ravel() for split in ("train", "test")])
    assert bytes(read.tolist()) == text[:-1]
    assert bytes(followed.tolist()) == text[1:]
    assert facts.classes == 1 + max(text)
    assert facts.holds_tokens
    assert parts["train"].x.shape[1:] == facts.shape
    assert "Public Domain" in TEXT_SAMPLE_FILE.with_name("SOURCE-devils-dictionary.txt").read_text()


@pytest.mark.skipif(not DEBIAN_FASHION_MNIST.is_dir(), reason="Debian's package dataset-fashion-mnist is not installed")
@pytest.mark.parametrize("split", ["train", "test"])
def test_the_shipped_sample_is_the_beginning_of_the_whole(tmp_path, split):
    sample, whole = (load_dataset(name, split, tmp_path) for name in ("fashion-mnist-sample", "fashion-mnist"))
    assert np.array_equal(sample.x, whole.x[: len(sample.x)])
    assert np.array_equal(sample.y, whole.y[: len(sample.y)])


def test_a_label_beyond_the_classes_is_refused(digits, monkeypatch) -> None:
    folder, _, _ = digits
    resized(monkeypatch, "mnist", (1, 4, 5))
    (folder / "mnist" / "train-labels-idx1-ubyte").write_bytes(idx(np.array([0, 1, 200, 3], np.uint8)))
    with pytest.raises(DatasetRejected, match="A label is 200, but MNIST has the classes 0 to 9"):
        load_dataset("mnist", "train", folder)
