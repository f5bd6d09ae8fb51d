"""What all containers of pickled checkpoints have in common: a root object, and runs of numbers somewhere in the file."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from io import BufferedIOBase

from landscape_core.reading.dtypes import RAW, item_bytes
from landscape_core.reading.rebuild import natural
from landscape_core.reading.records import Storage
from landscape_core.reading.refusals import damaged


@dataclass(frozen=True)
class Opened:
    """An open container.

    Attributes:
        format: What it is, for people: `torch zip`, `torch legacy`, `torch tar` or `torch export`.
        root: What was saved, as records.
        read: The bytes of a whole run of numbers, by its key.
        runs: The runs of numbers by key, as their own lengths say.
        big_endian: Whether the numbers are stored so.
    """

    format: str
    root: object
    read: Callable[[str], bytes]
    runs: dict[str, Storage]
    big_endian: bool = False


def run_bytes(run: Storage) -> int:
    """How many bytes a run of numbers takes in its file.

    Args:
        run: As the file declares it.

    Raises:
        CheckpointRejected: If its element type is none that can be found in a file in this form.
    """
    return run.numel * element_bytes(run.kind)


def element_bytes(kind: str) -> int:
    """Bytes of one element in a file.

    Args:
        kind: PyTorch's name of the element type.

    Raises:
        CheckpointRejected: If it is unknown.
    """
    if kind in RAW:
        return item_bytes(kind)
    if kind not in _OTHER_BYTES:
        raise damaged(f"it holds numbers of an unknown type ({kind[:40]!r})")
    return _OTHER_BYTES[kind]


def window(run: Storage, view: object) -> Storage:
    """The part of a run that a storage view names.

    Args:
        run: The whole run.
        view: None, or (key, offset, length) in elements.

    Raises:
        CheckpointRejected: If it reaches outside the run.
    """
    if view is None:
        return run
    if not isinstance(view, tuple | list) or len(view) != 3:
        raise damaged("a storage view makes no sense")
    start, numel = natural(view[1], "storage view"), natural(view[2], "storage view")
    if start + numel > run.numel:
        raise damaged("a storage view reaches outside its storage")
    return Storage(run.key, run.kind, numel, start)


def key_text(key: object) -> str:
    """The name of a run of numbers; old files use integers.

    Args:
        key: As the file has it.

    Raises:
        CheckpointRejected: If it is neither text nor an integer.
    """
    if not isinstance(key, str | int):
        raise damaged("a storage has no name")
    return str(key)


def read_struct(file: BufferedIOBase, form: str) -> tuple[int, ...]:
    """Integers in binary, from where the file stands.

    Args:
        file: Open for reading.
        form: As for `struct`.

    Raises:
        CheckpointRejected: If the file ends.
    """
    data = file.read(struct.calcsize(form))
    if len(data) < struct.calcsize(form):
        raise damaged("it is cut short")
    return struct.unpack(form, data)


_OTHER_BYTES = {"QInt8": 1, "QUInt8": 1, "QInt32": 4, "QUInt4x2": 1, "QUInt2x4": 1, "ComplexFloat": 8, "ComplexDouble": 16}
"""Element types that are not read, but may lie beside those that are: their bytes have to be passed over."""
