"""`lossatlas convert`: a surface file in another form."""

from __future__ import annotations

import tempfile
from pathlib import Path

import click

from cli.asked import check_out, missing
from landscape_core.errors import NotFound


@click.command(short_help="Write a surface file in another form.")
@click.argument("surface", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--log", is_flag=True, help="Heights are ln(loss + 0.1), as in the original code's exports.")
@click.option("--max-loss", type=float, metavar="X", help="Lower higher losses to X, which makes them a flat top.")
@click.option("--split", type=click.Choice(["train", "test"]), help="Of an .h5 that holds both.  [default: train]")
def convert(surface: Path, out: Path, log: bool, max_loss: float | None, split: str | None) -> None:
    """Write the surface file SURFACE (.npz, .json, or the original's .h5) in the form that OUT's suffix names.

    \b
    .npz .h5 .json   everything, to be read again
    .csv             a table, one row per cell
    .png             a picture
    .vtp             PolyData for ParaView
    .stl             a closed solid for 3-D printing, 100 mm long
    .glb             a coloured 3-D model for slides and the web

    --log and --max-loss are for .vtp, .stl and .glb; the others hold what was measured. A cell that was
    not computed or is not finite is a hole in all of them.
    """  # noqa: D301  \b is the character by which click keeps the lines
    if not surface.is_file():
        raise NotFound(missing(surface))
    check_out(out, [surface], said="OUT")
    from landscape_core import formats  # noqa: PLC0415  h5py and numpy take a moment to import
    from landscape_core.reading import inspect_in_child  # noqa: PLC0415

    with tempfile.TemporaryDirectory(prefix="lossatlas-") as folder:
        plain = Path(folder) / "surface.npz"
        inspect_in_child("surface", surface, surface.name, plain, split)  # the file may come from a stranger
        formats.save(formats.load(plain), out, log=log, max_loss=max_loss)
    click.echo(f"Wrote {out}.")
