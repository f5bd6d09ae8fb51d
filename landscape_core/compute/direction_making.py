"""Directions that follow from other checkpoints or from the loss, whatever network they are of.

A catalogued network (`derivation`) and one of the user's own (`own_directions`) say where their tensors, other checkpoints and
Hessians come from; what is made of these is here, once.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from landscape_core.compute.alignment import Alignment
from landscape_core.compute.lanczos import Eigenpair
from landscape_core.compute.second_derivatives import DirectedHessian
from landscape_core.requests import DirectionSpec, HessianDirection, PlaneSpec, PrincipalDirection, TowardsDirection
from landscape_core.training_run import Run


class DirectionMaker(ABC):
    """Makes the directions of one plane.

    Args:
        plane: The recipes.
        own: The id of θ*, by which a run may name it.
    """

    def __init__(self, plane: PlaneSpec, own: str) -> None:
        self.plane, self._own = plane, own
        self.facts: dict[str, float] = {}
        """What the provenance says of the directions that were made."""
        self._hessians: dict[int, DirectedHessian] = {}
        self._pairs: dict[tuple[int, bool], list[Eigenpair]] = {}

    @abstractmethod
    def tensors(self) -> Mapping[str, Tensor]:
        """The tensors of θ* that move, by name, in the direction's order; on the CPU."""

    @abstractmethod
    def other(self, checkpoint: str) -> Mapping[str, Tensor]:
        """The same tensors of another checkpoint.

        Args:
            checkpoint: Its id.

        Raises:
            InvalidRequest: It is of another network, or was not given.
        """

    @abstractmethod
    def aligned(self, checkpoint: str, axis: str) -> tuple[Mapping[str, Tensor], Alignment]:
        """The same with its hidden units in the order that is nearest to θ*.

        Args:
            checkpoint: Its id.
            axis: The axis that it is asked for.

        Raises:
            InvalidRequest: As `other`; or nothing is known of the network's hidden units.
        """

    @abstractmethod
    def hessian(self, examples: int) -> DirectedHessian:
        """The Hessian at θ* over so many examples."""

    def make(self, spec: DirectionSpec, axis: str) -> list[np.ndarray] | None:
        """The arrays of a direction, one for each moved tensor; None if it is random or from a file.

        Args:
            spec: Its recipe.
            axis: x or y.

        Raises:
            InvalidRequest: There is no such direction.
            Cancelled: The computation was asked to stop.
            OutOfMemory: The memory does not suffice.
        """
        if isinstance(spec, TowardsDirection):
            return [tensor.numpy() for tensor in between(self.tensors(), self._towards(spec, axis))]
        if isinstance(spec, PrincipalDirection):
            return self.run.principal(spec.index, f"plane.{axis}.index")
        if isinstance(spec, HessianDirection):
            hessian, pair = self._eigenvector(spec, f"plane.{axis}.index")
            self._say(axis, {"eigenvalue": pair.value, "residual": pair.residual, "hessian_examples": hessian.examples})
            return hessian.direction(pair.vector)
        return None

    @property
    def run_ids(self) -> list[str]:
        """The checkpoints of the run; θ*, which ends it, is the last unless it is named."""
        named = list(self.plane.run)
        return named if self._own in named else [*named, self._own]

    @cached_property
    def run(self) -> Run:
        """The run that the plane names."""
        own, ids = self.tensors(), self.run_ids
        places = {checkpoint: own if checkpoint == self._own else self.other(checkpoint) for checkpoint in set(ids)}
        arrays = {checkpoint: [place[name].detach().numpy() for name in own] for checkpoint, place in places.items()}
        origin = [tensor.detach().numpy() for tensor in own.values()]
        return Run(origin, [arrays[checkpoint] for checkpoint in ids], self.plane.normalisation)

    def _towards(self, spec: TowardsDirection, axis: str) -> Mapping[str, Tensor]:
        """The tensors of the other end."""
        if not spec.aligned:
            return self.other(spec.checkpoint)
        tensors, found = self.aligned(spec.checkpoint, axis)
        facts = {
            "unaligned_distance": found.distance_before,
            "aligned_distance": found.distance,
            "units": found.units,
            "units_moved": found.moved,
        }
        self._say(axis, facts)
        return tensors

    def _eigenvector(self, spec: HessianDirection, field: str) -> tuple[DirectedHessian, Eigenpair]:
        """What is asked for, with the Hessian that it is of."""
        if spec.examples not in self._hessians:  # both axes share one, where they are over the same examples
            self._hessians[spec.examples] = self.hessian(spec.examples)
        hessian = self._hessians[spec.examples]
        kin = [
            abs(other.index)
            for other in self.plane.specs.values()
            if isinstance(other, HessianDirection) and other.index * spec.index > 0 and other.examples == spec.examples
        ]
        key = (spec.examples, spec.index > 0)
        if key not in self._pairs:  # those of both axes at once, where they are of one end
            self._pairs[key] = hessian.eigenpairs(max(kin), field, smallest=spec.index < 0)
        return hessian, self._pairs[key][abs(spec.index) - 1]

    def _say(self, axis: str, facts: Mapping[str, Any]) -> None:
        self.facts |= {f"{axis}_{name}": value for name, value in facts.items()}


def between(own: Mapping[str, Tensor], others: Mapping[str, Tensor]) -> list[Tensor]:
    """θ' − θ*, tensor by tensor (Li et al. 2018, `create_target_direction`).

    Args:
        own: The tensors of θ* that move, by name.
        others: Those of θ', of the same shapes, in any order.

    Returns:
        One tensor for each of `own`, in that order: float64 where that is the network's own precision, else float32.

    Example:
        >>> between({"w": torch.tensor([2.0, 0.0])}, {"w": torch.tensor([5.0, 1.0])})
        [tensor([3., 1.])]
    """
    return [(others[name].detach() - t.detach()).to(direction_dtype(t)) for name, t in own.items()]


def direction_dtype(tensor: Tensor) -> torch.dtype:
    """What a direction's part for this tensor is kept in: float64 beside float64, else float32."""
    return torch.float64 if tensor.dtype == torch.float64 else torch.float32
