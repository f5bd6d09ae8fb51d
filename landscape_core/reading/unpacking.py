"""An archive of checkpoints -> its members as files, each for an inspection of its own.

It is done in the child process (`unpack_in_child`). Members are written as 0000, 0001, …: no name of the archive's is a path.
"""

from __future__ import annotations

import hashlib
import tarfile
import zipfile
import zlib
from io import BufferedIOBase
from pathlib import Path
from typing import IO

from landscape_core.errors import CheckpointRejected
from landscape_core.reading.limits import Limits
from landscape_core.reading.refusals import SeveralFiles
from landscape_core.reading.report import RunMember, RunReport
from landscape_core.reading.run_archive import (
    Form,
    archive_form,
    is_left_behind,
    is_member,
    natural_key,
    refuse_run,
    tar_entries,
    zip_entries,
)
from landscape_core.reading.sniff import printable
from landscape_core.reading.zip_archive import BadArchive, EncryptedArchive
from landscape_core.requests import MAX_CHECKPOINTS

_CHUNK_BYTES = 1 << 20


def unpack(path: Path, folder: Path, limits: Limits = Limits()) -> RunReport:  # noqa: B008  frozen
    """Leaves the members of an archive in a folder, as 0000, 0001, … in the natural order of their names; says what they are.

    Members that cannot be a checkpoint of the run (links, archives, the same bytes again) are named with the reason.

    Args:
        path: The archive.
        folder: Exists and is empty.
        limits: Bounds; all members together unpack to `limits.total` bytes at most.

    Raises:
        CheckpointRejected: It is no archive of checkpoints, is damaged, lies, or is over the limits.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            form = archive_form(file)
            if form is None:
                raise CheckpointRejected("The file is no zip or tar file, so there is nothing to unpack.")
            taken, ignored = _taken(file, size, form, folder, limits)
    except EncryptedArchive as error:
        raise CheckpointRejected(str(error)) from None
    except BadArchive as error:
        raise _unusable(str(error)) from None
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, NotImplementedError) as error:
        raise _unusable(f"it makes no sense ({str(error)[:80] or type(error).__name__})") from None
    except (ValueError, OverflowError, RecursionError) as error:
        raise _unusable(f"its contents make no sense ({type(error).__name__})") from None
    except OSError as error:
        raise CheckpointRejected(f"The archive cannot be unpacked ({error.strerror or error}).") from None
    members = _numbered(taken, folder, limits)
    if not members:
        raise CheckpointRejected(f"The {form} file holds no checkpoints: put files like epoch_01.pt into it.")
    return RunReport(format=form, members=tuple(members), warnings=_not_used(ignored))


def _taken(
    file: BufferedIOBase, size: int, form: Form, folder: Path, limits: Limits
) -> tuple[list[tuple[RunMember, Path | None]], list[str]]:
    """Every member with the file it was written to, and the names of what was passed over."""
    taken: list[tuple[RunMember, Path | None]] = []
    ignored: list[str] = []
    entries = zip_entries(file, size, limits) if form == "zip" else tar_entries(file, size, form, limits)
    for name, stream in entries:
        if not is_member(name):
            ignored.append(name)
            continue
        if len(taken) == MAX_CHECKPOINTS:
            raise BadArchive(f"it holds more than {MAX_CHECKPOINTS:,} checkpoints, which is the longest run that is taken")
        out = folder / f"raw-{len(taken):04d}"
        taken.append(_written(name, stream, out))
    return taken, ignored


def _written(name: str, stream: IO[bytes] | str, out: Path) -> tuple[RunMember, Path | None]:
    """A member, copied into a file piece by piece; or, if it cannot be, why."""
    shown = printable(name)[:300]
    if isinstance(stream, str):
        return RunMember(filename=shown, size_bytes=0, problem=stream), None
    digest, size = hashlib.sha256(), 0
    try:
        with out.open("xb") as target:
            while data := stream.read(_CHUNK_BYTES):
                digest.update(data)
                size += len(data)
                target.write(data)
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        out.unlink()
        return RunMember(filename=shown, size_bytes=size, problem=f"It is damaged in the archive ({str(error)[:80]})."), None
    return RunMember(filename=shown, size_bytes=size, sha256=digest.hexdigest()), out


def _numbered(taken: list[tuple[RunMember, Path | None]], folder: Path, limits: Limits) -> list[RunMember]:
    """The members in natural order, their files named by their places; what is no checkpoint of the run has no file."""
    stands: dict[str | None, str] = {}
    for member, _ in sorted(taken, key=lambda one: (not _is_numbered(one[0].filename), natural_key(one[0].filename))):
        stands.setdefault(member.sha256, member.filename)
    found: list[RunMember] = []
    for member, path in sorted(taken, key=lambda one: natural_key(one[0].filename)):
        problem = member.problem
        if path is not None:
            if stands[member.sha256] != member.filename:
                problem = f"It has the same bytes as {stands[member.sha256]}, which stands for both."
            elif _is_run(path, limits):
                problem = "It is itself an archive of files: archives in archives are not unpacked."
            if problem is None:
                path.rename(folder / f"{len(found):04d}")
            else:
                path.unlink()
        found.append(member if problem is None else member.model_copy(update={"sha256": None, "problem": problem}))
    return found


def _is_numbered(name: str) -> bool:
    """Whether a file's name has a number, as epoch_10.pt, and so a place in the run; best.pt of the same bytes has none."""
    return any(character.isdigit() for character in name.rpartition("/")[2])


def _is_run(path: Path, limits: Limits) -> bool:
    """Whether a member would be taken apart, were it an upload of its own. One that is damaged would not."""
    try:
        with path.open("rb") as file:
            refuse_run(file, path.stat().st_size, limits)
    except SeveralFiles:
        return True
    except (BadArchive, CheckpointRejected, zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, ValueError):
        return False
    except (NotImplementedError, OverflowError, RecursionError):
        return False
    return False


def _not_used(names: list[str]) -> tuple[str, ...]:
    """One sentence on the files that are no checkpoints; what an operating system leaves is not worth a word."""
    told = [name for name in names if not is_left_behind(name)]
    if not told:
        return ()
    more = f" and {len(told) - 5:,} more" if len(told) > 5 else ""
    return (f"Not used: {', '.join(printable(name)[-60:] for name in told[:5])}{more}.",)


def _unusable(why: str) -> CheckpointRejected:
    return CheckpointRejected(f"The archive cannot be unpacked: {why}; pack the checkpoints again, as a plain zip file.")
