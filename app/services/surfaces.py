"""Surfaces: asked for, looked at, cancelled, gone on with, deleted. The collector does the rest."""

from __future__ import annotations

from itertools import islice
from typing import Any

from pydantic import ValidationError
from sqlalchemy import delete, func, select
from sqlalchemy.exc import IntegrityError

from app.accumulation import Accumulation
from app.database import ShareRow, SurfaceRow, UnitRow
from app.errors import Conflict, TooMany
from app.schemas import CostEstimate, SurfaceInfo
from app.services.checkpoints import Checkpoints
from app.services.datasets import Datasets
from app.services.progress import end_event, progress_of, seconds, speed_of, surface_info
from app.snapshots import StageSnapshot
from landscape_core import catalogue
from landscape_core.errors import NotFound
from landscape_core.formats import npz
from landscape_core.requests import SurfaceRequest
from landscape_core.results import Surface
from worker.blobs import job_key, surface_key, surface_prefix
from worker.job import SurfaceJob, events_stream

DEFAULT_UNIT_MACS = 20_000_000_000
"""Work of one unit while no worker has measured its speed: about half a second of a ResNet on two cores."""

UNIT_S = 1.0
"""How long one unit is to take."""

MOST_ACTIVE = 100
"""Most surfaces that are computed or wait at a time."""

FIRST_UNITS = 8
"""Units that are enqueued at once; the collector enqueues the others."""

INFER = "infer"
"""The architecture that stands for the best of a checkpoint's candidates."""


