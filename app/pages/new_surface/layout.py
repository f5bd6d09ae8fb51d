"""The form, and beside it what the answer will cost."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import dash_mantine_components as dmc
from dash import dcc, html
from dash.development.base_component import Component

from app import forms, ids
from app.pages import words
from app.pages.blocks import aria, empty, fact, fact_list, icon, link_button, page, section
from app.pages.new_surface import choices, controls
from app.pages.new_surface.budget_choices import budget
from app.pages.new_surface.curvature_choices import curvature_map
from app.pages.new_surface.plane_choices import angle_and_statistics
from app.pages.new_surface.run_range import run_range
from app.schemas import CheckpointInfo, CostEstimate
from landscape_core.errors import NotFound

if TYPE_CHECKING:
    from app.services import Services
    from app.settings import AppSettings

REFRESH_MS = 2000
LEAD = (
    "Choose a network, the examples it is measured on, and the plane that is cut through its weights. The same question is "
    "computed once: asked again, it is answered from what is stored."
)


async def layout(services: Services, settings: AppSettings, query: Mapping[str, str]) -> Component:
    """The form, begun from a checkpoint (`?checkpoint=`), a training run (`?run=`) or a surface's question (`?surface=`).

    With `&budget=exact` the question of a fast surface becomes that of the exact one.
    """
    known = await asyncio.to_thread(services.checkpoints)
    offered = choices.checkpoints(known)
    if not offered:
        return before_the_form(known)
    datasets = await asyncio.to_thread(services.datasets)
    values = await begin(services, query, known)
    candidates = next((c.candidates for c in known if c.id == values["checkpoint"]), ())
    fits = choices.architectures(candidates, await asyncio.to_thread(services.architectures))
    if fits and values["architecture"] not in {fit["value"] for fit in fits}:
        values["architecture"] = fits[0]["value"]
    if values["data.dataset"] is None:
        values["data.dataset"] = choices.suggested_dataset(candidates, datasets)
        values["data.preprocessing"] = next((d.preprocessing for d in datasets if d.id == values["data.dataset"]), "none")
    named = choices.preprocessings(await asyncio.to_thread(services.preprocessings))
    data = controls.data(values, choices.datasets(datasets), named, words.limit(settings.max_dataset_bytes))
    sections = [
        section("Network", *controls.network(values, offered, fits), icon_name="layers"),
        section("Data", *data, icon_name="database"),
        section("Plane", *controls.plane(values, offered), *angle_and_statistics(values), icon_name="compass"),
        section("Grid", *controls.grid(values), *run_range(values, own="surface" in query), icon_name="grid-3x3"),
        section("Budget", *budget(values), icon_name="clock"),
        section("Curvature", *curvature_map(values), icon_name="chart-spline"),
    ]
    form = html.Div(sections, className=in_sight(values), id=ids.NEW_SHAPE)
    return page(
        "New surface",
        LEAD,
        html.Div([form, html.Div(cost_panel(), className="form-side")], className="form-page"),
        dcc.Store(id=ids.NEW_REQUEST),
        dcc.Store(id=ids.NEW_ASKED),
        dcc.Store(id=ids.NEW_ORIGIN, data=origin(values)),
        wide=True,
    )


def in_sight(values: Mapping[str, Any]) -> str:
    """The form's classes, which say what of it is in sight; later the clientside `form.reveal` gives them."""
    shape, order, directions = values[forms.SHAPE], values[forms.ORDER], values[forms.DIRECTIONS]
    own = "preprocessing-custom" if values["data.preprocessing"] == forms.CUSTOM else ""
    chosen = f"curvature-{values[forms.CURVATURE]} budget-{values['budget']}"
    return f"form shape-{shape} order-{order} directions-{directions} {chosen} {own}"


