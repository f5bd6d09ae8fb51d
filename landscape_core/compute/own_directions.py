"""The directions of a plane through a network of the user's own, made of what was asked for."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from landscape_core.catalogue import match
from landscape_core.catalogue.family import COUNTER
from landscape_core.catalogue.networks import known_names, symmetry_of
from landscape_core.compute.alignment import Alignment, align, permuted
from landscape_core.compute.derivation import DerivedDirections
from landscape_core.compute.direction_making import DirectionMaker
from landscape_core.compute.directions import moved_tensors, moving, plane_directions
from landscape_core.compute.own_checkpoints import State, placed, plain
from landscape_core.compute.own_hessian import OwnHessian, differentiable
from landscape_core.compute.own_measure import Measure
from landscape_core.compute.own_network import OwnNetwork
from landscape_core.compute.own_planes import AskedPlane, OwnPlane
from landscape_core.compute.planes import Plane
from landscape_core.compute.second_derivatives import varied_parameters
from landscape_core.errors import InvalidRequest
from landscape_core.reading import DirectionsContents
from landscape_core.requests import DirectionSpec, FileDirection, HessianDirection, PlaneSpec

SAME_FUNCTION = 1e-3
"""Most relative difference of the mean loss between a network and itself with its hidden units in another order."""


def made_plane(asked: AskedPlane, network: OwnNetwork) -> OwnPlane:
    """The plane that was asked for, with its directions.

    Args:
        asked: From `asked_plane`.
        network: The borrowed network, at θ*; it stands there again afterwards.

    Raises:
        InvalidRequest: There is no such direction, or a checkpoint is of another network.
        DirectionsRejected: A direction file does not belong to the network.
        OutOfMemory: The memory does not suffice.
    """
    spec, moves = asked.spec, moving(moved_tensors(network.module, asked.normalisation))
    if spec is None:
        x, y = asked.given if isinstance(asked.given, tuple) else ([], None)
        return OwnPlane(None, asked.normalisation, x, y, asked.grid, moves)
    maker = _OwnMaker(asked, spec, network)
    arrays = {axis: _arrays(maker, axis, asked) for axis in spec.specs}
    x, y = plane_directions(spec, network.module, DerivedDirections(arrays["x"] or [], arrays.get("y")))
    return OwnPlane(spec, asked.normalisation, x, y, asked.grid, moves, maker.facts)


def _arrays(maker: _OwnMaker, axis: str, asked: AskedPlane) -> list[np.ndarray] | None:
    """What a direction is made of; None if it is random."""
    direction = maker.plane.x if axis == "x" else maker.plane.y
    if isinstance(direction, FileDirection) and isinstance(asked.given, DirectionsContents):
        return asked.given.x if axis == "x" else asked.given.y
    return None if direction is None else maker.make(direction, axis)


class _OwnMaker(DirectionMaker):
    """Makes the directions of a plane through a borrowed network."""

    def __init__(self, asked: AskedPlane, plane: PlaneSpec, network: OwnNetwork) -> None:
        super().__init__(plane, asked.own)
        self._states, self._network = asked.states, network
        self._moved = {name: plain(t) for name, t in moved_tensors(network.module, plane.normalisation).items()}
        self._whole = {name: plain(t) for name, t in network.module.state_dict().items() if isinstance(t, Tensor)}

    def tensors(self) -> Mapping[str, Tensor]:
        """The tensors of θ* that move, on the CPU."""
        return self._moved

    def other(self, checkpoint: str) -> Mapping[str, Tensor]:
        """The same of another checkpoint.

        Raises:
            InvalidRequest: It is of another network.
        """
        return self._placed(self._states[checkpoint], self._moved, checkpoint)

    def aligned(self, checkpoint: str, axis: str) -> tuple[Mapping[str, Tensor], Alignment]:
        """The same with its hidden units in the order that is nearest to θ*.

        Raises:
            InvalidRequest: It is of another network, or nothing is known of the network's hidden units.
        """
        field = f"plane.{axis}.aligned"
        shapes = {name: tuple(tensor.shape) for name, tensor in self._whole.items()}
        candidate = next(iter(match(shapes)), None)
        if candidate is None:
            raise InvalidRequest(
                "Hidden units are matched in networks whose tensors are those of a catalogued architecture "
                f"({known_names()}), and this model is none; leave out aligned.",
                field=field,
            )
        symmetry = symmetry_of(candidate.architecture, shapes, field)
        renamed = {theirs: ours for ours, theirs in candidate.renames.items()}
        needed = {name: tensor for name, tensor in self._whole.items() if not name.endswith(COUNTER)}
        state = {**self._states[checkpoint], **self._placed(self._states[checkpoint], needed, checkpoint)}
        own, theirs = ({renamed.get(n, n): net[n].numpy() for n in needed} for net in (needed, state))
        found = align(symmetry, own, theirs, None, f"plane.{axis}.checkpoint")
        made = permuted(symmetry, theirs, found.orders)
        moved = {**state, **{name: torch.from_numpy(made[renamed.get(name, name)]) for name in needed}}
        self._check_function(state, moved, field)
        return self._placed(moved, self._moved, checkpoint), found

    def hessian(self, examples: int) -> OwnHessian:
        """The Hessian at θ* over the first so many examples."""
        return OwnHessian(self._network, self.plane.normalisation, examples)

    def make(self, spec: DirectionSpec, axis: str) -> list[np.ndarray] | None:
        """The arrays of a direction; None if it is random.

        Raises:
            InvalidRequest: There is no such direction.
            OutOfMemory: The memory does not suffice.
        """
        if not isinstance(spec, HessianDirection):
            return super().make(spec, axis)
        varied = varied_parameters(self._network.module, self.plane.normalisation)
        with differentiable(self._network.module, varied):
            return super().make(spec, axis)

    def _placed(self, state: State, own: Mapping[str, Tensor], checkpoint: str) -> dict[str, Tensor]:
        field = self.plane.named_checkpoints[checkpoint]
        number = list(dict.fromkeys(self.plane.run)).index(checkpoint) if field.endswith("checkpoints") else None
        return placed(state, own, field if number is None else f"{field}[{number}]", field)

    def _check_function(self, before: State, after: State, field: str) -> None:
        """Tensors named like those of a catalogued network may be put together in another way: the loss tells."""
        nothing = [torch.zeros(tensor.shape) for tensor in self._moved.values()]
        measure = Measure(self._network, Plane(self._network.module, nothing, None, self.plane.normalisation, None))
        was, now = (measure.of(state).loss for state in (before, after))
        measure.stand(0.0, 0.0)
        if not np.isclose(now, was, rtol=SAME_FUNCTION, atol=1e-8, equal_nan=True):
            raise InvalidRequest(
                "The tensors of this model are named as in a catalogued network, but it computes something else: with "
                f"its hidden units in another order the loss is {now:.6g} instead of {was:.6g}; leave out aligned.",
                field=field,
            )
