"""Plain arrays in `.npz` files: no pickles, and nothing is allocated before the header has been held against the bytes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from io import BufferedIOBase
from typing import cast

import numpy as np

from landscape_core.npy_header import read_npy_header
from landscape_core.reading.limits import Limits
from landscape_core.reading.zip_archive import BadArchive, open_archive

_MOST_DIMENSIONS = 8


@dataclass(frozen=True)
class ArrayHeader:
    """What an `.npy` says of itself.

    Attributes:
        shape: Length of each dimension.
        dtype: A plain number type of at most 8 bytes.
        fortran: Whether the first dimension runs fastest.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    fortran: bool


def read_arrays(
    file: BufferedIOBase, size: int, limits: Limits, wanted: tuple[str, ...] | None = None
) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """The arrays by name, in row-major order and this machine's byte order, and the names of the entries that were not read.

    Args:
        file: Open for reading.
        size: Bytes of the file.
        limits: Bounds.
        wanted: Names to read; None for all.

    Raises:
        BadArchive: If the archive lies or an array is no plain array.
        ValueError: If an array has no proper header.
    """
    archive, entries = open_archive(file, size, limits)
    arrays: dict[str, np.ndarray] = {}
    for entry in entries.values():
        name = entry.filename.removesuffix(".npy")
        if name != entry.filename and (wanted is None or name in wanted):
            with archive.open(entry) as stream:
                header = _header(name, cast("BufferedIOBase", stream), entry.file_size)
                data = stream.read(math.prod(header.shape) * header.dtype.itemsize)
            array = np.frombuffer(data, header.dtype).reshape(header.shape, order="F" if header.fortran else "C")
            arrays[name] = np.asarray(array, header.dtype.newbyteorder("="), order="C")
    return arrays, tuple(name for name in entries if name.removesuffix(".npy") not in arrays)


def read_headers(file: BufferedIOBase, size: int, limits: Limits) -> dict[str, ArrayHeader]:
    """What the arrays say of themselves, by name; their numbers are not read.

    Args:
        file: Open for reading.
        size: Bytes of the file.
        limits: Bounds.

    Raises:
        BadArchive: If the archive lies or an entry is no plain array.
        ValueError: If an entry has no proper header.
    """
    archive, entries = open_archive(file, size, limits)
    headers: dict[str, ArrayHeader] = {}
    for entry in entries.values():
        with archive.open(entry) as stream:
            headers[entry.filename.removesuffix(".npy")] = _header(
                entry.filename, cast("BufferedIOBase", stream), entry.file_size
            )
    return headers


def _header(name: str, stream: BufferedIOBase, length: int) -> ArrayHeader:
    shape, fortran, dtype = read_npy_header(name, stream)
    if dtype.kind not in "fiub" or dtype.itemsize > 8:
        raise BadArchive(f"{name} should hold plain numbers, but holds {str(dtype)[:40]}")
    if len(shape) > _MOST_DIMENSIONS or any(type(n) is not int or n < 0 for n in shape):
        raise BadArchive(f"{name} has the impossible shape {str(shape)[:60]}")
    if math.prod(shape) * dtype.itemsize + stream.tell() != length:
        raise BadArchive(f"{name} should have the shape {str(shape)[:60]}, but its {length:,} bytes are not that")
    return ArrayHeader(shape, dtype, fortran)
