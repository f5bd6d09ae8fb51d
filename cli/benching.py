"""`lossatlas bench`: how fast this machine's Loss Atlas is, as tables of ratios that are measured side by side."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.bench_networks import trained_networks
from cli.stopping import stopped_by_sigterm
from landscape_core.errors import InvalidRequest

if TYPE_CHECKING:
    from benchmarks.table import Section

FILE = click.Path(path_type=Path, dir_okay=False)
NOT_YET = "Not measured yet: `lossatlas bench --write` fills this in."
HEAD = """# Performance

What `lossatlas bench --write docs/performance.md` has measured on one machine. What is compared is measured in turn in one run;
a table shows medians, with the least and the most in brackets (in (c), where cells are sampled, an error with 5 % and 95 % of
bootstrap draws). What stands between the markers is replaced by the next run, all else stays.

## The machine
"""


@click.command(short_help="Measure how fast it is, on this machine.")
@click.option("--only", metavar="LETTERS", help="Some of the parts, as in a,d.")
@click.option("--quick", is_flag=True, help="Small jobs, single rounds: to see that it works.")
@click.option(
    "--network",
    "networks",
    type=(click.Path(path_type=Path), str, str),
    multiple=True,
    metavar="FILE DATASET PREPROCESSING",
    help="Of c: a trained network of yours, as compute takes it; repeatable.",
)
@click.option(
    "--points", type=click.IntRange(5, 201), metavar="N", help="Of c: points an axis of --network's surfaces.  [default: 51]"
)
@click.option("--json", "json_file", type=FILE, metavar="FILE", help="Every number, as JSON.")
@click.option("--write", type=FILE, metavar="FILE.md", help="Put the tables between its markers; made if there is none.")
def bench(
    only: str | None,
    quick: bool,
    networks: Sequence[tuple[Path, str, str]],
    points: int | None,
    json_file: Path | None,
    write: Path | None,
) -> int:
    """Measure how fast Loss Atlas is on this machine, as tables of ratios, with medians of several rounds.

    \b
    a  the engine against a straightforward loop
    b  the engine against the machine's limit
    c  the fast budget against exact
    d  two workers against one
    e  from the request to the first surface and to the last
    f  the whole system against the bare core
    g  memory
    h  in the browser
    i  how networks are called, beside other ways

    It starts what it needs and stops it again, and takes about 20 minutes. Networks have random weights, and
    data are random, but for c, which takes a network of the gallery and those of --network (a ResNet-56 on 5,000
    images takes twenty minutes). Nothing is downloaded. Leave the machine alone meanwhile. A part that
    cannot be measured here says why.
    """  # noqa: D301  # \b keeps the lines below it
    from benchmarks import machine  # noqa: PLC0415  numpy and what is measured take a moment to import
    from benchmarks.parts import LETTERS, measured  # noqa: PLC0415

    letters = _letters(only, LETTERS)
    document = None if write is None else _document(write, letters)
    _refuse_missing_folder(json_file)
    _refuse_unused(letters, networks, points)
    about = machine.described()
    sections = []
    began = time.monotonic()
    with stopped_by_sigterm(), tempfile.TemporaryDirectory(prefix="lossatlas-") as folder:
        trained = list(trained_networks(networks, points, quick, Path(folder)))
        click.echo(f"{about}\n")
        for section in measured(letters, quick, lambda text: _tell(time.monotonic() - began, text), trained):
            click.echo(f"{section.markdown()}\n")
            sections.append(section)
            if write is not None and document is not None:  # at once: the next part may be interrupted
                document = _put(write, document, {"machine": about, section.letter: section.markdown()})
    if json_file is not None:
        json_file.write_text(json.dumps(_as_json(about, quick, sections), indent=2, allow_nan=False) + "\n")
    return int(any(section.failed for section in sections))


def _refuse_unused(letters: str, networks: Sequence[object], points: int | None) -> None:
    if networks and "c" not in letters:
        raise InvalidRequest("--network is measured by part c; add c to --only, or leave it out.", field="network")
    if points is not None and not networks:
        raise InvalidRequest("--points is that of --network's surfaces; give a network, or leave it out.", field="points")


def _letters(only: str | None, known: str) -> str:
    """The parts that are asked for, in their order."""
    if only is None:
        return known
    asked = [letter.strip() for letter in only.split(",") if letter.strip()]
    if not asked or not set(asked) <= set(known):
        raise click.BadParameter(
            f"expected letters of {known[0]} to {known[-1]} with commas between, got {only!r}.", param_hint="--only"
        )
    return "".join(letter for letter in known if letter in asked)


def _document(path: Path, letters: str) -> str:
    """What the file holds, with a place for each part; what is not there yet is begun.

    Raises:
        InvalidRequest: A marker is missing, or the file cannot be made.
    """
    from benchmarks.parts import PARTS  # noqa: PLC0415
    from benchmarks.table import NoMarkers, begin, end, replaced  # noqa: PLC0415

    if path.exists():
        document = path.read_text()
        try:
            replaced(document, dict.fromkeys(["machine", *letters], ""))
        except NoMarkers as error:
            raise InvalidRequest(f"{path} has no place for what is measured: {error}", field="write") from error
        return document
    _refuse_missing_folder(path)
    places = [f"{begin('machine')}\n{end('machine')}", "## What was measured"]
    places += [f"{begin(part.letter)}\n### ({part.letter}) {part.title}\n\n{NOT_YET}\n{end(part.letter)}" for part in PARTS]
    return "\n\n".join([HEAD.strip(), *places]) + "\n"


def _put(path: Path, document: str, new: dict[str, str]) -> str:
    """Writes what was measured into the file as it is now, and gives its text; a file that has lost its place is left alone."""
    from benchmarks.table import NoMarkers, replaced  # noqa: PLC0415

    try:
        document = replaced(path.read_text() if path.exists() else document, new)
    except NoMarkers as error:
        click.echo(f"{path} was changed meanwhile and not written: {error}", err=True)
    else:
        path.write_text(document)
    return document


def _refuse_missing_folder(path: Path | None) -> None:
    if path is not None and not path.parent.is_dir():
        raise InvalidRequest(f"There is no folder {path.parent} for {path.name}; make it, or name another file.")


def _as_json(about: str, quick: bool, sections: Sequence[Section]) -> dict[str, Any]:
    facts = dict(line.removeprefix("* ").split(": ", 1) for line in about.splitlines())
    return {"machine": facts, "quick": quick, "parts": [section.as_json() for section in sections]}


def _tell(seconds: float, text: str) -> None:
    click.echo(f"{seconds:5.0f} s  {text}", err=True)
