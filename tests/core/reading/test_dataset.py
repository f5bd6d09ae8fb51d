"""Data sets: what is read, and every refusal in a sentence that says what was expected."""

from __future__ import annotations

import io
import struct
import zipfile

import numpy as np
import pytest

from landscape_core.errors import DatasetRejected
from landscape_core.reading import read_dataset, write_dataset
from landscape_core.reading.report import dataset_report

from .conftest import inspect_all

PIXELS, FLOATS = np.arange(5 * 4 * 3, dtype=np.uint8).reshape(5, 4, 3), np.linspace(-1, 1, 30).reshape(5, 6)
LABELS = np.array([0, 1, 2, 1, 0])


def npz(**arrays: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("x", "shape", "dtype"),
    [
        (PIXELS, (1, 4, 3), "uint8"),
        (PIXELS.reshape(5, 2, 2, 3), (3, 2, 2), "uint8"),
        (PIXELS.reshape(5, 12), (12,), "uint8"),
        (FLOATS, (6,), "float32"),
        (FLOATS.astype(np.float16).reshape(5, 2, 3), (1, 2, 3), "float32"),
        (FLOATS.astype(">f4").reshape(5, 3, 2, 1), (3, 2, 1), "float32"),
        (np.asfortranarray(FLOATS.astype(np.float32)), (6,), "float32"),
    ],
)
def test_it_is_read_and_written_again(x, shape, dtype, tmp_path):
    path = tmp_path / "d.npz"
    path.write_bytes(npz(x=x, y=LABELS.astype(np.uint8), x_test=x[:2], y_test=np.array([4, 0])))
    contents = read_dataset(path)
    assert np.array_equal(contents.x, x.astype(dtype))
    assert contents.y.tolist() == LABELS.tolist()
    assert (contents.shape, str(contents.x.dtype), contents.classes) == (shape, dtype, 5)
    assert contents.splits == {"train": 5, "test": 2}
    write_dataset(contents, path)
    again = read_dataset(path)
    assert np.array_equal(again.x, contents.x)
    assert again.x.dtype == contents.x.dtype
    assert np.array_equal(again.y_test, [4, 0])


def test_other_arrays_are_left_alone_and_named(tmp_path):
    (tmp_path / "d.npz").write_bytes(npz(x=PIXELS, y=LABELS, names=np.array(["a", "b"])))
    report = dataset_report(read_dataset(tmp_path / "d.npz"), "../my data.npz")
    assert (report.title, report.warnings) == ("my data", ("Not used: names.npy.",))
    assert (report.splits, report.shape, report.classes, report.preprocessing) == ({"train": 5}, (1, 4, 3), 3, "none")


def object_array() -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, x=np.array([{"a": 1}, None], dtype=object), y=LABELS[:2])
    return buffer.getvalue()


def lying_header() -> bytes:
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000, 1000), }"
    text = header + b" " * (117 - len(header)) + b"\n"
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("x.npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + bytes(80))
        file.writestr("y.npy", b"")
    return buffer.getvalue()


@pytest.mark.parametrize(
    "header", ["{[]: 1}", "{1: 2, 'a': 3}", "'''", "(((", "  x\n y\n", "(" * 3000, "{'descr': (), 'shape': 1}"]
)
def test_a_header_that_is_no_header_is_damage(header, tmp_path):
    with zipfile.ZipFile(tmp_path / "d.npz", "w") as file:
        file.writestr("x.npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode())
    with pytest.raises(DatasetRejected, match="cannot be read") as refused:
        read_dataset(tmp_path / "d.npz")
    assert "\n" not in str(refused.value)


def bomb() -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, x=np.zeros((40_000, 32, 32, 3), np.uint8), y=np.zeros(40_000, np.int64))
    return buffer.getvalue()


def encrypted() -> bytes:
    data = bytearray(npz(x=PIXELS, y=LABELS))
    at = data.find(b"PK\x01\x02")
    while at >= 0:
        data[at + 8] |= 1
        at = data.find(b"PK\x01\x02", at + 4)
    return bytes(data)


BAD = {
    "encrypted": (encrypted(), "pack it again without a password"),
    "empty": (b"", "is empty"),
    "text": (b"a,b\n1,2\n", "is not an .npz"),
    "no x": (npz(y=LABELS), "lacks x"),
    "no labels": (npz(x=PIXELS), "lacks y"),
    "half a test split": (npz(x=PIXELS, y=LABELS, x_test=PIXELS), "only one of x_test and y_test"),
    "objects": (object_array(), "plain numbers"),
    "lying header": (lying_header(), "bytes are not that"),
    "bomb": (bomb(), "would unpack"),
    "cut short": (npz(x=PIXELS, y=LABELS)[:-40], "cut short"),
    "a bit flipped": (npz(x=PIXELS, y=LABELS).replace(PIXELS.tobytes(), bytes(60)), "CRC"),
    "integers": (npz(x=PIXELS.astype(np.int32), y=LABELS), "token ids of the shape"),
    "truth values": (npz(x=PIXELS > 3, y=LABELS), "should be uint8"),
    "one dimension": (npz(x=PIXELS[:, 0, 0], y=LABELS), "should have the shape"),
    "channels first": (npz(x=np.zeros((5, 3, 32, 32), np.uint8), y=LABELS), "channels last"),
    "fewer labels": (npz(x=PIXELS, y=LABELS[:3]), "one class for each of the 5 examples"),
    "one-hot labels": (npz(x=PIXELS, y=np.eye(5)), "one class for each"),
    "float labels": (npz(x=PIXELS, y=LABELS / 2), "whole numbers"),
    "negative labels": (npz(x=PIXELS, y=LABELS - 1), "classes from 0"),
    "large labels": (npz(x=PIXELS, y=LABELS + 10**6), "classes from 0"),
    "not finite": (npz(x=np.where(FLOATS > 0.9, np.nan, FLOATS), y=LABELS), "not finite"),
    "too large for float32": (npz(x=FLOATS * 1e300, y=LABELS), "not finite"),
    "no examples": (npz(x=PIXELS[:0], y=LABELS[:0]), "is empty"),
    "other test images": (npz(x=PIXELS, y=LABELS, x_test=PIXELS[:, :2], y_test=LABELS), "x_test should be like x"),
}


@pytest.mark.parametrize("name", BAD)
def test_it_is_refused_with_one_sentence(name, tmp_path):
    data, says = BAD[name]
    (tmp_path / "d.npz").write_bytes(data)
    with pytest.raises(DatasetRejected, match=says) as refused:
        read_dataset(tmp_path / "d.npz")
    assert str(refused.value).endswith(".")
    assert "\n" not in str(refused.value)


def test_through_the_child(tmp_path):
    for name, data in {"good": npz(x=PIXELS, y=LABELS), "bad": BAD["bomb"][0]}.items():
        (tmp_path / f"{name}.npz").write_bytes(data)
    asked = {name: ("dataset", tmp_path / f"{name}.npz") for name in ("good", "bad")}
    outcomes = inspect_all(asked, tmp_path)
    assert outcomes["bad"].error == "DatasetRejected"
    assert outcomes["bad"].peak < 300_000_000
    assert outcomes["good"].report["shape"] == [1, 4, 3]
    assert np.array_equal(read_dataset(outcomes["good"].canonical).x, PIXELS)
