"""Damaged and foreign files end in one sentence each, never in anything else."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from landscape_core import formats
from landscape_core.errors import SurfaceRejected
from landscape_core.formats import h5, npz
from landscape_core.formats import json as json_form
from landscape_core.results import Surface

from .surfaces import bowl

NAMES = ("x", "y", "loss", "state", "accuracy", "examples", "stderr")


def _npz(tmp_path: Path, **changes: object) -> bytes:
    arrays = {name: getattr(bowl(3, 2), name) for name in NAMES} | changes
    np.savez(tmp_path / "a.npz", **{n: a for n, a in arrays.items() if a is not None})
    return (tmp_path / "a.npz").read_bytes()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"x": np.array([0.0, 1.0])}, "should have the shape (2, 2) of the axes"),
        ({"x": np.array([0.0, 2.0, 1.0])}, "x should ascend"),
        ({"x": np.array([0.0, 0.0, 1.0])}, "x should ascend"),
        ({"y": np.array([0.0, np.nan])}, "y should be finite"),
        ({"x": np.array([]), "loss": np.zeros((2, 0))}, "x should be one row of 1 to 2001"),
        ({"x": np.arange(2002.0)}, "x should be one row of 1 to 2001"),
        ({"x": np.array(["a", "b", "c"])}, "x should hold numbers"),
        ({"y": None}, "should have the shape (1, 3) of the axes"),
        ({"loss": None}, "lacks loss"),
        ({"loss": np.zeros(6)}, "loss should be a table"),
        ({"loss": np.full((2, 3), np.inf)}, "loss and state contradict each other"),
        ({"loss": np.ones((2, 3), complex)}, "plain values"),
        ({"state": np.zeros((2, 3), np.uint8)}, "contradict"),
        ({"state": np.full((2, 3), 9, np.uint8)}, "state should be 0 to 3"),
        ({"state": np.ones((2, 3))}, "state should be a table"),
        ({"accuracy": np.full((2, 3), 101.0)}, "accuracy should be a percentage"),
        ({"accuracy": np.full((2, 3), np.inf)}, "accuracy should be a percentage"),
        ({"examples": np.full((2, 3), -1)}, "should not be negative"),
        ({"request": np.array("{}")}, "not one that this version knows (checkpoint: Field required)"),
        ({"request": np.array(bowl(5, 2).request.canonical_json())}, "other x coordinates"),
        ({"request": np.array(bowl(3, None).request.canonical_json())}, "disagree about whether there is a second axis"),
        ({"request": np.array([1.0])}, "request should be one JSON text"),
        ({"provenance": np.array("[1]")}, "provenance in the file should be a JSON object"),
        ({"provenance": np.array("{")}, "not valid JSON"),
        ({"provenance": np.array("[" * 100_000)}, "not valid JSON"),
    ],
)
def test_an_npz_that_contradicts_itself(tmp_path, changes, sentence):
    with pytest.raises(SurfaceRejected) as refused:
        npz.load(_npz(tmp_path, **changes))
    assert sentence in str(refused.value)
    assert str(refused.value).endswith(".")


def test_objects_in_an_npz_are_never_unpickled(tmp_path):
    canary = tmp_path / "canary"

    class Evil:
        def __reduce__(self):
            return (os.mkdir, (str(canary),))

    data = _npz(tmp_path, loss=np.array([[Evil()]], dtype=object))
    with pytest.raises(SurfaceRejected, match="plain values"):
        npz.load(data)
    assert not canary.exists()


def test_a_header_that_promises_terabytes_costs_nothing():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        content = io.BytesIO()
        np.lib.format.write_array_header_1_0(content, {"descr": "<f8", "fortran_order": False, "shape": (10**6, 10**6)})
        archive.writestr("x.npy", content.getvalue())
    with pytest.raises(SurfaceRejected, match="its 0 bytes are not that"):
        npz.load(buffer.getvalue())


@pytest.mark.parametrize(
    "header", ["{[]: 1}", "{1: 2, 'a': 3}", "'''", "(((", "  x\n y\n", "(" * 3000, "{'descr': (), 'shape': 1}"]
)
def test_a_header_that_is_no_header_is_damage(header):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("x.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode())
    with pytest.raises(SurfaceRejected, match="not a readable") as refused:
        npz.load(buffer.getvalue())
    assert "\n" not in str(refused.value)


def test_a_damaged_lzma_stream_is_damage():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("x.npy", bytes(range(256)) * 9)
    data = bytearray(buffer.getvalue())
    data[39:60] = b"\xff" * 21
    with pytest.raises(SurfaceRejected, match="not a readable"):
        npz.load(bytes(data))


def test_a_zip_bomb_is_refused_by_its_size():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("x.npy", "w") as entry:
        for _ in range(64):
            entry.write(bytes(1 << 20))
    with pytest.raises(SurfaceRejected, match="at most"):
        npz.load(buffer.getvalue())


def test_a_foreign_npz_is_named(tmp_path):
    np.savez(tmp_path / "a.npz", X=np.zeros(3), Y=np.zeros(3), Z=np.zeros((3, 3)))
    with pytest.raises(SurfaceRejected, match=r"lacks x, loss, state, accuracy, examples, stderr; a surface's .npz holds x, y"):
        formats.load(tmp_path / "a.npz")


@pytest.mark.parametrize("suffix", [".npz", ".h5", ".json"])
@pytest.mark.parametrize(
    "content", [b"", b"PK\x03\x04 no", b"\x89HDF\r\n\x1a\n" + bytes(50), b"version https://git-lfs", b"{}", b"[1"]
)
def test_garbage(tmp_path, suffix, content):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(content)
    with pytest.raises(SurfaceRejected) as refused:
        formats.load(path)
    assert "\n" not in str(refused.value)


def test_a_missing_file_and_a_folder(tmp_path):
    for path in (tmp_path / "none.npz", tmp_path / "folder.npz"):
        if path.stem == "folder":
            path.mkdir()
        with pytest.raises(SurfaceRejected, match="cannot be read"):
            formats.load(path)


@pytest.mark.parametrize("form", [npz, json_form], ids=["npz", "json"])
@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_a_damaged_file_is_read_or_refused(form, data):
    content = bytearray(form.dump(bowl(4, 3)))
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.none() | st.integers(0, len(content)))
    with contextlib.suppress(SurfaceRejected):
        assert isinstance(form.load(bytes(content[:cut])), Surface)


DAMAGE = """
import signal, sys
import numpy as np
from landscape_core.errors import SurfaceRejected
from landscape_core.formats import h5
from landscape_core.results import Surface
good = sys.stdin.buffer.read()
for seed in range(int(sys.argv[1]), int(sys.argv[2])):
    signal.setitimer(signal.ITIMER_PROF, 3)  # nobody handles it: it ends the process, even in a loop of libhdf5's
    random, content = np.random.default_rng(seed), bytearray(good)
    for _ in range(random.integers(1, 9)):
        content[random.integers(len(content))] = random.integers(256)
    if random.random() < 0.3:
        del content[random.integers(len(content)) :]
    try:
        assert isinstance(h5.load(bytes(content)), Surface)
    except SurfaceRejected:
        pass
    print(seed, flush=True)
