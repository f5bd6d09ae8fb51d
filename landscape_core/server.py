"""Speaking to a Loss Atlas server by its REST interface: a connection, and answers as values or as sentences."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from landscape_core.errors import InvalidRequest, PushFailed, SurfaceRejected

TIMEOUT_S = 120.0
TOO_MANY = 429


@contextmanager
def connected(server: str, token: str | None) -> Iterator[httpx.Client]:
    """A connection to the server's REST interface; what fails in the block is told by a sentence.

    Args:
        server: As in `https://atlas.example`.
        token: Sent as `Authorization: Bearer …`; None sends none.

    Raises:
        InvalidRequest: If `server` is no address, or the token cannot be sent.
        PushFailed: If the server cannot be reached, or does not answer like a Loss Atlas.
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
            yield client
    except KeyError as error:
        raise PushFailed(f"{server} does not answer like a Loss Atlas (its answer has no {error}).") from None
    except httpx.InvalidURL as error:
        raise InvalidRequest(
            f"The server is an address such as https://atlas.example, but {server!r} came ({error})."
        ) from None
    except httpx.HTTPError as error:
        raise PushFailed(f"{server} cannot be reached ({error}); is a Loss Atlas running there?") from None


def answer(response: httpx.Response) -> dict[str, Any]:
    """The JSON object of a good answer.

    Raises:
        SurfaceRejected: If the server refused, with its sentence.
        PushFailed: If it answered in no way that a Loss Atlas does, or may take later what it did not take now.
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
    refused = response.status_code < 500 and response.status_code != TOO_MANY
    kind = SurfaceRejected if refused else PushFailed
    raise kind(str(sentence or f"The server refused (HTTP {response.status_code})."))
