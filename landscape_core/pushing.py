"""Sending a surface to a Loss Atlas server, by its REST interface: import, wait until it is read, make a link."""

from __future__ import annotations

import time
from typing import overload

import httpx

from landscape_core import formats
from landscape_core.errors import InvalidRequest, PushFailed, SurfaceRejected
from landscape_core.live_pushing import LivePush
from landscape_core.results import Surface
from landscape_core.server import answer, connected

SUFFIXES = (".npz", ".h5", ".json")
"""Forms that a server takes."""

READY_WITHIN_S = 120.0


@overload
def push(surface: Surface, server: str, *, token: str | None = None, name: str = "surface") -> str: ...


@overload
def push(surface: str, server: None = None, *, token: str | None = None, name: str = "surface") -> LivePush: ...


def push(
    surface: Surface | str, server: str | None = None, *, token: str | None = None, name: str = "surface"
) -> str | LivePush:
    """A link that shows the surface on a Loss Atlas server. Everything that the surface holds is sent, once it is computed.

    With an address alone, as in `lc.push("http://127.0.0.1:8050")`, what streams while a surface is computed: a `LivePush`, to
    be given to `landscape(…, push=…)`.

    Whoever has the link sees the surface; the server's `DELETE /api/v1/shares/{token}` revokes it.

    Args:
        surface: What to send, or the server's address if it is yet to be computed.
        server: As in `https://atlas.example` or `http://127.0.0.1:8050`.
        token: Sent as `Authorization: Bearer …`. Loss Atlas has no accounts and does not look at it: it is for a proxy with a
            login that stands in front of the server. Give one over https only.
        name: What the surface is called there.

    Returns:
        The link, as in `http://127.0.0.1:8050/s/…`; of an address alone, what streams.

    Raises:
        InvalidRequest: If `server` is no address, or the token cannot be sent.
        PushFailed: If the server cannot be reached, or does not answer like a Loss Atlas.
        SurfaceRejected: If the server refuses the surface, with its sentence.

    Example:
        >>> from landscape_core import Surface
        >>> from landscape_core.errors import PushFailed
        >>> one = np.zeros((1, 1))
        >>> surface = Surface(np.zeros(1), None, one, one.astype(np.uint8), one, one.astype(np.int64), one)
        >>> try:
        ...     print(push(surface, "http://127.0.0.1:9"))  # no server is there
        ... except PushFailed as error:
        ...     print(type(error).__name__)
        PushFailed
    """
    if isinstance(surface, str):
        if server is not None:
            raise InvalidRequest("push takes a surface and a server's address, or the address alone.", field="surface")
        return LivePush(surface, token=token, name=name)
    if server is None:
        raise InvalidRequest('push(surface, "http://…") takes the server\'s address too.', field="server")
    return push_bytes(formats.to_bytes(surface, ".npz"), f"{name}.npz", server, token)


def push_bytes(content: bytes, filename: str, server: str, token: str | None = None) -> str:
    """A link that shows a surface file on a Loss Atlas server.

    Args:
        content: The file: `.npz`, `.json`, or the original's `.h5`.
        filename: Its name; the server shows it.
        server: As for `push`.
        token: As for `push`.

    Raises:
        InvalidRequest: If `server` is no address, or the token cannot be sent.
        PushFailed: If the server cannot be reached, or does not answer like a Loss Atlas.
        SurfaceRejected: If the server refuses the file, with its sentence.
    """
    with connected(server, token) as client:
        return _link(client, content, filename)


def _link(client: httpx.Client, content: bytes, filename: str) -> str:
    headers = {"content-type": "application/octet-stream"}
    found = answer(client.post("/surfaces/import", params={"filename": filename}, content=content, headers=headers))
    deadline = time.monotonic() + READY_WITHIN_S
    while found["state"] in {"queued", "running"}:
        if time.monotonic() > deadline:
            raise PushFailed(
                f"The server has not read the surface within {READY_WITHIN_S:.0f} s; its workers may be busy or absent."
            )
        time.sleep(0.2)
        found = answer(client.get(f"/surfaces/{found['id']}"))
    if found["state"] != "finished":
        raise SurfaceRejected(str(found.get("problem") or f"The server says that the surface is {found['state']}."))
    return str(answer(client.post(f"/surfaces/{found['id']}/shares", json={"view": {}}))["url"])
