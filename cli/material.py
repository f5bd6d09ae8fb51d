"""What a computation needs from files: tensors, examples and directions, each read by the inert reader in a child process."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cli.asked import Asked
from cli.checkpoint_files import CheckpointFiles, sha256, shapes_of
from landscape_core.catalogue import check_companion, check_data, check_request
from landscape_core.errors import InvalidRequest
from landscape_core.reading import inspect_in_child
from landscape_core.requests import (
    CurvatureSpec,
    DataSlice,
    Grid,
    SurfaceRequest,
)
from landscape_core.resuming import HalfDone
from worker.settings import WorkerSettings, refuse_unknown_variables

if TYPE_CHECKING:
    from landscape_core.compute import Examples


@dataclass(frozen=True)
class Material(CheckpointFiles):
    """All that a request is computed from, and the hashes under which a request names it.

    Attributes:
        dataset: Catalogued name, or SHA-256 of the `.npz`.
        examples: The split.
        half: The half-done surface that is completed.
    """

    dataset: str
    examples: Examples
    half: HalfDone | None

    @classmethod
    def read(cls, asked: Asked, datasets: Path, folder: Path) -> Material:
        """Reads every file that the question names.

        Args:
            asked: The question.
            datasets: Where catalogued data sets are kept.
            folder: For the canonical forms of what is read.

        Raises:
            FileRejected: If a file cannot be used.
            NotFound: If the data set is not on this machine.
            InvalidRequest: If the checkpoint does not fit the architecture, or the data set has no such split.
        """
        files = CheckpointFiles.read_files(asked, folder)
        half = None if asked.resume is None else _half(asked, asked.resume, folder)
        dataset, examples = _examples(asked, datasets, folder)
        return cls(**vars(files), dataset=dataset, examples=examples, half=half)

    def request(self, asked: Asked) -> SurfaceRequest:
        """The question as everything else knows it: by hashes, and with the number of examples."""
        facts = self.examples.facts
        return SurfaceRequest(
            checkpoint=self.checkpoint,
            architecture=self.architecture,
            data=DataSlice(
                dataset=self.dataset,
                split=asked.split,  # type: ignore[arg-type]  # click offers these two
                examples=asked.examples or facts.splits.get(asked.split),
                seed=asked.seed,
                preprocessing=facts.preprocessing if asked.preprocessing is None else asked.preprocessing,
            ),
            loss=asked.loss,  # type: ignore[arg-type]  # click offers these
            metrics=asked.metrics,  # type: ignore[arg-type]  # checked when they were read
            plane=self.plane(asked),
            grid=self._grid(asked),
            batch_norm=asked.batch_norm,
            precision=asked.precision,
            budget=asked.budget,
            tolerance=asked.tolerance,
            curvature=None if asked.curvature is None else CurvatureSpec(examples=asked.curvature),
        )

    def check(self, request: SurfaceRequest, *, own: bool) -> None:
        """Passes when the request can be computed.

        Args:
            request: From `request`.
            own: Whether the network is the user's own, so that no catalogue knows what it takes.

        Raises:
            InvalidRequest: If not.
        """
        if self.half is not None:
            self.half.check_grid(request.grid)
            self.half.check_request(request)
        if own:
            if request.plane.is_derived:
                raise InvalidRequest(
                    "Directions towards other checkpoints, of a run or of the Hessian are for catalogued networks; "
                    "give a network of your own random:SEED or file:DIRECTIONS.h5.",
                    field="plane",
                )
            check_data(request, self.examples.facts)
            return
        shapes = shapes_of(self.tensors)
        check_request(request, shapes, self.examples.facts)
        called = {digest: path.name for path, digest in self.companions.items()}
        for digest, field in request.plane.named_checkpoints.items():
            check_companion(request.architecture, shapes, shapes_of(self.checkpoint_tensors(digest)), called[digest], field)

    def _grid(self, asked: Asked) -> Grid:
        if self.half is None:
            assert asked.grid is not None  # noqa: S101  there is a default
            return asked.grid
        return self.half.grid if asked.grid is None else asked.grid

    def notes(self, asked: Asked) -> list[str]:
        """What was chosen because the question left it open."""
        found = []
        if asked.architecture is None:
            found.append(f"Architecture: {self.architecture}. {self.note}")
        if asked.preprocessing is None:
            facts = self.examples.facts
            found.append(f"Preprocessing: {facts.preprocessing}, as usual for {facts.title} (--preprocessing takes another).")
        return found


def settings() -> WorkerSettings:
    """Where data sets are, which device and how many threads, from the environment.

    Raises:
        InvalidRequest: If a variable is misspelt.
    """
    refuse_unknown_variables(os.environ)
    return WorkerSettings()


def share_cores() -> None:
    """PyTorch, if it has not been loaded yet, will wait for its threads in a way that bears other busy programs."""
    from worker.main import SPIN_COUNT  # noqa: PLC0415

    os.environ.setdefault("GOMP_SPINCOUNT", SPIN_COUNT)


def _examples(asked: Asked, datasets: Path, folder: Path) -> tuple[str, Examples]:
    from landscape_core.compute import load_dataset  # noqa: PLC0415  torch takes a second or two

    if isinstance(asked.dataset, str):
        return asked.dataset, load_dataset(asked.dataset, asked.split, datasets)
    canonical = folder / "data" / f"{asked.dataset.stem}.npz"
    canonical.parent.mkdir()
    inspect_in_child("dataset", asked.dataset, asked.dataset.name, canonical)
    return sha256(asked.dataset), load_dataset(canonical, asked.split, datasets)


def _half(asked: Asked, path: Path, folder: Path) -> HalfDone:
    from landscape_core import formats  # noqa: PLC0415  h5py takes a tenth of a second to import

    canonical = folder / "half.npz"
    of_two = asked.split if path.suffix.lower() == ".h5" else None
    inspect_in_child("surface", path, path.name, canonical, of_two)
    half = HalfDone(formats.load(canonical), path.name, sha256(path))
    if half.surface.is_curve != (asked.y is None):
        is_a, do = ("curve", "add --curve") if half.surface.is_curve else ("surface", "leave out --curve")
        raise InvalidRequest(f"{path.name} is a {is_a}; {do} to complete it.", field="grid")
    return half
