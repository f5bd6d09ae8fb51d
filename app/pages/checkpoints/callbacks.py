"""The checkpoints' callbacks.

upload store ─┐
tick ─────────┼─▶ refresh ──▶ list, tick (off when nothing is being inspected)
deleted ──────┘
delete buttons ──▶ doubt ──▶ doomed ──▶ dialog text
doomed, keep, deleted ──▶ clientside ──▶ dialog
confirm ──▶ delete ──▶ deleted
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

from dash import ALL, ClientsideFunction, Dash, Input, Output, State, ctx
from dash.exceptions import PreventUpdate

from app import ids
from app.address import public_address
from app.pages import uploads
from app.pages.blocks import changed
from app.pages.checkpoints.layout import inspecting, listing
from app.pages.notices import listen, say

if TYPE_CHECKING:
    from app.services import Services


def register(app: Dash, services: Services) -> None:
    """Adds the callbacks to the app."""
    on = listen(app)
    uploads.register(app, "checkpoint")
    on(
        Output(ids.CHECKPOINTS_LIST, "children"),
        Output(ids.CHECKPOINTS_LIST, "data-shown"),
        Output(ids.CHECKPOINTS_TICK, "disabled"),
        Input(ids.upload("checkpoint"), "data"),
        Input(ids.CHECKPOINTS_TICK, "n_intervals"),
        Input(ids.CHECKPOINTS_DELETED, "data"),
        State(ids.CHECKPOINTS_LIST, "data-shown"),
        prevent_initial_call=True,
    )(partial(refresh, services))
    on(
        Output(ids.CHECKPOINTS_DOOMED, "data"),
        Output(ids.CHECKPOINTS_DIALOG_TEXT, "children"),
        Input(ids.delete_checkpoint(ALL), "n_clicks"),
        prevent_initial_call=True,
    )(partial(doubt, services))
    app.clientside_callback(
        ClientsideFunction("shell", "dialog"),
        Output(ids.CHECKPOINTS_DIALOG, "opened"),
        Input(ids.CHECKPOINTS_DOOMED, "data"),
        Input(ids.CHECKPOINTS_KEEP, "n_clicks"),
        Input(ids.CHECKPOINTS_DELETED, "data"),
        prevent_initial_call=True,
    )
    on(
        Output(ids.CHECKPOINTS_DELETED, "data"),
        Input(ids.CHECKPOINTS_CONFIRM, "n_clicks"),
        State(ids.CHECKPOINTS_DOOMED, "data"),
        prevent_initial_call=True,
        running=[(Output(ids.CHECKPOINTS_CONFIRM, "loading"), True, False)],
    )(partial(delete, services))


async def refresh(
    services: Services, upload: dict[str, Any] | None, _ticks: int, _gone: Any, before: str
) -> tuple[Any, Any, bool]:
    """The checkpoints as they are now, if that is not what is shown, and whether to stop asking."""
    if ctx.triggered_id == ids.upload("checkpoint") and (upload or {}).get("phase") in {
        None,
        "uploading",
        "retrying",
        "storing",
    }:
        raise PreventUpdate
    checkpoints = await asyncio.to_thread(services.checkpoints)
    now = listing(checkpoints, public_address(services.settings))
    return (*changed(now, checkpoints, before), not inspecting(checkpoints))


async def doubt(services: Services, clicks: list[int | None]) -> tuple[dict[str, Any], str]:
    """The checkpoint that shall be deleted, and what that means."""
    if not any(clicks) or not isinstance(ctx.triggered_id, dict):
        raise PreventUpdate
    checkpoint = await asyncio.to_thread(services.checkpoint, ctx.triggered_id["checkpoint"])
    with_it = " and its checkpoints, but for those that came alone or are in another run too," if checkpoint.members else ""
    text = f"“{checkpoint.filename}”{with_it} is removed from this server. "
    text += "Surfaces already computed from it stay, and so do their links."
    return {"id": checkpoint.id, "asked": sum(filter(None, clicks))}, text


async def delete(services: Services, clicks: int | None, doomed: dict[str, Any] | None) -> str:
    """Deletes the checkpoint that was asked about."""
    if not clicks or not doomed:
        raise PreventUpdate
    await asyncio.to_thread(services.delete_checkpoint, doomed["id"])
    say("The checkpoint was deleted.")
    return str(doomed["id"])
