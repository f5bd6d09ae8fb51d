"""Zip files of `torch.save` since 1.6: `<name>/data.pkl`, `<name>/data/<key>` for each run of numbers, `<name>/byteorder`.

An exported program (.pt2) is a zip file too; its weights are taken from where `export_container` finds them.
"""

from __future__ import annotations

import io
import zipfile
from dataclasses import replace
from io import BufferedIOBase

from landscape_core.errors import CheckpointRejected
from landscape_core.reading.containers import Opened, key_text, run_bytes
from landscape_core.reading.export_container import FORMAT, is_exported, open_exported, saved_weights
from landscape_core.reading.limits import Limits
from landscape_core.reading.pickles import InertUnpickler
from landscape_core.reading.rebuild import construct, natural, storage_kind
from landscape_core.reading.records import Storage
from landscape_core.reading.refusals import damaged
from landscape_core.reading.sniff import explain_zip
from landscape_core.reading.zip_archive import open_archive, read_entry


def open_zip(file: BufferedIOBase, size: int, limits: Limits) -> Opened:
    """The contents of a zip file of `torch.save`, or the weights of an exported program.

    Args:
        file: Open for reading.
        size: Bytes of the file.
        limits: Bounds.

    Raises:
        BadArchive: If its table of contents lies.
        CheckpointRejected: If it is another kind of zip file, is damaged or over the limits.
    """
    archive, entries = open_archive(file, size, limits)
    if not is_exported(entries):
        return _open_saved(archive, entries, limits)
    weights = saved_weights(entries)
    if weights is None:
        return open_exported(archive, entries, limits)
    inside = io.BytesIO(read_entry(archive, weights))
    return replace(_open_saved(*open_archive(inside, weights.file_size, limits), limits), format=FORMAT)


def _open_saved(archive: zipfile.ZipFile, entries: dict[str, zipfile.ZipInfo], limits: Limits) -> Opened:
    problem = explain_zip(list(entries))
    if problem is not None:
        raise CheckpointRejected(problem)
    pickles = [name for name in entries if name.count("/") == 1 and name.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise damaged("it holds several data.pkl")
    top = pickles[0].removesuffix("data.pkl")
    if entries[pickles[0]].file_size > limits.pickle_bytes:
        raise CheckpointRejected(f"The file's structure is too large: its pickle has over {limits.pickle_bytes:,} bytes.")
    order = read_entry(archive, entries[f"{top}byteorder"]) if f"{top}byteorder" in entries else b"little"
    if order not in {b"little", b"big"}:
        raise damaged("its byte order is neither little nor big")
    runs: dict[str, Storage] = {}

    def persistent_load(identifier: object) -> Storage:
        if not isinstance(identifier, tuple) or len(identifier) < 5 or identifier[0] != "storage":
            raise damaged("it refers to data in an unknown way")
        run = Storage(key_text(identifier[2]), storage_kind(identifier[1]), natural(identifier[4], "number of elements"))
        entry = entries.get(f"{top}data/{run.key}")
        if entry is None or entry.file_size != run_bytes(run):
            raise damaged("a tensor's declared size is not that of its data")
        runs[run.key] = run
        return run

    data = read_entry(archive, entries[pickles[0]])
    root = InertUnpickler(io.BytesIO(data), len(data), limits, construct, persistent_load).load()

    def read(key: str) -> bytes:
        return read_entry(archive, entries[f"{top}data/{key}"])

    return Opened("torch zip", root, read, runs, order == b"big")