"""


def test_a_damaged_h5_is_read_or_refused() -> None:
    """In a process of its own, as everywhere: libhdf5 may loop for ever over damaged bytes, or crash. Python's part may not fail."""
    start, stop, ended = 0, 200, []
    while start < stop:
        command = [sys.executable, "-c", DAMAGE, str(start), str(stop)]
        run = subprocess.run(command, input=h5.dump(bowl(4, 3)), capture_output=True, timeout=250, check=False)
        assert run.returncode in {0, -signal.SIGPROF, -signal.SIGSEGV, -signal.SIGABRT}, run.stderr.decode()[-2000:]
        start = stop if run.returncode == 0 else start + len(run.stdout.splitlines()) + 1
        ended += [run.returncode] if run.returncode else []
    assert len(ended) <= 5


def _theirs(**datasets: object) -> bytes:
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        for name, value in datasets.items():
            if value is not None:
                file[name] = value
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"xcoordinates": None}, "has no xcoordinates"),
        ({"xcoordinates": None, "xdirection/0": [1.0]}, "a direction file, not a surface"),
        ({"train_loss": None}, "neither train_loss nor test_loss"),
        ({"train_loss": np.zeros(5)}, "train_loss in the .h5 should hold 3 x 2 values"),
        ({"train_loss": np.zeros((2, 4))}, "train_loss in the .h5 should hold 3 x 2 values"),
        ({"train_acc": np.zeros(2)}, "train_acc in the .h5 should hold 3 x 2 values"),
        ({"train_loss": ["a"] * 6}, "should hold numbers"),
        ({"train_acc": np.full((3, 2), 500.0)}, "percentage"),
        ({"xcoordinates": [0.0, 2.0, 1.0]}, "xcoordinates should ascend"),
        ({"loss_atlas/state": np.zeros((3, 2), np.uint8)}, "loss_atlas/examples"),
    ],
)
def test_an_h5_that_contradicts_itself(changes, sentence):
    datasets = {
        "xcoordinates": [0.0, 1.0, 2.0],
        "ycoordinates": [0.0, 1.0],
        "train_loss": np.ones((3, 2)),
        "train_acc": np.ones((3, 2)),
    }
    with pytest.raises(SurfaceRejected) as refused:
        h5.load(_theirs(**datasets | changes))
    assert sentence in str(refused.value)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"format": "other"}, "not a surface"),
        ({"version": 2}, "not a surface"),
        ({"x": None}, '"x" should be a list'),
        ({"x": ["a"]}, '"x" should hold numbers'),
        ({"x": [True, 1, 2]}, '"x" should hold numbers'),
        ({"x": [10**400, 1, 2]}, "no float64 can hold"),
        ({"loss": [[1, 2, 3], [1, 2]]}, "rows of equal length"),
        ({"loss": [1, 2]}, "rows of equal length"),
        ({"state": [[1.5, 1, 1], [1, 1, 1]]}, "whole numbers from 0 to 255"),
        ({"examples": [[None] * 3] * 2}, "whole numbers"),
        ({"provenance": [1]}, "JSON object"),
    ],
)
def test_a_json_that_contradicts_itself(changes, sentence):
    document = json.loads(json_form.dump(bowl(3, 2))) | changes
    with pytest.raises(SurfaceRejected) as refused:
        json_form.load(json.dumps(document).encode())
    assert sentence in str(refused.value)


