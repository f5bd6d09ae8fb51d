"""The gallery's callbacks.

tick ──▶ refresh ──▶ surfaces made here, tick (off when nothing is being computed)
upload store of kind surface ──▶ clientside ──▶ a link to the imported surface
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

from dash import ClientsideFunction, Dash, Input, Output, State

from app import ids
from app.pages import uploads
from app.pages.blocks import changed
from app.pages.gallery.layout import mine, working
from app.pages.notices import listen

if TYPE_CHECKING:
    from app.services import Services


def register(app: Dash, services: Services) -> None:
    """Adds the callbacks to the app."""
    uploads.register(app, "surface")
    listen(app)(
        Output(ids.GALLERY_MINE, "children"),
        Output(ids.GALLERY_MINE, "data-shown"),
        Output(ids.GALLERY_TICK, "disabled"),
        Input(ids.GALLERY_TICK, "n_intervals"),
        State(ids.GALLERY_MINE, "data-shown"),
        prevent_initial_call=True,
    )(partial(refresh, services))
    app.clientside_callback(
        ClientsideFunction("upload", "openSurface"),
        Output(ids.GALLERY_IMPORTED, "children"),
        Input(ids.upload("surface"), "data"),
        prevent_initial_call=True,
    )


async def refresh(services: Services, _ticks: int, before: str) -> tuple[Any, Any, bool]:
    """The surfaces made here as they are now, if that is not what is shown, and whether to stop asking."""
    surfaces = await asyncio.to_thread(services.surfaces)
    datasets = await asyncio.to_thread(services.datasets)
    titles = {dataset.id: dataset.title for dataset in datasets}
    return (*changed(mine(surfaces, titles), (surfaces, titles), before), not working(surfaces))
