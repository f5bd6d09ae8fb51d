"""The IDX format of MNIST and Fashion-MNIST (LeCun, http://yann.lecun.com/exdb/mnist, "File formats"). numpy only.

Two zero bytes, a type code, the number of dimensions, each dimension as a big-endian 32-bit integer, then the data.
"""

from __future__ import annotations

import gzip
import io
import math
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from landscape_core.errors import DatasetRejected

UNSIGNED_BYTE = 0x08
"""The one type code that images and labels use."""

MOST_PACKED = 1032
"""No byte of a deflated file stands for more (RFC 1951: 258 bytes in two bits)."""


def idx_shape(path: Path) -> tuple[int, ...]:
    """The dimensions that an IDX file of unsigned bytes declares; `.gz` is unpacked.

    Raises:
        DatasetRejected: It is no such file.
    """
    with _opened(path) as file:
        return _header(file, path)


def read_idx(path: Path) -> UInt8[np.ndarray, ...]:
    """The array of an IDX file of unsigned bytes; `.gz` is unpacked.

    Args:
        path: The file.

    Returns:
        Of the shape that its header gives.

    Raises:
        DatasetRejected: It is no such file, or its length is not what its header says.

    Example:
        >>> header = bytes([0, 0, 8, 2]) + (2).to_bytes(4, "big") + (3).to_bytes(4, "big")
        >>> _ = Path("six.idx").write_bytes(header + bytes(range(6)))
        >>> read_idx(Path("six.idx")).tolist()
        [[0, 1, 2], [3, 4, 5]]
    """
    with _opened(path) as file:
        shape = _header(file, path)
        size = math.prod(shape)
        data = _read(file, size + 1, path)
    if len(data) != size:
        more = "more" if len(data) > size else f"only {len(data)}"
        raise DatasetRejected(f"{path.name} should hold {size} values by its header but holds {more}; fetch the file again.")
    return np.frombuffer(data, np.uint8).reshape(shape)


@contextmanager
def _opened(path: Path) -> Iterator[io.BufferedIOBase]:
    with path.open("rb") as raw:
        if path.suffix == ".gz":
            with gzip.GzipFile(fileobj=raw) as unpacked:
                yield unpacked
        else:
            yield raw


def _read(file: io.BufferedIOBase, size: int, path: Path) -> bytes:
    try:
        return file.read(size)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DatasetRejected(f"{path.name} cannot be unpacked ({error}); fetch the file again.") from error


def _header(file: io.BufferedIOBase, path: Path) -> tuple[int, ...]:
    start = _read(file, 4, path)
    if len(start) < 4 or start[:2] != b"\0\0" or start[2] != UNSIGNED_BYTE or not 1 <= start[3] <= 4:
        raise DatasetRejected(
            f"{path.name} is not an IDX file of unsigned bytes; expected the files of MNIST or Fashion-MNIST."
        )
    sizes = _read(file, 4 * start[3], path)
    if len(sizes) < 4 * start[3]:
        raise DatasetRejected(f"{path.name} ends within its header; fetch the file again.")
    shape = struct.unpack(f">{start[3]}I", sizes)
    most = path.stat().st_size * (MOST_PACKED if path.suffix == ".gz" else 1)
    if not 0 < math.prod(shape) <= most:
        raise DatasetRejected(
            f"{path.name} should hold {math.prod(shape):,} values by its header, which a file of its size cannot; "
            "fetch the file again."
        )
    return shape
