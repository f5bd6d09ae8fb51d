"""A surface behind a link: the figure and its facts, nothing that changes anything."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING

import dash_mantine_components as dmc
from dash import html
from dash.development.base_component import Component

from app import ids
from app.figures import is_curve
from app.pages.blocks import surface_badge
from app.pages.surface.panels import side
from app.pages.surface.stage import address, downloads, progress, stage, stores, toolbar

if TYPE_CHECKING:
    from app.services import Services
    from app.settings import AppSettings


async def layout(services: Services, settings: AppSettings, query: Mapping[str, str], token: str) -> Component:  # noqa: ARG001
    """The surface of this link, as the link shows it; the figure alone with `?embed=1`."""
    link, info = await asyncio.to_thread(services.share, token)
    titles = {d.id: d.title for d in await asyncio.to_thread(services.datasets)}
    head = html.Div(
        [
            html.Div(
                [
                    dmc.Title(info.title, order=1, className="surface-title"),
                    html.Div(surface_badge(info), id=ids.SURFACE_BADGE),
                    dmc.Badge("Read only", variant="outline", color="gray", radius="sm"),
                ],
                className="surface-name",
            ),
            html.Div(downloads(f"/api/v1/shares/{token}", info), className="surface-actions"),
            progress(),
        ],
        className="surface-head",
    )
    return html.Div(
        [
            *stores(address(info, token, link.view)),
            head,
            html.Div(id=ids.SURFACE_PROBLEM, className="surface-problem", role="alert"),
            html.Div(
                [
                    html.Div(
                        [toolbar(is_curve(info.request)), stage(info.title, ids.SURFACE_GRAPH_NOTE)], className="surface-main"
                    ),
                    side(info, titles),
                ],
                className="surface-body",
            ),
        ],
        className="surface-page embedded" if query.get("embed") == "1" else "surface-page",
    )
