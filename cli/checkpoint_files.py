"""Checkpoint and direction files that were named, each read by the inert reader in a child process."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cli.asked_plane import AskedPlane
from cli.library_networks import LibraryNetwork
from cli.own_code import OwnCode
from cli.parsing import Principal, Towards, TypedDirection
from landscape_core.catalogue import explain_no_match, fit, match
from landscape_core.errors import CheckpointRejected, DirectionsRejected
from landscape_core.reading import DirectionsContents, inspect_in_child, read_canonical, read_directions
from landscape_core.requests import (
    ArchitectureSpec,
    Axis,
    DataSlice,
    DirectionSpec,
    FileDirection,
    Grid,
    PlaneSpec,
    PrincipalDirection,
    SurfaceRequest,
    TowardsDirection,
)


@dataclass
class Directions:
    """What direction files hold for a plane: `x` for its first direction, `y` for its second."""

    x: list[np.ndarray]
    y: list[np.ndarray] | None


@dataclass(frozen=True)
class CheckpointFiles:
    """Checkpoints and directions, and the hashes under which a request names them.

    Attributes:
        checkpoint: SHA-256 of the checkpoint's bytes.
        tensors: Names and arrays, in the file's order.
        architecture: The one that was asked for, or that fits.
        note: Why it fits.
        files: SHA-256 of the direction file for x and for y.
        directions: What these files hold; None if there are none.
        companions: SHA-256 of each other checkpoint that was named, by its path.
        canonical: Where its canonical form lies, by its SHA-256.
        name: Of the checkpoint's file.
    """

    checkpoint: str
    tensors: dict[str, np.ndarray]
    architecture: ArchitectureSpec
    note: str
    files: tuple[str | None, str | None]
    directions: Directions | None
    companions: dict[Path, str]
    canonical: dict[str, Path]
    name: str

    @classmethod
    def read_files(cls, asked: AskedPlane, folder: Path) -> CheckpointFiles:
        """Reads every checkpoint and direction file that is named.

        Args:
            asked: The question.
            folder: For the canonical forms of what is read.

        Raises:
            FileRejected: If a file cannot be used.
            InvalidRequest: If the checkpoint does not fit the architecture.
        """
        canonical = folder / "checkpoint.safetensors"
        inspect_in_child("checkpoint", asked.file, asked.file.name, canonical)
        tensors = read_canonical(canonical)
        architecture, note = _architecture(asked, shapes_of(tensors))
        directions, files = _directions(asked, folder)
        companions = {path: sha256(path) for path in asked.companions}
        own = sha256(asked.file)
        others = {own: canonical}
        for path, digest in companions.items():
            if digest not in others:
                others[digest] = folder / f"companion{len(others)}.safetensors"
                inspect_in_child("checkpoint", path, path.name, others[digest])
        return CheckpointFiles(own, tensors, architecture, note, files, directions, companions, others, asked.file.name)

    def plane(self, asked: AskedPlane) -> PlaneSpec:
        """The plane as everything else knows it: by hashes."""
        return PlaneSpec(
            x=self._spec(asked, asked.x, self.files[0]),
            y=None if asked.y is None else self._spec(asked, asked.y, self.files[1]),
            normalisation=asked.normalisation,
            orthogonal=asked.orthogonal,
            trajectory=self._run(asked) if asked.run and not asked.has_principal else None,
        )

    def projection_request(self, asked: AskedPlane) -> SurfaceRequest:
        """The plane in a request of which nothing is measured: its data, loss and grid mean nothing."""
        point = Axis(start=0, stop=0, points=1)
        return SurfaceRequest(
            checkpoint=self.checkpoint,
            architecture=self.architecture,
            data=DataSlice(dataset="none"),
            plane=self.plane(asked),
            grid=Grid(x=point, y=None if asked.y is None else point),
        )

    def checkpoint_tensors(self, digest: str) -> dict[str, np.ndarray]:
        """Names and arrays of a checkpoint that the request names, by its SHA-256."""
        return read_canonical(self.canonical[digest])

    def named(self, provenance: dict[str, Any]) -> dict[str, Any]:
        """A surface's provenance, in which the checkpoints of a run have the names of their files.

        Args:
            provenance: As computed.
        """
        run = provenance.get("trajectory")
        if run is None:
            return provenance
        names = {self.checkpoint: self.name} | {digest: path.name for path, digest in self.companions.items()}
        return {**provenance, "trajectory": {**run, "names": [names.get(digest, "") for digest in run["checkpoints"]]}}

    def _spec(self, asked: AskedPlane, typed: TypedDirection, digest: str | None) -> DirectionSpec:
        if isinstance(typed, Towards):
            return TowardsDirection(checkpoint=self.companions[typed.path], aligned=asked.align)
        if isinstance(typed, Principal):
            return PrincipalDirection(index=typed.index, checkpoints=self._run(asked))
        return FileDirection(file=digest or "") if isinstance(typed, Path) else typed

    def _run(self, asked: AskedPlane) -> tuple[str, ...]:
        return tuple(self.companions[path] for path in asked.run)


def sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def shapes_of(tensors: dict[str, np.ndarray]) -> dict[str, tuple[int, ...]]:
    """The shape of each tensor, by its name."""
    return {name: tuple(array.shape) for name, array in tensors.items()}


def _architecture(asked: AskedPlane, shapes: dict[str, tuple[int, ...]]) -> tuple[ArchitectureSpec, str]:
    """The architecture, and why it fits."""
    if isinstance(asked.architecture, OwnCode | LibraryNetwork):
        return asked.architecture.spec, ""
    found = match(shapes, asked.file.name) if asked.architecture is None else (fit(asked.architecture, shapes),)
    if not found:
        raise CheckpointRejected(explain_no_match(shapes))
    return found[0].architecture, found[0].note


def _directions(asked: AskedPlane, folder: Path) -> tuple[Directions | None, tuple[str | None, str | None]]:
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
