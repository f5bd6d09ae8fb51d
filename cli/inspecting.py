"""`lossatlas inspect`: what is in a checkpoint, and which architectures fit."""

from __future__ import annotations

import math
import shlex
import tempfile
import textwrap
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.asked import missing
from cli.model_folders import checkpoint_file, holds_checkpoint
from cli.runs import unpacked
from cli.stopping import stopped_by_sigterm
from landscape_core.errors import CheckpointRejected, NotFound
from landscape_core.reading import SeveralFiles

if TYPE_CHECKING:
    from app.schemas import CandidateInfo, CheckpointInfo
    from landscape_core.catalogue import DatasetFacts

WIDTH = 100


@click.command(short_help="Show what is in a checkpoint, and which architectures fit.")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="As the REST interface's object.")
def inspect(file: Path, as_json: bool) -> None:
    """Show what is in the checkpoint FILE, and which architectures fit.

    The file is only read: no code in it runs. FILE may be a model's folder as Hugging Face has it; its shards are
    joined. It may be a zip or tar file of several checkpoints, a training run.
    """
    if not file.is_file() and not holds_checkpoint(file):
        raise NotFound(missing(file))
    with stopped_by_sigterm(), tempfile.TemporaryDirectory(prefix="lossatlas-") as folder:
        one = checkpoint_file(file, Path(folder))
        try:
            info = _looked_into(one, Path(folder))
        except CheckpointRejected as error:
            if as_json:
                click.echo(_info(one, state="rejected", problem=str(error)).model_dump_json(indent=2))
            raise
    click.echo(info.model_dump_json(indent=2) if as_json else _described(info, file))


def _looked_into(file: Path, folder: Path) -> CheckpointInfo:
    """What a checkpoint holds; of an archive of several, what became of each."""
    try:
        return _inspected(file, folder)
    except SeveralFiles:
        return _inspected_run(file, folder)


def _inspected_run(file: Path, folder: Path) -> CheckpointInfo:
    from app.schemas import MemberInfo  # noqa: PLC0415

    report, files = unpacked(file, folder)
    members: list[MemberInfo] = []
    for place, member in enumerate(report.members):
        known: dict[str, Any] = {"id": member.sha256, "filename": member.filename, "size_bytes": member.size_bytes}
        problem = member.problem
        if place in files:
            try:
                info = _inspected(files[place], folder)
                known["network"] = info.candidates[0].text if info.candidates else None
            except CheckpointRejected as error:
                problem = str(error)
        members.append(MemberInfo(**known, state="ready" if problem is None else "rejected", problem=problem))
    if all(member.state == "rejected" for member in members):
        first = members[0]
        raise CheckpointRejected(f"None of its files can be used as a checkpoint. {first.filename}: {first.problem}")
    return _info(file, state="ready", format=report.format, warnings=report.warnings, members=tuple(members))


def _inspected(file: Path, folder: Path) -> CheckpointInfo:
    from landscape_core.reading import inspect_in_child  # noqa: PLC0415

    report = inspect_in_child("checkpoint", file, file.name, folder / "checkpoint.safetensors")
    candidates = [_candidate(found, report["shapes"]) for found in report["candidates"]]
    names = ("problem", "format", "container", "tensors", "parameters", "metadata", "warnings", "nearest")
    return _info(file, state="ready", candidates=candidates, **{name: report[name] for name in names})


def _info(file: Path, **known: Any) -> CheckpointInfo:
    from app.schemas import CheckpointInfo  # noqa: PLC0415
    from cli.material import sha256  # noqa: PLC0415

    return CheckpointInfo(
        id=sha256(file), filename=printable(file.name), size_bytes=file.stat().st_size, created=datetime.now(UTC), **known
    )


def _candidate(found: dict[str, Any], shapes: dict[str, Any]) -> CandidateInfo:
    from app.schemas import CandidateInfo  # noqa: PLC0415
    from landscape_core.catalogue import Candidate, macs_per_example  # noqa: PLC0415

    candidate = Candidate.model_validate(found)
    spec = candidate.architecture
    return CandidateInfo(
        name=spec.name,
        options=spec.options,
        text=str(spec),
        note=candidate.note,
        macs_per_example=macs_per_example(spec, {k: tuple(v) for k, v in shapes.items()}, candidate.input_shape),
        input_shape=candidate.input_shape,
        classes=candidate.classes,
        takes_tokens=candidate.takes_tokens,
    )


