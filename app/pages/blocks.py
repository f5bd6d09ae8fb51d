"""Parts that several pages are built from. Pure layout: no callbacks, no services."""

from __future__ import annotations

import hashlib
from typing import Any

import dash_mantine_components as dmc
from dash import html, no_update
from dash.development.base_component import Component

from app.schemas import SurfaceInfo

STATES = {
    "queued": ("Waiting", "gray"),
    "running": ("Computing", "indigo"),
    "finished": ("Finished", "teal"),
    "failed": ("Failed", "red"),
    "cancelled": ("Cancelled", "orange"),
    "unfinished": ("Unfinished", "orange"),
    "inspecting": ("Inspecting", "indigo"),
    "ready": ("Ready", "teal"),
    "rejected": ("Rejected", "red"),
}
"""What each state is called, and its colour."""


def aria(**named: Any) -> dict[str, Any]:
    """Attributes for screen readers: `aria(label="Menu")` is `aria-label="Menu"`."""
    return {f"aria-{name}": value for name, value in named.items()}


def data_attributes(**named: Any) -> dict[str, Any]:
    """Attributes for our scripts: `data_attributes(kind="dataset")` is `data-kind="dataset"`."""
    return {f"data-{name}": value for name, value in named.items()}


def icon(name: str, size: str | None = None) -> Component:
    """A picture of the icon set in `static/css/icons.css`, in the colour of the text; hidden from screen readers."""
    style = {"width": size, "height": size} if size else {}
    return html.Span(className=f"icon icon-{name}", style=style, **aria(hidden="true"))


def state_badge(state: str, **rest: Any) -> Component:
    """A state as a word in its colour."""
    text, colour = STATES[state]
    return dmc.Badge(text, color=colour, variant="light", radius="sm", className=f"state state-{state}", **rest)


def surface_badge(surface: SurfaceInfo) -> Component:
    """A surface's state; one that its sender left is unfinished, not cancelled."""
    left = surface.origin == "imported" and surface.state == "cancelled"
    return state_badge("unfinished" if left else surface.state)


def link_button(text: str, href: str, icon_name: str | None = None, primary: bool = True, **rest: Any) -> Component:
    """A link that looks like a button."""
    look = "link-button" if primary else "link-button link-button-quiet"
    inner = [icon(icon_name), html.Span(text)] if icon_name else text
    return dmc.Anchor(inner, href=href, underline="never", className=look, **rest)


def page(title: str, lead: Any, *children: Any, actions: list[Component] | None = None, wide: bool = False) -> Component:
    """A page of text and cards: its title, one sentence on what it is for, and what it holds."""
    head = html.Div(
        [
            html.Div([dmc.Title(title, order=1, className="page-title"), dmc.Text(lead, className="page-lead")]),
            dmc.Group(actions, gap="sm", className="page-actions") if actions else None,
        ],
        className="page-head",
    )
    return dmc.Container([head, *children], size=1180 if wide else 1080, className="page", px={"base": 16, "sm": 28})


def section(title: str, *children: Any, note: str | None = None, icon_name: str | None = None) -> Component:
    """A card with a heading."""
    head = [
        icon(icon_name, "1.1rem") if icon_name else None,
        dmc.Title(title, order=2, className="section-title"),
    ]
    return dmc.Paper(
        [
            dmc.Group(head, gap=10, className="section-head"),
            dmc.Text(note, className="section-note") if note else None,
            *children,
        ],
        className="section",
        withBorder=True,
        radius="lg",
    )


def empty(icon_name: str, title: str, text: str, action: Component | None = None) -> Component:
    """What stands where there is nothing yet, and what to do about it."""
    return html.Div(
        [
            html.Div(icon(icon_name, "1.7rem"), className="empty-icon"),
            dmc.Text(title, fw=600, size="lg"),
            dmc.Text(text, c="dimmed", size="sm", maw=460, ta="center"),
            action,
        ],
        className="empty",
    )


def fact(name: str, value: Any, title: str | None = None) -> Component:
    """One row of a list of facts: a name and a value."""
    return html.Div([html.Dt(name), html.Dd(value)], className="fact", title=title)


def fact_list(*rows: Component | None, className: str = "") -> Component:
    """A list of facts."""
    return html.Dl([row for row in rows if row is not None], className=f"facts {className}".strip())


def chip(text: Any, icon_name: str | None = None) -> Component:
    """A small label in a row of labels."""
    return html.Span([icon(icon_name) if icon_name else None, html.Span(text)], className="chip")


def shown(component: Any, identity: str, of: Any) -> Component:
    """What a tick refreshes, with what tells whether it has changed: Dash makes anew whatever it is given again.

    Args:
        component: What is shown.
        identity: The id.
        of: What it is made of.
    """
    mark: dict[str, Any] = {"data-shown": fingerprint(of)}
    return html.Div(component, id=identity, **mark)


def changed(component: Any, of: Any, before: str) -> tuple[Any, Any]:
    """(component, its fingerprint) for what `shown` has made, or twice nothing where that is made of the same.

    Args:
        component: What is to be shown now.
        of: What it is made of.
        before: The fingerprint of what is shown.
    """
    now = fingerprint(of)
    return (no_update, no_update) if now == before else (component, now)


def fingerprint(of: Any) -> str:
    """The same for what is equal, as its representation tells it."""
    return hashlib.sha256(repr(of).encode()).hexdigest()[:16]
