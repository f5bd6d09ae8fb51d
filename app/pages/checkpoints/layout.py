"""The checkpoints: where they are dropped, and what was found in each."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import dash_mantine_components as dmc
from dash import dcc, html
from dash.development.base_component import Component

from app import ids
from app.address import public_address
from app.pages import words
from app.pages.blocks import aria, empty, fact, fact_list, icon, link_button, page, shown, state_badge
from app.pages.checkpoints import elsewhere, runs
from app.pages.uploads import drop_zone, upload_panel
from app.schemas import CandidateInfo, CheckpointInfo

if TYPE_CHECKING:
    from app.services import Services
    from app.settings import AppSettings

REFRESH_MS = 1000
SUFFIXES = ".pt,.pt2,.pth,.th,.t7,.ckpt,.tar,.bin,.safetensors,.zip,.tgz,.gz"


async def layout(services: Services, settings: AppSettings, query: Mapping[str, str]) -> Component:  # noqa: ARG001
    """The page with the checkpoints as they are now."""
    checkpoints = await asyncio.to_thread(services.checkpoints)
    limit = words.limit(settings.max_upload_bytes)
    hint = f"PyTorch (.pt, .pth, .th, .t7, .ckpt, .tar) or safetensors, or a run of them as one .zip or .tar.gz, up to {limit}"
    return page(
        "Checkpoints",
        "Drop the file of a trained network, or a zip of the checkpoints of its training run. It is read by a reader that "
        "never runs code from it, and recognised by the names and shapes of its tensors.",
        drop_zone("checkpoint", "Drop checkpoints here", hint, SUFFIXES, multiple=True),
        upload_panel("checkpoint"),
        shown(listing(checkpoints, public_address(settings)), ids.CHECKPOINTS_LIST, checkpoints),
        dialog(),
        dcc.Interval(id=ids.CHECKPOINTS_TICK, interval=REFRESH_MS, disabled=not inspecting(checkpoints)),
        dcc.Store(id=ids.CHECKPOINTS_DOOMED),
        dcc.Store(id=ids.CHECKPOINTS_DELETED),
    )


def inspecting(checkpoints: Sequence[CheckpointInfo]) -> bool:
    """Whether any of these is still being looked at."""
    return any(checkpoint.state == "inspecting" for checkpoint in checkpoints)


def listing(checkpoints: Sequence[CheckpointInfo], server: str) -> Component:
    """All checkpoints, newest first; those of a run on its card alone.

    Args:
        checkpoints: All there are.
        server: This server's address, for what is to be run elsewhere.
    """
    if not checkpoints:
        return empty(
            "layers",
            "No checkpoint yet",
            "ResNets for CIFAR (20 to 110 layers, with and without shortcuts) and multi-layer perceptrons are recognised "
            "by themselves, also inside training checkpoints and Lightning files.",
        )
    in_runs = {member.id for checkpoint in checkpoints for member in checkpoint.members}
    newest = sorted((c for c in checkpoints if c.id not in in_runs), key=lambda c: c.created, reverse=True)
    return html.Div([card(checkpoint, server) for checkpoint in newest], className="checkpoints")


def card(checkpoint: CheckpointInfo, server: str) -> Component:
    """What is known of one checkpoint."""
    head = html.Div(
        [
            html.Div(
                [
                    html.H2(checkpoint.filename, className="file-name", title=checkpoint.filename),
                    html.Span(
                        " · ".join(
                            (words.size(checkpoint.size_bytes), words.when(checkpoint.created), f"sha256 {checkpoint.id[:10]}…")
                        ),
                        className="file-facts",
                        title=f"SHA-256 {checkpoint.id}",
                    ),
                ],
                className="file-titles",
            ),
            state_badge(checkpoint.state),
        ],
        className="file-head",
    )
    if checkpoint.members:
        return dmc.Paper([head, *runs.body(checkpoint), actions(checkpoint)], className="file", withBorder=True, radius="lg")
    body = refused(checkpoint, server) if checkpoint.state == "rejected" else BODIES[checkpoint.state](checkpoint)
    return dmc.Paper([head, *body], className="file", withBorder=True, radius="lg")


def being_inspected(_checkpoint: CheckpointInfo) -> list[Component]:
    """While the file is being looked at."""
    return [
        html.Div(
            [dmc.Loader(size="sm", type="dots"), html.Span("Inspecting: reading its tensors in a locked-down process…")],
            className="file-waiting",
        )
    ]


def refused(checkpoint: CheckpointInfo, server: str) -> list[Component]:
    """Why a file was refused, and what to do: the reader's sentence says both; what could be read can be computed elsewhere."""
    problem = checkpoint.problem or "The file could not be read."
    return [
        dmc.Alert(problem, color="red", variant="light", icon=icon("triangle-alert")),
        *([elsewhere.nearest(checkpoint.nearest)] if checkpoint.nearest else []),
        *([elsewhere.how_to(checkpoint, server)] if checkpoint.tensors else []),
        actions(checkpoint),
    ]


