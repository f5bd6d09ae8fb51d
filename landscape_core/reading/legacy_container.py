"""Files of `torch.save` from 0.2 to 1.5, and later ones made with `_use_new_zipfile_serialization=False`.

Five pickles one after the other: magic number, protocol, system, the object, the keys of its storages; then for each key its
length as int64 and its numbers. See `_legacy_save` and `_legacy_load` in torch/serialization.py.
"""

from __future__ import annotations

from collections.abc import Callable
from io import BufferedIOBase

from landscape_core.reading.containers import Opened, key_text, read_struct, run_bytes, window
from landscape_core.reading.limits import Limits
from landscape_core.reading.pickles import InertUnpickler, no_persistent_id
from landscape_core.reading.rebuild import construct, natural, storage_kind
from landscape_core.reading.records import Storage
from landscape_core.reading.refusals import damaged

MAGIC = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001


def open_legacy(file: BufferedIOBase, size: int, limits: Limits) -> Opened:
    """The contents of a legacy file.

    Args:
        file: Open for reading.
        size: Bytes of the file.
        limits: Bounds.

    Raises:
        CheckpointRejected: If it is no such file, is damaged or over the limits.
    """
    file.seek(0)
    runs = _Runs(size)

    def load(persistent_load: Callable[[object], object] = no_persistent_id) -> object:
        return InertUnpickler(file, size, limits, construct, persistent_load).load()

    if load() != MAGIC:
        raise damaged("it does not begin as torch.save begins a file")
    if load() != PROTOCOL:
        raise damaged("it is of an unknown protocol")
    system = load()
    root, keys = load(runs.refer), load()
    if not isinstance(keys, list) or sorted(key_text(key) for key in keys) != sorted(runs.known):
        raise damaged("its list of storages is not that of its tensors")
    places = _places(file, size, [runs.known[key_text(key)] for key in keys])

    def read(key: str) -> bytes:
        file.seek(places[key])
        return file.read(run_bytes(runs.known[key]))

    big_endian = isinstance(system, dict) and system.get("little_endian") is False
    return Opened("torch legacy", root, read, runs.known, big_endian)


class _Runs:
    """The runs of numbers that a pickle refers to.

    Args:
        size: Bytes of the file; no run is longer.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self.known: dict[str, Storage] = {}

    def refer(self, identifier: object) -> object:
        """("storage", class, key, location, length, view): a run or a window of it. ("module", class, …): the class."""
        if not isinstance(identifier, tuple) or not identifier:
            raise damaged("it refers to data in an unknown way")
        if identifier[0] == "module" and len(identifier) > 1:
            return identifier[1]
        if identifier[0] != "storage" or len(identifier) < 5:
            raise damaged("it refers to data in an unknown way")
        run = Storage(key_text(identifier[2]), storage_kind(identifier[1]), natural(identifier[4], "number of elements"))
        known = self.known.setdefault(run.key, run)
        if (known.kind, known.numel) != (run.kind, run.numel) or run_bytes(run) > self._size:
            raise damaged("a tensor's declared size is not that of its data")
        return window(known, identifier[5] if len(identifier) > 5 else None)


def _places(file: BufferedIOBase, size: int, runs: list[Storage]) -> dict[str, int]:
    """Where each run's numbers begin, in bytes from the start of the file."""
    places: dict[str, int] = {}
    for run in runs:
        (numel,) = read_struct(file, "<q")
        if numel != run.numel:
            raise damaged("a tensor's declared size is not that of its data")
        places[run.key] = file.tell()
        if places[run.key] + run_bytes(run) > size:
            raise damaged("it is cut short")
        file.seek(run_bytes(run), 1)
    return places
