"""Directions that follow from something other than a seed: from a file, from other checkpoints, from the loss itself.

They are made once for a surface, before it is measured, and used as they are from then on.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from landscape_core.catalogue import check_companion, check_plane, check_request
from landscape_core.catalogue.networks import symmetry_of
from landscape_core.compute.alignment import Alignment, align, permuted
from landscape_core.compute.architectures import load
from landscape_core.compute.curvature import Hessian
from landscape_core.compute.datasets import Examples
from landscape_core.compute.devices import compute_exactly
from landscape_core.compute.direction_making import DirectionMaker, between
from landscape_core.compute.directions import DirectionArrays, directions_for, moved_tensors
from landscape_core.errors import InvalidRequest
from landscape_core.requests import FileDirection, Normalisation, SurfaceRequest

CheckpointReader = Callable[[str], Mapping[str, np.ndarray]]
"""Gives a checkpoint's names and arrays, in the file's order, by the id that a request names it by."""


@dataclass(frozen=True)
class DerivedDirections:
    """What directions that are not random are made of, in the form in which direction files give it.

    Attributes:
        x: One float32 array for each moved tensor; empty if `plane.x` is random.
        y: The same for `plane.y`; None if it is random or there is none.
        about: What the provenance says of them.

    Example:
        >>> DerivedDirections(x=[np.ones((2, 2), np.float32)], y=None).about
        {}
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

    Example:
        >>> request = SurfaceRequest.model_validate({
        ...     "checkpoint": "0" * 64, "architecture": {"name": "mlp"}, "data": {"dataset": "mine"}, "loss": "mse",
        ...     "plane": {"x": {"kind": "towards", "checkpoint": "1" * 64}},
        ...     "grid": {"x": {"start": -1, "stop": 1, "points": 3}},
        ... })
        >>> tensors = {"w.weight": np.eye(2, dtype=np.float32)}
        >>> examples = Examples.from_arrays(np.eye(2, dtype=np.float32), np.array([0, 1]))
        >>> others = {"1" * 64: {"w.weight": np.array([[1, 2], [0, 1]], np.float32)}}
        >>> derive(request, tensors, examples, checkpoints=others.__getitem__).x[0].tolist()
        [[0.0, 2.0], [0.0, 0.0]]
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

    Returns:
        Both directions, and in `about["trajectory"]` the run's places on the plane (in units of the directions) and its
        distances from it (in parameter space).

    Raises:
        InvalidRequest: The plane does not go with its checkpoints, or asks for the Hessian, which is of a loss.
        DirectionsRejected: The direction file does not belong to the network.

    Example:
        >>> request = SurfaceRequest.model_validate({
        ...     "checkpoint": "0" * 64, "architecture": {"name": "mlp"}, "data": {"dataset": "mine"}, "loss": "mse",
        ...     "plane": {"x": {"kind": "towards", "checkpoint": "1" * 64}, "trajectory": ["2" * 64]},
        ...     "grid": {"x": {"start": -1, "stop": 1, "points": 3}},
        ... })
        >>> tensors = {"w.weight": np.eye(2, dtype=np.float32)}
        >>> steps = {"1" * 64: 2, "2" * 64: 1}
        >>> others = {name: {"w.weight": np.array([[1, step], [0, 1]], np.float32)} for name, step in steps.items()}
        >>> seen = project(request, tensors, checkpoints=others.__getitem__).about["trajectory"]
        >>> np.abs(seen["coordinates"]).round(6).tolist(), seen["off_plane"]  # half the way, and θ* itself
        ([[0.5], [0.0]], [0.0, 0.0])
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


class _Maker(DirectionMaker):
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
        super().__init__(request.plane, request.checkpoint)
        self._request, self._checkpoints, self._hessian, self._should_stop = request, checkpoints, hessian, should_stop
        self._shapes = {name: tuple(array.shape) for name, array in tensors.items()}
        self._module = load(request.architecture, tensors)

    def tensors(self) -> Mapping[str, Tensor]:
        """The tensors of θ* that move."""
        return moved_tensors(self._module, self.plane.normalisation)

    def other(self, checkpoint: str) -> Mapping[str, Tensor]:
        """The same of another checkpoint.

        Raises:
            InvalidRequest: It is of another network, or was not given.
        """
        return moved_tensors(self._network(checkpoint), self.plane.normalisation)

    def aligned(self, checkpoint: str, axis: str) -> tuple[Mapping[str, Tensor], Alignment]:
        """The same with its hidden units in the order that is nearest to θ*.

        Raises:
            InvalidRequest: As `other`; or nothing is known of the network's hidden units.
        """
        other = self._network(checkpoint)
        symmetry = symmetry_of(self._request.architecture, self._shapes, f"plane.{axis}.aligned")
        own, theirs = ({name: t.numpy() for name, t in net.state_dict().items()} for net in (self._module, other))
        found = align(symmetry, own, theirs, self._should_stop, f"plane.{axis}.checkpoint")
        moved = permuted(symmetry, theirs, found.orders)
        other.load_state_dict({name: torch.from_numpy(array) for name, array in moved.items()})
        return moved_tensors(other, self.plane.normalisation), found

    def hessian(self, examples: int) -> Hessian:
        """The Hessian at θ* over so many examples."""
        return self._hessian(self._module, examples)

    def about(self, derived: DerivedDirections) -> dict[str, Any]:
        """What the provenance says of the directions."""
        about: dict[str, Any] = {"directions": self.facts} if self.facts else {}
        if self.plane.run:
            x, y = directions_for(self._request, self._module, derived)
            about["trajectory"] = {"checkpoints": self.run_ids, **self.run.seen_along(x, y)}
        return about

    def _network(self, checkpoint: str) -> nn.Module:
        """The network with the parameters of another checkpoint."""
        field = self.plane.named_checkpoints[checkpoint]
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
        One tensor for each of `moved_tensors`, in that order; float32, or float64 where the network is.

    Example:
        >>> a, b = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)
        >>> _ = nn.init.constant_(a.weight, 2.0), nn.init.constant_(b.weight, 5.0)
        >>> difference(a, b, Normalisation())
        [tensor([[3.]])]
    """
    return between(moved_tensors(module, normalisation), moved_tensors(other, normalisation))
