"""The gallery: what one sees, surfaces to open, and those made here."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import dash_mantine_components as dmc
from dash import dcc, html
from dash.development.base_component import Component

from app import ids
from app.pages import words
from app.pages.blocks import aria, chip, empty, icon, link_button, shown, surface_badge
from app.pages.uploads import drop_zone, upload_panel
from app.schemas import SurfaceInfo

if TYPE_CHECKING:
    from app.services import Services
    from app.settings import AppSettings

SHOWN = 24
"""How many of the surfaces made here are shown."""

REFRESH_MS = 3000


async def layout(services: Services, settings: AppSettings, query: Mapping[str, str]) -> Component:  # noqa: ARG001
    """The gallery as it is now."""
    surfaces, datasets = await asyncio.gather(asyncio.to_thread(services.surfaces), asyncio.to_thread(services.datasets))
    titles = {dataset.id: dataset.title for dataset in datasets}
    delivered = [surface for surface in surfaces if surface.origin == "gallery"]
    return html.Div(
        [
            hero(),
            dmc.Container(
                [
                    explanation(),
                    heading("Gallery", "Measured surfaces to open and turn.", comparing(surfaces)),
                    html.Div([card(s, titles) for s in delivered], className="cards") if delivered else no_gallery(),
                    heading("Made here", "The surfaces computed or imported on this server, newest first."),
                    shown(mine(surfaces, titles), ids.GALLERY_MINE, (surfaces, titles)),
                    importing(),
                ],
                size=1180,
                className="page",
                px={"base": 16, "sm": 28},
            ),
            dcc.Interval(id=ids.GALLERY_TICK, interval=REFRESH_MS, disabled=not working(surfaces)),
        ]
    )


def working(surfaces: Sequence[SurfaceInfo]) -> bool:
    """Whether any of these surfaces is still to change: to be computed, or to get its picture."""
    return any(s.state in {"queued", "running"} or (s.state == "finished" and s.preview == "wait") for s in surfaces)


def hero() -> Component:
    """The first sentence, beside a drawing of the gallery's own surface."""
    words_part = html.Div(
        [
            dmc.Title("See the loss landscape around a trained network", order=1, className="hero-title"),
            dmc.Text(
                "A network's weights are one point in a space of millions of dimensions. Loss Atlas lays a plane through "
                "that point, measures the loss on a grid, and draws what it finds. Nothing smoothed, nothing invented.",
                className="hero-lead",
            ),
            dmc.Group(
                [
                    link_button("Upload a checkpoint", "/checkpoints", "upload"),
                    link_button("New surface", "/new", "mountain", primary=False),
                ],
                gap="sm",
            ),
        ],
        className="hero-words",
    )
    drawing = html.Img(src="/static/images/landscape.svg", alt="", className="hero-drawing")
    inner = dmc.Container([words_part, drawing], size=1180, className="hero-inner", px={"base": 16, "sm": 28})
    return html.Div(inner, className="hero")


def explanation() -> Component:
    """How to read a landscape, in three parts and a formula."""

    def part(icon_name: str, name: str, text: str) -> Component:
        return html.Div(
            [
                html.Div(icon(icon_name), className="reading-icon"),
                html.Div([html.H3(name), html.P(text)]),
            ],
            className="reading",
        )

    return html.Section(
        [
            part("mountain", "Height", "The mean loss over real examples, with its standard error. Low ground is good."),
            part("crosshair", "Centre", "The trained network itself. Everywhere else, its weights have been moved."),
            part(
                "compass",
                "Axes",
                "Two random directions, each filter scaled to the length of the network's own filter, so that landscapes "
                "of different networks compare (Li et al. 2018).",
            ),
            html.P(
                ["L(α, β) = mean loss at θ* + α δ + β η"],
                className="formula",
                title="θ* is the trained network, δ and η are the directions, α and β the coordinates on the plane.",
            ),
        ],
        className="readings",
        **aria(label="How to read a loss landscape"),
    )


def heading(title: str, text: str, action: Component | None = None) -> Component:
    """The head of one part of the page."""
    said = html.Div([dmc.Title(title, order=2, className="part-title"), dmc.Text(text, c="dimmed", size="sm")])
    return html.Div([said, action], className="part")