async def begin(services: Services, query: Mapping[str, str], known: Sequence[CheckpointInfo]) -> dict[str, Any]:
    """The form's first values."""
    if query.get("surface"):
        try:
            surface = await asyncio.to_thread(services.surface, query["surface"])
        except NotFound:
            surface = None
        if surface and surface.request and any(c.id == surface.request.checkpoint for c in known):
            budget = {"budget": "exact"} if query.get("budget") == "exact" else {}
            return forms.values_of(surface.request) | budget
    usable = [entry["value"] for entry in choices.checkpoints(known)]
    run = next((c for c in known if c.members and c.id == query.get("run")), None)
    members = [member.id for member in run.members if member.id in usable] if run else []
    if members:
        return {**forms.DEFAULTS, "checkpoint": members[-1], forms.DIRECTIONS: "principal", "plane.trajectory": members}
    wished = query.get("checkpoint")
    return {**forms.DEFAULTS, "checkpoint": wished if wished in usable else usable[0]}


def origin(values: Mapping[str, Any]) -> dict[str, Any]:
    """What the form began with, so that the usual preprocessing of a data set does not replace a chosen one."""
    chosen = {"dataset": values["data.dataset"], "preprocessing": values["data.preprocessing"]}
    return {**chosen, "norms": choices.NORM_MEANING}


def before_the_form(known: Sequence[CheckpointInfo]) -> Component:
    """What is shown while there is nothing to compute from; it makes way for the form if a checkpoint is being inspected."""
    waiting = is_awaited(known)
    tick = dcc.Interval(id=ids.NEW_TICK, interval=REFRESH_MS, disabled=not waiting)
    return html.Div([page("New surface", LEAD, being_inspected() if waiting else no_checkpoint()), tick], id=ids.NEW_WAITING)


def is_awaited(known: Sequence[CheckpointInfo]) -> bool:
    """Whether there is nothing to compute from, but a checkpoint that is being inspected."""
    return not choices.checkpoints(known) and any(checkpoint.state == "inspecting" for checkpoint in known)


def being_inspected() -> Component:
    """What is shown while the only checkpoints are being inspected."""
    return empty(
        "layers",
        "A checkpoint is being inspected",
        "The form comes by itself once its network is recognised.",
        link_button("Checkpoints", "/checkpoints", "layers"),
    )


def no_checkpoint() -> Component:
    """What is shown before there is anything to compute from."""
    return empty(
        "layers",
        "First, a checkpoint",
        "A surface is measured around a trained network. Upload the file of its weights and come back from there.",
        link_button("Upload a checkpoint", "/checkpoints", "upload"),
    )


def cost_panel() -> Component:
    """What the answer will cost, and the button that asks the question."""
    return dmc.Paper(
        [
            dmc.Title("What it will cost", order=2, className="section-title"),
            html.Div(id=ids.NEW_COST, className="cost", **aria(live="polite")),
            dmc.Button(
                "Compute", id=ids.NEW_COMPUTE, leftSection=icon("play"), size="md", fullWidth=True, disabled=True, mt="md"
            ),
            dmc.Text(
                "A whole coarse surface comes first; then finer grids, then more examples. Watch, leave, and come back.",
                className="cost-note",
            ),
        ],
        className="section cost-panel",
        withBorder=True,
        radius="lg",
    )


def cost(estimate: CostEstimate, *, least: bool = False) -> Component:
    """The cost of a request that can be asked.

    Args:
        estimate: The cost.
        least: Whether more may turn out to be needed, as of the fast budget.
    """
    total, first, map_seconds = estimate.seconds, estimate.first_surface_seconds, estimate.curvature_seconds
    rows = [
        fact("First whole surface", words.duration(first) if first is not None else "when a worker has measured its speed"),
        fact(
            "At least" if least else "All of it",
            words.duration(total) if total is not None else "when a worker has measured its speed",
        ),
        None if map_seconds is None else fact("Of it the curvature map", words.duration(map_seconds)),
        fact("Cells", words.count(estimate.cells)),
        fact("Examples, estimated" if least else "Examples a cell", words.count(estimate.examples)),
        fact("Forward passes, at least" if least else "Forward passes", words.count(estimate.forward_passes)),
    ]
    return fact_list(*rows)


def obstacles(problems: Mapping[str, str]) -> Component:
    """What keeps the question from being asked; each sentence also stands at its field."""
    return html.Div(
        [
            html.Div(
                [icon("triangle-alert"), html.Span("Something is missing or does not fit.")],
                className="obstacles-head",
            ),
            html.Ul([html.Li(text) for text in problems.values()]),
        ],
        className="obstacles",
    )
