"""Sending a surface to a Loss Atlas server, by its REST interface: import, wait until it is read, make a link."""

from __future__ import annotations

import time
from typing import Any

import httpx

from landscape_core import formats
from landscape_core.errors import InvalidRequest, PushFailed, SurfaceRejected
from landscape_core.results import Surface

SUFFIXES = (".npz", ".h5")
"""Forms that a server takes."""

TIMEOUT_S, READY_WITHIN_S = 120.0, 120.0


def push(surface: Surface, server: str, *, token: str | None = None, name: str = "surface") -> str:
    """A link that shows the surface on a Loss Atlas server. Everything that the surface holds is sent, once it is computed.

    Whoever has the link sees the surface; the server's `DELETE /api/v1/shares/{token}` revokes it.

    Args:
        surface: What to send.
        server: As in `https://atlas.example` or `http://127.0.0.1:8050`.
        token: Sent as `Authorization: Bearer …`. Loss Atlas has no accounts and does not look at it: it is for a proxy with a
            login that stands in front of the server. Give one over https only.
        name: What the surface is called there.

    Raises:
        InvalidRequest: If `server` is no address, or the token cannot be sent.
        PushFailed: If the server cannot be reached, or does not answer like a Loss Atlas.
        SurfaceRejected: If the server refuses the surface, with its sentence.
    """
    return push_bytes(formats.to_bytes(surface, ".npz"), f"{name}.npz", server, token)


def push_bytes(content: bytes, filename: str, server: str, token: str | None = None) -> str:
    """A link that shows a surface file on a Loss Atlas server.

    Args:
        content: The file: `.npz`, or the original's `.h5`.
        filename: Its name; the server shows it.
        server: As for `push`.
        token: As for `push`.

    Raises:
        InvalidRequest: If `server` is no address, or the token cannot be sent.
        PushFailed: If the server cannot be reached, or does not answer like a Loss Atlas.
        SurfaceRejected: If the server refuses the file, with its sentence.
    """
    if not server.startswith(("http://", "https://")):
        raise InvalidRequest(f"The server is an address that begins with http:// or https://, but {server!r} came.")
    if token is not None and not (token.isascii() and token.isprintable() and token.strip() == token != ""):
        raise InvalidRequest("The token should be printable ASCII characters without spaces around them.", field="token")
    headers = {} if token is None else {"authorization": f"Bearer {token}"}
    try:
        host = httpx.URL(server).host
        if not host or " " in host or "%" in host:
            raise httpx.InvalidURL("it names no host")
        with httpx.Client(base_url=f"{server.rstrip('/')}/api/v1", timeout=TIMEOUT_S, headers=headers) as client:
            return _link(client, content, filename)
    except KeyError as error:
        raise PushFailed(f"{server} does not answer like a Loss Atlas (its answer has no {error}).") from None
    except httpx.InvalidURL as error:
        raise InvalidRequest(
            f"The server is an address such as https://atlas.example, but {server!r} came ({error})."
        ) from None
    except httpx.HTTPError as error:
        raise PushFailed(f"{server} cannot be reached ({error}); is a Loss Atlas running there?") from None


def _link(client: httpx.Client, content: bytes, filename: str) -> str:
    headers = {"content-type": "application/octet-stream"}
    found = _answer(client.post("/surfaces/import", params={"filename": filename}, content=content, headers=headers))
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
