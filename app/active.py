"""One surface that is being computed: which units are on their way, what came back, what people are told of it."""

from __future__ import annotations

import json
import logging
import time
from datetime import UTC
from typing import Any

from redis.exceptions import RedisError
from sqlalchemy import select, update
from sqlalchemy.engine import CursorResult

from app.database import SurfaceRow, UnitRow, now
from app.gathering import Gathering
from app.schemas import Progress
from app.services import Services
from app.services.progress import end_event, seconds
from app.snapshots import StageSnapshot
from app.taking_over import take_over
from landscape_core.errors import NotFound
from landscape_core.formats import npz
from landscape_core.results import Surface
from worker.blobs import DamagedBlob, job_key, provenance_key, surface_key, surface_prefix, unit_key
from worker.job import Announcement, SurfaceJob

MOST_ATTEMPTS = 3
"""A unit that fails, or kills its worker, so often is given up, and its surface with it."""

TELL_EVERY_S, SAVE_EVERY_S = 0.4, 1.0
DIED = "The worker was killed {times} while it computed unit {unit}; the system's log may say why (often too little memory)."
UNFIT = "The workers compute other units than were asked for; start those of this release."

log = logging.getLogger(__name__)


class ActiveSurface:
    """A surface in work. Its values are the blobs of its units: all that is held here can be made again from them.

    Args:
        services: Database, blobs and queue.
        row: What the database knows of it; it has a job.
    """

    def __init__(self, services: Services, row: SurfaceRow) -> None:
        job = SurfaceJob.model_validate_json(row.job or "")
        self.id, self.created = row.id, row.created
        self.accumulation = Gathering(job)
        self.is_over = False
        """Whether it is finished, failed or no longer wanted."""
        self._services, self._stage = services, 0
        self._outstanding: set[int] = set()
        self._enqueued: set[int] = set()
        self._heard: set[int] = set()
        self._measured: dict[str, Any] = {"seconds": 0.0, "workers": {}, **json.loads(row.measured)}
        self._how: dict[str, Any] = {}
        self._told_at = self._saved_at = 0.0
        self._told_done = -1.0
        with services.database.reading() as session:
            rows = session.scalars(select(UnitRow).where(UnitRow.surface == row.id))
            self._attempts = {unit.unit: unit.attempts for unit in rows}
        services.blobs.put_if_absent(job_key(row.id), job.canonical_json().encode())
        self._recover(row.stage)

    # ── what comes in ────────────────────────────────────────────────────────────────────────────────────────────────

    def done(self, announcement: Announcement, device: str | None) -> None:
        """A worker has stored what a unit found.

        Args:
            announcement: Its word.
            device: What it computes with, if known.
        """
        unit = announcement.unit
        if unit is None or self.is_over:
            return
        self._fold(unit)
        if unit in self._heard or not self.accumulation.is_done(unit):
            return
        self._heard.add(unit)
        self._measured["seconds"] += announcement.seconds or 0.0
        if device is not None:
            self._measured["workers"][announcement.worker] = device

    def failed(self, unit: int, problem: str, retry: bool) -> None:
        """A unit could not be computed; it is tried again unless that cannot help, or was done often enough.

        Args:
            unit: Its index.
            problem: Why, in a sentence.
            retry: Whether trying again can help.
        """
        if self.is_over or not 0 <= unit < self.accumulation.units:
            return
        if self.accumulation.is_done(unit) or self._is_there(unit):  # stored, and lost only the word of it
            return
        self._outstanding.discard(unit)
        attempts = self._attempts[unit] = self._attempts.get(unit, 0) + 1
        with self._services.database.writing() as session:
            if session.get(SurfaceRow, self.id) is None:
                self.is_over = True
                return
            session.merge(UnitRow(surface=self.id, unit=unit, attempts=attempts, problem=problem))
        if not retry or attempts >= MOST_ATTEMPTS:
            self._fail(problem)

    def died(self, unit: int) -> None:
        """The worker that computed the unit is gone."""
        times = self._attempts.get(unit, 0) + 1
        self.failed(unit, DIED.format(times="once" if times == 1 else f"{times} times", unit=unit), retry=True)

    # ── what goes out ────────────────────────────────────────────────────────────────────────────────────────────────

    def notice_losses(self, in_flight: frozenset[int]) -> None:
        """Units that are neither on their way nor done will be asked for again.

        Args:
            in_flight: The units that wait in a queue or are computed.
        """
        self._outstanding &= in_flight

    def fill(self, most: int, ahead: bool = False, further: bool = False) -> None:
        """Asks for the next units until so many are on their way, or for a `further` one; `ahead` of other surfaces' units."""
        most = max(most, len(self._outstanding) + further)
        if self.is_over or len(self._outstanding) >= most:
            return
        queue = self._services.queue
        for unit in self.accumulation.missing():
            if len(self._outstanding) >= most or self.is_over:
                break
            if unit in self._outstanding or (unit in self._enqueued and self._is_there(unit)):
                continue
            preview = ahead or self.accumulation.is_preview(unit)
            queue.enqueue_unit(self.id, unit, preview=preview, attempt=self._attempts.get(unit, 0))
            self._outstanding.add(unit)
            self._enqueued.add(unit)

    def tell(self, speed: float | None) -> None:
        """Tells people how far it is, not too often; a stage that has become whole, at once.

        Args:
            speed: Multiply-accumulates per second that are spent on it, if known.
        """
        if self.is_over:
            return
        if self.accumulation.stage > self._stage:
            self._save_stage(speed)
            return
        clock, done = time.monotonic(), self.accumulation.done
        if done == self._told_done or clock - self._told_at < TELL_EVERY_S:
            return
        self._told_done, self._told_at = done, clock
        progress = self._progress(speed)
        if clock - self._saved_at >= SAVE_EVERY_S:
            self._saved_at = clock
            if not self._save(done=done):
                return
        self._publish("progress", {"progress": progress.model_dump(mode="json"), "state": "running"})

    # ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _recover(self, stage: int) -> None:
        """Takes in what is stored already, what others have found, and what is on its way."""
        prefix = f"{surface_prefix(self.id)}units/"
        for key in self._services.blobs.list(prefix):
            name = key.removeprefix(prefix).partition(".")[0]
            if name.isdigit():
                self._fold(int(name))
        take_over(self._services.blobs, self.accumulation, self._fold)
        self._stage = min(stage, self.accumulation.stage)
        if self.accumulation.stage and not self._services.blobs.exists(surface_key(self.id)):
            self._stage = 0
        try:
            self._outstanding = set(self._services.queue.units_in_flight(self.id))
        except RedisError as error:
            log.info("what is on its way is not known: %s", error)
        self._outstanding = {unit for unit in self._outstanding if not self.accumulation.is_done(unit)}
        self._enqueued = set(self._outstanding)

    def _fold(self, unit: int) -> bool:
        """Takes in a stored unit; one that is damaged is removed, to be computed again."""
        if not 0 <= unit < self.accumulation.units or self.accumulation.is_done(unit):
            return False
        key = unit_key(self.id, unit)
        try:
            fits = self.accumulation.fold(unit, self._services.blobs.get(key))
        except NotFound:
            self._outstanding.discard(unit)
            return False
        except DamagedBlob as error:
            log.warning("unit %d of %s is computed again: %s", unit, self.id, error)
            self._services.blobs.delete(key)
            self._outstanding.discard(unit)
            return False
        if not fits:
            self._services.blobs.delete(key)
            self.failed(unit, UNFIT, retry=True)
            return False
        self._outstanding.discard(unit)
        self._enqueued.discard(unit)
        return True

    def _is_there(self, unit: int) -> bool:
        """Whether a unit that was asked for came through without our hearing of it; it is taken in then."""
        return self._services.blobs.exists(unit_key(self.id, unit)) and self._fold(unit)

    def _save_stage(self, speed: float | None) -> None:
        """Stores the latest whole surface, then says so: in the database, then to whoever follows."""
        row = self._row()
        if row is None or row.state not in {"queued", "running"}:
            self.is_over = True
            return
        if row.stage > self.accumulation.stage:  # another collector was faster, or units rotted: what is stored is better
            self._stage = self.accumulation.stage
            return
        surface = self.accumulation.surface(self._provenance())
        surface.provenance["not_finite"] = surface.not_finite
        self._services.blobs.put(surface_key(self.id), npz.dump(surface))
        self._stage = self.accumulation.stage
        if self.accumulation.is_complete:
            self._finish(surface)
            return
        values = self._values() | {"done": self.accumulation.done}
        if self._save(**values):
            self._told_done, self._told_at = self.accumulation.done, time.monotonic()
            self._publish("surface", StageSnapshot.of(surface).event(self._progress(speed), "running"))

    def _values(self) -> dict[str, Any]:
        """What the database is told of a new stage."""
        return {"stage": self._stage, "stages": self.accumulation.stages, "examples": self.accumulation.examples}

    def _row(self) -> SurfaceRow | None:
        with self._services.database.reading() as session:
            return session.get(SurfaceRow, self.id)

    def _finish(self, surface: Surface) -> None:
        provenance = json.dumps(surface.provenance, allow_nan=False)
        values = self._values() | {"done": 1.0}
        if self._save(**values, state="finished", provenance=provenance, problem=None, finished=now(), finishing="wait"):
            self.is_over = True
            self._publish("surface", StageSnapshot.of(surface, self._stage).event(self._progress(None), "finished"))
            self._publish("end", end_event("finished"))
            self._services.queue.enqueue_finish(self.id)

    def _fail(self, problem: str) -> None:
        if self._save(state="failed", problem=problem, done=self.accumulation.done):
            self.is_over = True
            self._publish("end", end_event("failed", problem))
            self._services.queue.cancel(self.id)

    def _save(self, **values: Any) -> bool:
        """Changes the row, unless the surface was cancelled or deleted meanwhile."""
        values = {"state": "running", "measured": json.dumps(self._measured), **values}
        wanted = (SurfaceRow.id == self.id) & SurfaceRow.state.in_(("queued", "running"))
        if "stage" in values:
            wanted &= SurfaceRow.stage <= values["stage"]
        with self._services.database.writing() as session:
            result = session.execute(update(SurfaceRow).where(wanted).values(**values))
        changed = isinstance(result, CursorResult) and result.rowcount > 0
        self.is_over = self.is_over or not changed
        return changed

    def _publish(self, event: str, data: dict[str, Any]) -> None:
        try:
            self._services.queue.publish_event(self.id, event, data)
        except RedisError as error:
            log.info("nobody hears of %s: %s", event, error)

    def _progress(self, speed: float | None) -> Progress:
        done = self.accumulation.done
        return Progress(
            done=done,
            stage=self.accumulation.stage,
            stages=self.accumulation.stages,
            examples=self.accumulation.examples,
            seconds_left=seconds((1.0 - done) * self.accumulation.total_macs, speed),
            measures=self.accumulation.measures,
        )

    def _provenance(self) -> dict[str, Any]:
        """How the surface is made: what the first worker said of itself and its data, and what is known here."""
        if not self._how:
            try:
                self._how = json.loads(self._services.blobs.get(provenance_key(self.id)))
            except (NotFound, ValueError):
                log.info("no worker has said how %s is measured yet", self.id)
            if isinstance(run := self._how.get("trajectory"), dict):
                run["names"] = self._services.checkpoint_names(run["checkpoints"])
        request = self.accumulation.job.request
        return {
            **self._how,
            "digest": self.id,
            "checkpoint_sha256": request.checkpoint,
            "units": self.accumulation.units,
            "workers": dict(self._measured["workers"]),
            "started": self.created.astimezone(UTC).isoformat(timespec="seconds"),
            "finished": now().isoformat(timespec="seconds"),
            "seconds": round(self._measured["seconds"], 3),
        }
