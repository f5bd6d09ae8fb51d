"""The surface page's callbacks.

    address ──▶ start ──▶ controls                      (stream.js begins to follow)
    controls ──▶ look ──▶ view, swatch                  (stream.js paints)
    stream.js ──▶ live  ──▶ badge, bar, progress, buttons, facts, notes, downloads, done
    stream.js ──▶ colours ──▶ what there is to colour by
    stream.js ──▶ point ──▶ cell
    cancel ──▶ stop ──▶ cancelled        retry ──▶ resume ──▶ again ──▶ reopen ──▶ followed
    done ──▶ tell_provenance ──▶ provenance
    share ──▶ dialog, list;   create ──▶ wish ──▶ create ──▶ made ──▶ list;   revoke ──▶ revoked ──▶ list

The upper half is clientside (`static/javascript/clientside.js`), and is all that a page behind a link has.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

from dash import ALL, ClientsideFunction, Dash, Input, Output, State, ctx
from dash.development.base_component import Component
from dash.exceptions import PreventUpdate

from app import ids
from app.pages.notices import listen, say
from app.pages.surface import share
from app.pages.surface.panels import provenance
from app.schemas import View

if TYPE_CHECKING:
    from app.services import Services


def register(app: Dash, services: Services) -> None:
    """Adds the callbacks to the app."""
    register_view(app)
    register_colours(app)
    register_live(app)
    register_work(app, services)
    register_share(app, services)


def register_view(app: Dash) -> None:
    """How the surface is looked at."""
    controls = [
        (ids.SURFACE_PROJECTION, "value"),
        (ids.SURFACE_COLOUR_BY, "value"),
        (ids.SURFACE_COLOUR, "value"),
        (ids.SURFACE_LOG, "checked"),
        (ids.SURFACE_CLIP, "value"),
        (ids.SURFACE_CONTOURS, "checked"),
    ]
    app.clientside_callback(
        ClientsideFunction("surface", "start"), [Output(*c) for c in controls], Input(ids.SURFACE_ADDRESS, "data")
    )
    app.clientside_callback(
        ClientsideFunction("surface", "look"),
        Output(ids.SURFACE_VIEW, "data"),
        Output(ids.SURFACE_SWATCH, "style"),
        [Input(*c) for c in controls],
        State(ids.SURFACE_ADDRESS, "data"),
    )
    for button, done, function in (
        (ids.SURFACE_HOME, ids.SURFACE_HOME_DONE, "home"),
        (ids.SURFACE_PICTURE, ids.SURFACE_PICTURE_DONE, "picture"),
    ):
        app.clientside_callback(
            ClientsideFunction("surface", function),
            Output(done, "data"),
            Input(button, "n_clicks"),
            State(ids.SURFACE_ADDRESS, "data"),
            prevent_initial_call=True,
        )


def register_colours(app: Dash) -> None:
    """What the colours may show, on every page with pictures."""
    app.clientside_callback(
        ClientsideFunction("surface", "colours"),
        Output(ids.SURFACE_COLOUR_BY, "data"),
        Input(ids.SURFACE_COLOURS, "data"),
        State(ids.SURFACE_COLOUR_BY, "data"),
    )


def register_live(app: Dash) -> None:
    """What the stream tells."""
    app.clientside_callback(
        ClientsideFunction("surface", "progress"),
        Output(ids.SURFACE_BADGE, "children"),
        Output(ids.SURFACE_BAR, "value"),
        Output(ids.SURFACE_BAR_BOX, "className"),
        Output(ids.SURFACE_PROGRESS, "children"),
        Output(ids.SURFACE_PROBLEM, "children"),
        Output(ids.SURFACE_GRAPH_NOTE, "children"),
        Input(ids.SURFACE_LIVE, "data"),
    )
    app.clientside_callback(
        ClientsideFunction("surface", "facts"),
        Output(ids.SURFACE_FACTS, "children"),
        Output(ids.SURFACE_HOLES, "children"),
        Input(ids.SURFACE_LIVE, "data"),
    )
    app.clientside_callback(
        ClientsideFunction("way", "panel"), Output(ids.SURFACE_RUN, "children"), Input(ids.SURFACE_LIVE, "data")
    )
    app.clientside_callback(
        ClientsideFunction("surface", "flatness"), Output(ids.SURFACE_FLATNESS, "children"), Input(ids.SURFACE_LIVE, "data")
    )
    app.clientside_callback(
        ClientsideFunction("surface", "downloads"),
        Output(ids.SURFACE_DOWNLOADS, "className"),
        Input(ids.SURFACE_LIVE, "data"),
    )
    app.clientside_callback(
        ClientsideFunction("surface", "cell"), Output(ids.SURFACE_CELL, "children"), Input(ids.SURFACE_POINT, "data")
    )


def register_work(app: Dash, services: Services) -> None:
    """Cancel, go on, and what is known when it is done."""
    on = listen(app)
    app.clientside_callback(
        ClientsideFunction("surface", "buttons"),
        Output(ids.SURFACE_CANCEL, "style"),
        Output(ids.SURFACE_RETRY, "style"),
        Output(ids.SURFACE_DONE, "data"),
        Input(ids.SURFACE_LIVE, "data"),
        State(ids.SURFACE_DONE, "data"),
    )
    for button, done, act in (
        (ids.SURFACE_CANCEL, ids.SURFACE_CANCELLED, stop),
        (ids.SURFACE_RETRY, ids.SURFACE_AGAIN, resume),
    ):
        on(
            Output(done, "data"),
            Input(button, "n_clicks"),
            State(ids.SURFACE_ADDRESS, "data"),
            prevent_initial_call=True,
            running=[(Output(button, "loading"), True, False)],
        )(partial(act, services))
    app.clientside_callback(
        ClientsideFunction("surface", "reopen"),
        Output(ids.SURFACE_FOLLOWED, "data"),
        Input(ids.SURFACE_AGAIN, "data"),
        State(ids.SURFACE_ADDRESS, "data"),
        prevent_initial_call=True,
    )
    on(
        Output(ids.SURFACE_PROVENANCE, "children"),
        Input(ids.SURFACE_DONE, "data"),
        State(ids.SURFACE_ADDRESS, "data"),
        prevent_initial_call=True,
    )(partial(tell_provenance, services))


def register_share(app: Dash, services: Services) -> None:
    """Links."""
    on = listen(app)
    app.clientside_callback(
        ClientsideFunction("shell", "open"),
        Output(ids.SURFACE_SHARE_DIALOG, "opened"),
        Input(ids.SURFACE_SHARE, "n_clicks"),
        prevent_initial_call=True,
    )
    app.clientside_callback(
        ClientsideFunction("surface", "wish"),
        Output(ids.SURFACE_SHARE_WISH, "data"),
        Input(ids.SURFACE_SHARE_CREATE, "n_clicks"),
        prevent_initial_call=True,
    )
    on(
        Output(ids.SURFACE_SHARE_MADE, "children"),
        Input(ids.SURFACE_SHARE_WISH, "data"),
        State(ids.SURFACE_SHARE_LABEL, "value"),
        State(ids.SURFACE_ADDRESS, "data"),
        prevent_initial_call=True,
        running=[(Output(ids.SURFACE_SHARE_CREATE, "loading"), True, False)],
    )(partial(create, services))
    on(
        Output(ids.SURFACE_SHARE_REVOKED, "data"),
        Input(ids.revoke_share(ALL), "n_clicks"),
        prevent_initial_call=True,
    )(partial(revoke, services))
    on(
        Output(ids.SURFACE_SHARE_LIST, "children"),
        Input(ids.SURFACE_SHARE, "n_clicks"),
        Input(ids.SURFACE_SHARE_MADE, "children"),
        Input(ids.SURFACE_SHARE_REVOKED, "data"),
        State(ids.SURFACE_ADDRESS, "data"),
        prevent_initial_call=True,
    )(partial(links, services))


async def stop(services: Services, clicks: int | None, address: dict[str, Any]) -> int:
    """Cancels the surface; the stream tells when it has stopped."""
    if not clicks:
        raise PreventUpdate
    await asyncio.to_thread(services.cancel, address["surface"])
    return clicks


async def resume(services: Services, clicks: int | None, address: dict[str, Any]) -> int:
    """Goes on with a surface that was cancelled or has failed; what was measured is kept."""
    if not clicks:
        raise PreventUpdate
    await asyncio.to_thread(services.retry, address["surface"])
    return clicks


async def tell_provenance(services: Services, _done: str, address: dict[str, Any]) -> Component:
    """How the surface was made, as it is known now."""
    return provenance(await asyncio.to_thread(services.surface, address["surface"]))


async def create(services: Services, wish: dict[str, Any] | None, label: str | None, address: dict[str, Any]) -> Component:
    """Makes a link that opens the surface, or the two of a comparison, as they are looked at now."""
    if not wish:
        raise PreventUpdate
    view = View.model_validate(wish["view"])
    return share.made(await asyncio.to_thread(services.create_link, surfaces_of(address), view, (label or "").strip()))


async def revoke(services: Services, clicks: list[int | None]) -> str:
    """Revokes a link: from now on it opens nothing."""
    if not any(clicks) or not isinstance(ctx.triggered_id, dict):
        raise PreventUpdate
    token = str(ctx.triggered_id["token"])
    await asyncio.to_thread(services.revoke_share, token)
    say("The link was revoked and opens nothing any more.")
    return token


async def links(services: Services, clicks: int | None, _made: Any, _revoked: Any, address: dict[str, Any]) -> Component:
    """The links that open what the page shows."""
    if not clicks:
        raise PreventUpdate
    surfaces = surfaces_of(address)
    found = [link for surface in surfaces for link in await asyncio.to_thread(services.shares, surface)]
    return share.listing(found, several=len(surfaces) > 1)


def surfaces_of(address: dict[str, Any]) -> list[str]:
    """The ids of the surfaces that a page shows: one, or the two of a comparison."""
    return list(dict.fromkeys(part["surface"] for part in address.get("surfaces", [address])))
