"""Reading a pickle's bytes without believing a length: each is held against what is left before anything is allocated."""

from __future__ import annotations

import struct
from io import BufferedIOBase

from landscape_core.reading.limits import Limits
from landscape_core.reading.refusals import damaged


class BoundedBytes:
    """The bytes of a file from where it stands.

    Args:
        file: Open for reading, seekable.
        size: Bytes of the whole file.
        limits: Bounds.
    """

    def __init__(self, file: BufferedIOBase, size: int, limits: Limits) -> None:
        self._file = file
        self._whole = self._left = min(size - file.tell(), limits.pickle_bytes)
        self._limits = limits

    @property
    def taken(self) -> int:
        """How many bytes have been read."""
        return self._whole - self._left

    def read(self, count: int) -> bytes:
        """The next bytes.

        Args:
            count: How many.

        Raises:
            CheckpointRejected: If there are not so many.
        """
        self._left -= count
        if count < 0 or self._left < 0:
            raise damaged("it is cut short, or its pickle is too long")
        data = self._file.read(count)
        if len(data) < count:
            raise damaged("it is cut short")
        return data

    def line(self) -> bytes:
        """The next bytes up to a newline, which is read but left out.

        Raises:
            CheckpointRejected: If there is none within the limits.
        """
        data = self._file.readline(min(self._left, self._limits.text))
        self._left -= len(data)
        if not data.endswith(b"\n"):
            raise damaged(f"its pickle has a line longer than {self._limits.text:,} characters, or is cut short")
        return data[:-1]

    def number(self, form: str) -> int:
        """The next number in binary.

        Args:
            form: As for `struct`.

        Raises:
            CheckpointRejected: If the file ends.
        """
        return int(struct.unpack(form, self.read(struct.calcsize(form)))[0])

    def integer(self, count: int) -> int:
        """The next integer of any length, in two's complement.

        Args:
            count: Bytes that it takes.

        Raises:
            CheckpointRejected: If it is longer than the limits, or the file ends.
        """
        if not 0 <= count <= self._limits.integer_bytes:
            raise damaged(f"its pickle has an integer of {count:,} bytes")
        return int.from_bytes(self.read(count), "little", signed=True)
