"""`lossatlas push`: a surface file becomes a link on a server."""

from __future__ import annotations

from pathlib import Path

import click

from cli.asked import missing
from landscape_core.errors import InvalidRequest, NotFound


@click.command(short_help="Send a surface to a server and print a link to it.")
@click.argument("surface", type=click.Path(path_type=Path))
@click.option("--server", required=True, metavar="URL", help="As in https://atlas.example or http://127.0.0.1:8050.")
def push(surface: Path, server: str) -> None:
    """Send the surface file SURFACE (.npz, .json, or the original's .h5) to a Loss Atlas server and print a link to it."""
    from landscape_core.pushing import SUFFIXES, push_bytes  # noqa: PLC0415  httpx takes a quarter of a second

    if surface.suffix.lower() not in SUFFIXES:
        *others, last = SUFFIXES
        raise InvalidRequest(
            f"A server takes surfaces as {', '.join(others)} or {last}, not as {surface.suffix or surface.name!r}."
        )
    if not surface.is_file():
        raise NotFound(missing(surface))
    click.echo(push_bytes(surface.read_bytes(), surface.name, server))
