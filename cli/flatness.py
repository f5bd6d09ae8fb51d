"""`lossatlas flatness`: how flat a surface file is around the network."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli.asked import missing
from landscape_core.errors import NotFound

if TYPE_CHECKING:
    from landscape_core.flatness import Barrier, Flatness, Measure


@click.command(short_help="Show how flat a surface is around the network.")
@click.argument("surface", type=click.Path(path_type=Path))
@click.option(
    "--level",
    type=float,
    metavar="L",
    help="The loss up to which the basin reaches.  [default: the centre's + ln 2 for losses in nats, else twice it]",
)
@click.option("--epsilon", type=float, metavar="E", help="Half the side of the box of ε-sharpness.  [default: 0.25]")
@click.option("--json", "as_json", is_flag=True, help="As the REST interface's object.")
def flatness(surface: Path, level: float | None, epsilon: float | None, as_json: bool) -> None:
    """Show how flat the surface file SURFACE (.npz, .json, or the original's .h5) is around the network.

    Widths and areas are in units of the directions. A number that runs into the edge of the grid or into
    a hole is a lower bound.
    """
    if not surface.is_file():
        raise NotFound(missing(surface))
    from landscape_core import formats  # noqa: PLC0415  h5py and numpy take a moment to import
    from landscape_core.reading import inspect_in_child  # noqa: PLC0415

    with tempfile.TemporaryDirectory(prefix="lossatlas-") as folder:
        plain = Path(folder) / "surface.npz"
        inspect_in_child("surface", surface, surface.name, plain)  # the file may come from a stranger
        found = formats.load(plain).flatness(level, epsilon)
    click.echo(found.model_dump_json(indent=2) if as_json else "\n".join(_lines(found)))


def _lines(found: Flatness) -> list[str]:
    level = "not known" if found.level is None else f"{found.level:.6g} ({found.level_is})"
    lines = [
        _line("Loss at the centre", "not known" if found.centre_loss is None else f"{found.centre_loss:.6g}"),
        _line("Level", level),
        _line("Basin width along δ", _measure(found.width_x)),
    ]
    if found.width_y is not None:
        lines.append(_line("Basin width along η", _measure(found.width_y)))
    if found.area is not None:
        lines.append(_line("Basin area", _measure(found.area)))
    lines.append(_line("ε-sharpness in the plane", f"{_measure(found.sharpness, ' %')} (ε = {found.epsilon:g})"))
    lines += [line for barrier in found.barriers for line in _barrier_lines(barrier)]
    return [*lines, _line("Estimates", found.note)] if found.note else lines


def _barrier_lines(barrier: Barrier) -> list[str]:
    name = f"Barrier along {'δ' if barrier.axis == 'x' else 'η'}"
    if barrier.above_line is None:
        return [_line(name, barrier.note)]
    ends = f"ends {barrier.start_loss:.6g} and {barrier.end_loss:.6g}, highest {barrier.peak_loss:.6g} at {barrier.peak_at:.4g}"
    return [
        _line(name, f"{ends}{'. ' + barrier.note if barrier.note else ''}"),
        _line("  above the line of the ends", f"{barrier.above_line:.6g}"),
        _line("  above the mean of the ends", f"{barrier.above_mean:.6g}"),
        _line("  above the higher end", f"{barrier.above_higher_end:.6g}"),
    ]


def _line(name: str, text: str) -> str:
    return f"{name:<30}{text}"


def _measure(measure: Measure, unit: str = "") -> str:
    if measure.value is None:
        return f"none. {measure.note}"
    return f"{measure.value:.6g}{unit}{'. ' + measure.note if measure.note else ''}"
