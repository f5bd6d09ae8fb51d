"""What the Hessian's eigenvalues at every cell cost on the workers that are there, and how much of it a server takes."""

from __future__ import annotations

from collections.abc import Sequence

from landscape_core.errors import InvalidRequest
from landscape_core.requests import CURVATURE_PASSES, SurfaceRequest
from worker.job import WorkerStatus, eigenvalues_of

MOST_CURVATURE_EXAMPLES, MOST_CELL_MACS = 4096, 200_000_000_000_000
"""Most examples that the eigenvalues at a cell are over, and about how much work one cell may be, which is the least of a unit:
an hour on two cores, which is lost with its worker."""

LEAST_CELL_S = 0.07
"""What a cell takes however small the network is: 33 products of 2 ms each, measured on one core."""


def check_curvature(request: SurfaceRequest, macs: int) -> None:
    """Passes unless eigenvalues are asked for over more examples than a server takes for them.

    Args:
        request: The question.
        macs: Multiply-accumulates of one forward pass of one example.

    Raises:
        InvalidRequest: They are.
    """
    if request.curvature is None:
        return
    asked = request.curvature.examples
    most = max(1, min(MOST_CURVATURE_EXAMPLES, MOST_CELL_MACS // (CURVATURE_PASSES * macs)))
    if asked > most:
        raise InvalidRequest(
            f"A server measures this network's eigenvalues over at most {most:,} examples, but {asked:,} were asked for; "
            f"ask for fewer, or compute the surface on your machine with lossatlas compute --curvature {asked} and push it.",
            field="curvature.examples",
        )


def map_seconds(workers: Sequence[WorkerStatus], request: SurfaceRequest, macs: int) -> float | None:
    """How long all cells take on these workers together; None if no eigenvalues are asked for, or no speed is known.

    Args:
        workers: Those that are there.
        request: The question, with a number of examples.
        macs: Multiply-accumulates of one forward pass of one example.
    """
    rates = [1.0 / seconds for seconds in _cell_seconds(workers, request, macs)]
    return request.grid.cells / sum(rates) if rates else None


def cells_of_unit(workers: Sequence[WorkerStatus], request: SurfaceRequest, macs: int, unit_s: float) -> int:
    """How many cells the slowest of these workers does in so many seconds; at least one.

    Args:
        workers: Those that are there.
        request: The question, with a number of examples.
        macs: Multiply-accumulates of one forward pass of one example.
        unit_s: How long a unit is to take, in seconds.
    """
    return max(1, int(unit_s / max(_cell_seconds(workers, request, macs), default=unit_s)))


def _cell_seconds(workers: Sequence[WorkerStatus], request: SurfaceRequest, macs: int) -> list[float]:
    """How long one cell takes on each worker: as it has measured such cells, else as it has the network."""
    if request.curvature is None:
        return []
    name, cell_macs, found = request.architecture.name, request.curvature_passes * macs, []
    for worker in workers:
        if known := worker.speeds.get(eigenvalues_of(name)):
            found.append(cell_macs / known)
        elif speed := worker.speed_on(name):
            found.append(max(LEAST_CELL_S, cell_macs / speed))
    return found
