"""How far surfaces are, and how they are told to people."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, TypeVar

from pydantic import ValidationError

from app.database import SurfaceRow
from app.schemas import Measured, Progress, SurfaceInfo, SurfaceState
from landscape_core.requests import SurfaceRequest
from worker.job import SurfaceJob, WorkerStatus
from worker.queue import curvature_plan

Read = TypeVar("Read", SurfaceRequest, SurfaceJob)


def speed_of(workers: Iterable[WorkerStatus], architecture: str | None = None) -> float | None:
    """Multiply-accumulates per second of all workers together, with an architecture; None if none has measured its speed."""
    working = [worker for worker in workers if worker.state != "stopping"]
    speeds = [w.macs_per_second if architecture is None else w.speed_on(architecture) for w in working]
    return sum(filter(None, speeds)) or None


def seconds(macs: float, speed: float | None) -> float | None:
    """How long so many multiply-accumulates take; None if the speed is not known."""
    return None if speed is None else macs / speed


def progress_of(row: SurfaceRow, speed: float | None) -> Progress:
    """How far a surface is, by what the database knows.

    Args:
        row: The surface.
        speed: Multiply-accumulates per second that are spent on it; None if not known.
    """
    left = None
    job = _read(SurfaceJob, row.job)
    if row.state in {"queued", "running"} and job is not None and speed is not None:
        left = seconds((1.0 - row.done) * job.macs_per_example * job.total_passes, speed)
    return Progress(
        done=row.done,
        stage=row.stage,
        stages=row.stages,
        examples=row.examples,
        seconds_left=left,
        measures=_measured(row, job),
    )


def _measured(row: SurfaceRow, job: SurfaceJob | None) -> Measured:
    """What is measured now: eigenvalues once the stages of the losses are done."""
    plan = None if job is None or row.state not in {"queued", "running"} else curvature_plan(job)
    return "eigenvalues" if plan is not None and row.stage >= plan.first_stage else "losses"


def surface_info(row: SurfaceRow, progress: Progress) -> SurfaceInfo:
    """One surface, as people are told of it."""
    return SurfaceInfo(
        id=row.id,
        state=row.state,  # type: ignore[arg-type]  # the table holds nothing else
        title=row.title,
        problem=row.problem,
        origin=row.origin,  # type: ignore[arg-type]
        checkpoint_name=row.checkpoint_name,
        request=_read(SurfaceRequest, row.request),
        progress=progress,
        provenance=json.loads(row.provenance),
        preview=row.finishing,  # type: ignore[arg-type]
        created=row.created,
        finished=row.finished,
    )


def _read(model: type[Read], text: str | None) -> Read | None:
    """What was stored; None if nothing was, or by a release that this one does not understand."""
    try:
        return None if text is None else model.model_validate_json(text)
    except ValidationError:
        return None


def end_event(state: SurfaceState, problem: str | None = None) -> dict[str, Any]:
    """The data of an "end" event."""
    return {"state": state, "problem": problem}
