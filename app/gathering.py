"""All that units find of one surface: its losses and, where they are asked for, the Hessian's eigenvalues at every cell.

Losses come first, in all their stages; the stages of eigenvalues follow. The surface is complete when both are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from typing import Any

from app.accumulation import Accumulation
from app.curvature_accumulation import CurvatureAccumulation
from app.fast_accumulation import FastAccumulation
from app.schemas import Measured
from app.snapshots import EIGENVALUES, STAGE
from landscape_core.results import Surface
from worker.job import SurfaceJob
from worker.queue import Eigenvalues, decode_unit


class Gathering:
    """What is known so far of one surface.

    Args:
        job: The surface's.
    """

    def __init__(self, job: SurfaceJob) -> None:
        self.job = job
        self.losses = FastAccumulation(job) if job.request.budget == "fast" else Accumulation(job)
        self.curvature = None if job.request.curvature is None else CurvatureAccumulation(job)
        losses = len(self.losses.plan.units)
        self.units = losses if self.curvature is None else losses + len(self.curvature.plan)
        """How many units there are."""

    @property
    def stage(self) -> int:
        """How many stages are complete, and therefore all before them."""
        further = self.curvature.stage if self.curvature is not None and self.losses.is_complete else 0
        return self.losses.stage + further

    @property
    def stages(self) -> int:
        """How many stages there are."""
        return self.losses.stages + (0 if self.curvature is None else self.curvature.stages)

    @property
    def is_complete(self) -> bool:
        """Whether every unit is done."""
        return self.losses.is_complete and (self.curvature is None or self.curvature.is_complete)

    @property
    def total_macs(self) -> int:
        """Multiply-accumulates of the whole surface, or about as much work for its eigenvalues."""
        return self.losses.total_macs + self.curvature_macs

    @property
    def curvature_macs(self) -> int:
        """The part of `total_macs` that eigenvalues take."""
        return self.job.request.grid.cells * self.job.request.curvature_passes * self.job.macs_per_example

    @property
    def done(self) -> float:
        """The share of the work that is done, in 0 … 1."""
        if self.curvature is None:
            return self.losses.done
        return (self.losses.done * self.losses.total_macs + self.curvature.done * self.curvature_macs) / self.total_macs

    @property
    def examples(self) -> int:
        """How many examples the losses of the latest whole surface have seen."""
        return self.losses.examples

    @property
    def measures(self) -> Measured:
        """What is measured now: "eigenvalues" once all losses are there and some eigenvalues are not, else "losses"."""
        return "eigenvalues" if self.losses.is_complete and not self.is_complete else "losses"

    def is_done(self, unit: int) -> bool:
        """Whether what this unit finds is in."""
        return self.losses.is_done(unit) or (self.curvature is not None and self.curvature.is_done(unit))

    def missing(self) -> Iterator[int]:
        """The units that are not done, in the order in which they are wanted."""
        return self.losses.missing() if self.curvature is None else chain(self.losses.missing(), self.curvature.missing())

    def is_preview(self, unit: int) -> bool:
        """Whether this unit belongs to the first whole surface, which goes before all else."""
        return not self._is_curvature(unit) and self.losses.stage_of(unit) == 0

    def fold(self, unit: int, blob: bytes) -> bool:
        """Takes in a unit's blob; folding one twice changes nothing.

        Returns:
            False if this is not what that unit finds, and nothing was taken in.

        Raises:
            DamagedBlob: The bytes are not what was written.
        """
        if self.curvature is not None and self.curvature.owns(unit):
            return self.curvature.fold(unit, Eigenvalues.decode(blob))
        return self.losses.fold(unit, *decode_unit(blob))

    def surface(self, provenance: dict[str, Any]) -> Surface:
        """The latest whole surface; while it is not the last, its provenance says of which stage it is.

        Args:
            provenance: What else is to be said of how it was made.
        """
        curvature = self.curvature
        if curvature is None:
            return self.losses.surface(provenance)
        about = curvature.about() if self.losses.is_complete else {}
        surface = self.losses.surface(provenance | ({"curvature": about} if about else {}))
        if not self.is_complete:
            surface.provenance[STAGE] = self._whole_grid() | surface.provenance.get(STAGE, {}) | {"stages": self.stages}
        if not self.losses.is_complete or curvature.grid is None:
            return surface
        if not self.is_complete:
            grid = {"rows": list(curvature.grid.rows), "columns": list(curvature.grid.columns)}
            surface.provenance[STAGE][EIGENVALUES] = grid
        return replace(surface, quantities=surface.quantities | curvature.quantities())

    def _whole_grid(self) -> dict[str, Any]:
        """What is said of a stage whose losses are all there."""
        rows, columns = self.losses.plan.shape
        return {
            "stage": self.stage,
            "examples": self.examples,
            "rows": list(range(rows)),
            "columns": list(range(columns)),
        }

    def _is_curvature(self, unit: int) -> bool:
        return self.curvature is not None and self.curvature.owns(unit)
