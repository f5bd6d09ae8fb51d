"""What the workers are doing, what waits, and what was done last."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import dash_mantine_components as dmc
from dash import dcc, html
from dash.development.base_component import Component

from app import ids
from app.pages import words
from app.pages.blocks import aria, empty, fact, fact_list, icon, page, section, surface_badge
from app.schemas import SurfaceInfo
from worker.job import WorkerStatus

if TYPE_CHECKING:
    from app.services import Services
    from app.settings import AppSettings

REFRESH_MS = 2000
QUEUES = {
    "intake": ("Inspections", "Uploaded files that wait to be read."),
    "preview": ("First stages", "Units of the coarse first surfaces; they go before all else that is computed."),
    "compute": ("Computation", "Units of finer grids, more examples and eigenvalues."),
}
"""What each queue is called, and what waits in it."""

WORKER_STATES = {"starting": "gray", "idle": "teal", "busy": "indigo", "stopping": "orange"}


async def layout(services: Services, settings: AppSettings, query: Mapping[str, str]) -> Component:  # noqa: ARG001
    """The page as things are now."""
    activity = await asyncio.to_thread(services.activity)
    return page(
        "Activity",
        "The workers of this atlas, what waits for them, and what they did last. Refreshed every two seconds.",
        html.Div(body(activity), id=ids.ACTIVITY_BODY),
        dcc.Interval(id=ids.ACTIVITY_TICK, interval=REFRESH_MS),
    )


def body(activity: Mapping[str, Any]) -> list[Component]:
    """Workers, queues, surfaces."""
    workers = [WorkerStatus.model_validate(w) if isinstance(w, dict) else w for w in activity.get("workers", [])]
    surfaces = [SurfaceInfo.model_validate(s) if isinstance(s, dict) else s for s in activity.get("surfaces", [])]
    titles = {surface.id: surface.title for surface in surfaces}
    running = [s for s in surfaces if s.state in {"queued", "running"}]
    recent = [s for s in surfaces if s.state not in {"queued", "running"}]
    return [
        section("Workers", workers_part(workers, titles), icon_name="cpu"),
        section("Waiting", queues_part(activity.get("queues", {})), icon_name="clock"),
        section("Being computed", surfaces_part(running, "Nothing is being computed."), icon_name="mountain"),
        section("Recent", surfaces_part(recent, "No surface has been computed yet."), icon_name="check"),
    ]


def workers_part(workers: Sequence[WorkerStatus], titles: Mapping[str, str]) -> Component:
    """One card a worker."""
    if not workers:
        return empty(
            "cpu",
            "No worker is there",
            "Uploads and surfaces wait until one comes: lossatlas worker, or lossatlas up with --workers 1.",
        )
    return html.Div([worker_card(worker, titles) for worker in workers], className="workers")


def worker_card(worker: WorkerStatus, titles: Mapping[str, str]) -> Component:
    """One worker: where it is, how fast, what it does."""
    speed = "not measured yet" if worker.macs_per_second is None else words.macs_speed(worker.macs_per_second)
    task: Any = "—"
    if worker.surface:
        task = dmc.Anchor(
            titles.get(worker.surface, f"Surface {worker.surface[:8]}"), href=f"/surface/{worker.surface}", size="sm"
        )
    return html.Div(
        [
            html.Div(
                [
                    html.Span(className=f"pulse pulse-{worker.state}"),
                    html.H3(worker.name, className="worker-name", title=worker.name),
                    dmc.Badge(worker.state, color=WORKER_STATES[worker.state], variant="light", radius="sm"),
                ],
                className="worker-head",
            ),
            fact_list(
                fact("Device", worker.device),
                fact("Threads", str(worker.threads)),
                fact("Speed", speed, "Multiply-accumulates a second, measured on this machine"),
                fact("Working on", task),
                fact("Host", f"{worker.host}, pid {worker.pid}"),
            ),
        ],
        className="worker",
    )


def queues_part(queues: Mapping[str, int]) -> Component:
    """How much waits in each queue."""

    def queue(name: str) -> Component:
        title, note = QUEUES.get(name, (name, ""))
        return html.Div(
            [
                html.Div(words.count(queues[name]), className="queue-count"),
                html.Div([html.Strong(title), html.Span(note)], className="queue-text"),
            ],
            className="queue",
        )

    return html.Div(
        [queue(name) for name in sorted(queues, key=list(QUEUES).index if set(queues) <= set(QUEUES) else str)],
        className="queues",
    )


def surfaces_part(surfaces: Sequence[SurfaceInfo], nothing: str) -> Component:
    """One line a surface."""
    if not surfaces:
        return dmc.Text(nothing, c="dimmed", size="sm")
    return html.Div([surface_line(surface) for surface in surfaces], className="lines")


def surface_line(surface: SurfaceInfo) -> Component:
    """One surface in a line: title, state, progress."""
    progress, live = surface.progress, surface.state in {"queued", "running"}
    bits = []
    if live:
        bits = [f"stage {progress.stage} of {progress.stages}"] if progress.stages else []
        if progress.measures == "eigenvalues":
            bits.append("eigenvalues")
        if progress.seconds_left is not None:
            bits.append(f"{words.duration(progress.seconds_left)} left")
    else:
        bits = [words.when(surface.finished or surface.created)]
    return dmc.Anchor(
        [
            html.Span([icon("mountain"), html.Span(surface.title, className="line-title")], className="line-name"),
            dmc.Progress(value=100 * progress.done, size="sm", radius="xl", className="line-bar", **aria(label="Progress"))
            if live
            else None,
            html.Span(" · ".join(bits), className="line-note"),
            surface_badge(surface),
        ],
        href=f"/surface/{surface.id}",
        underline="never",
        className="line",
    )
