"""A training run of the user's own model, given as `state_dict`s; and a half-done surface of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool
from torch import nn

from landscape_core.compute.directions import moved_tensors
from landscape_core.compute.own_checkpoints import OwnRun, placed, plain
from landscape_core.compute.own_measure import Measure
from landscape_core.compute.own_planes import OwnPlane
from landscape_core.errors import InvalidRequest
from landscape_core.projection import MEASURED
from landscape_core.quantities import class_of
from landscape_core.requests import Grid, Metric
from landscape_core.resuming import HalfDone
from landscape_core.training_run import Run

SAME = {"model_sha256": "model, or one with other weights", "plane": "plane"}
"""What a half-done surface's provenance must say alike, where it says it; and what that means."""


def own_run(asked: OwnRun, module: nn.Module, plane: OwnPlane, measure: Measure) -> dict[str, Any]:
    """What the provenance says of a run: places on the plane, distances from it, losses. The model itself ends the run.

    Args:
        asked: The run.
        module: The borrowed network, at θ*.
        plane: The plane.
        measure: Measures the network.

    Raises:
        InvalidRequest: They are no checkpoints of this network.
    """
    states, names = list(asked.states), list(asked.names)
    measure.stand(0.0, 0.0)  # the network stands at θ*
    own = {name: plain(tensor) for name, tensor in moved_tensors(module, plane.normalisation).items()}
    origin = [tensor.numpy() for tensor in own.values()]
    placed_states = [placed(state, own, f"checkpoints[{number}]", "checkpoints") for number, state in enumerate(states)]
    places = [[tensor.numpy() for tensor in place.values()] for place in placed_states]
    if not all(np.array_equal(a, b) for a, b in zip(places[-1], origin, strict=True)):
        places.append(origin)
        states.append({})  # nothing is replaced: the model itself
        names = [*names, "the model"] if any(names) else names
    run = Run(origin, places, plane.normalisation)
    x, y = ([t.cpu() for t in d] if d is not None else None for d in (plane.x, plane.y))
    seen = run.seen_along(x or [], y)
    found = [_losses(measure, state, place) for state, place in zip(states, seen["coordinates"], strict=True)]
    about = {**seen, **{name: [one[name] for one in found] for name in MEASURED}}
    return {**about, "names": names} if any(names) else about


def resumed(
    half: HalfDone | None, grid: Grid, measure: Measure, provenance: Mapping[str, Any]
) -> tuple[Bool[np.ndarray, "rows nx"], dict[str, Any]]:
    """Which cells of a half-done surface are taken over, and what the provenance says of them; none if there is none.

    Args:
        half: The surface.
        grid: As asked for.
        measure: Measures some of its cells again.
        provenance: Of the surface that is asked for.

    Raises:
        InvalidRequest: The surface has another grid, says that it is of another model or plane, lacks metrics that are
            asked for, or its cells do not agree.
    """
    if half is None:
        return np.zeros(grid.shape, bool), {}
    half.check_grid(grid)
    stored = half.surface.provenance
    for name, what in SAME.items():
        if name in stored and stored[name] != provenance[name]:
            raise InvalidRequest(
                f"The half-done surface is of another {what}; give what it was made with, or leave out resume.", field="resume"
            )
    kept = half.kept(provenance["examples"])
    _check_counted(half, kept, provenance.get("metrics", []))
    checked = [half.check_measured(cell, measure.cell(grid, cell).loss) for cell in half.sample(kept)]
    return kept, {"resumed": half.story(kept, checked)}


def _check_counted(half: HalfDone, kept: Bool[np.ndarray, "rows nx"], metrics: Sequence[Metric]) -> None:
    """Cells that are kept have to have what is counted at the others."""
    held = {"class_accuracy" if class_of(name) is not None else name for name in half.surface.quantities}
    missing = [metric for metric in metrics if metric not in held]
    if missing and kept.any():
        raise InvalidRequest(
            f"The half-done surface has no {missing[0]} at the cells that are kept; leave it out of metrics, or leave out "
            "resume.",
            field="metrics",
        )


def _losses(measure: Measure, state: Mapping[str, Any], place: list[float | None]) -> dict[str, float | None]:
    known = [value for value in place if value is not None]
    own = measure.of(state).provenance()
    found = {"own_loss": own["own_loss"], "own_accuracy": own["own_accuracy"], "plane_loss": None, "plane_accuracy": None}
    if len(known) == len(place):
        plane = measure.at(known[0], known[1] if len(known) > 1 else 0.0).provenance()
        found |= {"plane_loss": plane["own_loss"], "plane_accuracy": plane["own_accuracy"]}
    return found
