"""Inspecting a file from a stranger in a fresh, limited process, and checking what that process wrote.

One process per file: what one file leaves behind in memory, no other meets. The parent itself never opens the file's content.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from landscape_core.errors import CheckpointRejected, FileRejected
from landscape_core.reading.recheck import REJECTIONS, REPORTS, agrees, regular_size
from landscape_core.reading.refusals import SeveralFiles
from landscape_core.reading.report import Kind, RunMember, RunReport
from landscape_core.reading.sandbox import CANONICAL, MEMBERS, REPORT, cpu_seconds
from landscape_core.reading.sniff import printable
from landscape_core.requests import MAX_CHECKPOINTS

_log = logging.getLogger(__name__)

_LONGEST_REPORT = 64 << 20
_POLL_SECONDS = 0.005
_ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
"""All that a child sees of the environment. Threads of linear algebra libraries would each reserve address space."""


@dataclass(frozen=True)
class Ended:
    """How a child ended.

    Attributes:
        returncode: As `subprocess` has it: negative for a signal; None if it was stopped for taking too long.
        peak_bytes: Most memory that it held at once. Linux counts in what this process held when the child began.
        seconds: How long it ran.
        complaint: The end of what it wrote on stderr.
    """

    returncode: int | None
    peak_bytes: int
    seconds: float
    complaint: str


def inspect_in_child(kind: Kind, path: Path, filename: str, out: Path, split: str | None = None) -> dict[str, Any]:
    """The report on a file, as JSON-able values; its canonical form lies at `out` afterwards, mode 0600.

    Canonical forms: a checkpoint's is safetensors (`read_canonical`), a data set's an uncompressed `.npz` (`read_dataset`), a
    direction file's an `.npz` (`read_directions`), a surface's the project's own `.npz` (`formats.load`).

    Args:
        kind: What the file is said to be.
        path: The file. Nobody may change it meanwhile.
        filename: Its name where it came from; a hint, never a path.
        out: Where the canonical form goes; an existing file is replaced. Untouched if the file is refused.
        split: Of a surface file that may hold both, `train` or `test`; None takes the first that it holds.

    Returns:
        The report of the kind (`CheckpointReport` …) in JSON form.

    Raises:
        SeveralFiles: The checkpoint's file is an archive of several, for `unpack_in_child`.
        FileRejected: The file cannot be used; the subclass goes with the kind.

    Example:
        >>> from safetensors.numpy import save_file
        >>> save_file({"fc1.weight": np.ones((3, 2), np.float32)}, "upload.bin")
        >>> report = inspect_in_child("checkpoint", Path("upload.bin"), "net.safetensors", Path("safe.safetensors"))
        >>> report["format"], report["parameters"], Path("safe.safetensors").is_file()
        ('safetensors', 6, True)
    """
    rejected = REJECTIONS[kind]
    with tempfile.TemporaryDirectory(prefix=".inspect-", dir=out.parent) as name:
        folder = Path(name)
        ended = _run_child(kind, path, filename, folder, [split] if split else [])
        _log.info("Reading a %s took %.2f s, with at most %d bytes in it or here.", kind, ended.seconds, ended.peak_bytes)
        _refuse_ended(kind, ended, rejected)
        report = _checked_report(kind, folder, rejected)
        (folder / CANONICAL).chmod(0o600)
        (folder / CANONICAL).replace(out)
    return report


def unpack_in_child(path: Path, filename: str, out: Path) -> RunReport:
    """The report on an archive of checkpoints; its members lie in `out` afterwards, named 0000, 0001, … by their places in it.

    No member has been read: each is a file from a stranger, to be inspected like any other. None is an archive itself.

    Args:
        path: The archive. Nobody may change it meanwhile.
        filename: Its name where it came from; a hint, never a path.
        out: A folder that is empty. It stays so if the file is refused.

    Returns:
        What the archive holds, in the natural order of its members' names.

    Raises:
        CheckpointRejected: It is no archive of checkpoints, or cannot be unpacked.

    Example:
        >>> import zipfile
        >>> from safetensors.numpy import save
        >>> with zipfile.ZipFile("run.zip", "w") as archive:
        ...     for epoch in (1, 10, 2):
        ...         archive.writestr(f"epoch{epoch}.safetensors", save({"w": np.full((1, 2), epoch, np.float32)}))
        >>> Path("members").mkdir()
        >>> [member.filename for member in unpack_in_child(Path("run.zip"), "run.zip", Path("members")).members]
        ['epoch1.safetensors', 'epoch2.safetensors', 'epoch10.safetensors']
        >>> sorted(path.name for path in Path("members").iterdir())
        ['0000', '0001', '0002']
    """
    with tempfile.TemporaryDirectory(prefix=".unpack-", dir=out.parent) as name:
        folder = Path(name)
        ended = _run_child("run", path, filename, folder, [])
        _log.info("Reading a %s took %.2f s, with at most %d bytes in it or here.", "run", ended.seconds, ended.peak_bytes)
        _refuse_ended("run", ended, CheckpointRejected)
        report = _checked_run(folder)
        for place, member in enumerate(report.members):
            if member.sha256 is not None:
                (folder / MEMBERS / f"{place:04d}").chmod(0o600)
                (folder / MEMBERS / f"{place:04d}").replace(out / f"{place:04d}")
    return report


def _checked_run(folder: Path) -> RunReport:
    """The child's report, if the members are there and hash to what it says."""
    try:
        values = _parsed(folder / REPORT)
        problem = values["problem"]
        if problem is None:
            report = RunReport.model_validate(values)
            found = {place: member for place, member in enumerate(report.members) if member.sha256 is not None}
            if len(report.members) <= MAX_CHECKPOINTS and all(_is(folder, place, member) for place, member in found.items()):
                return report
        reason = "the report is not that of the members"
    except Exception as error:  # noqa: BLE001  an edge: a file that has taken over the child writes what it likes
        problem, reason = None, f"{type(error).__name__}: {error}"
    if isinstance(problem, str):
        raise CheckpointRejected(problem)
    _log.warning("The result of unpacking is not well formed: %s", reason)
    raise CheckpointRejected("Unpacking the file gave a result that contradicts itself, so it was refused.")


