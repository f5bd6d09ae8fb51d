"""A zip or tar file of several checkpoints: a training run. Told from a checkpoint by its content, and gone through.

A checkpoint of `torch.save` is a zip file itself, and was once a tar file; those hold a `data.pkl`, or `storages`, `tensors`
and `pickle`. Names in an archive are shown and sorted by, and are never a path.
"""

from __future__ import annotations

import itertools
import re
import stat
import tarfile
import zlib
from collections.abc import Iterator
from io import BufferedIOBase
from typing import IO, Literal, cast

from landscape_core.reading.export_container import is_exported
from landscape_core.reading.limits import Limits
from landscape_core.reading.refusals import SeveralFiles
from landscape_core.reading.sniff import printable
from landscape_core.reading.tar_container import MEMBERS, ShortHeaders
from landscape_core.reading.zip_archive import BadArchive, open_archive

Form = Literal["zip", "tar", "tar.gz"]

SUFFIXES = (".pt", ".pt2", ".pth", ".th", ".t7", ".ckpt", ".tar", ".bin", ".safetensors")
"""Of files that may be checkpoints; whether they are is told by their content."""

_LOOKED_AT = 200
"""Most members of a tar file that are looked at to tell what it is: it has no table of contents."""

_GZIP = b"\x1f\x8b"
_GZIP_WINDOW = 31
"""What zlib takes for a gzip header."""

_PROGRAMS = {"data.pkl", "constants.pkl"}


def refuse_run(file: BufferedIOBase, size: int, limits: Limits) -> None:
    """Passes unless a file is an archive of checkpoints.

    Args:
        file: Open for reading.
        size: Bytes of the file.
        limits: Bounds.

    Raises:
        SeveralFiles: It is one.
        BadArchive: Its table of contents lies.
    """
    form = archive_form(file)
    names = _names(file, size, form, limits) if form is not None else []
    first = min((name for name in names if is_member(name)), key=natural_key, default=None)
    if first is not None:
        raise SeveralFiles(f"The {form} file is not itself a checkpoint: unpack it and upload {printable(first)[:80]}.")


def is_member(name: str) -> bool:
    """Whether a name in an archive is that of a file that may be a checkpoint; what an operating system leaves there is not.

    Args:
        name: With its folders.
    """
    return name.lower().endswith(SUFFIXES) and not is_left_behind(name)


def is_left_behind(name: str) -> bool:
    """Whether a name in an archive is that of a file that an operating system leaves there: hidden, or in `__MACOSX`.

    Args:
        name: With its folders.
    """
    parts = [part for part in name.split("/") if part != "."]
    return any(part.startswith(".") or part == "__MACOSX" for part in parts)


def natural_key(name: str) -> list[tuple[int, str]]:
    """Sorts names as people count: epoch_2 before epoch_10.

    Args:
        name: Of a file.
    """
    key: list[tuple[int, str]] = []
    for place, piece in enumerate(re.split(r"([0-9]+)", name)):
        digits = piece.lstrip("0")
        key.append((len(digits), digits) if place % 2 else (0, piece.casefold()))
    return [*key, (0, name)]


def zip_entries(file: BufferedIOBase, size: int, limits: Limits) -> Iterator[tuple[str, IO[bytes] | str]]:
    """(name, its bytes, or why it has none) of each file in a zip archive."""
    archive, entries = open_archive(file, size, limits)
    for name, entry in entries.items():
        if entry.is_dir():
            continue
        if stat.S_ISLNK(entry.external_attr >> 16):
            yield name, "It is a link to another file, which is not followed."
        elif not is_member(name):
            yield name, ""
        else:
            with archive.open(entry) as stream:
                yield name, stream


def tar_entries(file: BufferedIOBase, size: int, form: Form, limits: Limits) -> Iterator[tuple[str, IO[bytes] | str]]:
    """(name, its bytes, or why it has none) of each file in a tar archive, which is read once from its beginning to its end."""
    names: set[str] = set()
    total = 0
    for archive, entry in _tar_members(file, form):
        name = entry.name
        if ".." in name.split("/") or name.startswith("/") or "\\" in name:
            raise BadArchive(f"its entry {name[:60]!r} points out of its folder")
        if name in names and not entry.isdir():
            raise BadArchive(f"its entry {name[:60]!r} is there twice")
        names.add(name)
        total += entry.size
        if entry.size < 0 or total > limits.total(size):
            raise BadArchive(f"it would unpack from {size:,} to {total:,} bytes, far more than an honest file of its size")
        if len(names) > limits.entries:
            raise BadArchive(f"it has over {limits.entries:,} entries")
        if entry.isdir():
            continue
        if not entry.isreg() or entry.issparse():
            yield name, "It is a link or no plain file, which is not followed."
        else:
            yield name, cast("IO[bytes]", archive.extractfile(entry))


def _tar_members(file: BufferedIOBase, form: Form) -> Iterator[tuple[tarfile.TarFile, tarfile.TarInfo]]:
    file.seek(0)
    mode: Literal["r|gz", "r|"] = "r|gz" if form == "tar.gz" else "r|"
    archive = tarfile.open(fileobj=file, mode=mode, tarinfo=ShortHeaders)  # noqa: SIM115  closing it would do nothing
    while (entry := archive.next()) is not None:
        archive.members = []  # type: ignore[attr-defined]  # else it keeps each that was passed
        yield archive, entry


def archive_form(file: BufferedIOBase) -> Form | None:
    """What kind of archive a file looks like by its first bytes; None if like none."""
    file.seek(0)
    head = file.read(1024)
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return "zip"
    if head[257:262] == b"ustar":
        return "tar"
    if not head.startswith(_GZIP):
        return None
    try:
        inside = zlib.decompressobj(_GZIP_WINDOW).decompress(head, 512)
    except zlib.error:
        return None
    return "tar.gz" if inside[257:262] == b"ustar" else None


def _names(file: BufferedIOBase, size: int, form: Form, limits: Limits) -> list[str]:
    """The names in an archive; none if it is a checkpoint or a program by itself."""
    if form == "zip":
        _, entries = open_archive(file, size, limits)
        program = is_exported(entries) or any(name.startswith(".data/") or "/.data/" in name for name in entries)
        names = list(entries)
        return [] if program or any(name.rpartition("/")[2] in _PROGRAMS for name in names) else names
    names, total = [], 0
    for _, entry in itertools.islice(_tar_members(file, form), _LOOKED_AT):
        names.append(entry.name)
        total += entry.size
        if entry.size < 0 or total > limits.total(size):
            break
    return [] if set(MEMBERS) <= set(names) else names
