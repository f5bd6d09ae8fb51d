"""Training runs in one file: a zip or tar file of checkpoints stands for its members, in the natural order of their names."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from cli.asked_plane import AskedPlane
from landscape_core.errors import CheckpointRejected

if TYPE_CHECKING:
    from landscape_core.reading import RunReport

ARCHIVES = (".zip", ".tar", ".tgz", ".tar.gz")
"""What the files are called that are looked into; what they are is told by their content."""

LONGEST_NAME = 100

Question = TypeVar("Question", bound=AskedPlane)


def with_run_unpacked(asked: Question, folder: Path) -> Question:
    """The same question, with the members of an archive in the place of each that its run names.

    Members that cannot be checkpoints of the run are left out, and named on stderr.

    Args:
        asked: The question.
        folder: For the members.

    Raises:
        CheckpointRejected: An archive cannot be unpacked.
        InvalidRequest: The run is then too long.
    """
    run: list[Path] = []
    for count, path in enumerate(asked.run):
        inside = members(path, folder / f"run{count}") if path.name.lower().endswith(ARCHIVES) else None
        run += [path] if inside is None else inside
    whole = dataclasses.replace(asked, run=tuple(run))
    whole.check_run()
    return whole


def members(path: Path, folder: Path) -> list[Path] | None:
    """The checkpoints in an archive, as files in the order of the run; None if the file is a checkpoint itself.

    Args:
        path: The file.
        folder: For the members; made here.

    Raises:
        CheckpointRejected: It cannot be unpacked, or nothing in it may be a checkpoint.
    """
    from landscape_core.reading import SeveralFiles, inspect_in_child  # noqa: PLC0415

    folder.mkdir(parents=True)
    try:
        inspect_in_child("checkpoint", path, path.name, folder / "checkpoint.safetensors")
    except SeveralFiles:
        report, files = unpacked(path, folder)
    else:
        return None
    for member in report.members:
        if member.problem is not None:
            click.echo(f"{path.name}: {member.filename} is left out. {member.problem}", err=True)
    if not files:
        raise CheckpointRejected(f"Nothing in {path.name} can be used as a checkpoint: {report.members[0].problem}")
    return list(files.values())


def unpacked(path: Path, folder: Path) -> tuple[RunReport, dict[int, Path]]:
    """What an archive holds, and the file of each member that may be a checkpoint, by its place in the report.

    Args:
        path: The archive.
        folder: For the members, each in a folder of its own, so that it can have its own name; exists.

    Raises:
        CheckpointRejected: It cannot be unpacked.
    """
    from landscape_core.reading import unpack_in_child  # noqa: PLC0415

    raw = folder / "raw"
    raw.mkdir()
    report = unpack_in_child(path, path.name, raw)
    files: dict[int, Path] = {}
    for place, member in enumerate(report.members):
        if member.sha256 is not None:
            files[place] = folder / f"{place:04d}" / plain_name(member.filename)
            files[place].parent.mkdir()
            (raw / f"{place:04d}").rename(files[place])
    return report, files


def plain_name(name: str) -> str:
    """The last part of a name in an archive, of letters, digits and a few signs: what it is, and harmless as a file's name."""
    last = name.rpartition("/")[2]
    return "".join(c if c.isalnum() or c in "._- +=," else "_" for c in last)[-LONGEST_NAME:].lstrip(".") or "checkpoint"