def _is(folder: Path, place: int, member: RunMember) -> bool:
    path = folder / MEMBERS / f"{place:04d}"
    if (folder / MEMBERS).is_symlink() or regular_size(path) != member.size_bytes:
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == member.sha256


def _refuse_ended(what: str, ended: Ended, rejected: type[FileRejected]) -> None:
    if ended.returncode != 0:
        _log.warning("Reading a %s ended with %s: %s", what, ended.returncode, ended.complaint)
        raise rejected(_how_it_ended(ended))


def _run_child(kind: Kind | Literal["run"], path: Path, filename: str, folder: Path, split: list[str]) -> Ended:
    """Runs the child to its end and says how it ended."""
    try:
        size = path.stat().st_size
    except OSError as error:
        rejected = CheckpointRejected if kind == "run" else REJECTIONS[kind]
        raise rejected(f"The file cannot be read ({error.strerror or error}).") from None
    arguments = [kind, str(path.resolve()), printable(filename)[:300], str(folder.resolve()), *split]
    begin = time.monotonic()
    with (folder / "stderr").open("w+b") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-I", "-m", "landscape_core.reading.child", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            env=_ENVIRONMENT,
            cwd=folder,
        )
        returncode, usage = _wait(process, deadline=begin + 2 * cpu_seconds(size))
        stderr.seek(max(0, stderr.seek(0, os.SEEK_END) - 2000))
        complaint = stderr.read().decode("utf-8", "replace")
    unit = 1 if sys.platform == "darwin" else 1024
    return Ended(returncode, usage.ru_maxrss * unit, time.monotonic() - begin, complaint)


def _wait(process: subprocess.Popen[bytes], deadline: float) -> tuple[int | None, resource.struct_rusage]:
    """(return code, use of resources) of a child, which does not outlive this; None if it had to be killed at the deadline."""
    late = False
    try:
        while True:
            pid, status, usage = os.wait4(process.pid, os.WNOHANG)
            if pid:
                process.returncode = os.waitstatus_to_exitcode(status)
                return (None if late else process.returncode), usage
            if not late and time.monotonic() > deadline:
                late = True
                process.kill()
            time.sleep(_POLL_SECONDS)
    except BaseException:  # a job that is cancelled, Ctrl-C: nobody would wait for the child any more
        process.kill()
        process.wait()
        raise


def _how_it_ended(ended: Ended) -> str:
    if ended.returncode is None or ended.returncode == -signal.SIGXCPU:
        return "Reading the file took far longer than an honest file of its size takes, so it was stopped and refused."
    if ended.returncode == -signal.SIGXFSZ:
        return "The file unpacks to far more than an honest file of its size holds, so it was refused."
    if ended.returncode < 0:
        return "The file makes the reader fail or ask for more memory than it may have, so it was refused."
    return "The file could not be read for a reason that was not foreseen; if other programs can read it, please report it."


def _checked_report(kind: Kind, folder: Path, rejected: type[FileRejected]) -> dict[str, Any]:
    """The child's report, if it is one and the canonical file agrees with it."""
    try:
        values = _parsed(folder / REPORT)
        problem = values["problem"]
        if problem is None and agrees(REPORTS[kind].model_validate(values), folder / CANONICAL):
            return values
        reason = "the report is not that of the canonical form"
    except Exception as error:  # noqa: BLE001  an edge: a file that has taken over the child writes what it likes
        problem, reason = None, f"{type(error).__name__}: {error}"
    if isinstance(problem, str):
        raise SeveralFiles(problem) if kind == "checkpoint" and values.get("several") is True else rejected(problem)
    _log.warning("The result of reading a %s is not well formed: %s", kind, reason)
    raise rejected("Reading the file gave a result that contradicts itself, so it was refused.")


def _parsed(path: Path) -> dict[str, Any]:
    if regular_size(path) > _LONGEST_REPORT:
        raise ValueError(f"the report has over {_LONGEST_REPORT:,} bytes")
    values = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(values, dict):
        raise ValueError("the report is no table")
    return values
