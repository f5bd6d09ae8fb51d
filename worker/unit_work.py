"""What a unit is computed with, and whether its blob is there already: losses by an evaluator, eigenvalues by Lanczos."""

from __future__ import annotations

import logging
from collections.abc import Callable

import numpy as np

from landscape_core.errors import NotFound
from worker.blobs import BlobStore, DamagedBlob, unit_key
from worker.eigenvalues import Eigenvalues
from worker.inputs import Inputs
from worker.job import SurfaceJob, WorkUnit, eigenvalues_of
from worker.tallies import decode_unit, encode_unit

log = logging.getLogger(__name__)


def is_stored(blobs: BlobStore, unit: WorkUnit) -> bool:
    """Whether what the unit finds is there, undamaged."""
    try:
        blob = blobs.get(unit_key(unit.surface, unit.index))
        cells = Eigenvalues.decode(blob).cells if unit.kind == "curvature" else decode_unit(blob)[0]
    except NotFound:
        return False
    except DamagedBlob as error:
        log.warning("unit %d of %s is computed again: %s", unit.index, unit.surface, error)
        return False
    return np.array_equal(cells, unit.cells)


def macs(job: SurfaceJob, unit: WorkUnit) -> int:
    """Multiply-accumulates of a unit: of its eigenvalues about, which take as long as so many evaluations."""
    passes = job.request.curvature_passes if unit.kind == "curvature" else job.passes(unit.start, unit.stop)
    return len(unit.cells) * passes * job.macs_per_example


def speed_name(job: SurfaceJob, unit: WorkUnit) -> str:
    """The name under which the speed of such units is told."""
    architecture = job.request.architecture.name
    return eigenvalues_of(architecture) if unit.kind == "curvature" else architecture


def prepared(inputs: Inputs, unit: WorkUnit, should_stop: Callable[[], bool]) -> Callable[[], bytes]:
    """What gives the unit's blob, with all that it needs loaded.

    Args:
        inputs: What surfaces are computed from.
        unit: The unit.
        should_stop: Asked before every batch.

    Raises:
        Cancelled: `should_stop` said so; what is returned may raise it as well.
    """
    if unit.kind == "curvature":
        curvature = inputs.curvature(unit.surface, should_stop)
        return lambda: curvature.measured(unit.cells, should_stop).encode()
    evaluator = inputs.evaluator(unit.surface, should_stop)
    return lambda: encode_unit(unit.cells, evaluator.tally(unit.cells, unit.start, unit.stop, should_stop))
