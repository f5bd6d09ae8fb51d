"""Directions that follow from something other than a seed: from a file, from other checkpoints, from the loss itself.

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

from landscape_core.catalogue import check_companion, check_plane, check_request
from landscape_core.catalogue.networks import symmetry_of
from landscape_core.compute.alignment import align, permuted
from landscape_core.compute.architectures import load
from landscape_core.compute.curvature import Hessian
from landscape_core.compute.datasets import Examples
from landscape_core.compute.devices import compute_exactly
from landscape_core.compute.directions import DirectionArrays, directions_for, moved_tensors
from landscape_core.compute.lanczos import Eigenpair
from landscape_core.compute.trajectories import Run
from landscape_core.errors import InvalidRequest
from landscape_core.requests import (
    DirectionSpec,
    FileDirection,
    HessianDirection,
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
    examples: Examples,
    files: DirectionArrays | None = None,
    checkpoints: CheckpointReader | None = None,
    device: str = "cpu",
    threads: int | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> DerivedDirections:
    """The directions of a request that are not random.

    Args:
        request: The question.
        tensors: The checkpoint's names and arrays, in the file's order.
        examples: The split that the request names.
        files: What the direction file holds: `plane.x` takes its x, `plane.y` its y.
        checkpoints: Reads the other checkpoints that the request names.
        device: A PyTorch device.
        threads: How many CPU threads PyTorch uses, for the whole process; None leaves it as it is.
        should_stop: Asked before every batch of what takes long.

    Raises:
        InvalidRequest: The request does not go with its checkpoints or the data set, or there is no such direction.
        Cancelled: `should_stop` said so.
        OutOfMemory: The device's memory does not suffice.
    """
    check_request(request, {name: tuple(array.shape) for name, array in tensors.items()}, examples.facts)
    compute_exactly(threads)

    def hessian(network: nn.Module, count: int) -> Hessian:
        return Hessian(request, network, examples, count, device, should_stop)

    return _derived(request, _Maker(request, tensors, checkpoints, hessian, should_stop), files)


def project(
    request: SurfaceRequest,
    tensors: Mapping[str, np.ndarray],
    files: DirectionArrays | None = None,
    checkpoints: CheckpointReader | None = None,
) -> DerivedDirections:
    """Both directions of a plane, random ones too, and a run's places on it; nothing is measured.

    Args:
        request: Its data, loss and grid have no part in this.
        tensors: The checkpoint's names and arrays, in the file's order.
        files: What the direction file holds: `plane.x` takes its x, `plane.y` its y.
        checkpoints: Reads the other checkpoints that the request names.

    Raises:
        InvalidRequest: The plane does not go with its checkpoints, or asks for the Hessian, which is of a loss.
        DirectionsRejected: The direction file does not belong to the network.
    """

    def hessian(_network: nn.Module, _count: int) -> Hessian:
        raise InvalidRequest("Eigenvectors of the Hessian need data; project on other directions.", field="plane")

    check_plane(request.plane, request.checkpoint)
    derived = _derived(request, _Maker(request, tensors, checkpoints, hessian), files)
    x, y = directions_for(request, load(request.architecture, tensors), derived)
    return DerivedDirections([t.numpy() for t in x], None if y is None else [t.numpy() for t in y], derived.about)


def _derived(request: SurfaceRequest, maker: _Maker, files: DirectionArrays | None) -> DerivedDirections:
    made: dict[str, list[np.ndarray] | None] = {"x": None, "y": None}
    for axis, spec in request.plane.specs.items():
        if isinstance(spec, FileDirection):
            if files is None:
                raise InvalidRequest("The request takes a direction from a file, but none was given.", field=f"plane.{axis}")
            made[axis] = None if files is None else files.x if axis == "x" else files.y
        else:
            made[axis] = maker.make(spec, axis)
    derived = DerivedDirections(made["x"] or [], made["y"])
    return dataclasses.replace(derived, about=maker.about(derived))


class _Maker:
    """Makes the directions of one request.

    Args:
        request: The question.
        tensors: The checkpoint's names and arrays, in the file's order.
        checkpoints: Reads the other checkpoints that the request names.
        hessian: Makes the Hessian of a network over so many examples.
        should_stop: Asked before every step of what takes long.
    """

    def __init__(
        self,
        request: SurfaceRequest,
        tensors: Mapping[str, np.ndarray],
        checkpoints: CheckpointReader | None,
        hessian: Callable[[nn.Module, int], Hessian],
        should_stop: Callable[[], bool] | None = None,
    ) -> None:
        self._request, self._checkpoints, self._hessian, self._should_stop = request, checkpoints, hessian, should_stop
        self._shapes = {name: tuple(array.shape) for name, array in tensors.items()}
        self._how = request.plane.normalisation
        self._module = load(request.architecture, tensors)
        self._hessians: dict[int, Hessian] = {}
        self._pairs: dict[tuple[int, bool], list[Eigenpair]] = {}
        self._facts: dict[str, float] = {}

    def make(self, spec: DirectionSpec, axis: str) -> list[np.ndarray] | None:
        """The arrays of a direction; None if it is random."""
        if isinstance(spec, TowardsDirection):
            other = self._network(spec.checkpoint)
            if spec.aligned:
                self._align(other, axis)
            return [tensor.numpy() for tensor in difference(self._module, other, self._how)]
        if isinstance(spec, PrincipalDirection):
            return self._run.principal(spec.index, f"plane.{axis}.index")
        if isinstance(spec, HessianDirection):
            hessian, pair = self._eigenvector(spec, f"plane.{axis}.index")
            facts = {"eigenvalue": pair.value, "residual": pair.residual, "hessian_examples": hessian.examples}
            self._facts |= {f"{axis}_{name}": value for name, value in facts.items()}
            return hessian.direction(pair.vector)
        return None

    def about(self, derived: DerivedDirections) -> dict[str, Any]:
        """What the provenance says of the directions."""
        about: dict[str, Any] = {"directions": self._facts} if self._facts else {}
        if self._request.plane.run:
            x, y = directions_for(self._request, self._module, derived)
            about["trajectory"] = {"checkpoints": self._run_ids, **self._run.seen_along(x, y)}
        return about

    def _align(self, other: nn.Module, axis: str) -> None:
        """Puts the other network's hidden units into the order that is nearest to θ*."""
        symmetry = symmetry_of(self._request.architecture, self._shapes, f"plane.{axis}.aligned")
        own, theirs = ({name: t.numpy() for name, t in net.state_dict().items()} for net in (self._module, other))
        found = align(symmetry, own, theirs, self._should_stop, f"plane.{axis}.checkpoint")
        moved = permuted(symmetry, theirs, found.orders)
        other.load_state_dict({name: torch.from_numpy(array) for name, array in moved.items()})
        facts = {
            "unaligned_distance": found.distance_before,
            "aligned_distance": found.distance,
            "units": found.units,
            "units_moved": found.moved,
        }
        self._facts |= {f"{axis}_{name}": value for name, value in facts.items()}

    def _eigenvector(self, spec: HessianDirection, field: str) -> tuple[Hessian, Eigenpair]:
        """What is asked for, with the Hessian that it is of."""
        if spec.examples not in self._hessians:  # both axes share one, where they are over the same examples
            self._hessians[spec.examples] = self._hessian(self._module, spec.examples)
        hessian = self._hessians[spec.examples]
        kin = [
            abs(other.index)
            for other in self._request.plane.specs.values()
            if isinstance(other, HessianDirection) and other.index * spec.index > 0 and other.examples == spec.examples
        ]
        key = (spec.examples, spec.index > 0)
        if key not in self._pairs:  # those of both axes at once, where they are of one end
            self._pairs[key] = hessian.eigenpairs(max(kin), field, smallest=spec.index < 0)
        return hessian, self._pairs[key][abs(spec.index) - 1]

    @property
    def _run_ids(self) -> list[str]:
        """The checkpoints of the run; θ*, which ends it, is the last unless it is named."""
        named, own = list(self._request.plane.run), self._request.checkpoint
        return named if own in named else [*named, own]

    @cached_property
    def _run(self) -> Run:
        own, ids = self._request.checkpoint, self._run_ids
        networks = {checkpoint: self._module if checkpoint == own else self._network(checkpoint) for checkpoint in set(ids)}
        return Run.of(self._module, [networks[checkpoint] for checkpoint in ids], self._how)

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
