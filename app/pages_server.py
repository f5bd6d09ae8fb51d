"""Dash on the same application: how its pages are served, with which status, and what previews of links show."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

from dash import Dash
from dash.backends._fastapi import reset_current_request, set_current_request
from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse
from plotly.utils import PlotlyJSONEncoder
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from app.address import current_address
from app.security import API
from app.services import Services
from app.settings import AppSettings
from landscape_core.errors import NotFound

STATIC = Path(__file__).parent / "static"
SHARE_PATH = re.compile(r"/s/([A-Za-z0-9_-]{1,64})(?:/([A-Za-z0-9_-]{1,64}))?/?")
"""The page behind a link; behind two, it is their comparison."""


class Pages(Dash):
    """Dash, with the picture of a shared surface in the page's head."""

    atlas_settings: AppSettings

    def interpolate_index(self, **parts: Any) -> str:  # type: ignore[override]  # Dash passes all by name
        """The page's HTML; see Dash."""
        found = SHARE_PATH.fullmatch(self.backend.request_adapter().path)
        if found:
            base = self.atlas_settings.base_url or current_address.get()
            image = escape(f"{base}{API}/shares/{found[1]}/preview.png", quote=True)
            parts["metas"] = f"{parts.get('metas', '')}\n" + "\n".join(
                f'<meta {name}="{key}" content="{value}">'
                for name, key, value in (
                    ("property", "og:image", image),
                    ("property", "og:title", "A loss landscape"),
                    ("property", "og:type", "website"),
                    ("name", "twitter:card", "summary_large_image"),
                    ("name", "robots", "noindex"),
                )
            )
        page: str = super().interpolate_index(**parts)
        return page


class Versioned(StaticFiles):
    """Static files; those asked for by the mark of their content (`?v=`) never change."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """The file."""
        response = await super().get_response(path, scope)
        if response.status_code in {200, 206, 304}:
            marked = scope.get("query_string", b"").startswith(b"v=")
            response.headers["cache-control"] = "public, max-age=31536000, immutable" if marked else "no-cache"
        return response


def attach(api: FastAPI, services: Services, settings: AppSettings) -> Pages:
    """Adds the pages to the application, after its other routes.

    Args:
        api: The application.
        services: What the pages ask.
        settings: The web process's.
    """
    from app import shell  # noqa: PLC0415  REST works without the pages, and its tests need not load them

    api.mount("/static", Versioned(directory=STATIC), name="static")
    pages = Pages(
        __name__,
        server=api,  # type: ignore[arg-type]  # FastAPI is one of Dash's backends
        compress=True,
        update_title=None,  # type: ignore[arg-type]  # as documented
        serve_locally=True,
        use_pages=False,  # `shell.show` finds pages; Dash's plugin adds an inline script after the hashes are taken
        pages_folder="",
        assets_folder=str(STATIC / "none"),
        include_assets_files=False,
    )
    pages.atlas_settings = settings
    shell.build(pages, services)

    @api.get("/content", include_in_schema=False)
    @api.get("/{path:path}/content", include_in_schema=False)
    async def content(request: Request, path: str = "") -> Response:
        return await _content(services, settings, f"/{path}", request.query_params)

    @api.get("/{path:path}", include_in_schema=False)
    async def page(request: Request, path: str) -> Response:
        status = await asyncio.to_thread(_status, services, f"/{path}")
        token = set_current_request(request)
        try:
            return HTMLResponse(pages.index(), status_code=status)
        finally:
            reset_current_request(token)

    return pages


async def _content(services: Services, settings: AppSettings, path: str, query: Mapping[str, str]) -> Response:
    """What the frame shows at a page's address, and the window's title, for the frame's clientside callback."""
    from app import shell  # noqa: PLC0415  as above

    try:
        content, title, status = *await shell.show(services, settings, path, query), 200
    except NotFound as error:
        content, title, status = shell.not_found(str(error), shared=path.startswith("/s/")), "Not found · Loss Atlas", 404
    body = json.dumps({"content": content, "title": title}, cls=PlotlyJSONEncoder)
    return Response(body, status, {"cache-control": "private, no-store"}, "application/json")


def _status(services: Services, path: str) -> int:
    """The status of a page: 404 for a link that opens nothing, and where there is no page. Counts views of links."""
    from app import shell  # noqa: PLC0415  as above

    found = SHARE_PATH.fullmatch(path)
    try:
        if found:
            tokens = [token for token in found.groups() if token]
            for token in tokens:
                services.shared_surface(token)
            for token in tokens:
                services.count_view(token)
        else:
            shell.find(path)
    except NotFound:
        return 404
    return 200