def test_json_with_nan_is_refused():
    with pytest.raises(SurfaceRejected, match="NaN is not JSON; use null"):
        json_form.load(b'{"x": NaN}')


@pytest.mark.parametrize("form", [npz, json_form])
def test_half_a_character_in_the_provenance_becomes_a_question_mark(form) -> None:
    surface = Surface(**{**vars(bowl(3, 2)), "provenance": {"a\udfff": ["x\ud800y", 1.5]}})
    assert form.load(form.dump(surface)).provenance == {"a?": ["x?y", 1.5]}


def test_a_deeply_nested_provenance_is_refused() -> None:
    deep = '{"a":' + "[" * 700 + "]" * 700 + "}"
    document = json.loads(json_form.dump(bowl(3, 2)))
    texts = (json.dumps(document | {"provenance": "HERE"}).replace('"HERE"', deep), "[" * 5000 + "]" * 5000, "[1]", "3")
    for text in texts:
        with pytest.raises(SurfaceRejected):
            json_form.load(text.encode())


@pytest.mark.parametrize("name", ["a\0b.h5", "\ud800.h5", "a\nb.h5"])
def test_a_hostile_name_of_the_direction_file_can_be_written(name: str) -> None:
    surface = Surface(**{**vars(bowl(3, 2)), "request": None, "provenance": {"source": {"dir_file": name}}})
    again = h5.load(h5.dump(surface))
    np.testing.assert_array_equal(again.loss, surface.loss)


def test_half_a_character_in_somebody_elses_provenance_is_mended(tmp_path: Path) -> None:
    read = npz.load(_npz(tmp_path, provenance=np.array('{"a\\ud800": "b\\udfff"}')))
    assert read.provenance == {"a?": "b?"}
    json.dumps(read.provenance, ensure_ascii=False).encode()
