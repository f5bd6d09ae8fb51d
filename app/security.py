"""What stands before every route: who may ask, how much may be sent, and what browsers are told about the answer.

    Host        localhost, an IP address, or a configured name: a page of another name cannot reach us by DNS rebinding
    Origin      what changes something must come from a page of ours, or from no page at all (curl)
    body        JSON up to 1 MB; whatever is sent must keep coming
    answer      content security policy, no sniffing, no referrer, no framing; links are kept out of caches and indexes

Headers that proxies add are dropped: nothing here believes them. The public address is a setting.
"""

from __future__ import annotations

import asyncio
import ipaddress
import time
from collections.abc import Mapping, Sequence
from urllib.parse import parse_qs, urlsplit

from fastapi import HTTPException
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.address import current_address
from app.errors import BadRequest, Forbidden, TooLarge, public_response
from app.settings import AppSettings
from landscape_core.errors import LandscapeError

API = "/api/v1"
MAX_JSON_BYTES = 1_000_000
TOO_LONG = f"The body is longer than {MAX_JSON_BYTES:,} bytes; a request never is."
SILENCE_S = 60.0
"""Longest wait for the next bytes of a body."""

SLOWEST_BYTES_PER_S, JUDGED_AFTER_S = 1000, 60.0
"""A body that comes more slowly than this on average, after a minute, is not waited for."""

SAFE = {"GET", "HEAD", "OPTIONS"}
DROPPED = (b"x-forwarded-", b"forwarded", b"x-http-method-override", b"x-original-", b"x-rewrite-")

API_POLICY = "default-src 'none'; frame-ancestors 'none'"
PAGE_POLICY = (
    "default-src 'none'; script-src 'self' {hashes}; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "font-src 'self' data:; connect-src 'self'; worker-src blob:; manifest-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors {ancestors}"
)