class Surfaces(Checkpoints, Datasets):
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

    def estimate(self, request: SurfaceRequest) -> CostEstimate:
        """What a request will cost on the workers that are there.

        Raises:
            InvalidRequest: It cannot be computed.
        """
        job = self._prepared(request)[0]
        accumulation = Accumulation(job)
        first = accumulation.plan.stages[0]
        speed = speed_of(self.workers())
        first_macs = len(first.rows) * len(first.columns) * first.stop * job.macs_per_example
        return CostEstimate(
            cells=job.request.grid.cells,
            examples=accumulation.plan.stages[-1].stop,
            macs=float(accumulation.total_macs),
            seconds=seconds(accumulation.total_macs, speed),
            first_surface_seconds=seconds(first_macs, speed),
        )

    def request_surface(self, request: SurfaceRequest) -> tuple[SurfaceInfo, bool]:
        """Asks for a surface: the one that is there, or a new one. A cancelled or failed one goes on.

        Args:
            request: The question; `data.examples` None stands for the whole split, architecture "infer" for the best fit.

        Returns:
            The surface, and whether it is new.

        Raises:
            InvalidRequest: It cannot be computed; the field is named.
            TooMany: As many surfaces as may be are waiting.
        """
        job, title, checkpoint_name = self._prepared(request)
        with self.database.reading() as session:
            row = session.get(SurfaceRow, job.surface)
        if row is not None:
            return (self.retry(row.id) if row.state in {"cancelled", "failed"} else self._infos([row])[0]), False
        self._check_room()
        job = self._stored(job)
        accumulation = Accumulation(job)
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
            stages=accumulation.stages,
        )
        try:
            with self.database.writing() as session:
                session.add(row)
        except IntegrityError:
            return self.surface(job.surface), False
        self._begin(accumulation)
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
                raise Conflict(
                    f"The surface is {'being inspected' if row.job is None else row.state}; there is nothing to cancel."
                )
            row.state = "cancelled"
        with self._redis_may_be_away():
            self.queue.cancel(surface_id)
            self.queue.publish_event(surface_id, "end", end_event("cancelled"))
        return self._infos([row])[0]

    def retry(self, surface_id: str) -> SurfaceInfo:
        """Goes on with a cancelled or failed surface, from what is measured.

        Raises:
            NotFound: There is none of this id.
            Conflict: It is finished, or was not computed here.
            TooMany: As many surfaces as may be are waiting.
        """
        row = self.surface_row(surface_id)
        if row.state in {"queued", "running"}:
            return self._infos([row])[0]
        if row.state == "finished" or row.job is None:
            raise Conflict(
                "The surface is finished; there is nothing to go on with."
                if row.state == "finished"
                else "The file was refused; import another."
            )
        self._check_room()
        job = SurfaceJob.model_validate_json(row.job)
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
        with self._redis_may_be_away():
            self.queue.cancel(surface_id)
            self.queue.publish_event(surface_id, "end", end_event("cancelled", "The surface was deleted."))
        with self.database.writing() as session:
            for table in (ShareRow, UnitRow):
                session.execute(delete(table).where(table.surface == surface_id))
            session.execute(delete(SurfaceRow).where(SurfaceRow.id == surface_id))
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
        """The latest whole surface as it is shown; None if there is none yet.

        Raises:
            NotFound: There is no such surface.
        """
        row = self.surface_row(surface_id)
        try:
            return StageSnapshot.of(npz.load(self.blobs.get(surface_key(surface_id))), max(1, row.stages))
        except NotFound:
            return None

    def _prepared(self, request: SurfaceRequest) -> tuple[SurfaceJob, str, str]:
        """The job of a request, known to be computable; its title; the checkpoint's name.

        Raises:
            InvalidRequest: It is not computable.
        """
        row, report = self.checkpoint_report(request.checkpoint)
        architecture = request.architecture
        if architecture.name == INFER:
            architecture = report.candidates[0].architecture
        facts = self.dataset_facts(request.data.dataset)
        examples = request.data.examples or facts.splits.get(request.data.split)
        update: dict[str, Any] = {
            "architecture": catalogue.canonical(architecture),
            "data": request.data.model_copy(update={"examples": examples}),
        }
        request = request.model_copy(update=update)
        catalogue.check_request(request, report.shapes, facts)
        self.check_companions(request)
        self.check_directions(request.plane)
        macs = max(1, catalogue.macs_per_example(request.architecture, report.shapes, facts.shape))
        workers = [w.macs_per_second for w in self.workers() if w.macs_per_second]
        unit_macs = int(UNIT_S * min(workers)) if workers else DEFAULT_UNIT_MACS
        job = SurfaceJob(surface=request.digest, request=request, macs_per_example=macs, unit_macs=max(1, unit_macs))
        return job, f"{request.architecture} on {facts.title}"[:255], row.filename

    def _stored(self, job: SurfaceJob) -> SurfaceJob:
        """The job as workers find it: one that was stored for this surface before, or this one.

        A worker may remember the units of a surface that was deleted, so they stay the same when it is asked for again.
        """
        text = job.canonical_json().encode()
        if not self.blobs.put_if_absent(job_key(job.surface), text):
            try:
                return SurfaceJob.model_validate_json(self.blobs.get(job_key(job.surface)))
            except ValidationError:
                self.blobs.put(job_key(job.surface), text)
        return job

    def _check_room(self) -> None:
        if (count := self._active()) >= MOST_ACTIVE:
            raise TooMany(
                f"{count} surfaces are waiting or being computed, which is as many as may be; cancel some, or ask later."
            )

    def _begin(self, accumulation: Accumulation) -> None:
        """The first units go to the workers at once, without waiting for the collector."""
        surface = accumulation.job.surface
        with self._redis_may_be_away():
            self.queue.uncancel(surface)
            self.queue.redis.delete(events_stream(surface))
            for unit in islice(accumulation.plan.stage_units(0), FIRST_UNITS):
                self.queue.enqueue_unit(surface, unit, preview=True, attempt=0)

    def _active(self) -> int:
        """How many surfaces are being computed or wait."""
        with self.database.reading() as session:
            return session.scalar(select(func.count()).where(SurfaceRow.state.in_(("queued", "running")))) or 0

    def _infos(self, rows: list[SurfaceRow]) -> list[SurfaceInfo]:
        speed = None
        if any(row.state in {"queued", "running"} for row in rows):
            speed = speed_of(self.workers())
            speed = speed and speed / max(1, self._active())
        return [surface_info(row, progress_of(row, speed)) for row in rows]
