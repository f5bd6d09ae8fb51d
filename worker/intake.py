"""The locked-down inspector: what a worker does with an uploaded file. Loads no torch, and never opens the file itself."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path
from typing import Any

from landscape_core.errors import FileRejected
from landscape_core.reading import SeveralFiles, inspect_in_child, unpack_in_child
from landscape_core.reading.report import Kind
from worker.blobs import BlobStore, canonical_key, digest_key, quarantine_key, surface_key, test_half

CANONICAL_SUFFIXES: dict[Kind, str] = {
    "checkpoint": ".safetensors",
    "dataset": ".npz",
    "directions": ".npz",
    "surface": ".npz",
}
"""Suffix of the form in which a file of each kind is kept."""


def inspect(kind: Kind, path: Path, filename: str, out: Path) -> dict[str, Any]:
    """The report on an uploaded file; its canonical form lies at `out` afterwards. Only that is ever used.

    Args:
        kind: `checkpoint`, `dataset`, `directions` or `surface`.
        path: The raw file, in a place where nobody else writes.
        filename: Its name where it came from; a hint, never a path.
        out: Where the canonical form goes. Untouched if the file is refused.

    Returns:
        What `landscape_core.reading.report` describes, as JSON-able values in the file's order.

    Raises:
        SeveralFiles: It is an archive of checkpoints.
        FileRejected: The file cannot be used; the text says why and what to do.
    """
    return inspect_in_child(kind, path, filename, out)


def inspect_upload(kind: Kind, sha: str, filename: str, blobs: BlobStore, temporary: Path) -> dict[str, Any]:
    """The report on a quarantined file; its canonical form is stored if it is accepted.

    The members of an archive of checkpoints go into quarantine, each to be inspected like any other upload, so that what one
    of them does to its reader concerns no other. Of a surface file that holds both splits the test surface is stored too.

    Args:
        kind: What the upload is said to be.
        sha: SHA-256 of its bytes.
        filename: Its name where it came from.
        blobs: Where it lies.
        temporary: A folder for temporary files.

    Returns:
        The report; of a file that is refused only its `problem`.
    """
    key, canonical = quarantine_key(kind, sha), canonical_key(kind, sha)
    with tempfile.TemporaryDirectory(dir=temporary) as folder:
        path, out = blobs.local_path(key), Path(folder) / f"canonical{Path(canonical).suffix}"
        if path is None:
            path = Path(folder) / "upload"
            blobs.fetch(key, path, sha)
        try:
            report = dict(inspect(kind, path, filename, out))
            if kind == "surface" and len(report["splits"]) == 2:
                half = Path(folder) / "test.npz"
                inspect_in_child(kind, path, filename, half, split="test")
                _keep(surface_key(test_half(sha)), half, blobs)
                report["test_half"] = test_half(sha)
        except SeveralFiles:
            return _taken_apart(path, filename, Path(folder) / "members", blobs)
        except FileRejected as error:
            return {"problem": str(error)}
        if report.get("problem") is None:
            _keep(canonical, out, blobs)
    return report


def _keep(key: str, out: Path, blobs: BlobStore) -> None:
    with out.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    blobs.put(digest_key(key), digest.encode())
    blobs.move_in(key, out)


def _taken_apart(path: Path, filename: str, folder: Path, blobs: BlobStore) -> dict[str, Any]:
    """The report on an archive, whose members are in quarantine afterwards."""
    folder.mkdir()
    try:
        report = unpack_in_child(path, filename, folder)
    except FileRejected as error:
        return {"problem": str(error)}
    for place, member in enumerate(report.members):
        if member.sha256 is not None:
            blobs.move_in(quarantine_key("checkpoint", member.sha256), folder / f"{place:04d}")
    return report.model_dump(mode="json")
