"""A range of the grid that holds a training run: proposed where the range is nobody's own yet, offered where it is.

network, run, principal directions ──▶ look ──▶ how far the run reaches
that, the range, Fit ──▶ fit ──▶ range, note, whether Fit is offered
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import dash_mantine_components as dmc
from dash import Dash, Input, Output, State, ctx, dcc, html, no_update
from dash.development.base_component import Component
from pydantic import ValidationError

from app import forms, ids
from app.pages import words
from app.pages.blocks import aria
from app.pages.notices import listen
from landscape_core.errors import LandscapeError
from landscape_core.requests import ArchitectureSpec, PlaneSpec
from landscape_core.training_run import range_around

if TYPE_CHECKING:
    from app.services import Services

ENDS = tuple(f"grid.{axis}.{end}" for axis in "xy" for end in ("start", "stop"))
"""The fields of the range."""

POINTS = tuple(f"grid.{axis}.points" for axis in "xy")
"""The fields that say how many points there are, one of which is to be the network itself."""

LOOKED_AT = (
    "checkpoint", "architecture", forms.SHAPE, forms.DIRECTIONS, "plane.trajectory", "plane.x.index", "plane.y.index",
    "plane.normalisation.ignore", "plane.normalisation.of",
)  # fmt: skip
"""The fields that principal directions follow from."""

Range = tuple[Any, ...]

_looker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="run-range")
"""Looks at one run at a time, for its memory, in a thread of its own: those that all else waits for are few."""


def run_range(values: Mapping[str, Any], *, own: bool) -> list[Component]:
    """The note under the range, and the button beside it.

    Args:
        values: The form's first values.
        own: Whether its range is somebody's own, as of a question that was asked before.
    """
    fitted = {} if own else {axis: [values[f"grid.{axis}.start"], values[f"grid.{axis}.stop"]] for axis in "xy"}
    button = dmc.Button("Fit to the run", id=ids.NEW_FIT, variant="light", size="xs", display="none")
    return [
        html.Div(
            [html.Div(id=ids.NEW_RANGE_NOTE, className="field-note", **aria(live="polite")), button],
            className="range-note",
        ),
        dcc.Store(id=ids.NEW_REACH),
        dcc.Store(id=ids.NEW_FITTED, data=fitted),
    ]


def register(app: Dash, services: Services) -> None:
    """Adds the two callbacks."""
    on = listen(app)

    async def look(*values: Any) -> Any:
        return await reach(services, dict(zip(LOOKED_AT, values, strict=True)))

    on(Output(ids.NEW_REACH, "data"), *(Input(ids.field(path), "value") for path in LOOKED_AT))(look)
    on(
        *(Output(ids.field(path), "value") for path in ENDS),
        Output(ids.NEW_RANGE_NOTE, "children"),
        Output(ids.NEW_FIT, "display"),
        Output(ids.NEW_FITTED, "data"),
        Input(ids.NEW_REACH, "data"),
        Input(ids.NEW_FIT, "n_clicks"),
        *(Input(ids.field(path), "value") for path in (*ENDS, *POINTS)),
        State(ids.NEW_FITTED, "data"),
        prevent_initial_call=True,
    )(fit)


async def reach(services: Services, values: Mapping[str, Any]) -> dict[str, Any] | None:
    """How far the run reaches that the form's directions are of; None if they are of none, or of none that can be used."""
    if values[forms.DIRECTIONS] != "principal" or not values["plane.trajectory"] or not values["checkpoint"]:
        return None
    try:
        body = forms.nested({**forms.DEFAULTS, **values})
        spec, plane = ArchitectureSpec.model_validate(body["architecture"]), PlaneSpec.model_validate(body["plane"])
        look = asyncio.get_running_loop().run_in_executor
        found = await look(_looker, services.run_reach, values["checkpoint"], spec, plane)
    except (ValidationError, LandscapeError):
        return None  # said at the fields
    return found.model_dump(mode="json")


def fit(found: dict[str, Any] | None, clicks: int | None, *rest: Any) -> tuple[Any, ...]:  # noqa: ARG001
    """The range, what is said of it, and whether to offer another."""
    *now, x_points, y_points, fitted = rest
    wanted = wanted_ranges(found, {"x": x_points, "y": y_points})
    values, note, offer, kept = propose(found, wanted, tuple(now), fitted or {}, asked=ctx.triggered_id == ids.NEW_FIT)
    changed = [no_update if value == before else value for value, before in zip(values, now, strict=True)]
    return (*changed, note, "inline-block" if offer else "none", kept)


def wanted_ranges(found: Mapping[str, Any] | None, points: Mapping[str, Any]) -> dict[str, Range]:
    """For each axis where a range that holds the run, and has the network on the grid, starts and stops."""
    places = found["places"] if found else {}
    known = {axis: ends for axis, ends in places.items() if isinstance(points[axis], int)}
    ranges = {axis: range_around(ends, points[axis]) for axis, ends in known.items()}
    return {axis: ends for axis, ends in ranges.items() if ends is not None}


def propose(
    found: Mapping[str, Any] | None,
    ranges: Mapping[str, Range],
    now: Range,
    fitted: Mapping[str, Sequence[Any]],
    *,
    asked: bool,
) -> tuple[Range, str, bool, dict[str, Any]]:
    """A range for each axis: one that holds the run where the range is what the form put there, else the person's own.

    Args:
        found: How far the run reaches (`Reach`); None without a run.
        ranges: From `wanted_ranges`.
        now: Start and stop of α, then of β, as they stand in the form.
        fitted: By axis, start and stop that the form put there.
        asked: Whether the person asked for a range that holds the run.

    Returns:
        The range, what is said of it, whether to offer one that holds the run, and `fitted` from now on.
    """
    held = {axis: tuple(now[2 * column : 2 * column + 2]) for column, axis in enumerate("xy")}
    kept = {axis: list(ends) for axis, ends in fitted.items()}
    for axis, ends in list(held.items()):
        ours = ends == tuple(kept.get(axis, ()))
        usual = (forms.DEFAULTS[f"grid.{axis}.start"], forms.DEFAULTS[f"grid.{axis}.stop"])
        wanted = ranges.get(axis, usual)
        if ours or (asked and axis in ranges):
            held[axis], kept[axis] = wanted, list(wanted)
    note, offer = _said(found, ranges, held) if found else ("", False)
    return (*held["x"], *held["y"]), note, offer, kept


def _said(found: Mapping[str, Any], ranges: Mapping[str, Range], held: Mapping[str, Range]) -> tuple[str, bool]:
    """What is said of a run, and whether some of it lies outside the range."""
    if found["problem"]:
        return found["problem"], False
    reaches = [
        f"from {_short(low)} to {_short(high)} along {letter}"
        for axis, letter in (("x", "α"), ("y", "β"))
        if axis in found["places"]
        for low, high in (found["places"][axis],)
    ]
    outside = [axis for axis, ends in found["places"].items() if not _holds(held[axis], ends)]
    fitted = ranges and all(ends == held[axis] for axis, ends in ranges.items())
    holds = "leaves part of it out" if outside else "holds it with a margin" if fitted else "holds it"
    return f"The run reaches {' and '.join(reaches)}; the range {holds}.", bool(outside)


def _short(value: float) -> str:
    return words.number(float(f"{value:.3g}"))


def _holds(ends: Range, places: Sequence[float]) -> bool:
    return all(isinstance(end, int | float) for end in ends) and min(ends) <= places[0] and places[1] <= max(ends)
