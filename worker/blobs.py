"""Where everything that is kept lies: a folder on this machine, or an S3 bucket by URL.

    quarantine/<sha>                        an upload nobody has looked into yet
    checkpoints/<sha>.safetensors, .json    its canonical form, and the report on it
    datasets/<sha>.npz, .json               … of a data set
    directions/<sha>.npz, .json             … of a direction file
    surfaces/<id>/job.json                  what every process plans the same units from
    surfaces/<id>/units/<index>.tally       what a unit found: tallies, or eigenvalues
    surfaces/<id>/run/<number>.json         losses of one checkpoint of its training run, until it is finished
    surfaces/<id>/provenance.json           how they are measured
    surfaces/<id>/derived.directions        its directions that follow from checkpoints
    surfaces/<id>/surface.npz, preview.png, directions.h5, report.json
    digests/<key>                           SHA-256 of the blob under <key>, where bit rot must not pass unnoticed

On a local disk a blob appears whole or not at all, and has reached the disk before `put` returns: temporary file,
fsync, rename, fsync of the folder. Its temporary name ends in #<digits>, which obstore leaves out of its listings.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

import obstore
from obstore.exceptions import AlreadyExistsError
from obstore.store import LocalStore, ObjectStore, from_url

from landscape_core.errors import InvalidRequest, NotFound
from worker.durable import CHUNK_BYTES, final_path, private, staged, sync_folder

Kind = Literal["checkpoint", "dataset", "directions", "surface"]
"""What an uploaded file can be."""

_SHA256 = re.compile(r"[0-9a-f]{64}")
_KEY = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*(/[A-Za-z0-9_-][A-Za-z0-9_.-]*)*")


class DamagedBlob(Exception):
    """A blob is not what was written (bit rot, or a form of another release): whoever can make it again does so."""


def quarantine_key(kind: Kind, sha: str) -> str:
    """Where an upload waits for its inspection; the same bytes may wait as files of two kinds."""
    canonical_key(kind, sha)
    return f"quarantine/{kind}-{sha}"


def checkpoint_key(sha: str) -> str:
    """Where the canonical form of a checkpoint lies: safetensors."""
    return f"checkpoints/{_sha256(sha)}.safetensors"


def dataset_key(sha: str) -> str:
    """Where the canonical form of a data set lies: npz."""
    return f"datasets/{_sha256(sha)}.npz"


def directions_key(sha: str) -> str:
    """Where the canonical form of a direction file lies: npz."""
    return f"directions/{_sha256(sha)}.npz"


def surface_key(surface: str) -> str:
    """Where a whole surface lies: npz. An imported one is known by the SHA-256 of its file."""
    return f"surfaces/{_sha256(surface)}/surface.npz"


def test_half(sha: str) -> str:
    """The id of the test surface in a surface file that holds both splits; the train surface has the file's own."""
    return hashlib.sha256(f"{_sha256(sha)} test".encode()).hexdigest()


def canonical_key(kind: Kind, sha: str) -> str:
    """Where the canonical form of an uploaded file of this kind lies."""
    functions = {"checkpoint": checkpoint_key, "dataset": dataset_key, "directions": directions_key, "surface": surface_key}
    if kind not in functions:
        raise InvalidRequest(
            f"A file of kind {kind!r} cannot be taken; it must be one of {', '.join(functions)}.", field="kind"
        )
    return functions[kind](sha)


def report_key(kind: Kind, sha: str) -> str:
    """Where the report of an inspection lies (JSON); of a rejected file there is only this, with its `problem`."""
    folder = canonical_key(kind, sha).rpartition("/")[0]
    return f"{folder}/report.json" if kind == "surface" else f"{folder}/{sha}.json"


def digest_key(key: str) -> str:
    """Where the SHA-256 of the blob under `key` lies."""
    return f"digests/{key}"


def job_key(surface: str) -> str:
    """Where a surface's `SurfaceJob` lies (JSON)."""
    return f"{surface_prefix(surface)}job.json"


def unit_key(surface: str, index: int) -> str:
    """Where lies what one unit found."""
    return f"{surface_prefix(surface)}units/{index:07d}.tally"


def run_losses_key(surface: str, index: int) -> str:
    """Where the losses of one checkpoint of a surface's training run lie (JSON)."""
    return f"{surface_prefix(surface)}run/{index:04d}.json"


def provenance_key(surface: str) -> str:
    """Where it lies how a surface's units are measured (JSON), from the worker that began."""
    return f"{surface_prefix(surface)}provenance.json"


def derived_key(surface: str) -> str:
    """Where a surface's directions lie that are neither random nor from a file, from the worker that was first."""
    return f"{surface_prefix(surface)}derived.directions"


def preview_key(surface: str) -> str:
    """Where a surface's link preview lies (PNG)."""
    return f"{surface_prefix(surface)}preview.png"


def surface_directions_key(surface: str) -> str:
    """Where a surface's directions lie, in the original's `.h5` form."""
    return f"{surface_prefix(surface)}directions.h5"


