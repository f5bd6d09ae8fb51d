"""The page of one surface."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING

import dash_mantine_components as dmc
from dash import dcc, html
from dash.development.base_component import Component

from app import ids
from app.figures import is_curve
from app.pages.blocks import icon, link_button, surface_badge
from app.pages.surface import share
from app.pages.surface.panels import side
from app.pages.surface.stage import address, downloads, progress, stage, stores, toolbar
from app.schemas import SurfaceInfo

if TYPE_CHECKING:
    from app.services import Services
    from app.settings import AppSettings


async def layout(services: Services, settings: AppSettings, query: Mapping[str, str], surface: str) -> Component:  # noqa: ARG001
    """The page of the surface with this id."""
    info = await asyncio.to_thread(services.surface, surface)
    titles = {d.id: d.title for d in await asyncio.to_thread(services.datasets)}
    checkpoints = {checkpoint.id for checkpoint in await asyncio.to_thread(services.checkpoints)}
    changeable = info.request is not None and info.request.checkpoint in checkpoints
    return html.Div(
        [
            *stores(address(info)),
            dcc.Store(id=ids.SURFACE_DONE),
            dcc.Store(id=ids.SURFACE_AGAIN),
            dcc.Store(id=ids.SURFACE_CANCELLED),
            dcc.Store(id=ids.SURFACE_FOLLOWED),
            html.Div([heading(info), actions(info, changeable), progress()], className="surface-head"),
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
            share.dialog(share.ONE),
        ],
        className="surface-page",
    )


def heading(surface: SurfaceInfo) -> Component:
    """Title and state."""
    return html.Div(
        [
            dmc.Title(surface.title, order=1, className="surface-title"),
            html.Div(surface_badge(surface), id=ids.SURFACE_BADGE),
        ],
        className="surface-name",
    )


def actions(surface: SurfaceInfo, changeable: bool) -> Component:
    """What can be done with the surface.

    Args:
        surface: The surface.
        changeable: Whether another question can be asked of its network, whose checkpoint is here then.
    """
    again = exactly = None
    if changeable:
        again = link_button("Change", f"/new?surface={surface.id}", "sliders-horizontal", primary=False)
        if surface.request is not None and surface.request.budget == "fast":
            exactly = link_button("Compute exactly", f"/new?surface={surface.id}&budget=exact", "crosshair", primary=False)
    cancel = dmc.Button(
        "Cancel",
        id=ids.SURFACE_CANCEL,
        color="red",
        variant="light",
        size="sm",
        leftSection=icon("x"),
        style={"display": "none"},
    )
    retry = dmc.Button("Go on", id=ids.SURFACE_RETRY, size="sm", leftSection=icon("play"), style={"display": "none"})
    return html.Div(
        [
            cancel,
            retry,
            again,
            exactly,
            link_button("Compare with…", f"/compare?a={surface.id}", "columns-2", primary=False),
            downloads(f"/api/v1/surfaces/{surface.id}", surface),
            dmc.Button("Share", id=ids.SURFACE_SHARE, size="sm", leftSection=icon("share-2")),
        ],
        className="surface-actions",
    )
