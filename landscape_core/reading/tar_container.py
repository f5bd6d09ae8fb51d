"""Tar files of `torch.save` in 0.1: members `storages`, `tensors` and `pickle`.

See `legacy_load` in torch/serialization.py. Storages and tensors have integer keys there, and the pickle refers to them by key.
"""

from __future__ import annotations

import itertools
import tarfile
from io import BufferedIOBase
from typing import cast

from landscape_core.errors import CheckpointRejected
from landscape_core.reading.containers import Opened, key_text, read_struct, run_bytes, window
from landscape_core.reading.limits import Limits
from landscape_core.reading.pickles import InertUnpickler
from landscape_core.reading.rebuild import MAX_DIMENSIONS, construct, natural, naturals, storage_kind
from landscape_core.reading.records import Storage, Tensor
from landscape_core.reading.refusals import damaged

MEMBERS = ("storages", "tensors", "pickle")
_MOST_MEMBERS = 100
_LONGEST_EXTENSION = 4096
"""Bytes of a member's extended header: a name and a few numbers. Python's own reading of longer ones takes quadratic time."""


class ShortHeaders(tarfile.TarInfo):
    """A member whose extended headers are short. `tarfile` documents this method for subclasses."""

    def _proc_member(self, archive: tarfile.TarFile) -> tarfile.TarInfo:
        extended = {
            tarfile.XHDTYPE,
            tarfile.XGLTYPE,
            tarfile.SOLARIS_XHDTYPE,
            tarfile.GNUTYPE_LONGNAME,
            tarfile.GNUTYPE_LONGLINK,
        }
        if self.type in extended and not 0 <= self.size <= _LONGEST_EXTENSION:
            raise damaged("a member of it has a header that is far too long")
        return cast("tarfile.TarInfo", super()._proc_member(archive))  # type: ignore[misc]  # not in typeshed


def open_tar(file: BufferedIOBase, size: int, limits: Limits) -> Opened:
    """The contents of a tar file of `torch.save`.

    Args:
        file: Open for reading.
        size: Bytes of the file.
        limits: Bounds.

    Raises:
        CheckpointRejected: If it is another kind of tar file, is damaged or over the limits.
    """
    file.seek(0)
    archive = tarfile.open(fileobj=file, mode="r:", tarinfo=ShortHeaders)  # noqa: SIM115  closing it would do nothing: the file is ours
    storages, tensors, pickle = _members(archive, size)
    runs, places = _read_runs(storages, limits)
    known: dict[str, object] = {**runs, **_read_views(storages, runs, limits)}
    known |= _read_tensors(tensors, known, limits)

    def persistent_load(identifier: object) -> object:
        """A class with its source, of which only the name counts; else the key of a tensor or storage."""
        if isinstance(identifier, tuple) and identifier:
            return identifier[0]
        if key_text(identifier) not in known:
            raise damaged("it refers to a tensor that is not there")
        return known[key_text(identifier)]

    def read(key: str) -> bytes:
        storages.seek(places[key])
        return storages.read(run_bytes(runs[key]))

    root = InertUnpickler(pickle, _length(pickle), limits, construct, persistent_load).load()
    return Opened("torch tar", root, read, runs)


def _members(archive: tarfile.TarFile, size: int) -> list[BufferedIOBase]:
    found = {member.name: member for member in itertools.islice(archive, _MOST_MEMBERS)}
    if not set(MEMBERS) <= found.keys():
        raise CheckpointRejected(
            "The file is a tar archive, but no whole one of torch.save: unpack it and upload the checkpoint that is in it."
        )
    members = [found[name] for name in MEMBERS]
    if any(not m.isreg() or m.issparse() or not 0 <= m.size <= size for m in members):
        raise damaged("its members are no plain files")
    return [cast("BufferedIOBase", archive.extractfile(member)) for member in members]


def _length(file: BufferedIOBase) -> int:
    at, end = file.tell(), file.seek(0, 2)
    file.seek(at)
    return end


def _read_runs(file: BufferedIOBase, limits: Limits) -> tuple[dict[str, Storage], dict[str, int]]:
    """The runs of numbers by key, and where each begins in its member."""
    size = _length(file)
    runs: dict[str, Storage] = {}
    places: dict[str, int] = {}
    for _ in range(_count(file, limits)):
        key, _location, storage_type = _fields(file, limits, 3)
        (numel,) = read_struct(file, "<q")
        run = Storage(key_text(key), storage_kind(storage_type), natural(numel, "number of elements"))
        runs[run.key], places[run.key] = run, file.tell()
        if file.tell() + run_bytes(run) > size:
            raise damaged("it is cut short")
        file.seek(run_bytes(run), 1)
    return runs, places


def _read_views(file: BufferedIOBase, runs: dict[str, Storage], limits: Limits) -> dict[str, Storage]:
    """The windows into runs, which the 0.1 releases list after the runs, by key."""
    views = InertUnpickler(file, _length(file), limits, construct).load()
    if not isinstance(views, list) or any(not isinstance(view, tuple | list) or len(view) != 4 for view in views):
        raise damaged("its list of storage views makes no sense")
    found = {}
    for key, root, start, numel in views:
        if key_text(root) not in runs:
            raise damaged("a storage view is of a storage that is not there")
        found[key_text(key)] = window(runs[key_text(root)], (key, start, numel))
    return found


def _read_tensors(file: BufferedIOBase, storages: dict[str, object], limits: Limits) -> dict[str, Tensor]:
    tensors = {}
    for _ in range(_count(file, limits)):
        key, storage_key, _tensor_type = _fields(file, limits, 3)
        storage = storages.get(key_text(storage_key))
        dimensions, _ = read_struct(file, "<ii")
        if not isinstance(storage, Storage) or not 0 <= dimensions <= MAX_DIMENSIONS:
            raise damaged("a tensor makes no sense")
        size = naturals(read_struct(file, f"<{dimensions}q"), "size")
        stride = naturals(read_struct(file, f"<{dimensions}q"), "stride")
        (offset,) = read_struct(file, "<q")
        tensors[key_text(key)] = Tensor(storage, natural(offset, "offset"), size, stride, storage.kind)
    return tensors


def _count(file: BufferedIOBase, limits: Limits) -> int:
    count = InertUnpickler(file, _length(file), limits, construct).load()
    if not isinstance(count, int) or not 0 <= count <= limits.tensors:
        raise damaged("the number of its tensors makes no sense")
    return count


def _fields(file: BufferedIOBase, limits: Limits, count: int) -> tuple[object, ...]:
    fields = InertUnpickler(file, _length(file), limits, construct).load()
    if not isinstance(fields, tuple) or len(fields) != count:
        raise damaged("the description of a tensor makes no sense")
    return fields
