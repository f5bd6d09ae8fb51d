"""A training run that came as one archive: what it is, its checkpoints, and the way to a surface of all of them."""

from __future__ import annotations

import dash_mantine_components as dmc
from dash import html
from dash.development.base_component import Component

from app.pages import words
from app.pages.blocks import aria, icon, link_button
from app.schemas import CheckpointInfo, MemberInfo
from landscape_core.requests import ArchitectureSpec


def body(run: CheckpointInfo) -> list[Component | None]:
    """What stands on the card of a run, between its name and what can be done with it."""
    return [
        verdict(run),
        *[html.P(text, className="elsewhere-text") for text in run.warnings],
        members(run),
    ]


def usable(run: CheckpointInfo) -> list[MemberInfo]:
    """The members that a surface can be computed from, in the order of the run."""
    return [member for member in run.members if member.state == "ready" and member.network and member.id]


def verdict(run: CheckpointInfo) -> Component:
    """Of which network these are checkpoints, and how many; how far their inspection is; or that none can be used."""
    done = [member for member in run.members if member.state != "inspecting"]
    if len(done) < len(run.members):
        text = f"Inspecting: {words.count(len(done))} of {words.counted(len(run.members), 'file')} read…"
        return html.Div([dmc.Loader(size="sm", type="dots"), html.Span(text, role="status")], className="file-waiting")
    good = usable(run)
    if not good:
        problem = run.problem or "None of its files can be used."
        return dmc.Alert(problem, color="red", variant="light", icon=icon("triangle-alert"))
    networks = sorted({member.network or "" for member in good})
    first = ArchitectureSpec.parse(networks[0])
    same = len(networks) == 1
    name = words.network(first.name, first.options)
    said = [words.counted(len(good), "checkpoint"), " of ", html.Strong(name)] if same else ["Checkpoints of several networks"]
    facts = "A training run, from its first checkpoint to its last." if same else "They make no trajectory together."
    facts = "One checkpoint alone makes no trajectory." if len(good) == 1 else facts
    left = len(run.members) - len(good)
    facts += f" {words.counted(left, 'file')} of the archive cannot be used." if left else ""
    return html.Div(
        [
            html.Div(icon("circle-check" if same else "info", "1.3rem"), className="verdict-icon"),
            html.Div([html.Div([*said, "."], className="verdict-name"), html.Div(facts, className="verdict-facts")]),
        ],
        className="verdict" if same else "verdict verdict-open",
    )


def members(run: CheckpointInfo) -> Component:
    """The members in their order, to be opened; each leads to a surface of its own."""
    table = html.Table(
        [
            html.Thead(html.Tr([html.Th(text, scope="col") for text in ("File", "Size", "")])),
            html.Tbody([row(member) for member in run.members]),
        ],
        className="tensors members",
    )
    return html.Details(
        [
            html.Summary(f"{words.counted(len(run.members), 'file')} in the archive, in the order of the run"),
            html.Div(table, className="tensors-box", tabIndex=0, role="region", **aria(label=f"Members of {run.filename}")),
        ],
        className="nearest",
    )


def row(member: MemberInfo) -> Component:
    """One member: what became of it."""
    said: Component | str = member.problem or "Being inspected…"
    if member.state == "ready":
        label = aria(label=f"New surface of {member.filename}")
        said = dmc.Anchor("New surface", href=f"/new?checkpoint={member.id}", size="sm", **label)
    return html.Tr(
        [
            html.Td(html.Code(member.filename)),
            html.Td(words.size(member.size_bytes) if member.size_bytes else "—"),
            html.Td(said, className="member-refused" if member.state == "rejected" else None),
        ]
    )


def new_surface(run: CheckpointInfo) -> Component | None:
    """The button to the form, filled in with the run, or with the one checkpoint of it; None if it holds no one network."""
    good = usable(run)
    if run.state != "ready" or len({member.network for member in good}) != 1:
        return None
    if len(good) == 1:
        return link_button("New surface of its checkpoint", f"/new?checkpoint={good[0].id}", "mountain")
    return link_button("New surface of this run", f"/new?run={run.id}", "mountain")
