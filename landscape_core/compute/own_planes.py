"""Which plane and grid were asked for in Python, in any of the forms that `landscape` takes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from pydantic import ValidationError
from torch import Tensor, nn

from landscape_core.catalogue import check_plane
from landscape_core.compute.directions import check_arrays, check_moves, draw, moved_tensors, moving, orthogonalised
from landscape_core.compute.provenance import about_directions
from landscape_core.errors import InvalidRequest
from landscape_core.notation import parse_grid
from landscape_core.requests import Axis, Grid, Message, Normalisation, PlaneSpec, RandomDirection

AXIS = Axis(start=-1.0, stop=1.0, points=25)
"""The axis that is taken where none is given."""

GIVEN = Normalisation(norm="none", ignore="none")
"""Explicit directions are taken as they are."""

_M = TypeVar("_M", bound=Message)


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
    """

    spec: PlaneSpec | None
    normalisation: Normalisation
    x: list[Tensor]
    y: list[Tensor] | None
    grid: Grid
    moves: list[bool]

    def provenance(self) -> dict[str, Any]:
        """Plane, grid and directions, so that the surface can be computed again. JSON-able."""
        given = {"x": _given(self.x), "y": None if self.y is None else _given(self.y)}
        x, y = ([t.float().cpu().numpy() for t in d] if d is not None else None for d in (self.x, self.y))
        return {
            "plane": given if self.spec is None else self.spec.model_dump(mode="json"),
            "grid": self.grid.model_dump(mode="json"),
            "directions": about_directions(x or [], y, self.moves),
        }


def asked_plane(plane: Any, grid: Any, module: nn.Module) -> OwnPlane:
    """The plane and grid of these arguments of `landscape`.

    Args:
        plane: A `PlaneSpec`, its JSON form, explicit directions, or None.
        grid: A `Grid`, its JSON form, its text, or None.
        module: The network.

    Raises:
        InvalidRequest: If they cannot be read, or one has two axes and the other one.
        DirectionsRejected: If explicit directions do not belong to the network.
    """
    wanted = None if grid is None else parse_grid(grid) if isinstance(grid, str) else _read(Grid, grid, "grid")
    if plane is None:
        curve = wanted is not None and wanted.y is None
        plane = PlaneSpec(x=RandomDirection(seed=1), y=None if curve else RandomDirection(seed=2))
    if isinstance(plane, PlaneSpec | Mapping):
        spec = _read(PlaneSpec, plane, "plane")
        x, y, how = *_drawn(spec, module), spec.normalisation
    else:
        spec, how = None, GIVEN
        x, y = _explicit(plane, module)
    if wanted is None:
        wanted = Grid(x=AXIS, y=None if y is None else AXIS)
    if (wanted.y is None) != (y is None):
        has, needs = ("one axis", "two directions") if wanted.y is None else ("two axes", "one direction")
        raise InvalidRequest(f"The grid has {has} but the plane {needs}; give as many axes as directions.", field="grid")
    return OwnPlane(spec, how, x, y, wanted, moving(moved_tensors(module, how)))


def _read(kind: type[_M], value: Any, name: str) -> _M:
    """The message, or that of its JSON form."""
    if isinstance(value, kind):
        return value
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join([name, *map(str, first["loc"])])
        raise InvalidRequest(f"{where} cannot be read: {first['msg']}.", field=where) from None


def _drawn(spec: PlaneSpec, module: nn.Module) -> tuple[list[Tensor], list[Tensor] | None]:
    check_plane(spec)
    if spec.trajectory is not None:
        raise InvalidRequest(
            "plane.trajectory names checkpoints by their hashes, which a model in Python has not; leave it out.",
            field="plane.trajectory",
        )
    for name, direction in (("x", spec.x), ("y", spec.y)):
        if direction is not None and not isinstance(direction, RandomDirection):
            raise InvalidRequest(
                f"plane.{name} is of the kind {direction.kind!r}, but for a model in Python only random directions are drawn; "
                "give other directions as tensors: plane=(x, y), each a list in the order of model.parameters().",
                field=f"plane.{name}",
            )
    how = spec.normalisation
    x = draw(spec.x, module, how)
    check_moves(spec.x, x, module, how, "x")
    if spec.y is None:
        return x, None
    y = draw(spec.y, module, how)
    check_moves(spec.y, y, module, how, "y")
    return x, orthogonalised(x, y, moving(moved_tensors(module, how))) if spec.orthogonal else y


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
