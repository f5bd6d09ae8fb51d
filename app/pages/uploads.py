"""Drop zones, and the panel that says how far an upload is.

upload.js ──▶ upload store (in the shell) ──▶ panel, name, bar, text, buttons      clientside
"""

from __future__ import annotations

from typing import Any

import dash_mantine_components as dmc
from dash import ClientsideFunction, Dash, Input, Output, html
from dash.development.base_component import Component

from app import ids
from app.pages.blocks import aria, data_attributes, icon


def drop_zone(kind: str, title: str, hint: str, accept: str, *, multiple: bool = False, small: bool = False) -> Component:
    """Where files of one kind are dropped or picked. The button inside is what the keyboard reaches."""
    button = dmc.Button(
        "Choose a file" if not multiple else "Choose files",
        variant="light" if small else "filled",
        size="xs" if small else "sm",
        **aria(label=f"{title}: choose a file"),
    )
    return html.Div(
        [
            html.Div(icon("upload"), className="dropzone-icon"),
            html.Div(
                [dmc.Text(title, className="dropzone-title"), dmc.Text(hint, className="dropzone-hint")],
                className="dropzone-text",
            ),
            button,
        ],
        id=ids.upload_part(kind, "zone"),
        className="dropzone dropzone-small" if small else "dropzone",
        **data_attributes(kind=kind, store=ids.upload(kind), accept=accept, multiple=str(multiple).lower()),
    )


def upload_panel(kind: str) -> Component:
    """How far the upload of this kind is; hidden while there is none."""

    def button(text: str, action: str) -> Component:
        look: dict[str, Any] = {"variant": "light" if action == "resume" else "subtle", "size": "compact-sm"}
        attributes = data_attributes(upload=action, kind=kind)
        return html.Div(dmc.Button(text, **look, **attributes), id=ids.upload_part(kind, action))

    return html.Div(
        [
            html.Div(
                [
                    dmc.Text(id=ids.upload_part(kind, "name"), className="upload-name"),
                    dmc.Group([button("Resume", "resume"), button("Cancel", "cancel")], gap=6, wrap="nowrap"),
                ],
                className="upload-head",
            ),
            dmc.Progress(id=ids.upload_part(kind, "bar"), value=0, size="sm", radius="xl", **aria(label="Upload")),
            html.Div(id=ids.upload_part(kind, "text"), className="upload-text", role="status", **aria(live="polite")),
        ],
        id=ids.upload_part(kind, "panel"),
        className="upload-panel",
        hidden=True,
    )


def register(app: Dash, kind: str) -> None:
    """Lets the panel of this kind follow its store."""
    app.clientside_callback(
        ClientsideFunction("upload", "show"),
        Output(ids.upload_part(kind, "panel"), "hidden"),
        Output(ids.upload_part(kind, "panel"), "className"),
        Output(ids.upload_part(kind, "name"), "children"),
        Output(ids.upload_part(kind, "bar"), "value"),
        Output(ids.upload_part(kind, "text"), "children"),
        Output(ids.upload_part(kind, "resume"), "hidden"),
        Output(ids.upload_part(kind, "cancel"), "hidden"),
        Input(ids.upload(kind), "data"),
    )
