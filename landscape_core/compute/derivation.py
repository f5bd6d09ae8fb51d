"""Directions that follow from something other than a seed: from a file, from other checkpoints.

They are made once for a surface, before it is measured, and used as they are from then on.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from landscape_core.catalogue import check_companion
from landscape_core.compute.architectures import load
from landscape_core.compute.directions import DirectionArrays, directions_for, moved_tensors
from landscape_core.compute.trajectories import Run
from landscape_core.errors import InvalidRequest
from landscape_core.requests import (
    DirectionSpec,
    FileDirection,
    Normalisation,
    PrincipalDirection,
    SurfaceRequest,
    TowardsDirection,
)

CheckpointReader = Callable[[str], Mapping[str, np.ndarray]]
"""Gives a checkpoint's names and arrays, in the file's order, by the id that a request names it by."""


@dataclass(frozen=True)
class DerivedDirections:
    """What directions that are not random are made of, in the form in which direction files give it.

    Attributes:
        x: One float32 array for each moved tensor; empty if `plane.x` is random.
        y: The same for `plane.y`; None if it is random or there is none.
        about: What the provenance says of them.
    """

    x: list[np.ndarray]
    y: list[np.ndarray] | None
    about: dict[str, Any] = field(default_factory=dict)


def derive(
    request: SurfaceRequest,
    tensors: Mapping[str, np.ndarray],
    files: DirectionArrays | None = None,
    checkpoints: CheckpointReader | None = None,
) -> DerivedDirections:
    """The directions of a request that are not random.

    Args:
        request: The question.
        tensors: The checkpoint's names and arrays, in the file's order.
        files: What the direction file holds: `plane.x` takes its x, `plane.y` its y.
        checkpoints: Reads the other checkpoints that the request names.

    Raises:
        InvalidRequest: A checkpoint or a file that the request names was not given, or is not of this network.
    """
    maker = _Maker(request, tensors, checkpoints)
    made: dict[str, list[np.ndarray] | None] = {"x": None, "y": None}
    for axis, spec in request.plane.specs.items():
        if isinstance(spec, FileDirection):
            made[axis] = None if files is None else files.x if axis == "x" else files.y
        else:
            made[axis] = maker.make(spec, f"plane.{axis}")
    derived = DerivedDirections(made["x"] or [], made["y"])
    return dataclasses.replace(derived, about=maker.about(derived))


class _Maker:
    """Makes the directions of one request."""

    def __init__(
        self, request: SurfaceRequest, tensors: Mapping[str, np.ndarray], checkpoints: CheckpointReader | None
    ) -> None:
        self._request, self._checkpoints = request, checkpoints
        self._shapes = {name: tuple(array.shape) for name, array in tensors.items()}
        self._how = request.plane.normalisation
        self._module = load(request.architecture, tensors)

    def make(self, spec: DirectionSpec, field: str) -> list[np.ndarray] | None:
        """The arrays of a direction; None if it is random."""
        if isinstance(spec, TowardsDirection):
            other = self._network(spec.checkpoint)
            return [tensor.numpy() for tensor in difference(self._module, other, self._how)]
        if isinstance(spec, PrincipalDirection):
            return self._run.principal(spec.index, f"{field}.index")
        return None

    def about(self, derived: DerivedDirections) -> dict[str, Any]:
        """What the provenance says of the directions."""
        if not self._request.plane.run:
            return {}
        x, y = directions_for(self._request, self._module, derived)
        return {"trajectory": {"checkpoints": self._run_ids, **self._run.seen_along(x, y)}}

    @property
    def _run_ids(self) -> list[str]:
        """The checkpoints of the run; θ*, which ends it, is the last unless it is named."""
        named, own = list(self._request.plane.run), self._request.checkpoint
        return named if own in named else [*named, own]

    @cached_property
    def _run(self) -> Run:
        own, ids = self._request.checkpoint, self._run_ids
        networks = {checkpoint: self._module if checkpoint == own else self._network(checkpoint) for checkpoint in set(ids)}
        return Run(self._module, [networks[checkpoint] for checkpoint in ids], self._how)

    def _network(self, checkpoint: str) -> nn.Module:
        """The network with the parameters of another checkpoint."""
        field = self._request.plane.named_checkpoints[checkpoint]
        if self._checkpoints is None:
            raise InvalidRequest(f"The request names the checkpoint {checkpoint[:12]}…, but it was not given.", field=field)
        tensors = self._checkpoints(checkpoint)
        shapes = {name: tuple(array.shape) for name, array in tensors.items()}
        called = f"The checkpoint {checkpoint[:12]}…"
        check_companion(self._request.architecture, self._shapes, shapes, called, field)
        return load(self._request.architecture, tensors)


def difference(module: nn.Module, other: nn.Module, normalisation: Normalisation) -> list[Tensor]:
    """θ' − θ*, the direction from one network to another of the same shapes (Li et al. 2018, `create_target_direction`).

    Neither normalised nor masked. For `of="states"` batch norm's counters have their difference too, as in the direction
    files of Li et al.; evaluation moves floating tensors alone.

    Args:
        module: The network at θ*, on the CPU.
        other: The one at θ'.
        normalisation: Which tensors move; its norm and `ignore` have no part in this.

    Returns:
        One float32 tensor for each of `moved_tensors`, in that order.

    Example:
        >>> a, b = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)
        >>> _ = nn.init.constant_(a.weight, 2.0), nn.init.constant_(b.weight, 5.0)
        >>> difference(a, b, Normalisation())
        [tensor([[3.]])]
    """
    own, others = moved_tensors(module, normalisation), moved_tensors(other, normalisation)
    return [(others[name].detach() - tensor.detach()).to(torch.float32) for name, tensor in own.items()]
