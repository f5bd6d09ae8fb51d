"""A training run of the user's own model, given as `state_dict`s; and a half-done surface of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor, nn

from landscape_core.compute.directions import moved_tensors
from landscape_core.compute.own_measure import Measure
from landscape_core.compute.own_planes import OwnPlane
from landscape_core.compute.trajectories import Run
from landscape_core.errors import InvalidRequest
from landscape_core.plane import MAX_CHECKPOINTS
from landscape_core.projection import MEASURED
from landscape_core.requests import Grid
from landscape_core.resuming import HalfDone

WRAPPERS = ("module.", "_orig_mod.")
"""What `DataParallel`, `AveragedModel` and `torch.compile` put before every name."""

SAME = {"model_sha256": "model, or one with other weights", "plane": "plane"}
"""What a half-done surface's provenance must say alike, where it says it; and what that means."""


def own_run(checkpoints: Any, module: nn.Module, plane: OwnPlane, measure: Measure) -> dict[str, Any]:
    """What the provenance says of a run: places on the plane, distances from it, losses. The model itself ends the run.

    Args:
        checkpoints: A sequence of `state_dict`s, or a mapping of names to them.
        module: The borrowed network, at θ*.
        plane: The plane.
        measure: Measures the network.

    Raises:
        InvalidRequest: They are no such checkpoints of this network.
    """
    states, names = _states(checkpoints)
    measure.at(0.0, 0.0)  # the network stands at θ*
    own = {name: tensor.detach() for name, tensor in moved_tensors(module, plane.normalisation).items()}
    origin = [_array(tensor) for tensor in own.values()]
    places = [_place(state, own, number) for number, state in enumerate(states)]
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
    half: HalfDone | None, grid: Grid, measure: Measure, examples: int, provenance: Mapping[str, Any]
) -> tuple[Bool[np.ndarray, "rows nx"], dict[str, Any]]:
    """Which cells of a half-done surface are taken over, and what the provenance says of them; none if there is none.

    Args:
        half: The surface.
        grid: As asked for.
        measure: Measures some of its cells again.
        examples: How many the batches hold.
        provenance: Of the surface that is asked for.

    Raises:
        InvalidRequest: The surface has another grid, says that it is of another model or plane, or its cells do not agree.
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
    kept = half.kept(examples)
    checked = [half.check_measured(cell, measure.cell(grid, cell).loss) for cell in half.sample(kept)]
    return kept, {"resumed": half.story(kept, checked)}


def _states(checkpoints: Any) -> tuple[list[Mapping[str, Any]], list[str]]:
    """The `state_dict`s and their names, "" where they have none."""
    named = isinstance(checkpoints, Mapping) and all(isinstance(state, Mapping) for state in checkpoints.values())
    listed = list(checkpoints.values()) if named else checkpoints
    good = isinstance(listed, Sequence) and not isinstance(listed, str) and all(isinstance(state, Mapping) for state in listed)
    if not good or not 1 <= len(listed) <= MAX_CHECKPOINTS:
        raise InvalidRequest(
            f"checkpoints should be 1 to {MAX_CHECKPOINTS:,} state_dicts in their order, in a list or by their names.",
            field="checkpoints",
        )
    return [_unwrapped(state) for state in listed], [str(name) for name in checkpoints] if named else [""] * len(listed)


def _unwrapped(state: Mapping[str, Any]) -> Mapping[str, Any]:
    for prefix in WRAPPERS:
        kept = {name.removeprefix(prefix): value for name, value in state.items() if str(name).startswith(prefix)}
        if kept and all(str(name).startswith(prefix) or name == "n_averaged" for name in state):
            return _unwrapped(kept)
    return state


def _place(state: Mapping[str, Any], own: Mapping[str, Tensor], number: int) -> list[np.ndarray]:
    """The moved tensors of a checkpoint, in order."""
    place = []
    for name, tensor in own.items():
        given = state.get(name)
        if not isinstance(given, Tensor) or given.shape != tensor.shape:
            has = f"the shape {tuple(given.shape)}" if isinstance(given, Tensor) else "no tensor"
            raise InvalidRequest(
                f"checkpoints[{number}] is of another network: it has {has} for {name}, but the model has "
                f"{tuple(tensor.shape)}; give state_dicts of this model.",
                field="checkpoints",
            )
        place.append(_array(given.detach()))
    return place


def _array(tensor: Tensor) -> np.ndarray:
    """On the CPU; what numpy has no type for (bfloat16) is widened."""
    narrow = tensor.is_floating_point() and tensor.dtype not in {torch.float32, torch.float64}
    return np.array((tensor.float() if narrow else tensor).cpu().numpy())


def _losses(measure: Measure, state: Mapping[str, Any], place: list[float | None]) -> dict[str, float | None]:
    known = [value for value in place if value is not None]
    own = measure.of(state).provenance()
    found = {"own_loss": own["own_loss"], "own_accuracy": own["own_accuracy"], "plane_loss": None, "plane_accuracy": None}
    if len(known) == len(place):
        plane = measure.at(known[0], known[1] if len(known) > 1 else 0.0).provenance()
        found |= {"plane_loss": plane["own_loss"], "plane_accuracy": plane["own_accuracy"]}
    return found
