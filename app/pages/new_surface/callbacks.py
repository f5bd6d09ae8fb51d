"""The form's callbacks.

checkpoint, dataset upload ──▶ suit ──▶ architecture, note, data set
data set ──▶ prepare ──▶ preprocessing, note
shape, order, directions, preprocessing, curvature, budget ──▶ clientside `form.reveal` ──▶ what is in sight
presets ──▶ clientside ──▶ points      new draw ──▶ clientside ──▶ seeds
normalisation ──▶ clientside ──▶ its explanation      directions upload ──▶ clientside ──▶ file id
run ──▶ `run_range` ──▶ range of the grid, and what it holds of the run
tick ──▶ come ──▶ the form in the place of what was shown before it (only while a checkpoint is being inspected)
every field ──▶ weigh ──▶ request, errors at the fields, cost, what a curvature map costs, Compute
Compute, request ──▶ ask ──▶ location
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from dash import ALL, ClientsideFunction, Dash, Input, Output, State, ctx, no_update
from dash.development.base_component import Component
from dash.exceptions import PreventUpdate
from pydantic import ValidationError

from app import forms, ids
from app.pages import uploads, words
from app.pages.blocks import page
from app.pages.new_surface import choices, run_range
from app.pages.new_surface.curvature_choices import curvature_note
from app.pages.new_surface.layout import LEAD, cost, is_awaited, layout, no_checkpoint, obstacles
from app.pages.notices import listen
from landscape_core.errors import InvalidRequest, NotFound
from landscape_core.requests import SurfaceRequest

if TYPE_CHECKING:
    from app.services import Services


def register(app: Dash, services: Services) -> None:
    """Adds the callbacks to the app."""
    on = listen(app)
    for kind in ("dataset", "directions"):
        uploads.register(app, kind)
    on(
        Output(ids.field("architecture"), "data"),
        Output(ids.field("architecture"), "value"),
        Output(ids.NEW_CHECKPOINT_NOTE, "children"),
        Output(ids.field("data.dataset"), "data"),
        Output(ids.field("data.dataset"), "value"),
        Input(ids.field("checkpoint"), "value"),
        Input(ids.upload("dataset"), "data"),
        State(ids.field("architecture"), "value"),
        State(ids.field("data.dataset"), "value"),
    )(partial(suit, services))
    on(
        Output(ids.field("data.preprocessing"), "value"),
        Output(ids.NEW_DATA_NOTE, "children"),
        Input(ids.field("data.dataset"), "value"),
        State(ids.field("data.preprocessing"), "value"),
        State(ids.NEW_ORIGIN, "data"),
    )(partial(prepare, services))
    on(
        Output(ids.NEW_ASKED, "data"),
        Input(ids.NEW_COMPUTE, "n_clicks"),
        State(ids.NEW_REQUEST, "data"),
        prevent_initial_call=True,
        running=[(Output(ids.NEW_COMPUTE, "loading"), True, False)],
    )(partial(ask, services))
    on(
        Output(ids.NEW_WAITING, "children"),
        Input(ids.NEW_TICK, "n_intervals"),
        State(ids.LOCATION, "search"),
        prevent_initial_call=True,
    )(partial(come, services))
    register_weighing(app, services)
    run_range.register(app, services)
    register_clientside(app)


def register_weighing(app: Dash, services: Services) -> None:
    """Adds what looks at every field."""
    on = listen(app)
    on(
        Output(ids.NEW_REQUEST, "data"),
        Output(ids.field(ALL), "error"),
        Output(ids.field_error(ALL), "error"),
        Output(ids.NEW_COST, "children"),
        Output(ids.NEW_CURVATURE_NOTE, "children"),
        Output(ids.NEW_COMPUTE, "disabled"),
        Input(ids.field(ALL), "value"),
        State(ids.field(ALL), "id"),
        State(ids.field_error(ALL), "id"),
    )(partial(weigh, services))


async def come(services: Services, _ticks: int, search: str | None) -> Component:
    """The form, or that there is nothing to compute from, once no checkpoint is being inspected that may give one."""
    known = await asyncio.to_thread(services.checkpoints)
    if is_awaited(known):
        raise PreventUpdate
    if not choices.checkpoints(known):
        return page("New surface", LEAD, no_checkpoint())
    return await layout(services, services.settings, dict(parse_qsl((search or "").removeprefix("?"))))


# More than 40 lines: one entry for each callback.
def register_clientside(app: Dash) -> None:
    """What needs no server: sight, presets, draws, explanations."""
    app.clientside_callback(
        ClientsideFunction("form", "reveal"),
        Output(ids.NEW_SHAPE, "className"),
        Input(ids.field(forms.SHAPE), "value"),
        Input(ids.field(forms.ORDER), "value"),
        Input(ids.field(forms.DIRECTIONS), "value"),
        Input(ids.field("data.preprocessing"), "value"),
        Input(ids.field(forms.CURVATURE), "value"),
        Input(ids.field("budget"), "value"),
    )
    app.clientside_callback(
        ClientsideFunction("form", "preset"),
        Output(ids.field("grid.x.points"), "value"),
        Output(ids.field("grid.y.points"), "value"),
        Input(ids.NEW_PRESET, "value"),
        prevent_initial_call=True,
    )
    app.clientside_callback(
        ClientsideFunction("form", "draw"),
        Output(ids.field("plane.x.seed"), "value"),
        Output(ids.field("plane.y.seed"), "value"),
        Input(ids.NEW_DRAW, "n_clicks"),
        prevent_initial_call=True,
    )
    app.clientside_callback(
        ClientsideFunction("form", "explain"),
        Output(ids.field("plane.normalisation.norm"), "description"),
        Input(ids.field("plane.normalisation.norm"), "value"),
        State(ids.NEW_ORIGIN, "data"),
        prevent_initial_call=True,
    )
    app.clientside_callback(
        ClientsideFunction("form", "go"),
        Output(ids.LOCATION, "pathname"),
        Output(ids.LOCATION, "search"),
        Input(ids.NEW_ASKED, "data"),
        prevent_initial_call=True,
    )
    app.clientside_callback(
        ClientsideFunction("form", "file"),
        Output(ids.field("plane.x.file"), "value"),
        Input(ids.upload("directions"), "data"),
        prevent_initial_call=True,
    )


async def suit(
    services: Services, checkpoint: str | None, upload: dict[str, Any] | None, architecture: str | None, dataset: str | None
) -> tuple[Any, ...]:
    """What goes with a checkpoint: the architectures that fit it, a word on them, and a data set that suits."""
    datasets = await asyncio.to_thread(services.datasets)
    if ctx.triggered_id == ids.upload("dataset"):
        if not upload or upload.get("phase") != "ready":
            raise PreventUpdate
        return no_update, no_update, no_update, choices.datasets(datasets), upload["id"]
    if not checkpoint:
        return [], None, "", choices.datasets(datasets), dataset
    info = await asyncio.to_thread(services.checkpoint, checkpoint)
    fits = choices.architectures(info.candidates, await asyncio.to_thread(services.architectures))
    values = [fit["value"] for fit in fits]
    chosen = architecture if architecture in values else next(iter(values), None)
    suited = choices.suggested_dataset(info.candidates, datasets, dataset)
    return fits, chosen, note(info.candidates, fits), choices.datasets(datasets), suited


def note(candidates: Sequence[Any], fits: Sequence[Any]) -> str:
    """Why there is something to choose, or that there is not."""
    if len(candidates) > 1:
        return str(candidates[0].note)
    if len(fits) > 1:
        return "The file does not say which activation the network was trained with. The right one shows the accuracy you know."
    return str(candidates[0].note) if candidates else ""


async def prepare(services: Services, dataset: str | None, current: str, origin: dict[str, Any]) -> tuple[Any, str]:
    """The usual preprocessing of a data set, and a word on where its examples come from."""
    if not dataset:
        return no_update, "No data set on this server suits this network. Upload the one that it was trained on, as an .npz."
    try:
        info = await asyncio.to_thread(services.dataset, dataset)
    except NotFound:
        return no_update, "This data set is not on this server any more."
    sizes = " and ".join(f"{words.count(n)} {split} examples" for split, n in info.splits.items() if n)
    kind = f"{words.shape(info.shape)}, {info.classes} classes"
    if info.holds_tokens:
        largest = words.count((info.classes or 1) - 1)
        kind = f"{words.example(info.shape, tokens=True)}, ids up to {largest}. A sequence's loss is the mean over its tokens"
    text = f"{sizes} of {kind}. {info.source[:1].upper()}{info.source[1:]}".strip()
    kept = dataset == origin.get("dataset") and current == origin.get("preprocessing")
    return no_update if kept else info.preprocessing, text


async def weigh(
    services: Services, values: list[Any], identities: list[dict[str, str]], frames: list[dict[str, str]]
) -> tuple[Any, list[str | None], list[str | None], Any, str, bool]:
    """The request that the form stands for and its cost, or what is wrong with it and where."""
    paths, framed = ([ids.path_of(identity) for identity in part] for part in (identities, frames))
    body, problems, shown, note_on_map, given = None, {}, None, "", dict(zip(paths, values, strict=True))
    try:
        request = forms.read(given)
        estimate = await asyncio.to_thread(services.estimate, request)
        shown = cost(estimate, least=request.budget == "fast")
        note_on_map = await curvature_note(services, request, estimate, given["curvature.examples"])
        body = request.model_dump(mode="json")
    except (ValidationError, InvalidRequest) as error:
        problems = forms.problems(error)
    except NotFound as error:
        problems = {"": str(error)}
    at_fields = [None if path in framed else problems.get(path) for path in paths]
    framed_problems = [problems.get(path) for path in framed]
    return body, at_fields, framed_problems, shown or obstacles(problems), note_on_map, body is None


async def ask(services: Services, clicks: int | None, request: dict[str, Any] | None) -> str:
    """Asks the question; the answer is the path of its surface."""
    if not clicks or not request:
        raise PreventUpdate
    surface, _created = await asyncio.to_thread(services.request_surface, SurfaceRequest.model_validate(request))
    return f"/surface/{surface.id}"
