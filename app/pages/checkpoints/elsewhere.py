"""For a file that no catalogued architecture fits: what it was held against, and how to compute from it elsewhere."""

from __future__ import annotations

import shlex
from pathlib import PurePath

import dash_mantine_components as dmc
from dash import html
from dash.development.base_component import Component

from app.pages import words
from app.pages.blocks import aria
from app.schemas import CheckpointInfo
from landscape_core.catalogue import Comparison

KINDS = (
    ("missing", "only in the network"),
    ("unexpected", "only in the file"),
    ("reshaped", "of another shape"),
)


def python_lines(filename: str, server: str) -> str:
    """Three lines of Python that compute a surface around the user's `model` on `batches`, and show it on this server.

    Args:
        filename: The checkpoint's.
        server: This server's address.
    """
    return (
        "import torch, landscape_core as lc\n"
        f"live = lc.push({server!r}, name={PurePath(filename).stem!r})\n"
        'surface = lc.landscape(model, torch.nn.CrossEntropyLoss(reduction="none"), batches, push=live)'
    )


def command_lines(filename: str, server: str) -> str:
    """Two lines for a shell that do the same with the user's `net.py`.

    Args:
        filename: The checkpoint's.
        server: This server's address.
    """
    out = f"{PurePath(filename).stem}.surface.npz"
    compute = ["lossatlas", "compute", filename, "--architecture", "net.py:build", "--dataset", "DATA.npz", "--out", out]
    return f"{shlex.join(compute)}\n{shlex.join(['lossatlas', 'push', out, '--server', server])}"


def how_to(checkpoint: CheckpointInfo, server: str) -> Component:
    """How to compute from the file on one's own machine, to be copied."""
    return html.Div(
        [
            html.H3("Compute it on your own machine", className="elsewhere-title"),
            html.P(
                [
                    "With ",
                    html.Code("model"),
                    ", your network with the weights of this file, and ",
                    html.Code("batches"),
                    ", its data as a DataLoader gives them. A link is printed at once, and the surface refines here meanwhile:",
                ],
                className="elsewhere-text",
            ),
            _to_copy("Python", python_lines(checkpoint.filename, server)),
            html.P(
                ["Or in a shell, with a ", html.Code("net.py"), " whose ", html.Code("build()"), " gives the network:"],
                className="elsewhere-text",
            ),
            _to_copy("command", command_lines(checkpoint.filename, server)),
        ],
        className="elsewhere",
    )


def nearest(found: Comparison) -> Component:
    """The nearest catalogued network, tensor by tensor, to be opened."""
    counts = [f"{words.count(getattr(found, kind))} {text}" for kind, text in KINDS if getattr(found, kind)]
    said = f"{words.count(found.same)} of {words.count(found.tensors)} tensors match"
    summary = html.Summary(
        ["Nearest: ", html.Strong(words.network(found.architecture.name, found.architecture.options)), f" · {said}"]
    )
    rows = [
        html.Tr([html.Td(html.Code(one.name)), html.Td(_shape(one.file)), html.Td(_shape(one.network))])
        for one in found.differences
    ]
    left = found.missing + found.unexpected + found.reshaped - len(rows)
    table = html.Table(
        [
            html.Thead(html.Tr([html.Th(text, scope="col") for text in ("Tensor", "In the file", "In the network")])),
            html.Tbody(rows),
        ],
        className="tensors",
    )
    return html.Details(
        [
            summary,
            html.P(", ".join(counts) + ".", className="elsewhere-text"),
            html.Div(table, className="tensors-box", tabIndex=0, role="region", **aria(label="Tensors that differ")),
            html.P(f"{words.count(left)} more differ.", className="elsewhere-text") if left else None,
        ],
        className="nearest",
    )


def _shape(shape: tuple[int, ...] | None) -> str:
    if shape is None:
        return "—"
    return " × ".join(map(str, shape)) or "one number"


def _to_copy(what: str, text: str) -> Component:
    copy = dmc.CopyButton(
        "Copy", value=text, copiedChildren="Copied", size="xs", variant="light", **aria(label=f"Copy the {what}")
    )
    return html.Div([html.Pre(html.Code(text), tabIndex=0), copy], className="to-copy")
