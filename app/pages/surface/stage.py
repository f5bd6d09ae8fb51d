"""The figure and the controls of how it is looked at: the same on the surface's own page and behind a link."""

from __future__ import annotations

from typing import Any

import dash_mantine_components as dmc
from dash import dcc, html
from dash.development.base_component import Component

from app import figures, ids
from app.pages.blocks import aria, icon
from app.schemas import SurfaceInfo, View
from landscape_core.catalogue import class_names
from landscape_core.figures import axis_titles
from landscape_core.quantities import PLAIN, described
from landscape_core.requests import NATS, SurfaceRequest


def address(
    surface: SurfaceInfo,
    token: str | None = None,
    view: View | None = None,
    live: str = ids.SURFACE_LIVE,
    point: str = ids.SURFACE_POINT,
) -> dict[str, Any]:
    """What the browser must know to follow and draw a surface.

    Args:
        surface: The surface.
        token: The link through which it is looked at; None on its own page.
        view: How the link shows it.
        live: The store that is told how far it is.
        point: The store that is told the chosen cell.
    """
    base = f"/api/v1/shares/{token}" if token else f"/api/v1/surfaces/{surface.id}"
    return {
        "surface": surface.id,
        "title": surface.title,
        "token": token,
        "events": f"{base}/events",
        "state": surface.state,
        "problem": surface.problem,
        "sent": surface.origin == "imported",
        "curve": figures.is_curve(surface.request),
        "progress": surface.progress.model_dump(mode="json"),
        "view": view.model_dump(mode="json") if view else None,
        "titles": axis_titles(surface.request),
        "told": told(surface.request),
        "scales": figures.colour_scales(),
        "ids": {
            "live": live,
            "point": point,
            "colours": ids.SURFACE_COLOURS,
            "address": ids.SURFACE_ADDRESS,
            "said": [ids.SURFACE_QUESTION, ids.SURFACE_PROVENANCE],
        },
    }


def told(request: SurfaceRequest | None) -> dict[str, Any]:
    """What the browser is told of quantities: what each is, whether the loss is in nats, and what the classes are called."""
    if request is None:
        return described() | {"nats": False, "classes": None}
    return described() | {"nats": request.loss in NATS, "classes": class_names(request.data.dataset)}


def stores(known: dict[str, Any]) -> list[Component]:
    """The facts of the page: where it is, how far each of its surfaces is, the chosen cell, the view."""
    followed = []
    for part in known.get("surfaces", [known]):
        begun = {name: part[name] for name in ("state", "problem", "progress", "sent")}
        followed += [dcc.Store(id=part["ids"]["live"], data=begun), dcc.Store(id=part["ids"]["point"])]
    return [
        dcc.Store(id=ids.SURFACE_ADDRESS, data=known),
        *followed,
        dcc.Store(id=ids.SURFACE_COLOURS),
        dcc.Store(id=ids.SURFACE_VIEW),
        dcc.Store(id=ids.SURFACE_HOME_DONE),
        dcc.Store(id=ids.SURFACE_PICTURE_DONE),
    ]


def stage(title: str, *notes: str) -> Component:
    """The figure, and what stands in its place until there is one.

    Args:
        title: What it shows, for those who do not see it.
        notes: The ids of what stands in its place, one per surface in it.
    """
    label = (
        f"Loss landscape of {title}. Drag to turn, scroll to zoom, click a cell to keep it; "
        "with the arrow keys you walk from cell to cell, and Escape lets go."
    )
    plot = html.Div(className="surface-plot")
    graph = html.Div(plot, className="surface-graph", tabIndex=0, role="application", **aria(label=label))
    loading = html.Div(html.Div(className="stage-spinner"), className="stage-loading", **aria(hidden="true"))
    said = [html.Div(id=note, className="stage-note", role="status", **aria(live="polite")) for note in notes]
    return html.Div([graph, *said, loading], className="stage")


def toolbar(curve: bool, *more: Component) -> Component:
    """The controls of the view; those that mean nothing for a curve are out of sight, also once the values say that it is one.

    Args:
        curve: Whether nothing but curves is shown, as far as that is known.
        more: Further controls.
    """
    projection = dmc.SegmentedControl(
        id=ids.SURFACE_PROJECTION,
        data=[{"value": "surface", "label": "3-D"}, {"value": "contour", "label": "Contours"}],
        value="surface",
        size="xs",
        **aria(label="Kind of picture"),
    )
    log = dmc.Switch(id=ids.SURFACE_LOG, label="Log", size="xs", checked=False, **aria(label="Logarithm of the loss"))
    contours = dmc.Switch(id=ids.SURFACE_CONTOURS, label="Contour lines", size="xs", checked=False)
    look: dict[str, Any] = {"variant": "subtle", "color": "gray", "size": "compact-sm", "leftSection": icon("rotate-ccw")}
    named = [html.Span("Reset camera", className="only-area"), html.Span("Reset view", className="only-curve")]
    home = dmc.Button(named, id=ids.SURFACE_HOME, **look)
    return html.Div(
        [
            html.Div(projection, className="only-area"),
            html.Label([html.Span("Colour by"), quantity_choice()], className="tool only-area"),
            html.Div(colour_choice(), className="only-area"),
            log,
            html.Label([html.Span("Max loss"), clip_choice()], className="tool"),
            html.Div(contours, className="only-solid only-area"),
            *more,
            html.Div(home, className="tool-end"),
        ],
        className="toolbar toolbar-curve" if curve else "toolbar",
        role="toolbar",
        **aria(label="How the surface is looked at"),
    )


