"""Zip files whose table of contents has been held against the file, before anything in them is unpacked.

A table of contents may lie: about sizes, about which bytes belong to which entry, about how much there is when it is unpacked
(79 KB can claim 4 GB). Python's zipfile then checks each entry's CRC and stops at its declared length.
"""

from __future__ import annotations

import struct
import zipfile
from io import BufferedIOBase

from landscape_core.reading.limits import Limits

_END = struct.Struct("<4s4H2LH")
_END64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR = struct.Struct("<4sLQL")
_LONGEST_COMMENT = 1 << 16
_HEADER = 30
"""Bytes of an entry's own header without its name (APPNOTE.TXT 4.3.7): two entries lie at least so far apart."""


class BadArchive(ValueError):
    """A zip file that must not be unpacked; the text is a clause that says why, as in "its entries overlap"."""


class EncryptedArchive(BadArchive):
    """A zip file that opens with a password only; the text is a sentence."""

    def __init__(self) -> None:
        super().__init__("The zip file is encrypted, and no password is asked for here: pack it again without a password.")


def open_archive(file: BufferedIOBase, size: int, limits: Limits) -> tuple[zipfile.ZipFile, dict[str, zipfile.ZipInfo]]:
    """An open zip file and its entries by name, known to be honest.

    Args:
        file: Open for reading.
        size: Bytes of the file.
        limits: Bounds.

    Raises:
        EncryptedArchive: If an entry is encrypted.
        BadArchive: If entries repeat, overlap, lie outside the file, are packed in an unknown way, unpack to too much, or have
            names that climb out of a folder.
    """
    _check_directory(file, size, limits)
    try:
        archive = zipfile.ZipFile(file)
    except (zipfile.BadZipFile, NotImplementedError, OverflowError) as error:
        raise BadArchive(f"its table of contents makes no sense ({error})") from None
    if len(archive.infolist()) > limits.entries:
        raise BadArchive(f"it has {len(archive.infolist()):,} entries, where at most {limits.entries:,} are read")
    entries: dict[str, zipfile.ZipInfo] = {}
    for entry in archive.infolist():
        _check_entry(entry)
        if entry.filename in entries:
            raise BadArchive(f"its entry {entry.filename[:60]!r} is there twice")
        entries[entry.filename] = entry
    spans = sorted((e.header_offset, e.header_offset + _HEADER + e.compress_size) for e in entries.values())
    ends = [start for start, _ in spans[1:]] + [archive.start_dir]
    if any(start < 0 or stop > end for (start, stop), end in zip(spans, ends, strict=False)):
        raise BadArchive("its entries overlap")
    unpacked = sum(entry.file_size for entry in entries.values())
    if unpacked > limits.total(size):
        raise BadArchive(f"it would unpack from {size:,} to {unpacked:,} bytes, far more than an honest file of its size")
    return archive, entries


def read_entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    """The bytes of an entry, unpacked no further than to its declared length; `ZipFile.read` unpacks all and then cuts.

    Args:
        archive: From `open_archive`.
        entry: Of it.

    Raises:
        BadArchive: If it holds less than it declares.
        zipfile.BadZipFile: If its bytes are not those that its checksum is of.
    """
    with archive.open(entry) as stream:
        data = stream.read(entry.file_size)
        stream.read(1)  # an empty entry's checksum is held against it only here
    if len(data) != entry.file_size:
        raise BadArchive(f"its entry {entry.filename[:60]!r} is shorter than declared")
    return data


def _check_entry(entry: zipfile.ZipInfo) -> None:
    name = entry.filename
    if entry.flag_bits & 1:
        raise EncryptedArchive
    if entry.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
        raise BadArchive("it is packed in an unusual way")
    if ".." in name.split("/") or name.startswith("/") or "\\" in name:
        raise BadArchive(f"its entry {name[:60]!r} points out of its folder")


def _check_directory(file: BufferedIOBase, size: int, limits: Limits) -> None:
    """Refuses too long a table of contents: Python makes an object of every entry before it can be asked how many there are."""
    file.seek(max(0, size - _END.size - _LONGEST_COMMENT))
    start, tail = file.tell(), file.read()
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or len(tail) - at < _END.size:
        raise BadArchive("it is cut short: the zip file's table of contents is missing")
    _, _, _, _, entries, length, _, _ = _END.unpack_from(tail, at)
    locator = start + at - _LOCATOR.size
    if locator >= _END64.size:
        file.seek(locator - _END64.size)
        record, found = file.read(_END64.size), file.read(_LOCATOR.size)
        if found[:4] == b"PK\x06\x07" and record[:4] == b"PK\x06\x06":
            *_, entries, length, _ = _END64.unpack(record)
    if entries > limits.entries or length > limits.directory_bytes:
        raise BadArchive(f"it lists {entries:,} entries in {length:,} bytes, where at most {limits.entries:,} are read")
