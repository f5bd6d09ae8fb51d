"""Which plane and grid were asked for in Python, in any of the forms that `landscape` takes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from landscape_core.compute.directions import check_arrays, moved_tensors
from landscape_core.compute.own_checkpoints import OwnRun, State, read_run
from landscape_core.compute.own_recipes import RecipeInPython, asked_recipe, message
from landscape_core.compute.provenance import about_directions
from landscape_core.errors import InvalidRequest
from landscape_core.notation import parse_grid
from landscape_core.reading import DirectionsContents
from landscape_core.requests import Axis, Grid, Normalisation, PlaneSpec, RandomDirection

AXIS = Axis(start=-1.0, stop=1.0, points=25)
"""The axis that is taken where none is given."""

GIVEN = Normalisation(norm="none", ignore="none")
"""Explicit directions are taken as they are."""


@dataclass(frozen=True)
class OwnPlane:
    """A plane and the grid on it.

    Attributes:
        spec: The recipe of its directions; None if they were given as tensors.
        normalisation: Says which of the network's tensors move.
        x: δ, one tensor for each of `moved_tensors`.
        y: η likewise; None for a curve.
        grid: Where it is measured.
        moves: Which of the tensors really move (`directions.moving`).
        facts: What else is known of the directions: eigenvalues, what matching hidden units gave.
    """

    spec: PlaneSpec | None
    normalisation: Normalisation
    x: list[Tensor]
    y: list[Tensor] | None
    grid: Grid
    moves: list[bool]
    facts: dict[str, float] = field(default_factory=dict)

    def provenance(self) -> dict[str, Any]:
        """Plane, grid and directions, so that the surface can be computed again. JSON-able."""
        given = {"x": _given(self.x), "y": None if self.y is None else _given(self.y)}
        x, y = ([t.float().cpu().numpy() for t in d] if d is not None else None for d in (self.x, self.y))
        return {
            "plane": given if self.spec is None else self.spec.model_dump(mode="json"),
            "grid": self.grid.model_dump(mode="json"),
            "directions": about_directions(x or [], y, self.moves) | self.facts,
        }


@dataclass(frozen=True)
class AskedPlane:
    """A plane and the grid on it as they were asked for, read and checked, before anything is made of the model.

    Attributes:
        spec: The recipe of its directions, checkpoints named by their ids; None if they are given as tensors.
        normalisation: Says which of the network's tensors move.
        given: (δ, η) that are given as tensors, or that a direction file holds.
        states: What the ids of the recipe stand for.
        run: The training run that is shown on the plane, if any.
        grid: Where it is measured.
        own: The id of the model.
    """

    spec: PlaneSpec | None
    normalisation: Normalisation
    given: tuple[list[Tensor], list[Tensor] | None] | DirectionsContents | None
    states: Mapping[str, State]
    run: OwnRun | None
    grid: Grid
    own: str


def asked_plane(plane: Any, grid: Any, module: nn.Module, checkpoints: Any = None) -> AskedPlane:
    """The plane, grid and run of these arguments of `landscape`.

    Args:
        plane: A `PlaneSpec`, its JSON form (with checkpoints as they are in Python), explicit directions, or None.
        grid: A `Grid`, its JSON form, its text, or None.
        module: The network.
        checkpoints: A training run, or None.

    Raises:
        InvalidRequest: If they cannot be read, or one has two axes and the other one.
        CheckpointRejected: If the file of a checkpoint cannot be read.
        DirectionsRejected: If explicit directions do not belong to the network, or a direction file cannot be read.
    """
    wanted = None if grid is None else parse_grid(grid) if isinstance(grid, str) else message(Grid, grid, "grid")
    run = None if checkpoints is None else read_run(checkpoints)
    if plane is None:
        curve = wanted is not None and wanted.y is None
        plane = PlaneSpec(x=RandomDirection(seed=1), y=None if curve else RandomDirection(seed=2))
    if isinstance(plane, PlaneSpec | Mapping):
        asked = asked_recipe(plane, module, run)
    else:
        asked = RecipeInPython(None, _explicit(plane, module), {}, run, "")
    spec = asked.spec
    curve = spec.y is None if spec is not None else isinstance(asked.given, tuple) and asked.given[1] is None
    if wanted is None:
        wanted = Grid(x=AXIS, y=None if curve else AXIS)
    if (wanted.y is None) != curve:
        has, needs = ("one axis", "two directions") if wanted.y is None else ("two axes", "one direction")
        raise InvalidRequest(f"The grid has {has} but the plane {needs}; give as many axes as directions.", field="grid")
    how = GIVEN if spec is None else spec.normalisation
    return AskedPlane(spec, how, asked.given, asked.states, asked.run, wanted, asked.own)


def _explicit(plane: Any, module: nn.Module) -> tuple[list[Tensor], list[Tensor] | None]:
    """One or two lists of tensors, checked against the network's parameters."""
    directions = [d for d in plane if d is not None] if isinstance(plane, Sequence) and not isinstance(plane, str) else []
    listed = all(isinstance(d, Sequence) and not isinstance(d, str) for d in directions)
    if len(directions) not in {1, 2} or not listed:
        raise InvalidRequest(
            "The plane should be a PlaneSpec, its JSON form, or one or two directions (x, y), each a list of tensors in the "
            "order of model.parameters().",
            field="plane",
        )
    tensors = moved_tensors(module, GIVEN)
    read = []
    for direction in directions:
        made = [_tensor(tensor) for tensor in direction]
        check_arrays(made, tensors, GIVEN, "direction")
        read.append(
            [tensor.clone() if tensor.dtype == torch.float64 else tensor.to(torch.float32, copy=True) for tensor in made]
        )
    return read[0], read[1] if len(read) == 2 else None


def _tensor(given: Any) -> Tensor:
    try:
        tensor = torch.as_tensor(given).detach()
    except (TypeError, ValueError, RuntimeError) as error:
        kind = type(given).__name__
        raise InvalidRequest(f"A direction is a list of tensors, but holds a {kind} that is none.", field="plane") from error
    if tensor.is_complex():
        raise InvalidRequest("A direction is of real numbers, but one of its tensors is complex.", field="plane")
    return tensor


def _given(direction: Sequence[Tensor]) -> dict[str, str]:
    digest = hashlib.sha256()
    for tensor in direction:
        digest.update(tensor.contiguous().cpu().numpy().tobytes())
    return {"kind": "given", "sha256": digest.hexdigest()}