def quantity_choice() -> Component:
    """What the colours show; heights stay the loss. The stream tells what there is to choose from."""
    return dmc.Select(
        id=ids.SURFACE_COLOUR_BY,
        data=[{"value": "loss", "label": PLAIN["loss"].title}],
        value="loss",
        size="xs",
        w=158,
        allowDeselect=False,
        maxDropdownHeight=320,
        comboboxProps={"width": 220, "position": "bottom-start"},
        **aria(label="What the colours show"),
    )


def colour_choice() -> Component:
    """The colour scales, each with its gradient."""
    gradients = {name: figures.gradient(scale) for name, scale in figures.colour_scales().items()}
    swatch = html.Span(id=ids.SURFACE_SWATCH, className="swatch", style={"background": gradients["Viridis"]})
    return dmc.Select(
        id=ids.SURFACE_COLOUR,
        data=[{"value": name, "label": name} for name in figures.COLOURS],
        value="Viridis",
        size="xs",
        w=132,
        allowDeselect=False,
        leftSection=swatch,
        renderOption={"function": "colourOption", "options": gradients},
        **aria(label="Colour scale"),
    )


def clip_choice() -> Component:
    """The loss above which nothing is drawn."""
    return dmc.NumberInput(
        id=ids.SURFACE_CLIP,
        placeholder="no limit",
        min=0,
        step=0.5,
        decimalScale=6,
        allowNegative=False,
        size="xs",
        w=96,
        debounce=300,
        hideControls=True,
        **aria(label="Highest loss shown"),
    )


def downloads(base: str, surface: SurfaceInfo) -> Component:
    """The menu of what can be taken away."""
    picture = dmc.MenuItem(
        ["Picture (.png)", html.Span("what you see now", className="menu-note")],
        id=ids.SURFACE_PICTURE,
        leftSection=icon("image"),
    )
    return dmc.Menu(
        [
            dmc.MenuTarget(dmc.Button("Download", variant="default", size="sm", leftSection=icon("download"))),
            dmc.MenuDropdown(
                [
                    picture,
                    dmc.MenuDivider(),
                    html.Div(
                        [
                            dmc.MenuLabel("Numbers of the whole surface that is shown"),
                            *_numbers(base, surface),
                            dmc.MenuDivider(),
                            dmc.MenuLabel("Its shape, for other programs"),
                            *_shapes(base, surface),
                        ],
                        id=ids.SURFACE_DOWNLOADS,
                        className="downloads",
                    ),
                ]
            ),
        ],
        position="bottom-end",
        width=290,
        classNames={"dropdown": "downloads-menu"},
    )


def _numbers(base: str, surface: SurfaceInfo) -> list[Component]:
    files = [
        _file("NumPy (.npz)", "everything, with request and provenance", f"{base}/data.npz"),
        _file("HDF5 (.h5)", "the form of Li et al.'s code", f"{base}/data.h5"),
        _file("Table (.csv)", "one line a cell", f"{base}/data.csv"),
        _file("JSON (.json)", "", f"{base}/data.json"),
    ]
    if surface.request is not None and surface.request.plane.run:
        files.append(_file("Training run (.h5)", "its projection, in the form of Li et al.'s code", f"{base}/projection.h5"))
    if "/shares/" not in base and surface.origin == "computed":
        drawn = _file("Directions (.h5)", "to use them again, here or with Li et al.'s code", f"{base}/directions.h5")
        files.append(html.Div(drawn, className="only-finished"))
    return files


def _shapes(base: str, surface: SurfaceInfo) -> list[Component]:
    shapes = [_file("ParaView (.vtp)", "the export of Li et al.'s code", f"{base}/data.vtp")]
    if not figures.is_curve(surface.request):
        solid = _file("3-D print (.stl)", "a closed solid, 100 mm long", f"{base}/data.stl")
        model = _file("3-D model (.glb)", "in colour, for slides and the web", f"{base}/data.glb")
        shapes.append(html.Div([solid, model], className="only-area"))
    return shapes


def _file(text: str, note: str, href: str) -> Component:
    return dmc.MenuItem([text, html.Span(note, className="menu-note")], href=href, refresh=True)


def progress(bar: str = ids.SURFACE_BAR, box: str = ids.SURFACE_BAR_BOX, text: str = ids.SURFACE_PROGRESS) -> Component:
    """How far the surface is: a bar in its box, and a sentence; their ids."""
    return html.Div(
        [
            html.Div(
                dmc.Progress(id=bar, value=0, size="sm", radius="xl", **aria(label="Progress")),
                id=box,
                className="progress-bar",
            ),
            html.Div(id=text, className="progress-text", role="status", **aria(live="polite")),
        ],
        className="progress",
    )
