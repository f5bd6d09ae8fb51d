"""Blobs appear whole or not at all, are private, and are found damaged when they are."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from landscape_core.errors import InvalidRequest, NotFound
from landscape_core.results import Tally
from worker import blobs as keys
from worker import durable
from worker.blobs import BlobStore, DamagedBlob
from worker.tallies import decode_unit, encode_unit

SHA = "0123456789abcdef" * 4


def files_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


@pytest.mark.parametrize("place", [str, lambda path: f"file://{path}"])
def test_what_is_put_is_got(tmp_path: Path, place: Any) -> None:
    store = BlobStore(place(tmp_path / "deep" / "blobs"))
    store.put("a/b.bin", b"one")
    assert store.get("a/b.bin") == b"one"
    store.put("a/b.bin", b"two")
    assert store.get("a/b.bin") == b"two"
    (tmp_path / "file").write_bytes(b"three")
    store.put("a/c.bin", tmp_path / "file")
    assert store.list("a") == store.list("a/") == ["a/b.bin", "a/c.bin"]
    assert store.exists("a/c.bin")
    assert not store.exists("a/d.bin")
    assert store.get("a/c.bin") == b"three"
    assert (tmp_path / "file").exists()


def test_files_and_folders_are_private(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        store = BlobStore(tmp_path / "blobs")
        store.put("a/b/c", b"x")
        (tmp_path / "open").write_bytes(b"y")
        store.move_in("a/d", tmp_path / "open")
    finally:
        os.umask(before)
    modes = {p.relative_to(tmp_path).as_posix(): stat.S_IMODE(p.stat().st_mode) for p in tmp_path.rglob("*")}
    assert modes == {"blobs": 0o700, "blobs/a": 0o700, "blobs/a/b": 0o700, "blobs/a/b/c": 0o600, "blobs/a/d": 0o600}


def test_put_if_absent_keeps_the_first(blobs: BlobStore) -> None:
    assert blobs.put_if_absent("k/x", b"first")
    assert not blobs.put_if_absent("k/x", b"second")
    assert blobs.get("k/x") == b"first"
    assert blobs.list("k") == ["k/x"]


def test_move_in_takes_the_file(blobs: BlobStore, tmp_path: Path) -> None:
    (tmp_path / "upload").write_bytes(b"content")
    blobs.move_in("q/x", tmp_path / "upload")
    assert blobs.get("q/x") == b"content"
    assert not (tmp_path / "upload").exists()


def test_move_in_from_another_disk_copies(blobs: BlobStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "upload").write_bytes(b"content")
    replace = os.replace

    def other_disk(source: Path, target: Path) -> None:
        if Path(source).name == "upload":
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        replace(source, target)

    monkeypatch.setattr(os, "replace", other_disk)
    blobs.move_in("q/x", tmp_path / "upload")
    assert blobs.get("q/x") == b"content"
    assert not (tmp_path / "upload").exists()


def test_what_is_not_there(blobs: BlobStore, tmp_path: Path) -> None:
    for read in (blobs.get, blobs.local_path, lambda key: blobs.fetch(key, tmp_path / "to")):
        with pytest.raises(NotFound, match="Nothing is stored under no/thing"):
            read("no/thing")
    assert blobs.list("no") == []
    blobs.delete("no/thing")
    blobs.delete_prefix("no/")
    assert [path.name for path in tmp_path.iterdir()] == ["blobs"]


def test_fetch_holds_the_hash(blobs: BlobStore, tmp_path: Path) -> None:
    content = os.urandom(100_000)
    blobs.put("c/x", content)
    blobs.fetch("c/x", tmp_path / "good", hashlib.sha256(content).hexdigest())
    assert (tmp_path / "good").read_bytes() == content
    with pytest.raises(DamagedBlob):
        blobs.fetch("c/x", tmp_path / "bad", SHA)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["blobs", "good"]


def test_delete_prefix_takes_one_surface_only(blobs: BlobStore) -> None:
    other = "f" * 64
    for surface in (SHA, other):
        blobs.put(keys.unit_key(surface, 3), b"x")
        blobs.put(keys.job_key(surface), b"{}")
    blobs.delete_prefix(keys.surface_prefix(SHA))
    assert blobs.list("surfaces") == [keys.job_key(other), keys.unit_key(other, 3)]


@pytest.mark.parametrize("call", ["fsync", "replace"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_a_disk_that_fails_leaves_no_half_file(
    blobs: BlobStore, monkeypatch: pytest.MonkeyPatch, call: str, number: int
) -> None:
    blobs.put("u/old", b"old")

    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(durable.os, call, fail)
    for key in ("u/old", "u/new"):
        with pytest.raises(OSError, match=os.strerror(number)):
            blobs.put(key, b"x" * 100_000)
    monkeypatch.undo()
    assert blobs.get("u/old") == b"old"
    assert blobs.list("u") == ["u/old"]
    assert blobs._root is not None
    assert len(files_below(blobs._root)) == 1


def test_a_blob_that_is_being_written_is_not_seen(blobs: BlobStore) -> None:
    blobs.put("u/one", b"x")
    assert blobs._root is not None
    with durable.staged(blobs._root, "u/two", b"half"):
        assert blobs.list("u") == ["u/one"]
        assert not blobs.exists("u/two")
        assert len(files_below(blobs._root)) == 2
    assert len(files_below(blobs._root)) == 1


@pytest.mark.parametrize("key", ["../x", "/etc/passwd", "a/../b", "a//b", "", "a/", ".hidden", "a/.b", "a\nb", "a\x00b"])
def test_keys_stay_inside(blobs: BlobStore, key: str) -> None:
    with pytest.raises(ValueError, match="not a blob key"):
        blobs.put(key, b"x")
    with pytest.raises(ValueError, match="not a blob key"):
        blobs.get(key)


@pytest.mark.parametrize("sha", ["", "a" * 63, "A" * 64, "../" * 20, "a" * 64 + "\n", "é" * 64])
def test_an_id_from_outside_is_a_hash_or_refused(sha: str) -> None:
    for key in (
        lambda sha: keys.quarantine_key("checkpoint", sha),
        keys.checkpoint_key,
        keys.dataset_key,
        keys.directions_key,
        keys.surface_key,
        keys.job_key,
    ):
        with pytest.raises(InvalidRequest, match="64 hexadecimal digits"):
            key(sha)


def test_keys_do_not_meet() -> None:
    found = [function(kind, SHA) for function in (keys.canonical_key, keys.report_key) for kind in keys.Kind.__args__]
    found += [
        keys.quarantine_key("checkpoint", SHA),
        keys.quarantine_key("dataset", SHA),
        keys.job_key(SHA),
        keys.unit_key(SHA, 0),
        keys.unit_key(SHA, 10**6),
        keys.preview_key(SHA),
    ]
    found += [keys.surface_directions_key(SHA), keys.provenance_key(SHA), keys.digest_key(keys.checkpoint_key(SHA))]
    assert len(set(found)) == len(found)
    with pytest.raises(InvalidRequest, match="must be one of checkpoint, dataset"):
        keys.canonical_key("program", SHA)  # type: ignore[arg-type]


tallies = st.integers(0, 20).flatmap(
    lambda n: st.tuples(
        st.just([(i // 7, i % 7) for i in range(n)]),
        st.builds(
            Tally,
            hnp.arrays(np.int64, n),
            hnp.arrays(np.float64, n),
            hnp.arrays(np.float64, n),
            hnp.arrays(np.int64, n),
        ),
    )
)


@given(tallies)
def test_tallies_come_back_bit_for_bit(unit: tuple[list[tuple[int, int]], Tally]) -> None:
    cells, tally = unit
    blob = encode_unit(cells, tally)
    again, decoded = decode_unit(blob)
    assert again.tolist() == [list(cell) for cell in cells]
    for name in ("examples", "loss_sum", "loss_sq", "correct"):
        assert getattr(decoded, name).tobytes() == getattr(tally, name).tobytes()
    assert encode_unit(cells, decoded) == blob


def test_bit_rot_is_found_wherever_it_is() -> None:
    blob = encode_unit([(0, 1), (2, 3)], Tally(np.array([4, 4]), np.array([1.0, np.nan]), np.ones(2), np.array([1, 2])))
    for position in range(len(blob)):
        damaged = bytearray(blob)
        damaged[position] ^= 1 << (position % 8)
        with pytest.raises(DamagedBlob):
            decode_unit(bytes(damaged))
    for cut in range(0, len(blob), 50):
        with pytest.raises(DamagedBlob):
            decode_unit(blob[:cut])


def test_a_remote_store_does_the_same(tmp_path: Path) -> None:
    store = BlobStore("memory:///")
    assert store.local_path("a/b") is None
    store.put("a/b", b"one")
    assert not store.put_if_absent("a/b", b"two")
    assert store.put_if_absent("a/c", b"two")
    (tmp_path / "upload").write_bytes(b"three")
    store.move_in("a/d", tmp_path / "upload")
    assert not (tmp_path / "upload").exists()
    assert [store.get(key) for key in store.list("a")] == [b"one", b"two", b"three"]
    store.fetch("a/d", tmp_path / "to", hashlib.sha256(b"three").hexdigest())
    assert (tmp_path / "to").read_bytes() == b"three"
    store.delete_prefix("a/")
    assert store.list("a") == []
    with pytest.raises(NotFound):
        store.get("a/b")
