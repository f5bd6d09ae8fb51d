"""safetensors files: 8 bytes of length, a JSON header, the numbers. Checked whole before anything is read or allocated.

The format's own rules (github.com/huggingface/safetensors, "Format") and ours: a header of at most 10 MB (the library needs
47 s and 1.3 GB for one of 60 MB), no more braces than its tensors need (Python's JSON makes 36 bytes of memory out of each byte
of `[],`), a bounded number of tensors, and no dimension longer than any tensor has, even if empty.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from io import BufferedIOBase
from typing import Any

from landscape_core.errors import CheckpointRejected
from landscape_core.reading.dtypes import SAFETENSORS, item_bytes
from landscape_core.reading.limits import Limits
from landscape_core.reading.rebuild import MAX_DIMENSIONS
from landscape_core.reading.refusals import too_large

_MOST_METADATA = 1_000
_SPARE = 10 * _MOST_METADATA
"""Braces, brackets and colons that are no tensor's: of the metadata, and in names."""


@dataclass(frozen=True)
class Placed:
    """One tensor of a safetensors file.

    Attributes:
        kind: Element type.
        shape: Length of each dimension.
        start: Where its numbers begin, in bytes from the start of the file.
        length: Bytes.
    """

    kind: str
    shape: tuple[int, ...]
    start: int
    length: int


@dataclass(frozen=True)
class Header:
    """The table of contents of a safetensors file.

    Attributes:
        tensors: By name, in the order in which their numbers lie in the file.
        metadata: Texts that the writer added.
    """

    tensors: dict[str, Placed]
    metadata: dict[str, str]


def read_header(file: BufferedIOBase, size: int, limits: Limits) -> Header:
    """The header of a safetensors file, known to describe exactly the bytes that follow it.

    Args:
        file: Open for reading.
        size: Bytes of the file.
        limits: Bounds.

    Raises:
        CheckpointRejected: If it is damaged or over the limits.
    """
    file.seek(0)
    length = int.from_bytes(file.read(8), "little")
    if length > limits.header_bytes:
        raise CheckpointRejected(f"The safetensors header has {length:,} bytes; at most {limits.header_bytes:,} are read.")
    if size < 8 + length:
        raise _damaged("it is cut short")
    text = file.read(length)
    _refuse_dense(text, limits)
    try:
        header = json.loads(text.decode("utf-8"), object_pairs_hook=_unique)
    except (ValueError, RecursionError):
        raise _damaged("its header is no proper JSON") from None
    if not isinstance(header, dict):
        raise _damaged("its header is no table")
    metadata = _metadata(header.pop("__metadata__", {}))
    if len(header) > limits.tensors:
        raise CheckpointRejected(f"The file has {len(header):,} tensors; at most {limits.tensors:,} are read.")
    placed = {name: _placed(name, entry, 8 + length, limits) for name, entry in header.items()}
    ordered = dict(sorted(placed.items(), key=lambda item: (item[1].start, item[1].length)))
    end = 8 + length
    for tensor in ordered.values():
        if tensor.start != end:
            raise _damaged("its tensors overlap or leave holes")
        end += tensor.length
    if end != size:
        raise _damaged("it is cut short" if end > size else "bytes follow its last tensor")
    return Header(ordered, metadata)


def _metadata(texts: Any) -> dict[str, str]:
    """What the writer added, if it is as the format has it, and little.

    Raises:
        CheckpointRejected: It is not.
    """
    if not isinstance(texts, dict) or any(not isinstance(text, str) for text in texts.values()):
        raise _damaged("its metadata are no texts")
    if len(texts) > _MOST_METADATA:
        raise CheckpointRejected(f"The file has {len(texts):,} texts of metadata; at most {_MOST_METADATA:,} are read.")
    return texts


def _refuse_dense(text: bytes, limits: Limits) -> None:
    """Refuses a header with more tables, lists, keys or texts than the tensors and metadata that are read have.

    Each tensor has one table, two lists, four keys and five texts; names may hold these characters too, and the canonical form
    lists all names once more.

    Raises:
        CheckpointRejected: It has more.
    """
    tables, lists, keys, quotes = (text.count(mark) for mark in (b"{", b"[", b":", b'"'))
    if tables > limits.tensors + _SPARE:
        raise CheckpointRejected(f"The header has {tables:,} tables; at most {limits.tensors:,} tensors are read.")
    most = limits.tensors
    if lists > 2 * most + _SPARE or keys > 4 * most + _SPARE or quotes > 12 * most + _SPARE:
        raise _damaged("its header holds far more than the places of its tensors")


def _placed(name: str, entry: Any, base: int, limits: Limits) -> Placed:
    """One entry of the header. The numbers of a safetensors file are little-endian and row-major."""
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise _damaged("an entry of its header is not dtype, shape and data_offsets")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in SAFETENSORS:
        raise CheckpointRejected(
            f"The tensor {name[:80]!r} has the element type {str(dtype)[:20]!r}, which is not read; save it as float32."
        )
    if not _naturals(shape) or not _naturals(offsets) or len(offsets) != 2 or len(shape) > MAX_DIMENSIONS:
        raise _damaged("an entry of its header has no proper shape or offsets")
    if any(length > limits.numel for length in shape) or math.prod(shape) > limits.numel:
        raise too_large(name, tuple(shape), limits)
    kind = SAFETENSORS[dtype]
    if offsets[1] - offsets[0] != math.prod(shape) * item_bytes(kind):
        raise _damaged("a tensor's shape is not that of its data")
    return Placed(kind, tuple(shape), base + offsets[0], offsets[1] - offsets[0])


def _naturals(values: object) -> bool:
    return isinstance(values, list) and all(type(value) is int and value >= 0 for value in values)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        raise ValueError("a key is there twice")
    return table


def _damaged(what: str) -> CheckpointRejected:
    return CheckpointRejected(f"The safetensors file is damaged: {what}; save it again with safetensors' save_file.")
