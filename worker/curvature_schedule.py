"""From a surface to the units of its curvature map: after all losses, in complete grids from coarse to fine.

A cell costs as much as some 200 evaluations of its examples, so the first grid may be coarser than that of the losses. Units
are counted on from those of the losses, and so are stages.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from landscape_core.refinement import refined_grids
from worker.job import Stage, SurfaceJob, WorkUnit
from worker.schedule import FIRST_STAGE_UNITS, Part, Plan, coarse_points, plan


@dataclass(frozen=True)
class CurvaturePlan:
    """The stages of a curvature map, and its units.

    Attributes:
        first: Index of its first unit among all units of the surface.
        first_stage: Index of its first stage among all stages of the surface.
        own: Its units and stages, counted from 0.
    """

    first: int
    first_stage: int
    own: Plan

    @property
    def stages(self) -> tuple[Stage, ...]:
        """Each a complete grid of eigenvalues that contains the one before."""
        return self.own.stages

    def __len__(self) -> int:
        """How many units it has."""
        return len(self.own.units)

    def unit(self, index: int) -> WorkUnit:
        """The unit at a position among all units of the surface.

        Raises:
            IndexError: There is no such unit, or it is one of losses.
        """
        unit = self.own.unit(index - self.first)
        return unit.model_copy(update={"index": index, "stage": unit.stage + self.first_stage, "kind": "curvature"})


def curvature_plan(job: SurfaceJob) -> CurvaturePlan | None:
    """The plan of a surface's curvature map, the same in every process; None if none is asked for."""
    if job.request.curvature is None:
        return None
    losses, (ny, nx) = plan(job), job.request.grid.shape
    examples = min(job.request.curvature.examples, job.request.data.examples or job.request.curvature.examples)
    cell_macs = job.request.curvature_passes * job.macs_per_example
    grids = refined_grids(ny, nx, coarse_points(ny, nx, cell_macs))
    stages = tuple(Stage(rows=rows, columns=columns, stop=examples) for rows, columns in grids)
    cells = job.curvature_cells
    first = min(cells, -(-len(grids[0][0]) * len(grids[0][1]) // FIRST_STAGE_UNITS))
    sizes = (first, *(cells for _ in grids[1:]))
    numbered = enumerate(zip(grids, sizes, strict=True))
    parts = tuple(Part(stage, rows, columns, 0, examples, size) for stage, ((rows, columns), size) in numbered)
    own = replace(losses, stages=stages, parts=parts)
    return CurvaturePlan(first=len(losses.units), first_stage=len(losses.stages), own=own)


def unit(job: SurfaceJob, index: int) -> WorkUnit:
    """One unit of a surface, of losses or of its curvature map.

    Raises:
        IndexError: There is no such unit.
    """
    losses, curvature = plan(job), curvature_plan(job)
    if curvature is None or index < curvature.first:
        return losses.unit(index)
    return curvature.unit(index)
