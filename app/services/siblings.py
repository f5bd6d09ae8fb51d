"""Surfaces that ask for the same values with another budget or tolerance: none computes what another has."""

from __future__ import annotations

from pydantic import ValidationError
from sqlalchemy import select

from app.database import SurfaceRow
from app.services.jobs import Jobs
from landscape_core.requests import TOLERANCE, SurfaceRequest
from worker.job import SurfaceJob


class Siblings(Jobs):
    """What is known of a question's siblings."""

    def exact_answer(self, request: SurfaceRequest) -> SurfaceRow | None:
        """The finished exact surface that answers a fast request better than an estimate; None if there is none.

        Args:
            request: With nothing left open.
        """
        if request.budget == "exact":
            return None
        with self.database.reading() as session:
            row = session.get(SurfaceRow, exactly(request).digest)
        return row if row is not None and row.state == "finished" else None

    def with_units_of_siblings(self, job: SurfaceJob) -> SurfaceJob:
        """The job, cut as its siblings' are, which it names, if there are any.

        Args:
            job: As prepared.
        """
        asked, found = exactly(job.request).digest, []
        of_same = (SurfaceRow.checkpoint == job.request.checkpoint) & SurfaceRow.job.is_not(None)
        with self.database.reading() as session:
            texts = session.scalars(select(SurfaceRow.job).where(of_same).order_by(SurfaceRow.created)).all()
        for text in texts:
            try:
                other = SurfaceJob.model_validate_json(text or "")
            except ValidationError:
                continue  # of another release
            same = other.by_level and other.surface != job.surface and exactly(other.request).digest == asked
            if same and other.macs_per_example == job.macs_per_example and other.decisions == job.decisions:
                found.append(other)
        alike = [other for other in found if other.unit_macs == found[0].unit_macs]
        update = {
            "by_level": job.request.budget == "fast" or bool(alike),
            "unit_macs": alike[0].unit_macs if alike else job.unit_macs,
            "units_of": tuple(other.surface for other in alike),
        }
        return job.model_copy(update=update)


def exactly(request: SurfaceRequest) -> SurfaceRequest:
    """The same question with the budget `exact`."""
    return request.model_copy(update={"budget": "exact", "tolerance": TOLERANCE})