def found(checkpoint: CheckpointInfo) -> list[Component]:
    """What is in a file, and which network it is."""
    rows = [
        fact("Format", checkpoint.format or "unknown"),
        fact("Found under", checkpoint.container or "the top level"),
        fact("Tensors", words.count(checkpoint.tensors or 0)),
        fact("Parameters", words.parameters(checkpoint.parameters or 0)),
    ]
    meta = [fact(name, scalar(value)) for name, value in list(checkpoint.metadata.items())[:12]]
    return [
        verdict(checkpoint.candidates),
        *[
            dmc.Alert(text, color="yellow", variant="light", icon=icon("triangle-alert"), className="file-warning")
            for text in checkpoint.warnings
        ],
        fact_list(*rows, *meta, className="facts-grid"),
        actions(checkpoint),
    ]


BODIES = {"inspecting": being_inspected, "ready": found}
"""What stands on the card of a file that was not refused, by its state."""


def scalar(value: str | float | bool) -> str:
    """A value of the file's metadata, rounded if it is a number."""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def verdict(candidates: Sequence[CandidateInfo]) -> Component:
    """Which network this is, in one sentence; what to choose between, if the file leaves it open."""
    if not candidates:
        text = "This fits no architecture in the catalogue, so no surface can be computed from it here."
        return dmc.Alert(text, color="orange", variant="light", icon=icon("info"))
    first, others = candidates[0], candidates[1:]
    sentence: list[Component | str] = ["This is ", html.Strong(words.network(first.name, first.options))]
    if len(others) > 2:
        sentence.append(f", or one of {len(others)} others that have these tensors too")
    for other in others if len(others) <= 2 else ():
        sentence += [" or ", html.Strong(words.network(other.name, other.options))]
    takes = f"Input {words.shape(first.input_shape)} · {first.classes} classes"
    if first.takes_tokens:
        takes = f"Up to {words.count(first.input_shape[0])} tokens · vocabulary of {words.count(first.classes)}"
    macs = f"{first.macs_per_example / 1e6:.3g} million multiply-adds an example"
    return html.Div(
        [
            html.Div(icon("circle-check" if not others else "info", "1.3rem"), className="verdict-icon"),
            html.Div(
                [
                    html.Div([*sentence, "."], className="verdict-name"),
                    html.Div(f"{takes} · {macs}", className="verdict-facts"),
                    html.Div(first.note, className="verdict-note") if first.note else None,
                ]
            ),
        ],
        className="verdict verdict-open" if others else "verdict",
    )


def actions(checkpoint: CheckpointInfo) -> Component:
    """What can be done with a checkpoint."""
    usable = checkpoint.state == "ready" and checkpoint.candidates
    return dmc.Group(
        [
            link_button("New surface", f"/new?checkpoint={checkpoint.id}", "mountain")
            if usable
            else runs.new_surface(checkpoint),
            dmc.Button(
                "Delete",
                id=ids.delete_checkpoint(checkpoint.id),
                variant="subtle",
                color="red",
                size="sm",
                leftSection=icon("trash-2"),
                **aria(label=f"Delete {checkpoint.filename}"),
            ),
        ],
        gap="sm",
        className="file-actions",
    )


def dialog() -> Component:
    """Asks before a checkpoint is deleted."""
    return dmc.Modal(
        [
            dmc.Text(id=ids.CHECKPOINTS_DIALOG_TEXT, size="sm"),
            dmc.Group(
                [
                    dmc.Button("Keep it", id=ids.CHECKPOINTS_KEEP, variant="default"),
                    dmc.Button("Delete", id=ids.CHECKPOINTS_CONFIRM, color="red"),
                ],
                justify="flex-end",
                mt="lg",
            ),
        ],
        id=ids.CHECKPOINTS_DIALOG,
        title="Delete this checkpoint?",
        centered=True,
        radius="lg",
    )