def comparing(surfaces: Sequence[SurfaceInfo]) -> Component | None:
    """The way to two surfaces side by side, where there are two."""
    return link_button("Compare two surfaces", "/compare", "columns-2", primary=False) if len(surfaces) > 1 else None


def card(surface: SurfaceInfo, titles: Mapping[str, str], href: str | None = None, invitation: str = "Open") -> Component:
    """One surface: its picture, what it is, what it was measured on; it leads to the surface's page unless told otherwise."""
    about = surface.provenance.get("about")
    about = about if isinstance(about, dict) else {}
    return dmc.Anchor(
        [
            html.Div(picture(surface), className="card-picture"),
            html.Div(
                [
                    html.Div(
                        [
                            html.H3(surface.title, className="card-title"),
                            None if surface.state == "finished" else surface_badge(surface),
                        ],
                        className="card-head",
                    ),
                    html.P(about["description"], className="card-text") if about.get("description") else None,
                    html.Div(chips(surface, about, titles), className="chips"),
                    html.Div(
                        [html.Span(words.when(surface.created)) if not about else html.Span(), open_word(invitation)],
                        className="card-foot",
                    ),
                ],
                className="card-body",
            ),
        ],
        href=href or f"/surface/{surface.id}",
        underline="never",
        className="card",
    )


def open_word(invitation: str) -> Component:
    """What invites to open a card."""
    return html.Span([f"{invitation} ", icon("arrow-right")], className="card-open")


def picture(surface: SurfaceInfo) -> Component:
    """The picture of a surface; how far it is, until there is one."""
    if surface.preview == "done":
        return html.Img(src=f"/api/v1/surfaces/{surface.id}/preview.png", alt=f"Picture of {surface.title}")
    done = 100 * surface.progress.done
    return html.Div(
        [
            html.Img(src="/static/images/logo.svg", alt="", className="card-waiting-logo"),
            dmc.Progress(value=done, size="sm", radius="xl", w="60%", **aria(label="Progress")),
        ],
        className="card-waiting",
    )


def chips(surface: SurfaceInfo, about: Mapping[str, Any], titles: Mapping[str, str]) -> list[Component]:
    """Network, data, grid and accuracy, as far as they are known."""
    request, found = surface.request, []
    if request is not None:
        y, dataset, spec = request.grid.y, request.data.dataset, request.architecture
        grid = f"{request.grid.x.points} points" if y is None else f"{request.grid.x.points} × {y.points}"
        found += [
            (
                about.get("architecture_text") or words.network(spec.name, spec.options),
                "layers",
            ),
            (f"{about.get('dataset_text') or titles.get(dataset, 'uploaded data')}, {request.data.split}", "database"),
            (grid, "grid-3x3"),
        ]
    if "test_accuracy" in about:
        found.append((f"{about['test_accuracy']:g} % right on the test split", "crosshair"))
    if surface.origin == "imported":
        found.append(("imported", "file-box"))
    return [chip(text, icon_name) for text, icon_name in found]


def mine(surfaces: Sequence[SurfaceInfo], titles: Mapping[str, str]) -> Component:
    """The surfaces that were made here, newest first."""
    own = sorted((s for s in surfaces if s.origin != "gallery"), key=lambda s: s.created, reverse=True)
    if not own:
        return empty(
            "mountain",
            "No surface of your own yet",
            "Upload a checkpoint, say which plane to cut, and watch the first whole surface appear within seconds.",
            link_button("Upload a checkpoint", "/checkpoints", "upload"),
        )
    return html.Div([card(surface, titles) for surface in own[:SHOWN]], className="cards cards-small")


def no_gallery() -> Component:
    """What is shown when the package's examples were not installed."""
    return empty("image", "The gallery is empty", "The examples that come with Loss Atlas have not been loaded.")


def importing() -> Component:
    """Where a surface file is brought in."""
    return html.Div(
        [
            drop_zone(
                "surface",
                "Open a surface file",
                "An .npz or .json from Loss Atlas, or an .h5 from the code of Li et al.; with train and test, both open",
                ".npz,.json,.h5,.hdf5",
                small=True,
            ),
            upload_panel("surface"),
            html.Div(id=ids.GALLERY_IMPORTED),
        ],
        className="importing",
    )
