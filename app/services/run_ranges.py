"""How far a training run reaches along its principal directions, so that the form can propose ranges that hold it.

The numbers are those that the surface's provenance will hold. They come from the canonical files of the run's checkpoints,
which are read here without torch; a run that is too large for that is left to the person.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from pydantic import Field

from app.services.checkpoints import Checkpoints
from landscape_core import catalogue
from landscape_core.errors import InvalidRequest
from landscape_core.reading import read_canonical
from landscape_core.requests import ArchitectureSpec, Message, Normalisation, PlaneSpec, PrincipalDirection
from landscape_core.training_run import Run
from worker.blobs import checkpoint_key

MOST_NUMBERS = 50_000_000
"""Numbers of all checkpoints and of `MORE` like the largest that are looked at here: some 500 MB of memory for a moment."""

MORE = 8
"""Checkpoints whose memory the directions take, and what they are made with, whatever the run's length."""

MOST_PRODUCTS = 4_000_000_000
"""Multiplications between checkpoints, a few seconds."""

STATISTICS = ("running_mean", "running_var", "num_batches_tracked")
"""How names of batch norm's statistics end, which are no weights."""

Ends = tuple[float, float]


class Reach(Message):
    """How far a run reaches, in units of the directions; `problem` says why that is not known.

    Attributes:
        places: For each axis the least and the largest coordinate of the run, the network's own among them.
    """

    places: dict[str, Ends] = Field(default_factory=dict)
    problem: str = ""


class RunRanges(Checkpoints):
    """What a training run is, as a plane of its own directions shows it."""

    def run_reach(self, checkpoint: str, architecture: ArchitectureSpec, plane: PlaneSpec) -> Reach:
        """How far the run of a plane's principal directions reaches along them.

        Args:
            checkpoint: The network's own, where the plane has its origin.
            architecture: Of all of them.
            plane: With principal directions only.

        Raises:
            LandscapeError: The checkpoints are not here, or of another network.
        """
        ids = [*plane.run] if checkpoint in plane.run else [*plane.run, checkpoint]
        sizes = [self._numbers(one) for one in ids]
        if sum(sizes) + MORE * max(sizes) > MOST_NUMBERS or sum(sizes) * len(ids) > MOST_PRODUCTS:
            return Reach(problem="The run is too large to be looked at beforehand; a surface of few cells shows where it lies.")
        places = {one: self._moved(one, architecture, plane.normalisation) for one in set(ids)}
        origin = places[checkpoint]
        if any(_shapes(place) != _shapes(origin) for place in places.values()):
            raise InvalidRequest("The checkpoints of the run are of different networks.", field="plane.trajectory")
        run = Run([*origin.values()], [[places[one][name] for name in origin] for one in ids], plane.normalisation)
        return _reach(run, plane)

    def _numbers(self, checkpoint: str) -> int:
        """How many numbers a checkpoint holds, from its report: each has its own, as it may be of another network."""
        shapes = self.checkpoint_report(checkpoint, "plane.trajectory")[1].shapes
        return sum(math.prod(shape) for shape in shapes.values())

    def _moved(self, checkpoint: str, architecture: ArchitectureSpec, how: Normalisation) -> dict[str, np.ndarray]:
        """The tensors of a checkpoint that move, by the network's names."""
        key = checkpoint_key(checkpoint)
        path = self.blobs.local_path(key)
        if path is not None:
            return moved(architecture, read_canonical(path), how)
        with tempfile.TemporaryDirectory(prefix="loss-atlas-") as folder:
            copy = Path(folder) / "checkpoint"
            self.blobs.fetch(key, copy)
            return moved(architecture, read_canonical(copy), how)


def moved(architecture: ArchitectureSpec, tensors: Mapping[str, np.ndarray], how: Normalisation) -> dict[str, np.ndarray]:
    """The floating tensors that a direction may move, each once, by the network's names.

    Args:
        architecture: It fits.
        tensors: The file's names and arrays, in the file's order.
        how: With `of="weights"`, batch norm's statistics stay.

    Raises:
        InvalidRequest: It does not fit.
    """
    fits = catalogue.fit(architecture, _shapes(tensors))
    names = {file: network for network, file in fits.renames.items()}
    return {
        names.get(name, name): array
        for name, array in sorted(tensors.items(), key=lambda item: names.get(item[0], item[0]))
        if array.dtype.kind == "f"
        and name not in fits.copies
        and not (how.of == "weights" and names.get(name, name).endswith(STATISTICS))
    }


def _reach(run: Run, plane: PlaneSpec) -> Reach:
    try:
        directions = {
            axis: run.principal(spec.index, f"plane.{axis}.index")
            for axis, spec in plane.specs.items()
            if isinstance(spec, PrincipalDirection)
        }
    except InvalidRequest as error:
        return Reach(problem=str(error))
    coordinates = np.array(run.seen_along(directions["x"], directions.get("y"))["coordinates"], dtype=np.float64)
    places: dict[str, Ends] = {axis: _extent([0.0, *coordinates[:, column]]) for column, axis in enumerate(directions)}
    return Reach(places=places)


def _shapes(tensors: Mapping[str, np.ndarray]) -> dict[str, tuple[int, ...]]:
    return {name: array.shape for name, array in tensors.items()}


def _extent(values: Sequence[float]) -> Ends:
    return float(np.nanmin(values)), float(np.nanmax(values))
