"""The dialog in which links are made and revoked."""

from __future__ import annotations

from collections.abc import Sequence

import dash_mantine_components as dmc
from dash import dcc, html
from dash.development.base_component import Component

from app import ids
from app.pages import words
from app.pages.blocks import aria, icon
from app.schemas import ShareInfo

ONE = (
    "Whoever has the link sees this surface and nothing else, read only, opened with the camera, colours and limits that you "
    "see now. It can be revoked at any time."
)
TWO = (
    "Whoever has the link sees these two surfaces and nothing else, read only, opened with the camera, colours and limits that "
    "you see now. It is made of a link to each of them: revoke either, and the comparison opens nothing any more."
)


def dialog(text: str) -> Component:
    """The whole dialog; its list is filled when it is opened.

    Args:
        text: What the link opens.
    """
    return dmc.Modal(
        [
            dmc.Text(text, size="sm", c="dimmed"),
            html.Div(
                [
                    dmc.TextInput(
                        id=ids.SURFACE_SHARE_LABEL,
                        label="Label",
                        description="For you alone, to know the links apart.",
                        placeholder="For the reading group",
                        inputProps={"maxLength": 100},
                        className="grow",
                    ),
                    dmc.Button("Create link", id=ids.SURFACE_SHARE_CREATE, leftSection=icon("link")),
                ],
                className="share-create",
            ),
            html.Div(id=ids.SURFACE_SHARE_MADE, **aria(live="polite")),
            html.Div(id=ids.SURFACE_SHARE_LIST),
            dcc.Store(id=ids.SURFACE_SHARE_WISH),
            dcc.Store(id=ids.SURFACE_SHARE_REVOKED),
        ],
        id=ids.SURFACE_SHARE_DIALOG,
        title="Share this view",
        size="lg",
        centered=True,
        radius="lg",
    )


def made(url: str) -> Component:
    """A link that has just been made, to be copied."""
    embed = f'<iframe src="{url}?embed=1" width="800" height="600" title="Loss landscape"></iframe>'

    def row(label: str, value: str) -> Component:
        copy = dmc.CopyButton(
            "Copy", value=value, copiedChildren="Copied", size="sm", variant="light", **aria(label=f"Copy {label.lower()}")
        )
        field = dmc.TextInput(value=value, readOnly=True, label=label, className="grow mono")
        return html.Div([field, copy], className="share-row")

    return html.Div([row("Link", url), row("To embed in a page", embed)], className="share-made")


def listing(shares: Sequence[ShareInfo], *, several: bool = False) -> Component:
    """The links that there are, to one surface or to several."""
    what = "these surfaces" if several else "this surface"
    if not shares:
        return dmc.Text(f"No link opens {what} yet.", size="sm", c="dimmed", mt="md")
    newest = sorted(shares, key=lambda share: share.created, reverse=True)
    return html.Div([html.H3(f"Links to {what}", className="share-title"), *map(line, newest)], className="share-list")


def line(share: ShareInfo) -> Component:
    """One link: its label, when it was made, how often it was opened, and the button that revokes it."""
    views = words.counted(share.views, "view")
    return html.Div(
        [
            html.Div(
                [
                    html.Span(share.label or "Link without a label", className="share-label"),
                    html.Span(f"{words.when(share.created)} · {views}", className="share-note"),
                ],
                className="grow",
            ),
            dmc.Button(
                "Revoke",
                id=ids.revoke_share(share.token),
                color="red",
                variant="subtle",
                size="compact-sm",
                leftSection=icon("ban"),
                **aria(label=f"Revoke {share.label or 'this link'}"),
            ),
        ],
        className="share-line",
    )
