"""The way of a training run through parameter space, seen from its end θ*: its principal directions, its places on a plane.

All arithmetic is float64. The number of checkpoints K is small beside the number of parameters, so that the principal
directions are found from the K x K matrix of inner products, tensor by tensor.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float64
from numpy.typing import ArrayLike

from landscape_core.errors import InvalidRequest
from landscape_core.requests import Normalisation

NEGLIGIBLE = 1e-12
"""A principal direction with less than this share of the first one's variance is rounding."""


class Run:
    """The differences θ_k − θ* of checkpoints to the network, in the floating tensors that move.

    Batch norm's counters have no part in it: they differ by thousands, and nothing is moved by them.

    Args:
        origin: The tensors of θ* that move, in the directions' order.
        places: Those of each θ_k, in the run's order; θ* itself may be among them.
        normalisation: With `ignore="biasbn"` the variance is that of tensors of two dimensions and more.
    """

    def __init__(
        self, origin: Sequence[np.ndarray], places: Sequence[Sequence[np.ndarray]], normalisation: Normalisation
    ) -> None:
        self._origin, self._places = list(origin), [list(place) for place in places]
        self._floating = [index for index, array in enumerate(self._origin) if array.dtype.kind == "f"]
        least = 0 if normalisation.ignore == "none" else 2
        self._varying = [index for index in self._floating if self._origin[index].ndim >= least]

    def principal(self, index: int, field: str) -> list[np.ndarray]:
        """The principal direction of this index, 1 for that of most variance.

        Principal components of the rows θ_k − θ* with their mean taken off (Li et al. 2018, section 7.2; `projection.py`).

        Args:
            index: Which.
            field: The part of the request that asks for it.

        Returns:
            One float32 array for each moved tensor, of length one in all; the entry of largest magnitude is positive.

        Raises:
            InvalidRequest: The run has not so many directions, or holds values that are not finite.
        """
        gram = self._gram
        if not np.isfinite(gram).all():
            raise InvalidRequest(
                "The checkpoints hold values that are not finite, so their run has no principal directions; leave those out.",
                field=field.rpartition(".")[0] + ".checkpoints",
            )
        variances, vectors = np.linalg.eigh(gram)
        rank = int((variances > max(variances[-1], 0.0) * NEGLIGIBLE).sum())
        if index > rank:
            raise InvalidRequest(
                f"The run of {len(gram)} checkpoints has {rank} principal direction{'' if rank == 1 else 's'}, so there is no "
                f"number {index}; name more checkpoints, or ask for a lower number.",
                field=field,
            )
        return self._direction(vectors[:, -index])

    def seen_along(self, x: Sequence[ArrayLike], y: Sequence[ArrayLike] | None) -> dict[str, Any]:
        """Where the checkpoints stand relative to the plane of these directions.

        Args:
            x: δ, one array (or tensor on the CPU) for each moved tensor.
            y: η likewise; None for a curve.

        Returns:
            `explained_variance_ratio`: the share of the run's variance along each direction (of directions that are not at
            right angles to each other the shares do not add up). `explained_variance`: that variance itself, n − 1 in the
            denominator. `coordinates`: for each checkpoint its place (α, β) in grid
            units, by least squares. `off_plane`: for each its distance from that place, in parameter space. What is not
            finite is None.
        """
        directions = [[np.asarray(tensor) for tensor in direction] for direction in ((x,) if y is None else (x, y))]
        spanned = np.stack([self._flat(direction) for direction in directions], axis=1)
        orthonormal, triangle = np.linalg.qr(spanned) if np.isfinite(spanned).all() else (np.nan * spanned, None)
        coordinates, distances, origin = [], [], self._flat(self._origin)
        for place in self._places:
            step = self._flat(place) - origin
            if triangle is None or not np.isfinite(step).all():
                at = np.full(len(directions), np.nan)
            else:
                at = np.linalg.lstsq(triangle, orthonormal.T @ step, rcond=None)[0]
            coordinates.append([_finite(value) for value in at])
            distances.append(_finite(float(np.linalg.norm(step - spanned @ at))))
        shares = [_finite(self._share(direction)) for direction in directions]
        spread = self._variance()
        variance = [None if share is None else _finite(share * spread) for share in shares]
        return {
            "explained_variance_ratio": shares,
            "explained_variance": variance,
            "coordinates": coordinates,
            "off_plane": distances,
        }

    def _centred(self, tensor: int) -> Float64[np.ndarray, "checkpoints entries"]:
        """The differences in one tensor, with their mean taken off."""
        steps = np.stack([place[tensor].ravel() for place in self._places], dtype=np.float64)
        steps -= self._origin[tensor].ravel()  # in place, and no copy of it anywhere: it may be most of a run
        steps -= steps.mean(axis=0)
        return steps

    @cached_property
    def _gram(self) -> Float64[np.ndarray, "checkpoints checkpoints"]:
        """The inner products of the centred differences, over the tensors that the variance is of."""
        total = np.zeros((len(self._places), len(self._places)))
        for tensor in self._varying:
            centred = self._centred(tensor)
            with np.errstate(invalid="ignore", over="ignore"):
                total += centred @ centred.T
        return total

    def _direction(self, weights: Float64[np.ndarray, " checkpoints"]) -> list[np.ndarray]:
        """The combination of the centred differences with these weights, at length one."""
        parts = [
            self._centred(tensor).T @ weights if tensor in self._varying else np.zeros(array.size)
            for tensor, array in enumerate(self._origin)
        ]
        return unit_direction(parts, self._origin)

    def _share(self, direction: Sequence[np.ndarray]) -> float:
        """The share of the variance along a direction, both in the tensors that the variance is of."""
        along, total, square = np.zeros(len(self._places)), 0.0, 0.0
        for tensor in self._varying:
            centred, part = self._centred(tensor), direction[tensor].ravel().astype(np.float64)
            along += centred @ part
            total += float(np.square(centred, out=centred).sum())
            square += float(part @ part)
        return float(along @ along) / (square * total) if square * total else np.nan

    def _variance(self) -> float:
        """The run's variance in all, n − 1 in the denominator."""
        with np.errstate(invalid="ignore", over="ignore"):
            total = sum(float(np.square(steps, out=steps).sum()) for steps in map(self._centred, self._varying))
        return total / max(1, len(self._places) - 1)

    def _flat(self, arrays: Sequence[np.ndarray]) -> Float64[np.ndarray, " entries"]:
        return np.concatenate([arrays[tensor].ravel() for tensor in self._floating]).astype(np.float64)


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def unit_direction(parts: Sequence[np.ndarray], like: Sequence[np.ndarray]) -> list[np.ndarray]:
    """A direction of length one whose entry of largest magnitude is positive, so that its sign is nobody's choice.

    Args:
        parts: float64, for each moved tensor its entries (n,); not all zero.
        like: Arrays of the moved tensors' shapes.

    Returns:
        float32, in these shapes.

    Example:
        >>> unit_direction([np.array([3.0]), np.array([-4.0])], [np.zeros(1), np.zeros(1)])
        [array([-0.6], dtype=float32), array([0.8], dtype=float32)]
    """
    flat = np.concatenate(parts)
    flat = flat / (np.linalg.norm(flat) * np.sign(flat[np.abs(flat).argmax()]))
    ends = np.cumsum([part.size for part in parts])[:-1]
    return [piece.astype(np.float32).reshape(array.shape) for piece, array in zip(np.split(flat, ends), like, strict=True)]


