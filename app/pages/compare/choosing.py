"""What there is to compare: the first surface, then the second, beginning with the same question on the other split."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import dash_mantine_components as dmc
from dash import dcc, html
from dash.development.base_component import Component

from app import ids
from app.pages.blocks import empty, icon, link_button, page, section
from app.pages.compare.differences import differences
from app.pages.compare.splits import on_other_split
from app.pages.gallery.layout import card, heading
from app.schemas import DatasetInfo, SurfaceInfo
from app.services.imports import halves
from landscape_core.errors import InvalidRequest, NotFound

if TYPE_CHECKING:
    from app.services import Services

SHOWN = 48
"""How many surfaces are offered."""


async def choose(services: Services, first: SurfaceInfo | None) -> Component:
    """The surfaces to choose from.

    Args:
        services: What knows them.
        first: The one that was chosen; None if none was yet.
    """
    surfaces, datasets = await asyncio.gather(asyncio.to_thread(services.surfaces), asyncio.to_thread(services.datasets))
    titles = {dataset.id: dataset.title for dataset in datasets}
    if first is None:
        lead = "Choose the first; then the one to set beside it."
        return page("Compare two surfaces", lead, offers(surfaces, titles, "/compare?a="), wide=True)
    others = nearest(first, [surface for surface in surfaces if surface.id != first.id], titles)
    suggestion = await asyncio.to_thread(other_split, services, first, datasets)
    beside = heading("Any other surface", "Those that differ least come first.")
    return page(
        f"Compare {first.title} with…",
        "Two surfaces side by side: one camera turns both, and one scale says which is higher.",
        dcc.Store(id=ids.COMPARE_FIRST, data=first.id),
        suggestion,
        beside,
        offers(others, titles, f"/compare?a={first.id}&b="),
        wide=True,
    )


def nearest(first: SurfaceInfo, others: Sequence[SurfaceInfo], titles: Mapping[str, str]) -> list[SurfaceInfo]:
    """The others, those first whose questions differ in the fewest fields; then newest first."""

    def distance(other: SurfaceInfo) -> int:
        found = differences(first, other, titles)
        return 1000 if found is None else len(found)

    return sorted(others, key=distance)


def offers(surfaces: Sequence[SurfaceInfo], titles: Mapping[str, str], href: str) -> Component:
    """Cards of surfaces, each leading on to the comparison."""
    if not surfaces:
        return empty(
            "mountain",
            "Nothing to choose from",
            "There is no other surface on this server yet; compute one, and come back.",
            link_button("New surface", "/new", "mountain"),
        )
    shown = [card(surface, titles, f"{href}{surface.id}", "Choose") for surface in surfaces[:SHOWN]]
    return html.Div(shown, className="cards cards-small")


def other_split(services: Services, first: SurfaceInfo, datasets: Sequence[DatasetInfo]) -> Component | None:
    """The first suggestion, or why it cannot be made; nothing for a file that has neither the other split nor its question."""
    beside = from_the_same_file(services, first)
    if beside is not None:
        return beside
    if first.request is None:
        return None
    other = "test" if first.request.data.split == "train" else "train"
    try:
        wanted = on_other_split(first.request, datasets)
        action = open_or_compute(services, first, wanted.digest)
        text = f"The same plane and grid on {wanted.data.examples:,} {other} examples."
    except (InvalidRequest, NotFound) as error:
        action, text = None, str(error)
    return section(
        f"The same on the {other} split",
        html.Div([html.P(text), action], className="compare-suggestion"),
        icon_name="columns-2",
    )


def from_the_same_file(services: Services, first: SurfaceInfo) -> Component | None:
    """The way to the other split that came in the same file, if it did and is still here."""
    found = halves(first)
    other = next((name for name, each in found.items() if each != first.id), None)
    if other is None:
        return None
    try:
        title = services.surface(found[other]).title
    except NotFound:
        return None
    action = link_button("Compare", f"/compare?a={first.id}&b={found[other]}", "columns-2")
    text = f"“{title}” came in the same file: the same plane and grid on {other} examples."
    return section(
        f"The same on the {other} split",
        html.Div([html.P(text), action], className="compare-suggestion"),
        icon_name="columns-2",
    )


def open_or_compute(services: Services, first: SurfaceInfo, other: str) -> Component:
    """A way to the comparison with a surface that is there, or the button that asks for it.

    Raises:
        NotFound: It is not there, and cannot be computed without the checkpoint.
    """
    try:
        services.surface(other)
    except NotFound:
        known = {checkpoint.id for checkpoint in services.checkpoints()}
        if first.request is None or first.request.checkpoint not in known:
            raise NotFound("It cannot be computed here: the network's checkpoint is not on this server.") from None
        return dmc.Button("Compute it and compare", id=ids.COMPARE_OTHER_SPLIT, leftSection=icon("play"))
    return link_button("Compare", f"/compare?a={first.id}&b={other}", "columns-2")
