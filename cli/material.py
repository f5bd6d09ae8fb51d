"""What a computation needs from files: tensors, examples and directions, each read by the inert reader in a child process."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cli.asked import Asked
from cli.own_code import OwnCode
from cli.parsing import Principal, Towards, TypedDirection
from landscape_core.catalogue import check_companion, check_data, check_request, explain_no_match, fit, match
from landscape_core.errors import CheckpointRejected, DirectionsRejected, InvalidRequest
from landscape_core.reading import DirectionsContents, inspect_in_child, read_canonical, read_directions
from landscape_core.requests import (
    ArchitectureSpec,
    DataSlice,
    DirectionSpec,
    FileDirection,
    PlaneSpec,
    PrincipalDirection,
    SurfaceRequest,
    TowardsDirection,
)
from worker.settings import WorkerSettings, refuse_unknown_variables

if TYPE_CHECKING:
    from landscape_core.compute import Examples


@dataclass
class Directions:
    """What direction files hold for a plane: `x` for its first direction, `y` for its second."""

    x: list[np.ndarray]
    y: list[np.ndarray] | None


@dataclass(frozen=True)
class Material:
    """All that a request is computed from, and the hashes under which a request names it.

    Attributes:
        checkpoint: SHA-256 of the checkpoint's bytes.
        tensors: Names and arrays, in the file's order.
        architecture: The one that was asked for, or that fits.
        note: Why it fits.
        dataset: Catalogued name, or SHA-256 of the `.npz`.
        examples: The split.
        files: SHA-256 of the direction file for x and for y.
        directions: What these files hold; None if there are none.
        companions: SHA-256 of each other checkpoint that was named, by its path.
        canonical: Where its canonical form lies, by its SHA-256.
    """

    checkpoint: str
    tensors: dict[str, np.ndarray]
    architecture: ArchitectureSpec
    note: str
    dataset: str
    examples: Examples
    files: tuple[str | None, str | None]
    directions: Directions | None
    companions: dict[Path, str]
    canonical: dict[str, Path]

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
        canonical = folder / "checkpoint.safetensors"
        inspect_in_child("checkpoint", asked.file, asked.file.name, canonical)
        tensors = read_canonical(canonical)
        architecture, note = _architecture(asked, _shapes(tensors))
        directions, files = _directions(asked, folder)
        companions = {path: sha256(path) for path in asked.companions}
        own = sha256(asked.file)
        others = {own: canonical}
        for path, digest in companions.items():
            if digest not in others:
                others[digest] = folder / f"companion{len(others)}.safetensors"
                inspect_in_child("checkpoint", path, path.name, others[digest])
        dataset, examples = _examples(asked, datasets, folder)
        return cls(own, tensors, architecture, note, dataset, examples, files, directions, companions, others)

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
            plane=PlaneSpec(
                x=self._spec(asked, asked.x, self.files[0]),
                y=None if asked.y is None else self._spec(asked, asked.y, self.files[1]),
                normalisation=asked.normalisation,
                trajectory=self._run(asked) if asked.run and not asked.has_principal else None,
            ),
            grid=asked.grid,
        )

    def check(self, request: SurfaceRequest, *, own: bool) -> None:
        """Passes when the request can be computed.

        Args:
            request: From `request`.
            own: Whether the network is the user's own, so that no catalogue knows what it takes.

        Raises:
            InvalidRequest: If not.
        """
        if own:
            if request.plane.is_derived:
                raise InvalidRequest(
                    "Directions towards other checkpoints, of a run or of the Hessian are for catalogued networks; "
                    "give a network of your own random:SEED or file:DIRECTIONS.h5.",
                    field="plane",
                )
            check_data(request, self.examples.facts)
            return
        shapes = _shapes(self.tensors)
        check_request(request, shapes, self.examples.facts)
        called = {digest: path.name for path, digest in self.companions.items()}
        for digest, field in request.plane.named_checkpoints.items():
            check_companion(request.architecture, shapes, _shapes(self.checkpoint_tensors(digest)), called[digest], field)

    def checkpoint_tensors(self, digest: str) -> dict[str, np.ndarray]:
        """Names and arrays of a checkpoint that the request names, by its SHA-256."""
        return read_canonical(self.canonical[digest])

    def _spec(self, asked: Asked, typed: TypedDirection, digest: str | None) -> DirectionSpec:
        if isinstance(typed, Towards):
            return TowardsDirection(checkpoint=self.companions[typed.path], aligned=asked.align)
        if isinstance(typed, Principal):
            return PrincipalDirection(index=typed.index, checkpoints=self._run(asked))
        return FileDirection(file=digest or "") if isinstance(typed, Path) else typed

    def _run(self, asked: Asked) -> tuple[str, ...]:
        return tuple(self.companions[path] for path in asked.run)

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


def sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _shapes(tensors: dict[str, np.ndarray]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(array.shape) for name, array in tensors.items()}


def _architecture(asked: Asked, shapes: dict[str, tuple[int, ...]]) -> tuple[ArchitectureSpec, str]:
    """The architecture, and why it fits."""
    if isinstance(asked.architecture, OwnCode):
        return asked.architecture.spec, ""
    found = match(shapes, asked.file.name) if asked.architecture is None else (fit(asked.architecture, shapes),)
    if not found:
        raise CheckpointRejected(explain_no_match(shapes))
    return found[0].architecture, found[0].note


def _examples(asked: Asked, datasets: Path, folder: Path) -> tuple[str, Examples]:
    from landscape_core.compute import load_dataset  # noqa: PLC0415  torch takes a second or two

    if isinstance(asked.dataset, str):
        return asked.dataset, load_dataset(asked.dataset, asked.split, datasets)
    canonical = folder / "data" / f"{asked.dataset.stem}.npz"
    canonical.parent.mkdir()
    inspect_in_child("dataset", asked.dataset, asked.dataset.name, canonical)
    return sha256(asked.dataset), load_dataset(canonical, asked.split, datasets)


def _directions(asked: Asked, folder: Path) -> tuple[Directions | None, tuple[str | None, str | None]]:
    read: dict[Path, DirectionsContents] = {}
    for path in (asked.x, asked.y):
        if isinstance(path, Path) and path not in read:
            canonical = folder / f"directions{len(read)}.npz"
            inspect_in_child("directions", path, path.name, canonical)
            read[path] = read_directions(canonical)
    if not read:
        return None, (None, None)
    x = read[asked.x].x if isinstance(asked.x, Path) else []
    y = read[asked.y].y if isinstance(asked.y, Path) else None
    if isinstance(asked.y, Path) and not y:
        raise DirectionsRejected(f"{asked.y.name} has no ydirection; add --curve, or give another --y.")
    return Directions(x, y), (_hash(asked.x), _hash(asked.y))


def _hash(path: Any) -> str | None:
    return sha256(path) if isinstance(path, Path) else None