def _described_run(info: CheckpointInfo, file: Path) -> str:
    usable = [member for member in info.members if member.state == "ready"]
    networks = {member.network for member in usable}
    lines = [
        f"{printable(info.filename)}: a run of {len(usable):,} checkpoints in a {info.format} file",
        f"  SHA-256 {info.id}",
        "",
    ]
    for member in info.members:
        said = member.problem or member.network or "fits no catalogued architecture"
        text = printable(f"{member.filename}  {member.size_bytes:,} bytes  {said}")
        lines += textwrap.wrap(text, WIDTH, initial_indent="  ", subsequent_indent=" " * 6, break_long_words=False)
    lines += ["", *info.warnings] if info.warnings else []
    network = networks.pop() if len(networks) == 1 else None
    if network is None:
        return "\n".join([*lines, "", "They are not all of one catalogued network, so they make no trajectory here."])
    words = ["lossatlas", "compute", usable[-1].filename, "--architecture", network, "--dataset", "DATA.npz"]
    words += ["--x", "principal:1", "--y", "principal:2", "--checkpoints", str(file), "--out", f"{file.stem}.surface.npz"]
    return "\n".join([*lines, "", "Its trajectory, with its last checkpoint unpacked:", f"  {printable(shlex.join(words))}"])


def _described(info: CheckpointInfo, file: Path) -> str:
    if info.members:
        return _described_run(info, file)
    rows = {
        "Format": f"{info.format}, tensors in {info.container!r}" if info.container else info.format,
        "Size": f"{info.size_bytes:,} bytes",
        "SHA-256": info.id,
        "Tensors": f"{info.tensors:,}",
        "Parameters": f"{info.parameters:,}",
        "Metadata": ", ".join(f"{name} {value}" for name, value in info.metadata.items()) or "none",
        "Warnings": " ".join(info.warnings) or "none",
    }
    lines = [printable(info.filename)]
    for name, value in rows.items():
        lines += textwrap.wrap(
            printable(str(value)), WIDTH, initial_indent=f"  {name:<12}", subsequent_indent=" " * 14, break_long_words=False
        )
    lines.append("")
    for count, candidate in enumerate(info.candidates):
        takes = f"input {' x '.join(map(str, candidate.input_shape))}, {candidate.classes} classes"
        if candidate.takes_tokens:
            takes = f"up to {candidate.input_shape[0]:,} tokens, vocabulary of {candidate.classes:,}"
        text = f"{'Or' if count else 'This is'} {candidate.text}: {takes}, "
        lines += textwrap.wrap(f"{text}{candidate.macs_per_example:,} multiply-adds per example. {candidate.note}", WIDTH)
    if not info.candidates:
        words = ["lossatlas", "compute", str(file), "--architecture", "net.py:build", "--dataset", "DATA.npz"]
        command = printable(shlex.join([*words, "--out", f"{file.stem}.surface.npz"]))
        return "\n".join(
            [*lines, "No catalogued architecture fits. With a net.py whose build() gives the network:", f"  {command}"]
        )
    return "\n".join([*lines, "", "Its loss surface:", f"  {_next_command(info.candidates[0], file)}"])


def _next_command(candidate: CandidateInfo, file: Path) -> str:
    """A command line that computes, with a data set that fits if one is on this machine."""
    from cli.material import settings  # noqa: PLC0415
    from landscape_core.catalogue import available_datasets  # noqa: PLC0415

    fitting = [facts.id for facts in available_datasets(settings().datasets_folder) if _suits(candidate, facts)]
    dataset = fitting[0] if fitting else "TOKENS.npz" if candidate.takes_tokens else "DATA.npz"
    words = ["lossatlas", "compute", str(file), "--architecture", candidate.text, "--dataset", dataset]
    return shlex.join([*words, "--examples", "500", "--grid", "-1:1:21x-1:1:21", "--out", f"{file.stem}.surface.npz"])


def _suits(candidate: CandidateInfo, facts: DatasetFacts) -> bool:
    if candidate.takes_tokens or facts.holds_tokens:
        both = candidate.takes_tokens and facts.holds_tokens
        return both and facts.shape <= candidate.input_shape and facts.classes <= candidate.classes
    return math.prod(facts.shape) == math.prod(candidate.input_shape) and facts.classes == candidate.classes


def printable(text: str) -> str:
    """The text with every character that a terminal might obey replaced."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)
