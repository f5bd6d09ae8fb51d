"""Data sets of token ids: what is read, how labels are made, what is refused."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest

from landscape_core.errors import DatasetRejected
from landscape_core.reading import read_dataset, write_dataset
from landscape_core.reading.report import dataset_report

from .conftest import inspect_all

IDS = np.random.default_rng(0).integers(0, 200, (5, 8))


def saved(path: Path, **arrays: np.ndarray) -> Path:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    path.write_bytes(buffer.getvalue())
    return path


@pytest.mark.parametrize("dtype", ["uint16", "int16", "int32", "uint32", "int64", ">i4"])
def test_rows_without_labels_are_shifted_by_one(dtype, tmp_path):
    contents = read_dataset(saved(tmp_path / "t.npz", x=IDS.astype(dtype)))
    assert (contents.x.dtype, contents.y.dtype) == (np.int32, np.int32)
    np.testing.assert_array_equal(contents.x, IDS[:, :-1])
    np.testing.assert_array_equal(contents.y, IDS[:, 1:])
    assert (contents.shape, contents.splits, contents.classes) == ((7,), {"train": 5}, int(IDS.max()) + 1)


def test_labels_that_are_given_are_kept_and_the_canonical_form_is_read_as_it_was(tmp_path):
    test = np.full((2, 8), 250)
    contents = read_dataset(saved(tmp_path / "t.npz", x=IDS, y=IDS[::-1], x_test=test, y_test=test + 3))
    write_dataset(contents, tmp_path / "canonical.npz")
    for found in (contents, read_dataset(tmp_path / "canonical.npz")):
        np.testing.assert_array_equal(found.x, IDS)
        np.testing.assert_array_equal(found.y, IDS[::-1])
        assert (found.shape, found.splits, found.classes) == ((8,), {"train": 5, "test": 2}, 254)
    report = dataset_report(contents, "text.npz")
    assert (report.dtype, report.shape, report.classes) == ("int32", (8,), 254)


def test_both_splits_may_be_without_labels(tmp_path):
    contents = read_dataset(saved(tmp_path / "t.npz", x=IDS, x_test=IDS[:2]))
    assert contents.splits == {"train": 5, "test": 2}
    assert contents.shape == (7,)


def test_pixels_stay_pixels(tmp_path):
    contents = read_dataset(saved(tmp_path / "p.npz", x=IDS.astype(np.uint8), y=np.arange(5)))
    assert (contents.x.dtype, contents.y.shape) == (np.uint8, (5,))


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"x": IDS - 250}, r"x should hold token ids from 0 to 9,999,999, but holds -2\d\d; padding cannot be left out"),
        ({"x": IDS, "y": np.where(IDS > 100, -100, IDS)}, "y should hold token ids from 0 .* but holds -100; padding"),
        ({"x": IDS + 10**7}, r"but holds 10,000,\d\d\d"),
        ({"x": IDS.astype(np.uint64) + (1 << 63)}, "token ids from 0 to 9,999,999, but holds 9,"),
        ({"x": IDS[0]}, r"x of int64 should be token ids of the shape \(N, T\), but has \(8,\); pixels are of uint8"),
        ({"x": IDS[:, :, None]}, r"but has \(5, 8, 1\)"),
        ({"x": IDS[:0]}, r"x should hold token ids, but is empty \(shape \(0, 8\)\)"),
        ({"x": IDS[:, :1]}, "x has sequences of 1 token, so none follows"),
        ({"x": IDS, "y": np.arange(5)}, r"y should hold the token that follows each of x, \(5, 8\).* leave y out"),
        ({"x": IDS, "y": IDS / 2}, r"but is \(5, 8\) of float64; leave y out"),
        ({"x": IDS / 2, "y": IDS}, "as tokens have, but x is float64, which is not read as token ids; save them as uint16"),
        ({"x": IDS.astype(np.uint8), "y": IDS}, "as tokens have, but x is uint8"),
        ({"x": IDS / 2}, "The .npz lacks y"),
        ({"x": IDS, "y": IDS, "x_test": IDS}, "only one of x_test and y_test"),
        ({"x": IDS, "x_test": IDS[:, :5]}, r"x_test should be like x, but its examples are \(4,\) of int32"),
        ({"x": IDS, "y": IDS, "x_test": IDS / 2, "y_test": np.arange(5)}, "x_test should be like x"),
    ],
)
def test_what_are_no_tokens_is_refused_with_one_sentence(arrays, says, tmp_path):
    with pytest.raises(DatasetRejected, match=says) as refused:
        read_dataset(saved(tmp_path / "t.npz", **arrays))
    assert str(refused.value).endswith(".")
    assert str(refused.value).count(". ") == 0


def test_through_the_child(tmp_path):
    saved(tmp_path / "t.npz", x=IDS.astype(np.uint16))
    outcome = inspect_all({"t": ("dataset", tmp_path / "t.npz")}, tmp_path)["t"]
    assert (outcome.report["shape"], outcome.report["dtype"]) == ([7], "int32")
    np.testing.assert_array_equal(read_dataset(outcome.canonical).y, IDS[:, 1:])
