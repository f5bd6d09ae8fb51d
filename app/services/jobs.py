"""From a request to the job that workers find, and what it will cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

from app.gathering import Gathering
from app.schemas import CostEstimate
from app.services.curvature_costs import cells_of_unit, check_curvature, map_seconds
from app.services.datasets import Datasets
from app.services.progress import seconds, speed_of
from app.services.run_ranges import RunRanges
from landscape_core import catalogue
from landscape_core.errors import InvalidRequest
from landscape_core.requests import SurfaceRequest
from worker.blobs import job_key
from worker.job import SurfaceJob, WorkerStatus

DEFAULT_UNIT_MACS = 20_000_000_000
"""Work of one unit while no worker has measured its speed: about half a second of a ResNet on two cores."""

UNIT_S = 2.0
"""How long one unit is to take, in seconds: many short ones cost more for queue and files, long ones make others wait. One that
takes half or twice as long, as a machine's speed changes, is still within 1 to 5 s."""

INFER = "infer"
"""The architecture that stands for the best of a checkpoint's candidates."""


def check_precision(request: SurfaceRequest, workers: Sequence[WorkerStatus]) -> None:
    """Passes unless no worker that is there has a request's precision; without workers nobody knows.

    Args:
        request: The question.
        workers: Those that are alive.

    Raises:
        InvalidRequest: None has it.
    """
    devices = sorted({worker.device for worker in workers})
    if request.precision == "tf32" and devices and not any(device.startswith("cuda") for device in devices):
        raise InvalidRequest(
            f"TF32 is of CUDA devices, but every worker of this server computes on another ({', '.join(devices)}); "
            "ask for float32 or bfloat16, or start a worker on a GPU.",
            field="precision",
        )


class Jobs(RunRanges, Datasets):
    """Requests made ready."""

    def estimate(self, request: SurfaceRequest) -> CostEstimate:
        """What a request will cost on the workers that are there.

        Raises:
            InvalidRequest: It cannot be computed.
        """
        job = self._prepared(request)[0]
        gathering = Gathering(job)
        stages = gathering.losses.plan.stages
        first = stages[0]
        workers = self.workers()
        check_precision(job.request, workers)
        speed = speed_of(workers, job.request.architecture.name)
        losses = seconds(gathering.losses.total_macs, speed)
        curvature = map_seconds(workers, job.request, job.macs_per_example)
        first_macs = len(first.rows) * len(first.columns) * job.passes(0, first.stop) * job.macs_per_example
        return CostEstimate(
            cells=job.request.grid.cells,
            examples=stages[-1].stop,
            forward_passes=gathering.losses.total_macs // job.macs_per_example,
            macs=float(gathering.total_macs),
            seconds=None if losses is None else losses + (curvature or 0.0),
            curvature_seconds=curvature,
            first_surface_seconds=seconds(first_macs, speed),
        )

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
        check_curvature(request, macs)
        workers = self.workers()
        speeds = [speed for worker in workers if (speed := worker.speed_on(request.architecture.name))]
        unit_macs = int(UNIT_S * min(speeds)) if speeds else DEFAULT_UNIT_MACS
        job = SurfaceJob(
            surface=request.digest,
            request=request,
            macs_per_example=macs,
            unit_macs=max(1, unit_macs),
            decisions=facts.decisions,
            by_level=request.budget == "fast",
            curvature_cells=cells_of_unit(workers, request, macs, UNIT_S),
        )
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