MARGIN = 0.15
"""How far a range reaches beyond what it is to hold at least, as a share of that."""


def range_around(places: Sequence[float], points: int) -> tuple[float, float] | None:
    """A range of coordinates that holds places and 0 with a margin on both sides, in round steps, one of them at 0.

    The network itself stands at 0: a grid without it would not know the loss of the network that it is around.

    Args:
        places: Coordinates along one direction, in its units.
        points: Of the grid along that direction.

    Returns:
        Where the range starts and stops; None if all places are 0, one is not finite, or there are fewer than five points.

    Example:
        >>> range_around([-7.31, 0.0, 1.42], 25)  # in steps of 0.49
        (-8.82, 2.94)
        >>> range_around([0.0, 0.0], 25) is None
        True
    """
    low, high = min([0.0, *places]), max([0.0, *places])
    extent = high - low
    if points < FEWEST or not (math.isfinite(extent) and extent > 0):
        return None
    low, high = low - MARGIN * extent, high + MARGIN * extent
    digits = 1 - math.floor(math.log10((high - low) / (points - 1)))
    tick = math.ceil(round((high - low) / (points - 1) * 10.0**digits, 6))
    while (before := math.ceil(-low / (step := tick / 10.0**digits))) + math.ceil(high / step) > points - 1:
        tick += 1
    spare = points - 1 - before - math.ceil(high / step)
    before += spare // 2
    return round(-before * step, digits), round((points - 1 - before) * step, digits)


FEWEST = 5
"""Points of an axis below which no range is proposed."""
