"""What jobs do: a unit of a surface, the inspection of an upload, the last touches to a surface.

Each stores its result as a blob first and announces it then, and may run twice. This is one of the two edges where any
exception is caught (the other is HTTP): what a person may read is announced, all else is logged whole under a reference.
"""

from __future__ import annotations

import dataclasses
import errno
import json
import logging
import secrets
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from redis.exceptions import RedisError

from landscape_core.compute import Losses, with_losses
from landscape_core.compute.provenance import own_quantities, own_values, own_values_of
from landscape_core.errors import Cancelled, ComputationFailed, LandscapeError, NotFound, OutOfMemory
from landscape_core.formats import directions_h5, npz, principal_values, to_bytes
from landscape_core.results import MEASURED, Surface
from worker import curvature_schedule
from worker.blobs import (
    BlobStore,
    DamagedBlob,
    Kind,
    job_key,
    preview_key,
    quarantine_key,
    report_key,
    run_losses_key,
    surface_directions_key,
    surface_key,
    unit_key,
)
from worker.inputs import Inputs
from worker.intake import inspect_upload
from worker.job import Announcement
from worker.queue import WorkQueue
from worker.settings import WorkerSettings
from worker.unit_work import is_stored, macs, prepared, speed_name
from worker.warm import HandedBack, Vitals

CANCEL_CHECK_S = 0.2
INTAKE_PATIENCE_S = 1800.0
SPACE_WITHIN_S = 60.0
"""How long a full disk is waited for before the unit is given up."""

log = logging.getLogger(__name__)


class Tasks:
    """The three tasks, with what they need.

    Args:
        settings: The worker's.
        queue: For announcements.
        blobs: Where results go.
        vitals: Shared with the heart.
        device: The PyTorch device.
        temporary: A folder for temporary files.
    """

    def __init__(
        self, settings: WorkerSettings, queue: WorkQueue, blobs: BlobStore, vitals: Vitals, device: str, temporary: Path
    ) -> None:
        self._name, self._queue, self._blobs, self._vitals = settings.name, queue, blobs, vitals
        self._temporary = temporary
        self._inputs = Inputs(settings, blobs, device, vitals.got_on)

    def unit(self, surface: str, index: int) -> None:
        """Computes one unit and stores what it found, unless that is there already."""
        began = time.monotonic()
        job = self._inputs.job(surface)
        unit = curvature_schedule.unit(job, index)
        should_stop = self._should_stop(surface)
        if should_stop():
            raise Cancelled("The computation was cancelled.")
        computed = not is_stored(self._blobs, unit)
        if computed:
            work = prepared(self._inputs, unit, should_stop)
            measured = time.monotonic()
            blob = work()
            self._vitals.measured(macs(job, unit), time.monotonic() - measured, speed_name(job, unit))
            self._store(unit_key(surface, index), blob, should_stop)
        self._announce(Announcement(kind="unit", subject=surface, unit=index, seconds=time.monotonic() - began))
        if computed:
            self._inputs.describe(surface)

    def intake(self, kind: Kind, sha: str, filename: str) -> None:
        """Has an upload inspected in a child process; what is left of it is its canonical form and a report."""
        self._vitals.patience_s = INTAKE_PATIENCE_S
        key, where = quarantine_key(kind, sha), report_key(kind, sha)
        if self._blobs.exists(key):
            report = inspect_upload(kind, sha, filename, self._blobs, self._temporary)
            text = json.dumps(report, allow_nan=False).encode()
            self._blobs.put(where, text)
            self._blobs.delete(key)
            # The same bytes may have come again meanwhile: their upload takes the report away and waits for this file.
            self._blobs.put_if_absent(where, text)
        elif self._blobs.exists(where):
            report = json.loads(self._blobs.get(where))
        else:
            raise NotFound("The upload is no longer there; upload the file again.")
        self._announce(Announcement(kind="intake", subject=sha, problem=report.get("problem"), retry=False))

    def finish(self, surface: str) -> None:
        """Draws a whole surface, and adds to one that was computed here its directions and how it was measured."""
        whole = npz.load(self._blobs.get(surface_key(surface)))
        self._blobs.put(preview_key(surface), to_bytes(whole, ".png"))
        self._vitals.got_on()
        if self._blobs.exists(job_key(surface)):
            evaluator = self._inputs.evaluator(surface)
            with tempfile.TemporaryDirectory(dir=self._temporary) as folder:
                beside = principal_values(evaluator.request.plane, self._inputs.describe(surface).get("trajectory"))
                directions_h5(*evaluator.directions(), Path(folder) / "directions.h5", beside)
                self._blobs.move_in(surface_directions_key(surface), Path(folder) / "directions.h5")
            self._vitals.got_on()
            provenance = self._inputs.describe(surface) | whole.provenance
            if "own_loss" not in provenance:
                provenance |= self._own(surface, whole)
            if "trajectory" in provenance:
                provenance |= self._run(surface, provenance["trajectory"])
            if provenance != whole.provenance:
                whole = dataclasses.replace(whole, provenance=provenance)
                self._blobs.put(surface_key(surface), to_bytes(whole, ".npz"))
                if "trajectory" in provenance:
                    self._blobs.put(preview_key(surface), to_bytes(whole, ".png"))
        self._announce(Announcement(kind="finishing", subject=surface))

    def _own(self, surface: str, whole: Surface) -> dict[str, Any]:
        """The checkpoint's own loss and accuracy: the surface's where it has the cell (0, 0) unchanged, else measured."""
        column = np.flatnonzero(whole.x == 0.0)
        row = np.zeros(1, int) if whole.y is None else np.flatnonzero(whole.y == 0.0)
        fixed = whole.request is None or whole.request.batch_norm == "fixed"
        if fixed and len(row) and len(column) and whole.state[row[0], column[0]] == MEASURED:
            loss, accuracy = whole.loss[row[0], column[0]], whole.accuracy[row[0], column[0]]
            metrics = {name: float(table[row[0], column[0]]) for name, table in whole.quantities.items()}
            return own_values(loss, accuracy) | own_quantities(metrics)
        evaluator = self._inputs.evaluator(surface)
        return own_values_of(evaluator.own_loss(self._should_stop(surface)), evaluator.decisions)

    def _run(self, surface: str, trajectory: dict[str, Any]) -> dict[str, Any]:
        """The training run with the losses of its checkpoints; each is kept as soon as it is measured, if this should end."""
        if "own_loss" in trajectory:
            return {}
        should_stop = self._should_stop(surface)

        def kept(index: int, measure: Callable[[], Losses]) -> Losses:
            key = run_losses_key(surface, index)
            try:
                found: Losses = json.loads(self._blobs.get(key))
            except (NotFound, ValueError):
                found = measure()
                self._store(key, json.dumps(found, allow_nan=False).encode(), should_stop)
            return found

        evaluator = self._inputs.evaluator(surface, should_stop)
        return {"trajectory": with_losses(trajectory, evaluator, self._inputs.checkpoint, should_stop, kept)}

    def _store(self, key: str, data: bytes, should_stop: Callable[[], bool]) -> None:
        """Stores a result; a full disk is waited for a while."""
        give_up = time.monotonic() + SPACE_WITHIN_S
        while True:
            try:
                self._blobs.put(key, data)
            except OSError as error:
                if error.errno not in {errno.ENOSPC, errno.EDQUOT} or time.monotonic() > give_up:
                    raise
                log.warning("the disk is full; waiting for space")
                if should_stop():
                    raise Cancelled("The computation was cancelled.") from error
                time.sleep(1)
            else:
                return

    def _should_stop(self, surface: str) -> Callable[[], bool]:
        """What an evaluator asks between batches; asks Redis five times a second at most."""
        asked_at, cancelled = -CANCEL_CHECK_S, False

        def should_stop() -> bool:
            nonlocal asked_at, cancelled
            self._vitals.got_on()
            now = time.monotonic()
            if not cancelled and now - asked_at >= CANCEL_CHECK_S:
                try:
                    cancelled, asked_at = self._queue.is_cancelled(surface), now
                except RedisError:
                    asked_at = now + 2.0  # it is away: the unit goes on
            return cancelled or self._vitals.stop.is_set()

        return should_stop

    def _announce(self, announcement: Announcement) -> None:
        self._queue.announce(announcement.model_copy(update={"worker": self._name}))

    def at_the_edge(self, work: Callable[[], None], failure: Announcement) -> None:
        """Does the work; whatever goes wrong is announced as `failure` with a problem and whether to try again.

        Raises:
            HandedBack: The worker stops, and another is to do the work.
            RedisError: Redis is away; who waits for the result will ask again.
        """
        try:
            work()
        except Cancelled:
            if self._vitals.stop.is_set():
                raise HandedBack from None
        except RedisError:
            raise
        except (LandscapeError, DamagedBlob, OSError, MemoryError) as error:
            if isinstance(error, OutOfMemory | MemoryError):
                self._inputs.forget()
            log.warning("%s of %s: %s", failure.kind, failure.subject, error)
            self._announce(failure.model_copy(update=_told(error)))
        except Exception:
            reference = secrets.token_hex(4)
            log.exception("internal error %s in %s of %s", reference, failure.kind, failure.subject)
            problem = f"An internal error (ref {reference}); the worker's log says more."
            self._announce(failure.model_copy(update={"problem": problem, "retry": True}))


