"""Surfaces: asked for, looked at, cancelled, gone on with, deleted. The collector does the rest."""

from __future__ import annotations

import logging
from itertools import islice

from pydantic import ValidationError
from sqlalchemy import delete, func, select
from sqlalchemy.exc import IntegrityError

from app.database import LiveRow, ShareRow, SurfaceRow, UnitRow
from app.errors import Conflict, TooMany
from app.gathering import Gathering
from app.schemas import SurfaceInfo
from app.services.jobs import check_precision
from app.services.progress import end_event, progress_of, speed_of, surface_info
from app.services.siblings import Siblings
from app.snapshots import StageSnapshot
from landscape_core.errors import NotFound, SurfaceRejected
from landscape_core.formats import npz
from landscape_core.requests import SurfaceRequest
from landscape_core.results import Surface
from worker.blobs import job_key, quarantine_key, surface_key, surface_prefix
from worker.job import SurfaceJob, events_stream

MOST_ACTIVE = 100
"""Most surfaces that are computed or wait at a time."""

UNREADABLE = "The surface was asked for in another release of Loss Atlas; ask the same question again, or delete it."

FIRST_UNITS = 8
"""Units that are enqueued at once; the collector enqueues the others."""

log = logging.getLogger(__name__)


class Surfaces(Siblings):
    """All about surfaces."""

    def surfaces(self) -> list[SurfaceInfo]:
        """All surfaces, newest first."""
        with self.database.reading() as session:
            rows = session.scalars(select(SurfaceRow).order_by(SurfaceRow.created.desc())).all()
        return self._infos(list(rows))

    def surface(self, surface_id: str) -> SurfaceInfo:
        """One surface.

        Raises:
            NotFound: There is none of this id.
        """
        return self._infos([self.surface_row(surface_id)])[0]

    def surface_row(self, surface_id: str) -> SurfaceRow:
        """What the database knows of a surface.

        Raises:
            NotFound: There is none of this id.
        """
        with self.database.reading() as session:
            row = session.get(SurfaceRow, surface_id)
        if row is None:
            raise NotFound(f"There is no surface {surface_id[:80]!r}.")
        return row

    def is_wanted(self, surface_id: str) -> bool:
        """Whether a surface is to be computed."""
        with self.database.reading() as session:
            state = session.scalar(select(SurfaceRow.state).where(SurfaceRow.id == surface_id))
        return state in {"queued", "running"}

    def request_surface(self, request: SurfaceRequest) -> tuple[SurfaceInfo, bool]:
        """Asks for a surface: the one that is there, or a new one. A cancelled or failed one goes on.

        Args:
            request: The question; `data.examples` None stands for the whole split, architecture "infer" for the best fit.

        Returns:
            The surface, and whether it is new. For a fast one that is the exact one, if it is there.

        Raises:
            InvalidRequest: It cannot be computed; the field is named.
            TooMany: As many surfaces as may be are waiting.
        """
        with self.database.reading() as session:
            known = session.get(SurfaceRow, request.digest)
        if known is not None and known.state in {"queued", "running", "finished"}:
            return self._infos([known])[0], False  # even if its checkpoint is gone
        job, title, checkpoint_name = self._prepared(request)
        with self.database.reading() as session:
            row = session.get(SurfaceRow, job.surface)
        if row is not None:
            self._readable(row, job)
            return (self.retry(row.id) if row.state in {"cancelled", "failed"} else self._infos([row])[0]), False
        if (exact := self.exact_answer(job.request)) is not None:
            return self._infos([exact])[0], False
        check_precision(job.request, self.workers())
        self._check_room()
        job = self._stored(self.with_units_of_siblings(job))
        gathering = Gathering(job)
        row = SurfaceRow(
            id=job.surface,
            state="queued",
            title=title,
            origin="computed",
            checkpoint=job.request.checkpoint,
            checkpoint_name=checkpoint_name,
            dataset=job.request.data.dataset,
            request=job.request.canonical_json(),
            job=job.canonical_json(),
            stages=gathering.stages,
        )
        try:
            with self.database.writing() as session:
                session.add(row)
        except IntegrityError:
            return self.surface(job.surface), False
        self._begin(gathering)
        return self.surface(job.surface), True

    def cancel(self, surface_id: str) -> SurfaceInfo:
        """Stops a surface; what is measured so far is kept, and `retry` goes on from it.

        Raises:
            NotFound: There is none of this id.
            Conflict: It is not being computed.
        """
        with self.database.writing() as session:
            row = session.get(SurfaceRow, surface_id)
            if row is None:
                raise NotFound(f"There is no surface {surface_id[:80]!r}.")
            if row.state == "cancelled":
                return self._infos([row])[0]
            if row.state not in {"queued", "running"} or row.job is None:
                raise Conflict(f"The surface is {_elsewhere(row) or row.state}; there is nothing to cancel.")
            row.state = "cancelled"
        with self._redis_may_be_away():
            self.queue.cancel(surface_id)
            self.queue.publish_event(surface_id, "end", end_event("cancelled"))
        return self._infos([row])[0]

    def retry(self, surface_id: str) -> SurfaceInfo:
        """Goes on with a cancelled or failed surface, from what is measured.

        Raises:
            NotFound: There is none of this id.
            Conflict: It is finished (and its values can be read), or was not computed here.
            TooMany: As many surfaces as may be are waiting.
            InvalidRequest: What it is of is no longer there, or no worker has its precision.
        """
        row = self.surface_row(surface_id)
        if row.state in {"queued", "running"}:
            return self._infos([row])[0]
        finished = row.state == "finished" and self.snapshot(surface_id) is not None
        if finished or row.job is None:
            raise Conflict(
                "The surface is finished; there is nothing to go on with."
                if row.state == "finished"
                else "The surface came from elsewhere; only its sender can go on with it, or import another."
            )
        self._check_room()
        try:
            job = SurfaceJob.model_validate_json(row.job)
        except ValidationError as error:
            raise Conflict(UNREADABLE) from error
        check_precision(job.request, self.workers())
        self.checkpoint_report(job.request.checkpoint)
        self.check_companions(job.request)
        self.dataset_facts(job.request.data.dataset)
        self.blobs.put(job_key(surface_id), row.job.encode())
        with self._redis_may_be_away():
            self.queue.uncancel(surface_id)
            self.queue.redis.delete(events_stream(surface_id))
        with self.database.writing() as session:
            session.execute(delete(UnitRow).where(UnitRow.surface == surface_id))
            fresh = session.get(SurfaceRow, surface_id)
            if fresh is None:
                raise NotFound(f"There is no surface {surface_id[:80]!r}.")
            fresh.state, fresh.problem = "queued", None
            if row.state == "finished":
                fresh.stage, fresh.done = 0, 0.0
        return self.surface(surface_id)

    def delete_surface(self, surface_id: str) -> None:
        """Removes a surface with its links; one that is being computed is stopped.

        Raises:
            NotFound: There is none of this id.
            Conflict: It belongs to the gallery.
        """
        row = self.surface_row(surface_id)
        if row.origin == "gallery":
            raise Conflict("The surface belongs to the gallery, which comes with Loss Atlas; it cannot be deleted.")
        with self.database.writing() as session:
            for table in (ShareRow, UnitRow, LiveRow):
                session.execute(delete(table).where(table.surface == surface_id))
            session.execute(delete(SurfaceRow).where(SurfaceRow.id == surface_id))
        with self._redis_may_be_away():
            self.queue.cancel(surface_id)
            self.queue.publish_event(surface_id, "end", end_event("cancelled", "The surface was deleted."))
        self.blobs.delete(quarantine_key("surface", surface_id))
        for key in self.blobs.list(surface_prefix(surface_id)):
            if key != job_key(surface_id):  # see `_stored`
                self.blobs.delete(key)

    def surface_result(self, surface_id: str) -> Surface:
        """The latest whole surface.

        Raises:
            NotFound: There is no such surface, or none of its stages is complete yet.
        """
        row = self.surface_row(surface_id)
        try:
            return npz.load(self.blobs.get(surface_key(surface_id)))
        except NotFound:
            when = "yet" if row.state in {"queued", "running"} else f"since it was {row.state} before"
            raise NotFound(f"The surface has no values {when}; there are some once its first stage is complete.") from None

    def snapshot(self, surface_id: str) -> StageSnapshot | None:
        """The latest whole surface as it is shown; None if there is none yet, or its file is damaged.

        Raises:
            NotFound: There is no such surface.
        """
        row = self.surface_row(surface_id)
        try:
            stages = row.stages if row.job is not None else row.stage
            return StageSnapshot.of(npz.load(self.blobs.get(surface_key(surface_id))), max(1, stages))
        except NotFound:
            return None
        except SurfaceRejected as error:
            log.warning("the values of %s are damaged: %s", surface_id, error)
            return None

    def _readable(self, row: SurfaceRow, job: SurfaceJob) -> None:
        """A surface that another release asked for gets the job of this one."""
        try:
            SurfaceJob.model_validate_json(row.job or "")
        except ValidationError:
            with self.database.writing() as session:
                session.merge(row)
                fresh = session.get_one(SurfaceRow, row.id)
                fresh.job, fresh.request = self._stored(job).canonical_json(), job.request.canonical_json()

    def _check_room(self) -> None:
        if (count := self._active()) >= MOST_ACTIVE:
            raise TooMany(
                f"{count} surfaces are waiting or being computed, which is as many as may be; cancel some, or ask later."
            )

    def _begin(self, gathering: Gathering) -> None:
        """The first units go to the workers at once, without waiting for the collector."""
        surface = gathering.job.surface
        with self._redis_may_be_away():
            self.queue.uncancel(surface)
            self.queue.redis.delete(events_stream(surface))
            if gathering.job.units_of:
                return  # perhaps they are there already
            for unit in islice(gathering.losses.plan.stage_units(0), FIRST_UNITS):
                self.queue.enqueue_unit(surface, unit, preview=True, attempt=0)

    def _active(self) -> int:
        """How many surfaces are being computed here or wait."""
        ours = SurfaceRow.state.in_(("queued", "running")) & SurfaceRow.job.is_not(None)
        with self.database.reading() as session:
            return session.scalar(select(func.count()).where(ours)) or 0

    def _infos(self, rows: list[SurfaceRow]) -> list[SurfaceInfo]:
        speed = None
        if any(row.state in {"queued", "running"} for row in rows):
            speed = speed_of(self.workers())
            speed = speed and speed / max(1, self._active())
        return [surface_info(row, progress_of(row, speed)) for row in rows]


def _elsewhere(row: SurfaceRow) -> str:
    """What becomes of a surface that is not computed here; "" of one that is, or is over."""
    if row.job is not None or row.state not in {"queued", "running"}:
        return ""
    return "being inspected" if row.state == "queued" else "sent from elsewhere"
