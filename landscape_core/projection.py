"""A training run as a plane shows it: where each checkpoint stands, how far off it is, and its loss beside the plane's there.

A surface's provenance holds it under `trajectory`; files may hold one alone (`formats.projections`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float64

from landscape_core.results import Surface

MOST_CHECKPOINTS = 10_000
"""Longest run that is read from a file; more than can be asked for, since others compute too."""

MEASURED = ("own_loss", "own_accuracy", "plane_loss", "plane_accuracy")
"""What may be known of each checkpoint beside its place."""


@dataclass(frozen=True)
class Projection:
    """A training run on a plane or line, in its order. What is not known or not finite is NaN.

    Attributes:
        coordinates: (checkpoints, axes) place of each by least squares, in grid units.
        off_plane: (checkpoints,) its distance from there, in parameter space.
        explained_variance_ratio: (axes,) share of the run's variance along each direction.
        own_loss: (checkpoints,) the checkpoint's own mean loss over the request's examples.
        own_accuracy: (checkpoints,) percent.
        plane_loss: (checkpoints,) mean loss of the plane at exactly these coordinates.
        plane_accuracy: (checkpoints,) percent.
        names: File name of each checkpoint; "" if unknown.
        checkpoints: Id of each; "" if unknown.

    Example:
        >>> run = Projection.read({"coordinates": [[2.0, 1.0], [0.0, 0.0]], "off_plane": [0.5, 0.0]}, axes=2)
        >>> len(run), run.coordinates.tolist(), run.off_plane.tolist()
        (2, [[2.0, 1.0], [0.0, 0.0]], [0.5, 0.0])
    """

    coordinates: Float64[np.ndarray, "checkpoints axes"]
    off_plane: Float64[np.ndarray, " checkpoints"]
    explained_variance_ratio: Float64[np.ndarray, " axes"]
    own_loss: Float64[np.ndarray, " checkpoints"]
    own_accuracy: Float64[np.ndarray, " checkpoints"]
    plane_loss: Float64[np.ndarray, " checkpoints"]
    plane_accuracy: Float64[np.ndarray, " checkpoints"]
    names: tuple[str, ...]
    checkpoints: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.coordinates)

    @classmethod
    def read(cls, trajectory: Any, axes: int) -> Projection | None:
        """The run in a provenance's `trajectory`; None if there is none in good order.

        Args:
            trajectory: As found, perhaps in a stranger's file.
            axes: How many coordinates a place has: 1 on a curve, 2 on a surface.
        """
        places = trajectory.get("coordinates") if isinstance(trajectory, Mapping) else None
        if not isinstance(places, list) or not 1 <= len(places) <= MOST_CHECKPOINTS:
            return None
        if not all(isinstance(place, list) and len(place) == axes for place in places):
            return None
        count = len(places)
        listed = {name: _numbers(trajectory.get(name), count) for name in ("off_plane", *MEASURED)}
        shares = _numbers(trajectory.get("explained_variance_ratio"), axes)
        names, ids = (_texts(trajectory.get(name), count) for name in ("names", "checkpoints"))
        coordinates = np.array([_numbers(place, axes) for place in places])
        return cls(coordinates=coordinates, explained_variance_ratio=shares, names=names, checkpoints=ids, **listed)

    def as_provenance(self) -> dict[str, Any]:
        """The same as JSON-able lists, in which None stands for what is not known."""
        shares, places = self.explained_variance_ratio, self.coordinates
        known: dict[str, Any] = {
            "explained_variance_ratio": [_known(share) for share in shares],
            "coordinates": [[_known(value) for value in place] for place in places],
            "off_plane": [_known(value) for value in self.off_plane],
        }
        known |= {
            name: [_known(value) for value in values] for name in MEASURED if not np.isnan(values := getattr(self, name)).all()
        }
        texts = {"checkpoints": self.checkpoints, "names": self.names}
        return {name: list(values) for name, values in texts.items() if any(values)} | known

    def called(self, index: int) -> str:
        """As people call a checkpoint of the run: `3 of 10, epoch_03.pt`.

        Args:
            index: From 0.
        """
        name = self.names[index]
        return f"{index + 1} of {len(self)}{f', {name}' if name else ''}"

    def inside(self, x: np.ndarray, y: np.ndarray | None) -> np.ndarray:
        """(checkpoints,) whether each stands where a grid reaches.

        Args:
            x: Coordinates of the grid along the first direction.
            y: Along the second; None for a curve.
        """
        with np.errstate(invalid="ignore"):
            found = (self.coordinates[:, 0] >= x[0] - 1e-9) & (self.coordinates[:, 0] <= x[-1] + 1e-9)
            if y is not None:
                found &= (self.coordinates[:, 1] >= y[0] - 1e-9) & (self.coordinates[:, 1] <= y[-1] + 1e-9)
        return found


def run_of(surface: Surface) -> Projection | None:
    """The training run that a surface's provenance tells of; None if there is none in good order.

    Args:
        surface: Perhaps imported.

    Example:
        >>> from landscape_core import Surface
        >>> one, n = np.ones((1, 1)), np.ones((1, 1), np.int64)
        >>> told = {"trajectory": {"coordinates": [[1.5], [0.0]]}}
        >>> curve = Surface(np.zeros(1), None, one, n.astype(np.uint8), one, n, one, provenance=told)
        >>> run_of(curve).coordinates.ravel().tolist()
        [1.5, 0.0]
    """
    return Projection.read(surface.provenance.get("trajectory"), 1 if surface.is_curve else 2)


def _numbers(values: Any, count: int) -> Float64[np.ndarray, " count"]:
    """So many numbers; NaN for each that is none, and all of them if it is no such list."""
    if not isinstance(values, Sequence) or isinstance(values, str) or len(values) != count:
        return np.full(count, np.nan)
    return np.array([_number(value) for value in values])


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return math.nan
    try:
        found = float(value)
    except OverflowError:
        return math.nan
    return found if math.isfinite(found) else math.nan


def _texts(values: Any, count: int) -> tuple[str, ...]:
    if not isinstance(values, Sequence) or isinstance(values, str) or len(values) != count:
        return ("",) * count
    return tuple(value[:200] if isinstance(value, str) else "" for value in values)


def _known(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