def _told(error: Exception) -> dict[str, Any]:
    """What is announced of an expected error: a sentence, and whether trying again can help."""
    if isinstance(error, LandscapeError):
        return {"problem": str(error), "retry": isinstance(error, ComputationFailed)}
    if isinstance(error, DamagedBlob):
        return {
            "problem": "A stored file was damaged (its checksum did not match) and is removed; upload it again.",
            "retry": False,
        }
    if isinstance(error, MemoryError):
        return {"problem": "The worker's memory did not suffice; ask for fewer examples.", "retry": True}
    reason = error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__
    return {"problem": f"The worker could not use its disk ({reason}); make space or mend it, then press Retry.", "retry": True}


_tasks: list[Tasks] = []
"""The one `Tasks` of this process: RQ calls functions by their names."""


def install(tasks: Tasks) -> None:
    """Jobs of this process are done by `tasks` from now on."""
    _tasks[:] = [tasks]


def run_unit(surface: str, index: int) -> None:
    """The job "unit"."""
    (tasks,) = _tasks
    tasks.at_the_edge(lambda: tasks.unit(surface, index), Announcement(kind="unit_failed", subject=surface, unit=index))


def run_intake(kind: Kind, sha: str, filename: str) -> None:
    """The job "intake"."""
    (tasks,) = _tasks
    tasks.at_the_edge(lambda: tasks.intake(kind, sha, filename), Announcement(kind="intake", subject=sha))


def run_finish(surface: str) -> None:
    """The job "finish"."""
    (tasks,) = _tasks
    tasks.at_the_edge(lambda: tasks.finish(surface), Announcement(kind="finishing", subject=surface))