class Guard:
    """The layer that holds the rules above.

    Args:
        app: The layers below.
        settings: Names that the server is reached by.
        script_hashes: Of the scripts that pages have inline, as the policy wants them.
    """

    def __init__(self, app: ASGIApp, settings: AppSettings, script_hashes: Sequence[str]) -> None:
        self._app, self._settings, self._scripts = app, settings, " ".join(script_hashes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes the request on if it may be."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        try:
            self._check(scope, headers)
        except LandscapeError as error:
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008, "reason": str(error)[:120]})
            else:
                await public_response(error)(scope, receive, self._dressed(scope, send))
            return
        kept = [(name, value) for name, value in scope["headers"] if not name.startswith(DROPPED)]
        token = current_address.set(f"{'https' if scope['scheme'] in {'https', 'wss'} else 'http'}://{headers.get('host')}")
        try:
            limit = None if takes_files(scope) else MAX_JSON_BYTES
            body = receive if scope["type"] == "websocket" else _Body(receive, limit).receive
            await self._app({**scope, "headers": kept}, body, self._dressed(scope, send))
        finally:
            current_address.reset(token)

    def _check(self, scope: Scope, headers: Headers) -> None:
        """Passes when the request may come in.

        Raises:
            BadRequest: It is for another host.
            Forbidden: It comes from a page of another site.
            TooLarge: It says that it brings more than is taken.
        """
        host = headers.get("host", "")
        if not self._is_ours(host):
            raise BadRequest(
                f"This server is not known as {host[:80]!r}; if it should be, name it in LOSSATLAS_BASE_URL or LOSSATLAS_HOSTS."
            )
        if scope["type"] == "websocket" or scope["method"] not in SAFE:
            origin, site = headers.get("origin"), headers.get("sec-fetch-site", "same-origin")
            if (origin is not None and not self._is_same(origin, host)) or site not in {"same-origin", "none"}:
                raise Forbidden("A page of another site may not do this; open Loss Atlas itself.")
        declared = headers.get("content-length", "")
        if scope["type"] == "http" and not takes_files(scope) and declared.isdigit() and int(declared) > MAX_JSON_BYTES:
            raise TooLarge(TOO_LONG)

    def _is_ours(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        return name.rstrip(".") in self._settings.host_names or _is_address(name)

    def _is_same(self, origin: str, host: str) -> bool:
        return origin == self._settings.base_url or (
            origin.partition("://")[0] in {"http", "https"} and origin.partition("://")[2].lower() == host.lower()
        )

    def _dressed(self, scope: Scope, send: Send) -> Send:
        """`send`, with our headers on the answer."""

        async def dressed(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._headers(scope, headers).items():
                    headers.setdefault(name, value)
                location = headers.get("location", "")
                if scope["path"].startswith(f"{API}/uploads") and location:
                    headers["location"] = urlsplit(location).path  # tuspyserver would write http:// behind a TLS proxy
            await send(message)

        return dressed

    def _headers(self, scope: Scope, answer: Mapping[str, str]) -> dict[str, str]:
        path = scope["path"]
        headers = {
            "x-content-type-options": "nosniff",
            "referrer-policy": "no-referrer",
            "cross-origin-opener-policy": "same-origin",
            "permissions-policy": "camera=(), microphone=(), geolocation=()",
        }
        embedded = path.startswith("/s/") and parse_qs(scope.get("query_string", b"").decode("latin-1")).get("embed") == ["1"]
        if not embedded:
            headers["x-frame-options"] = "DENY"
        if path.startswith(("/s/", f"{API}/shares/")):
            headers |= {"x-robots-tag": "noindex, nofollow", "cache-control": "private, no-store"}
        elif path.startswith("/api/"):
            headers["cache-control"] = "no-store"
        if answer.get("content-type", "").startswith("text/html"):
            ancestors = "*" if embedded else "'none'"
            headers["content-security-policy"] = PAGE_POLICY.format(hashes=self._scripts, ancestors=ancestors)
        else:
            headers["content-security-policy"] = API_POLICY
        return headers


def takes_files(scope: Scope) -> bool:
    """Whether a request brings a file, whose length its route minds."""
    path, method = scope["path"], scope.get("method")
    if method == "PUT":
        live = path.startswith(f"{API}/surfaces/") and path.endswith("/live")
        return live or path in {f"{API}/checkpoints", f"{API}/datasets", f"{API}/directions"}
    return (method == "PATCH" and path.startswith(f"{API}/uploads/")) or (method == "POST" and path == f"{API}/surfaces/import")


class _Body:
    """The body of one request, watched while it comes."""

    def __init__(self, receive: Receive, limit: int | None) -> None:
        self._receive, self._limit = receive, limit
        self._bytes, self._ended, self._began = 0, False, time.monotonic()

    async def receive(self) -> Message:
        """The next part of the body, or that the client is gone.

        Raises:
            HTTPException: 408 if it does not come, or hardly; 413 if it is longer than is taken. (FastAPI lets no other
                exception through while it reads a body.)
        """
        if self._ended:
            return await self._receive()
        try:
            async with asyncio.timeout(SILENCE_S):
                message = await self._receive()
        except TimeoutError:
            raise HTTPException(408, f"No bytes came for {SILENCE_S:.0f} s; send them again.") from None
        self._ended = not message.get("more_body", False)
        self._bytes += len(message.get("body", b""))
        if self._limit is not None and self._bytes > self._limit:
            raise HTTPException(413, TOO_LONG)
        passed = time.monotonic() - self._began
        if not self._ended and passed > JUDGED_AFTER_S and self._bytes < SLOWEST_BYTES_PER_S * passed:
            raise HTTPException(408, "The bytes come too slowly to be waited for; send them again on a better connection.")
        return message


def _is_address(name: str) -> bool:
    """Whether a host is an IP address: it cannot be pointed elsewhere, as a name can."""
    try:
        ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return False
    return True
