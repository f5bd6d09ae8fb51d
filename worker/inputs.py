"""What a surface is computed from: its job, checkpoint, data and directions, out of the blob store and kept warm.

A store on this machine is read in place. From any other, files are copied once into `<data>/cache`, of which the least
recently used go when it grows beyond `CACHE_BYTES`. Canonical forms are held against their SHA-256 whenever they are loaded.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from landscape_core.compute import Evaluator, Examples, derive, load_dataset
from landscape_core.errors import Cancelled, NotFound
from landscape_core.reading import read_canonical
from landscape_core.requests import DataSlice, FileDirection, SurfaceRequest
from worker.blobs import (
    BlobStore,
    DamagedBlob,
    checkpoint_key,
    dataset_key,
    derived_key,
    digest_key,
    directions_key,
    job_key,
    provenance_key,
)
from worker.directions import StoredDirections, decode_directions, encode_directions
from worker.durable import CHUNK_BYTES
from worker.job import SurfaceJob
from worker.recent import Recent
from worker.settings import WorkerSettings
from worker.warm_curvature import WarmCurvature

CACHE_BYTES = 20 << 30
"""Most bytes of files from a remote store that are kept on this machine's disk."""

WARM_SURFACES, WARM_BYTES = 8, 1 << 30
"""How many surfaces are kept ready to be measured, and how much memory they may hold beyond the last two. Units of several
surfaces come in turn, and to make one ready takes as long as a part of a unit."""

LOOK_S = 2.0
"""How often a worker that makes directions looks whether another has made them."""

log = logging.getLogger(__name__)
_SHA256 = re.compile(r"[0-9a-f]{64}")
_CATALOGUED = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


