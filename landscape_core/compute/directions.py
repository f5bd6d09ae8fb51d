"""From a recipe to parameter-shaped tensors.

A direction has one tensor for each of the network's parameters in `parameters()` order (`of="weights"`), or one for each
entry of its `state_dict()` (`of="states"`), as in the direction files of Li et al. 2018. All are on the CPU, and float32 for
networks of float32.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn

from landscape_core.compute.normalization import normalise, transposed_groups
from landscape_core.errors import DirectionsRejected, InvalidRequest
from landscape_core.requests import DirectionSpec, FileDirection, Normalisation, PlaneSpec, RandomDirection, SurfaceRequest

PARALLEL = 1e-6
"""A direction of which less than this share is at right angles to another is the same line: float32 knows no better."""


@runtime_checkable
class DirectionArrays(Protocol):
    """What a direction file holds: `x` for `plane.x`, `y` for `plane.y`, each a list of arrays; None where it has none.

    Example:
        >>> from landscape_core.reading import DirectionsContents
        >>> isinstance(DirectionsContents([np.ones(3, np.float32)]), DirectionArrays)
        True
    """

    @property
    def x(self) -> list[np.ndarray]:
        """One array for each moved tensor, in order."""

    @property
    def y(self) -> list[np.ndarray] | None:
        """The same for the second direction; None for a curve."""


def moved_tensors(module: nn.Module, normalisation: Normalisation) -> dict[str, Tensor]:
    """The network's own tensors that a direction moves, by name, in the direction's order.

    For `of="states"` these are all entries of the `state_dict`: batch norm's running statistics, and its integer counters.
    """
    if normalisation.of == "weights":
        return dict(module.named_parameters())
    return {name: value for name, value in module.state_dict(keep_vars=True).items() if isinstance(value, Tensor)}


def moving(tensors: Mapping[str, Tensor]) -> list[bool]:
    """Which of the tensors a direction really moves: those of floating numbers, each once, under its first name.

    Args:
        tensors: From `moved_tensors`. Integer and bool buffers stay, and a tied weight moves along its first name's direction.
    """
    seen: set[int] = set()
    found = []
    for tensor in tensors.values():
        found.append(tensor.is_floating_point() and id(tensor) not in seen)
        seen.add(id(tensor))
    return found


def tensor_seed(seed: int, name: str) -> int:
    """The seed of one tensor's generator: the first 8 bytes, big-endian, of the SHA-256 of `<seed>:<name>`.

    So a tensor's direction depends on its name alone: not on construction order, device, or what else the network has.
    """
    return int.from_bytes(hashlib.sha256(f"{seed}:{name}".encode()).digest()[:8], "big")


def draw(
    spec: DirectionSpec, module: nn.Module, normalisation: Normalisation, arrays: Sequence[np.ndarray] | None = None
) -> list[Tensor]:
    """The direction that a recipe stands for.

    A random direction is Gaussian per tensor (`tensor_seed`) and scaled to the network. Any other is used as it is given
    (from a file, or by `derivation.derive`), once its number of tensors and every shape have been checked.

    Args:
        spec: The recipe.
        module: The network, under its catalogue names; a random direction is scaled on the CPU, wherever the network is.
        normalisation: How a random direction is scaled, and which tensors move.
        arrays: One for each tensor, in order, for a direction that is not random.

    Returns:
        One tensor for each of `moved_tensors`, in that order: float32, or float64 where network and array are.

    Raises:
        DirectionsRejected: The arrays do not belong to the network.
        InvalidRequest: A direction that is not random was asked for, and not given.

    Example:
        >>> network = nn.Linear(3, 2)
        >>> weight, bias = draw(RandomDirection(seed=1), network, Normalisation())
        >>> weight.shape, bias.tolist()
        (torch.Size([2, 3]), [0.0, 0.0])
        >>> bool(torch.allclose(weight.norm(dim=1), network.weight.norm(dim=1)))
        True
    """
    tensors = moved_tensors(module, normalisation)
    if isinstance(spec, RandomDirection):
        groups = transposed_groups(module)
        return [_random(spec.seed, name, w, normalisation, groups.get(name)) for name, w in tensors.items()]
    if arrays is None:
        what = "from a file" if isinstance(spec, FileDirection) else f"of the kind {spec.kind}"
        raise InvalidRequest(f"The request takes a direction {what}, but none was given.", field="plane")
    check_arrays(arrays, tensors, normalisation)
    return [
        torch.from_numpy(np.array(array, np.float64 if w.dtype == torch.float64 and array.dtype == np.float64 else np.float32))
        for array, w in zip(arrays, tensors.values(), strict=True)
    ]


def _random(seed: int, name: str, w: Tensor, normalisation: Normalisation, groups: int | None) -> Tensor:
    if w.is_complex():  # a buffer, such as rotary frequencies, which does not move
        return torch.zeros(w.shape)
    generator = torch.Generator().manual_seed(tensor_seed(seed, name))
    exact = w.detach().to("cpu", torch.float64 if w.dtype == torch.float64 else torch.float32)
    return normalise(torch.randn(w.shape, generator=generator), exact, normalisation, groups)


def check_arrays(
    arrays: Sequence[np.ndarray | Tensor],
    tensors: Mapping[str, Tensor],
    normalisation: Normalisation,
    source: str = "direction file",
) -> None:
    """Passes when arrays have the number and shapes of a network's tensors.

    Args:
        arrays: The direction.
        tensors: From `moved_tensors`.
        normalisation: Says which of the network's tensors move, for the message.
        source: Where the arrays are from, for the message.

    Raises:
        DirectionsRejected: If not.
    """
    if len(arrays) != len(tensors):
        raise DirectionsRejected(
            f"The {source} has {len(arrays)} tensors, but the network has {len(tensors)} {normalisation.of}; "
            f"give a {source} made for this network, and choose `of` (weights or states) as it was made."
        )
    for index, (array, (name, tensor)) in enumerate(zip(arrays, tensors.items(), strict=True)):
        if tuple(array.shape) != tuple(tensor.shape):
            raise DirectionsRejected(
                f"Tensor {index} of the {source} has shape {tuple(array.shape)}, but the network's {name} has "
                f"{tuple(tensor.shape)}; give a {source} made for this network."
            )


def directions_for(
    request: SurfaceRequest, module: nn.Module, arrays: DirectionArrays | None = None
) -> tuple[list[Tensor], list[Tensor] | None]:
    """The request's directions (δ, η); η is None for a curve.

    Args:
        request: The question.
        module: The network, on the CPU, under its catalogue names.
        arrays: What the direction file holds, or `derivation.derive` made: `plane.x` takes its x, `plane.y` its y.

    Returns:
        δ and η, one tensor for each of `moved_tensors`, in that order.

    Raises:
        DirectionsRejected: The file does not belong to the network, or has no second direction where one is asked for.
        InvalidRequest: A direction that is not random was asked for, and not given.

    Example:
        >>> request = SurfaceRequest.model_validate({
        ...     "checkpoint": "0" * 64, "architecture": {"name": "mlp"}, "data": {"dataset": "mine"}, "loss": "mse",
        ...     "plane": {"x": {"kind": "random", "seed": 1}, "y": {"kind": "random", "seed": 2}},
        ...     "grid": {a: {"start": -1, "stop": 1, "points": 3} for a in "xy"},
        ... })
        >>> network = nn.Linear(3, 2)
        >>> x, y = directions_for(request, network)
        >>> [tuple(tensor.shape) for tensor in x], bool(x[1].any())  # biases are left where they are
        ([(2, 3), (2,)], False)
        >>> bool(torch.allclose(x[0].norm(dim=1), network.weight.norm(dim=1)))  # filter by filter
        True
    """
    return plane_directions(request.plane, module, arrays)


def plane_directions(
    plane: PlaneSpec, module: nn.Module, arrays: DirectionArrays | None = None
) -> tuple[list[Tensor], list[Tensor] | None]:
    """The directions (δ, η) of a plane through a network; η is None for a curve.

    Args:
        plane: The recipes.
        module: The network.
        arrays: What the directions that are not random are made of: `plane.x` takes its x, `plane.y` its y.

    Raises:
        DirectionsRejected: The arrays do not belong to the network, or a file has no second direction where one is asked for.
        InvalidRequest: A direction that is not random was asked for, and not given; or a random one moves nothing.
    """
    how = plane.normalisation
    x = draw(plane.x, module, how, None if arrays is None else arrays.x)
    check_moves(plane.x, x, module, how, "x")
    if plane.y is None:
        return x, None
    if isinstance(plane.y, FileDirection) and arrays is not None and arrays.y is None:
        raise DirectionsRejected(
            "The direction file has an xdirection but no ydirection, so it gives a curve; give a file with both for a surface."
        )
    y = draw(plane.y, module, how, None if arrays is None else arrays.y)
    check_moves(plane.y, y, module, how, "y")
    return x, orthogonalised(x, y, moving(moved_tensors(module, how))) if plane.orthogonal else y


def check_moves(spec: DirectionSpec, direction: Sequence[Tensor], module: nn.Module, how: Normalisation, axis: str) -> None:
    """Passes when a direction moves something.

    Args:
        spec: Its recipe; only random ones can come out empty unasked.
        direction: What was drawn.
        module: The network.
        how: How it was scaled.
        axis: x or y.

    Raises:
        InvalidRequest: It is zero everywhere, so that the surface would be flat for no reason of the loss.
    """
    tensors = moved_tensors(module, how)
    if not isinstance(spec, RandomDirection) or any(
        moves and bool(tensor.any()) for tensor, moves in zip(direction, moving(tensors), strict=True)
    ):
        return
    reason = "every weight that it is scaled to is zero; choose the norm none"
    if how.ignore == "biasbn" and all(tensor.dim() <= 1 for tensor in tensors.values()):
        reason = "all tensors have at most one dimension, which ignore biasbn leaves where they are; choose ignore none"
    raise InvalidRequest(f"Direction {axis} moves nothing: {reason}.", field="plane.normalisation")


def orthogonalised(x: Sequence[Tensor], y: Sequence[Tensor], moves: Sequence[bool]) -> list[Tensor]:
    """η − (⟨δ, η⟩ / ⟨δ, δ⟩) δ: the second direction without its component along the first (Gram-Schmidt).

    The products are float64, over all tensors that move together; each tensor keeps its type. Filters of the result do not
    have the network's norms any more, but ‖η_i − c δ_i‖ with the c above, which is about the cosine of the two directions.

    Args:
        x: δ, one tensor for each moved tensor.
        y: η likewise.
        moves: From `moving`; what does not move has no part in it.

    Raises:
        InvalidRequest: They are parallel as far as float32 can tell, one has no length, or a value is not finite.

    Example:
        >>> orthogonalised([torch.tensor([2.0, 0.0])], [torch.tensor([3.0, 4.0])], [True])
        [tensor([0., 4.])]
    """
    pairs = [(a.double(), b.double()) for a, b, chosen in zip(x, y, moves, strict=True) if chosen]
    xx = sum(float((a * a).sum()) for a, _ in pairs)
    xy = sum(float((a * b).sum()) for a, b in pairs)
    yy = sum(float((b * b).sum()) for _, b in pairs)
    if not np.isfinite([xx, xy, yy]).all():
        raise InvalidRequest(
            "The directions hold values that are not finite, so they cannot be made orthogonal; leave out orthogonal.",
            field="plane.orthogonal",
        )
    share = xy / xx if xx else 0.0
    rest = sum(float((b - share * a).square().sum()) for a, b in pairs) if xx else 0.0
    if rest <= PARALLEL**2 * yy:
        raise InvalidRequest(
            "The directions are parallel, or one has no length, so that nothing of the second is left at right angles to the "
            "first; give another for y.",
            field="plane.orthogonal",
        )
    taken = (b - share * a for a, b in pairs)
    return [next(taken).to(b.dtype) if chosen else b for b, chosen in zip(y, moves, strict=True)]
