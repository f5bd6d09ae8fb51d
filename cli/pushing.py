"""`lossatlas push`: a surface file becomes a link on a server."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.asked import missing
from landscape_core.errors import InvalidRequest, LandscapeError, NotFound, SurfaceRejected

if TYPE_CHECKING:
    import httpx

SUFFIXES = (".npz", ".h5")
TIMEOUT_S, READY_WITHIN_S = 120.0, 120.0


class PushFailed(LandscapeError):
    """The server could not be reached, or did not do its part."""

    code = "push_failed"


@click.command(short_help="Send a surface to a server and print a link to it.")
@click.argument("surface", type=click.Path(path_type=Path))
@click.option("--server", required=True, metavar="URL", help="As in https://atlas.example or http://127.0.0.1:8050.")
def push(surface: Path, server: str) -> None:
    """Send the surface file SURFACE (.npz, or the original's .h5) to a Loss Atlas server and print a link that shows it."""
    if surface.suffix.lower() not in SUFFIXES:
        raise InvalidRequest(f"A server takes surfaces as {' or '.join(SUFFIXES)}, not as {surface.suffix or surface.name!r}.")
    if not surface.is_file():
        raise NotFound(missing(surface))
    if not server.startswith(("http://", "https://")):
        raise InvalidRequest(f"--server takes an address that begins with http:// or https://, but {server!r} came.")
    import httpx  # noqa: PLC0415

    try:
        with httpx.Client(base_url=f"{server.rstrip('/')}/api/v1", timeout=TIMEOUT_S) as client:
            click.echo(_link(client, surface))
    except httpx.InvalidURL as error:
        raise InvalidRequest(
            f"--server takes an address such as https://atlas.example, but {server!r} came ({error})."
        ) from None
    except httpx.HTTPError as error:
        raise PushFailed(f"{server} cannot be reached ({error}); is a Loss Atlas running there?") from None


def _link(client: httpx.Client, surface: Path) -> str:
    headers = {"content-type": "application/octet-stream"}
    found = _answer(
        client.post("/surfaces/import", params={"filename": surface.name}, content=surface.read_bytes(), headers=headers)
    )
    deadline = time.monotonic() + READY_WITHIN_S
    while found["state"] in {"queued", "running"}:
        if time.monotonic() > deadline:
            raise PushFailed(
                f"The server has not read the surface within {READY_WITHIN_S:.0f} s; its workers may be busy or absent."
            )
        time.sleep(0.2)
        found = _answer(client.get(f"/surfaces/{found['id']}"))
    if found["state"] != "finished":
        raise SurfaceRejected(str(found.get("problem") or f"The server says that the surface is {found['state']}."))
    return str(_answer(client.post(f"/surfaces/{found['id']}/shares", json={"view": {}}))["url"])


def _answer(response: httpx.Response) -> dict[str, Any]:
    """The JSON object of a good answer.

    Raises:
        SurfaceRejected: If the server refused, with its sentence.
        PushFailed: If it answered in no way that a Loss Atlas does.
    """
    try:
        body = response.json()
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise PushFailed(f"{response.url.host} does not answer like a Loss Atlas (HTTP {response.status_code}).")
    if response.is_success:
        return body
    said = body.get("error")
    sentence = said.get("message") if isinstance(said, dict) else None
    kind = SurfaceRejected if response.status_code < 500 else PushFailed
    raise kind(str(sentence or f"The server refused (HTTP {response.status_code})."))
