"""Headers of `.npy` files from strangers: numpy evaluates them as Python literals, and lets go what that raises."""

from __future__ import annotations

import tokenize
from io import BufferedIOBase

import numpy as np
from numpy.lib import format as npy

HEADER_BYTES = 4096
"""Longest header that is read; those of plain arrays have 118."""

_ESCAPING = (
    TypeError,
    SyntaxError,
    LookupError,
    AttributeError,
    ArithmeticError,
    RecursionError,
    MemoryError,
    tokenize.TokenError,
)
_READERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


def read_npy_header(name: str, stream: BufferedIOBase) -> tuple[tuple[int, ...], bool, np.dtype]:
    """(shape, whether the first dimension runs fastest, element type) of an array; the stream stands at its numbers afterwards.

    Args:
        name: Of the file, for what is said of it.
        stream: Where the `.npy` begins.

    Raises:
        ValueError: It is no header, or of a version that is not read.
    """
    version = npy.read_magic(stream)
    if version not in _READERS:
        raise ValueError(f"{name} is of an unknown .npy version")
    try:
        shape, fortran, dtype = _READERS[version](stream, max_header_size=HEADER_BYTES)
    except _ESCAPING:
        raise ValueError(f"the header of {name} is damaged") from None
    return shape, fortran, dtype