def surface_prefix(surface: str) -> str:
    """The prefix of everything that belongs to one surface."""
    return f"surfaces/{_sha256(surface)}/"


class BlobStore:
    """Blobs by key.

    Args:
        place: Path of a folder (made when missing), or a URL such as `s3://bucket/prefix` or `file:///folder`.
    """

    def __init__(self, place: str | Path) -> None:
        text = str(place)
        self._root: Path | None = None
        if "://" not in text or text.startswith("file://"):
            self._root = Path(text.removeprefix("file://")).absolute()
            self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._store: ObjectStore = LocalStore(self._root) if self._root else from_url(text)

    def put(self, key: str, data: bytes | Path) -> None:
        """The blob under `key` is `data` afterwards, or the content of the file it names."""
        if self._root is None:
            obstore.put(self._store, _checked(key), data)
            return
        with staged(self._root, _checked(key), data) as (temporary, final):
            os.replace(temporary, final)

    def put_if_absent(self, key: str, data: bytes | Path) -> bool:
        """Stores `data` unless there is a blob under `key` already; says whether it did."""
        if self._root is None:
            try:
                obstore.put(self._store, _checked(key), data, mode="create")
            except AlreadyExistsError:
                return False
            return True
        with staged(self._root, _checked(key), data) as (temporary, final):
            try:
                os.link(temporary, final)
            except FileExistsError:
                return False
        return True

    def move_in(self, key: str, path: Path) -> None:
        """The file becomes the blob under `key` and is gone from its place; not copied if it is on the same disk."""
        if self._root is not None:
            final = final_path(self._root, _checked(key))
            try:
                path.chmod(0o600)
                with path.open("rb") as file:
                    os.fsync(file.fileno())
                os.replace(path, final)
            except OSError as error:
                if error.errno != errno.EXDEV:
                    raise
            else:
                sync_folder(final.parent)
                return
        self.put(key, path)
        path.unlink()

    def get(self, key: str) -> bytes:
        """The blob under `key`.

        Raises:
            NotFound: There is none.
        """
        with _not_found(key):
            return bytes(obstore.get(self._store, _checked(key)).bytes())

    def fetch(self, key: str, to: Path, sha256: str | None = None) -> None:
        """Copies a blob into a file, which appears whole or not at all.

        Args:
            key: The blob.
            to: The file; its folder exists.
            sha256: What the bytes must hash to, in hexadecimal; not checked if None.

        Raises:
            NotFound: There is no such blob.
            DamagedBlob: The bytes hash to something else.
        """
        temporary = to.with_name(f".{to.name}#{secrets.randbits(32)}")
        digest = hashlib.sha256()
        try:
            with _not_found(key), private(temporary) as file:
                for chunk in obstore.get(self._store, _checked(key)).stream(min_chunk_size=CHUNK_BYTES):
                    file.write(chunk)
                    if sha256 is not None:
                        digest.update(chunk)
            if sha256 is not None and digest.hexdigest() != sha256:
                raise DamagedBlob(f"{key} hashes to {digest.hexdigest()}, not {sha256}")
            os.replace(temporary, to)
        finally:
            temporary.unlink(missing_ok=True)

    def local_path(self, key: str) -> Path | None:
        """The file that holds the blob, to be read and never written; None if the store is not on this machine.

        Raises:
            NotFound: There is no such blob.
        """
        if self._root is None:
            return None
        path = self._root / _checked(key)
        if not path.is_file():
            raise NotFound(f"Nothing is stored under {key}.")
        return path

    def exists(self, key: str) -> bool:
        """Whether there is a blob under `key`."""
        try:
            obstore.head(self._store, _checked(key))
        except FileNotFoundError:
            return False
        return True

    def list(self, prefix: str) -> list[str]:
        """The keys below a folder-like prefix, sorted. Blobs that are being written are not among them."""
        listing = obstore.list(self._store, _checked(prefix.rstrip("/")))
        return sorted(item["path"] for chunk in listing for item in chunk)

    def delete(self, key: str) -> None:
        """There is no blob under `key` afterwards."""
        with suppress(FileNotFoundError):
            obstore.delete(self._store, _checked(key))

    def delete_prefix(self, prefix: str) -> None:
        """There are no blobs below a folder-like prefix afterwards."""
        if self._root is not None:
            shutil.rmtree(self._root / _checked(prefix.rstrip("/")), ignore_errors=True)
            return
        for key in self.list(prefix):
            self.delete(key)


def _sha256(text: str) -> str:
    """The text, if it is a SHA-256 in hexadecimal: the one place where an id from outside becomes part of a path."""
    if not _SHA256.fullmatch(text):
        raise InvalidRequest(f"An id has 64 hexadecimal digits, but {text[:80]!r} has not; take it from a REST answer.")
    return text


def _checked(key: str) -> str:
    if not _KEY.fullmatch(key):
        raise ValueError(f"not a blob key: {key[:200]!r}")
    return key


@contextmanager
def _not_found(key: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise NotFound(f"Nothing is stored under {key}.") from error