class Inputs:
    """Loads what surfaces are computed from, and keeps what was used last.

    Args:
        settings: The worker's.
        blobs: Where everything lies.
        device: The PyTorch device.
        got_on: Called at each step, as a sign of progress.
    """

    def __init__(self, settings: WorkerSettings, blobs: BlobStore, device: str, got_on: Callable[[], None]) -> None:
        self._settings, self._blobs, self._device, self._got_on = settings, blobs, device, got_on
        self._cache = settings.data / "cache"
        self._tensors: Recent[dict[str, np.ndarray]] = Recent(2)
        self._examples: Recent[Examples] = Recent(1)
        self._evaluators: Recent[tuple[Evaluator, int]] = Recent(WARM_SURFACES, WARM_BYTES, lambda kept: kept[1], always=2)
        self._curvatures: Recent[WarmCurvature] = Recent(WARM_SURFACES, WARM_BYTES, lambda kept: kept.nbytes)

    def job(self, surface: str) -> SurfaceJob:
        """What is known of a surface. Read each time: deleted and asked for again, it may be cut into other units.

        Raises:
            NotFound: Nothing: it was deleted.
        """
        return SurfaceJob.model_validate_json(self._blobs.get(job_key(surface)))

    def evaluator(self, surface: str, should_stop: Callable[[], bool] | None = None) -> Evaluator:
        """A surface ready to be measured.

        Args:
            surface: Its id.
            should_stop: Asked now and then while its directions are made, which may take long.

        Raises:
            Cancelled: `should_stop` said so.
        """
        return self._evaluators.get(surface, lambda: self._evaluator(self.job(surface).request, should_stop))[0]

    def curvature(self, surface: str, should_stop: Callable[[], bool]) -> WarmCurvature:
        """A surface ready to have its eigenvalues measured.

        Args:
            surface: Its id.
            should_stop: Asked now and then while its directions are made, which may take long.

        Raises:
            Cancelled: `should_stop` said so.
        """

        def make() -> WarmCurvature:
            evaluator = self.evaluator(surface, should_stop)
            tensors, examples = self._network(evaluator.request)
            return WarmCurvature(evaluator, tensors, examples, self._device)

        return self._curvatures.get(surface, make)

    def describe(self, surface: str) -> dict[str, Any]:
        """How a surface is measured, stored when first asked for; by the worker that was first, if several measure it."""
        if not self._blobs.exists(provenance_key(surface)):
            text = json.dumps(self.evaluator(surface).provenance(), allow_nan=False).encode()
            self._blobs.put_if_absent(provenance_key(surface), text)
        provenance: dict[str, Any] = json.loads(self._blobs.get(provenance_key(surface)))
        return provenance

    def checkpoint(self, checkpoint: str) -> dict[str, np.ndarray]:
        """Names and arrays of a checkpoint, in its file's order.

        Args:
            checkpoint: Its id.

        Raises:
            NotFound: It was deleted.
        """
        tensors = read_canonical(self._file(checkpoint_key(checkpoint)))
        self._got_on()
        return tensors

    def forget(self) -> None:
        """Frees all memory that is held for the next unit."""
        for kept in (self._tensors, self._examples, self._evaluators, self._curvatures):
            kept.clear()

    def _evaluator(self, request: SurfaceRequest, should_stop: Callable[[], bool] | None) -> tuple[Evaluator, int]:
        """An evaluator, and about how many bytes it holds."""
        tensors, examples = self._network(request)
        directions = self._from_files(request)
        if request.plane.is_derived:
            directions = self._derived(request, tensors, examples, should_stop)
        about = None if directions is None else directions.about
        made = Evaluator(request, tensors, examples, directions, self._device, self._settings.threads, about=about)
        shapes = [array.shape for array in tensors.values()]
        tables = 3 * shapes[0][0] if len(shapes[0]) == 2 else 0  # a first affine layer's values at the origin and along both
        each = 5 * math.prod(examples.facts.shape) + 4 * tables
        return made, made.examples * each + 6 * sum(array.nbytes for array in tensors.values())

    def _network(self, request: SurfaceRequest) -> tuple[dict[str, np.ndarray], Examples]:
        """What a request's checkpoint holds, and the split that it names."""
        tensors = self._tensors.get(request.checkpoint, lambda: self.checkpoint(request.checkpoint))
        data = request.data
        examples = self._examples.get((data.dataset, data.split), lambda: self._load_examples(data))
        self._got_on()
        return tensors, examples

    def _load_examples(self, data: DataSlice) -> Examples:
        folder = self._settings.datasets_folder
        if _SHA256.fullmatch(data.dataset):
            return load_dataset(self._file(dataset_key(data.dataset)), data.split, folder)
        if not _CATALOGUED.fullmatch(data.dataset):  # a path would be read, whoever it belongs to
            raise NotFound(f"There is no data set {data.dataset[:100]!r}; take an id from the list of data sets.")
        return load_dataset(data.dataset, data.split, folder)

    def _derived(
        self,
        request: SurfaceRequest,
        tensors: dict[str, np.ndarray],
        examples: Examples,
        should_stop: Callable[[], bool] | None,
    ) -> StoredDirections:
        """The directions that the worker that was first has stored; made here if there are none, and left if another was."""
        key = derived_key(request.digest)
        try:
            if self._blobs.exists(key):
                return decode_directions(self._blobs.get(key))
        except DamagedBlob as error:
            log.warning("the directions of %s are made again: %s", request.digest, error)
            self._blobs.delete(key)
        looked_at = time.monotonic()

        def enough() -> bool:
            nonlocal looked_at
            self._got_on()
            if time.monotonic() - looked_at > LOOK_S:
                looked_at = time.monotonic()
                return self._blobs.exists(key) or (should_stop is not None and should_stop())
            return should_stop is not None and should_stop()

        threads, files = self._settings.threads, self._from_files(request)
        try:
            made = derive(request, tensors, examples, files, self.checkpoint, self._device, threads, enough)
            self._blobs.put_if_absent(key, encode_directions(made.x, made.y, made.about))
        except Cancelled:
            if not self._blobs.exists(key):
                raise
        return decode_directions(self._blobs.get(key))

    def _from_files(self, request: SurfaceRequest) -> StoredDirections | None:
        """What the direction files of a request hold; None if it names none."""
        x, y = (
            StoredDirections.load(self._file(directions_key(spec.file))) if isinstance(spec, FileDirection) else None
            for spec in (request.plane.x, request.plane.y)
        )
        if x is None and y is None:
            return None
        return StoredDirections(x.x if x is not None else [], y.y if y is not None else None)

    def _file(self, key: str) -> Path:
        """A file with the blob's content, held against its digest where one is stored."""
        digest = self._blobs.get(digest_key(key)).decode() if self._blobs.exists(digest_key(key)) else None
        path = self._blobs.local_path(key)
        if path is None:
            path = self._cache / key.replace("/", "-")
            if not path.exists():
                return self._fetched(key, path, digest)
            os.utime(path)
        if digest is not None and self._digest(path) != digest:
            if path.parent == self._cache:  # the copy is at fault; the blob itself may be whole
                path.unlink()
                return self._fetched(key, path, digest)
            self._blobs.delete(key)  # else an upload of the same file would be taken for one that is there
            raise DamagedBlob(f"{key} does not hash to {digest}")
        return path

    def _fetched(self, key: str, path: Path, digest: str | None) -> Path:
        self._cache.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            self._blobs.fetch(key, path, digest)
        except DamagedBlob:
            self._blobs.delete(key)
            raise
        self._make_room()
        return path

    def _digest(self, path: Path) -> str:
        digest = hashlib.sha256()
        with path.open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                digest.update(chunk)
                self._got_on()
        return digest.hexdigest()

    def _make_room(self) -> None:
        files = sorted((path for path in self._cache.iterdir() if path.is_file()), key=lambda path: path.stat().st_mtime)
        excess = sum(path.stat().st_size for path in files) - CACHE_BYTES
        for path in files[:-1]:
            if excess <= 0:
                return
            excess -= path.stat().st_size
            path.unlink(missing_ok=True)
