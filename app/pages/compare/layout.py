"""The page of two surfaces: their pictures with one set of controls, and the facts of each beneath."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import dash_mantine_components as dmc
from dash import dcc, html
from dash.development.base_component import Component

from app import figures, ids
from app.pages.blocks import aria, fact, fact_list, icon, link_button, surface_badge
from app.pages.compare.choosing import choose
from app.pages.compare.differences import Difference, differences, names, title
from app.pages.surface import share
from app.pages.surface.stage import address, progress, stage, stores, toolbar
from app.schemas import SurfaceInfo, View
from landscape_core.errors import NotFound

if TYPE_CHECKING:
    from app.services import Services
    from app.settings import AppSettings


async def layout(services: Services, settings: AppSettings, query: Mapping[str, str]) -> Component:  # noqa: ARG001
    """Two surfaces side by side (`?a=` and `?b=`), or what there is to choose from."""
    chosen = [query[side] for side in ids.SIDES if query.get(side)]
    infos = [await asyncio.to_thread(services.surface, surface) for surface in chosen]
    if len(infos) < len(ids.SIDES):
        return await choose(services, infos[0] if infos else None)
    actions = [
        link_button("Another pair", f"/compare?a={infos[0].id}", "refresh-cw", primary=False),
        dmc.Button("Share", id=ids.SURFACE_SHARE, size="sm", leftSection=icon("share-2")),
    ]
    return await asyncio.to_thread(comparison, services, infos, actions)


async def shared_layout(
    services: Services,
    settings: AppSettings,  # noqa: ARG001
    query: Mapping[str, str],
    token: str,
    other: str,
) -> Component:
    """The surfaces of two links side by side, in the first one's view; the pictures alone with `?embed=1`."""
    opened = [await asyncio.to_thread(services.share, one) for one in (token, other)]
    badge = dmc.Badge("Read only", variant="outline", color="gray", radius="sm")
    made = await asyncio.to_thread(
        comparison, services, [info for _, info in opened], [badge], (token, other), opened[0][0].view
    )
    if query.get("embed") == "1":
        made.className += " embedded"  # type: ignore[attr-defined]  # a Div has a class
    return made


def comparison(
    services: Services,
    infos: Sequence[SurfaceInfo],
    actions: Sequence[Component],
    tokens: Sequence[str] | None = None,
    view: View | None = None,
) -> Component:
    """The page.

    Args:
        services: What knows the titles of data sets.
        infos: The two surfaces.
        actions: What can be done with them.
        tokens: The links through which they are looked at; None for the person's own.
        view: How the links show them.
    """
    found = differences(infos[0], infos[1], {dataset.id: dataset.title for dataset in services.datasets()})
    called = names(infos[0], infos[1], found)
    curves = [is_curve(services, info) for info in infos]
    known = together(infos, called, title(found), one_picture=all(curves), tokens=tokens, view=view)
    switches = [] if all(curves) else [
        dmc.Switch(id=ids.COMPARE_LINKED, label="Turn together", size="xs", checked=True),
        dmc.Switch(id=ids.COMPARE_SAME, label="Same scale", size="xs", checked=known["same"]),
    ]  # fmt: skip
    pictures = stage(" and ".join(called), *(ids.side(side, "note") for side in ids.SIDES)) if all(curves) else None
    return html.Div(
        [
            *stores(known),
            dcc.Store(id=ids.COMPARE_BOUND),
            head(title(found), actions, found, same=infos[0].id == infos[1].id),
            html.Div([toolbar(all(curves), *switches), pictures], className="surface-main"),
            html.Div(
                [side(*each, alone=all(curves), linked=tokens is None) for each in zip(ids.SIDES, infos, called, strict=True)],
                className="compare-sides",
            ),
            share.dialog(share.TWO) if tokens is None else None,
        ],
        className="compare-page",
    )


def is_curve(services: Services, info: SurfaceInfo) -> bool:
    """Whether a surface has one axis; one that does not say what was asked is looked at."""
    if info.request is not None:
        return figures.is_curve(info.request)
    try:
        return min(services.surface_result(info.id).loss.shape) == 1
    except NotFound:
        return False


def together(
    infos: Sequence[SurfaceInfo],
    called: Sequence[str],
    heading: str,
    *,
    one_picture: bool,
    tokens: Sequence[str] | None,
    view: View | None,
) -> dict[str, Any]:
    """What the browser must know to follow and draw both."""
    parts = []
    for place, (side_name, info, name) in enumerate(zip(ids.SIDES, infos, called, strict=True)):
        token = tokens[place] if tokens else None
        part = address(info, token, None, ids.side(side_name, "live"), ids.side(side_name, "point"))
        parts.append({**{key: value for key, value in part.items() if key != "scales"}, "name": name})
    scales = figures.colour_scales()
    losses = {info.request.loss if info.request else None for info in infos}
    return {
        "surface": "-".join(info.id for info in infos),
        "title": heading,
        "token": tokens[0] if tokens else None,
        "view": view.model_dump(mode="json") if view else None,
        "scales": scales,
        "surfaces": parts,
        "ids": {"colours": ids.SURFACE_COLOURS},
        "plots": [".compare-page .surface-plot"] if one_picture else [f".compare-{s} .surface-plot" for s in ids.SIDES],
        "same": len(losses) == 1,
        "log": not one_picture,
    }


def head(text: str, actions: Sequence[Component], found: Sequence[Difference] | None, *, same: bool) -> Component:
    """What differs, and what can be done."""
    note = None
    if same:
        note = "Both sides show the same surface; choose another pair to compare."
    elif found is None:
        note = "A file was imported that does not say how it was made, so what differs in the questions is not known."
    elif not found:
        note = "Both surfaces answer the same question."
    rows = [fact(one.name, f"{one.a} / {one.b}") for one in found or ()] if found and len(found) > 1 else []
    return html.Div(
        [
            html.Div(dmc.Title(text, order=1, className="surface-title"), className="surface-name"),
            html.Div(list(actions), className="surface-actions"),
            html.P(note, className="dim compare-note") if note else None,
            html.Details([html.Summary("All that differs"), fact_list(*rows)], className="compare-differences")
            if rows
            else None,
        ],
        className="surface-head",
    )


def side(name: str, info: SurfaceInfo, called: str, *, alone: bool, linked: bool) -> Component:
    """One of the two: what it is, how far it is, its picture unless that is `alone` above, its facts."""
    part = {
        piece: ids.side(name, piece) for piece in ("badge", "bar", "box", "text", "problem", "note", "facts", "holes", "cell")
    }
    words = html.Span(called, className="compare-name")
    heading = html.H2(dmc.Anchor(words, href=f"/surface/{info.id}", underline="hover") if linked else words)
    subtitle = html.Span(info.title, className="compare-title") if info.title != called else None
    return html.Section(
        [
            html.Div([heading, html.Div(surface_badge(info), id=part["badge"]), subtitle], className="compare-head"),
            progress(part["bar"], part["box"], part["text"]),
            html.Div(id=part["problem"], className="surface-problem", role="alert"),
            None if alone else stage(called, part["note"]),
            html.Div(
                [
                    html.Div([html.Div(id=part["facts"]), html.Div(id=part["holes"])]),
                    html.Div(id=part["cell"], className="compare-cell", **aria(live="polite")),
                ],
                className="compare-facts",
            ),
        ],
        className=f"compare-side compare-{name}",
        **aria(label=called),
    )
