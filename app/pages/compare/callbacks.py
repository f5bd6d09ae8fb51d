"""The comparison's callbacks.

    address ──▶ surface.start ──▶ controls;  controls ──▶ surface.look ──▶ view    (the surface page's own: register_view)
    switches ──▶ bind                                                             (stream.js turns together, on one scale)
    stream.js ──▶ live of a side  ──▶ its badge, bar, progress, problem, note, facts
    stream.js ──▶ point of a side ──▶ its cell
    compute on the other split ──▶ ask ──▶ a second location of the frame, which leads to the comparison

All but the last is clientside. Sharing is the surface page's: its address names the surfaces.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from dash import ClientsideFunction, Dash, Input, Output, State
from dash.exceptions import PreventUpdate

from app import ids
from app.pages.compare.splits import on_other_split
from app.pages.notices import listen
from landscape_core.errors import InvalidRequest

if TYPE_CHECKING:
    from app.services import Services


def register(app: Dash, services: Services) -> None:
    """Adds the callbacks to the app."""
    for name in ids.SIDES:
        register_side(app, name)
    app.clientside_callback(
        ClientsideFunction("compare", "bind"),
        Output(ids.COMPARE_BOUND, "data"),
        Input(ids.COMPARE_LINKED, "checked"),
        Input(ids.COMPARE_SAME, "checked"),
        State(ids.SURFACE_ADDRESS, "data"),
    )
    listen(app)(
        Output(ids.COMPARE_LED, "search"),
        Input(ids.COMPARE_OTHER_SPLIT, "n_clicks"),
        State(ids.COMPARE_FIRST, "data"),
        prevent_initial_call=True,
    )(partial(ask, services))


def register_shared(_app: Dash, _services: object) -> None:
    """Adds nothing: a comparison behind links lives by the same clientside callbacks."""


def register_side(app: Dash, name: str) -> None:
    """What the stream tells of one side."""

    def told(function: str, source: str, *outputs: tuple[str, str]) -> None:
        app.clientside_callback(
            ClientsideFunction("surface", function),
            [Output(ids.side(name, part), prop) for part, prop in outputs],
            Input(ids.side(name, source), "data"),
        )

    told(
        "progress",
        "live",
        ("badge", "children"),
        ("bar", "value"),
        ("box", "className"),
        ("text", "children"),
        ("problem", "children"),
        ("note", "children"),
    )
    told("facts", "live", ("facts", "children"), ("holes", "children"))
    app.clientside_callback(
        ClientsideFunction("surface", "cell"),
        Output(ids.side(name, "cell"), "children"),
        Input(ids.side(name, "point"), "data"),
    )


async def ask(services: Services, clicks: int | None, first: str) -> str:
    """Asks the first surface's question of the other split; the query of the comparison with what answers it."""
    if not clicks:
        raise PreventUpdate
    request = (await asyncio.to_thread(services.surface, first)).request
    if request is None:
        raise InvalidRequest("The surface does not say what was asked, so it cannot be asked of another split.", field="data")
    wanted = on_other_split(request, await asyncio.to_thread(services.datasets))
    info, _ = await asyncio.to_thread(services.request_surface, wanted)
    return f"?a={first}&b={info.id}"
