"""The messages between the app and its workers, and the names under which they travel.

Blobs are the record, Redis is a hint: it may be flushed at any time without losing a finished value.

    app ── SurfaceJob (blob) ─────────────▶ worker
    app ── "surface id, unit index" (RQ) ──▶ worker
    worker ── unit tallies (blob), then Announcement (Redis stream) ──▶ collector in the app
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from landscape_core.estimate import chunk_bounds
from landscape_core.ladder import Ladder
from landscape_core.requests import Message, Sha256, SurfaceRequest

INTAKE, PREVIEW, COMPUTE = "intake", "preview", "compute"
"""The RQ queues, most urgent first: inspecting uploads; first stages; all else."""

PROBE = ""
"""The name under which a worker tells the speed that its probe has measured."""

RESULTS_STREAM = "lossatlas:results"
"""Redis stream of `Announcement`s from all workers, read by the collector."""


def events_stream(surface: str) -> str:
    """Name of the Redis stream that browsers follow for one surface."""
    return f"lossatlas:events:{surface}"


def cancel_key(surface: str) -> str:
    """Name of the Redis key that is set while a surface is to be left alone."""
    return f"lossatlas:cancelled:{surface}"


def worker_key(name: str) -> str:
    """Name of the Redis key that holds a worker's `WorkerStatus`; it expires when the worker dies."""
    return f"lossatlas:worker:{name}"


UnitKind = Literal["losses", "curvature"]
"""What a unit measures: losses of some examples, or the Hessian's extreme eigenvalues."""


def eigenvalues_of(architecture: str) -> str:
    """The name under which a worker tells its speed with the eigenvalues of an architecture."""
    return f"{architecture}, eigenvalues"


class SurfaceJob(Message):
    """All that a worker needs to know about a surface; stored as a blob, so that every process plans the same units.

    Attributes:
        surface: The surface's id, which is the request's digest.
        request: The request with `data.examples` resolved to a number.
        macs_per_example: Multiply-accumulates of one forward pass of one example.
        unit_macs: How much work one unit should be, in multiply-accumulates.
        decisions: How many decisions of each example a tally's `correct` counts: 1, or the tokens of a sequence.
        by_level: Whether units are cut so that each further chunk of examples begins with coarse grids, as the `fast` budget
            needs it (`landscape_core.ladder`); an exact surface that goes on from a fast one has the same units.
        curvature_cells: How many cells' eigenvalues one unit measures, where they are asked for.
        units_of: Other surfaces with the same units: what they have found is taken over.
    """

    surface: Sha256
    request: SurfaceRequest
    macs_per_example: int = Field(ge=1)
    unit_macs: int = Field(ge=1)
    decisions: int = Field(default=1, ge=1)
    by_level: bool = Field(default=False, exclude_if=lambda cut: not cut)
    curvature_cells: int = Field(default=1, ge=1, exclude_if=lambda cells: cells == 1)
    units_of: tuple[Sha256, ...] = Field(default=(), exclude_if=lambda surfaces: not surfaces)

    def passes(self, start: int, stop: int) -> int:
        """Forward passes of one example that the examples start … stop of one cell take, batch norm's included."""
        return stop - start + self.request.statistics_examples

    @property
    def passes_per_cell(self) -> int:
        """Forward passes of one example that a whole cell takes: batch norm is re-estimated for each chunk."""
        return sum(self.passes(start, stop) for start, stop in chunk_bounds(self.request.data.examples or 0))

    @property
    def total_passes(self) -> int:
        """Forward passes of one example that the whole surface takes, or about as much work for its eigenvalues.

        Of a fast surface it is the least: what is seen before it is known whether more is needed.
        """
        passes = self.request.grid.cells * (self.passes_per_cell + self.request.curvature_passes)
        if self.request.budget == "exact":
            return passes
        ladder = Ladder.for_request(self.request, self.request.data.examples or 0)
        return max(1, round(passes * ladder.share(ladder.pilot())))


class Stage(Message):
    """A complete grid on some chunks of examples: once it is done, there is a whole surface to look at.

    Attributes:
        rows: Indices into grid.y (just 0 for a curve) of the complete grid.
        columns: Indices into grid.x.
        stop: Every cell of the grid has seen the examples 0 … stop once this stage is done.
    """

    rows: tuple[int, ...]
    columns: tuple[int, ...]
    stop: int


class WorkUnit(Message):
    """What one job computes: some cells × a range of examples. Computing it twice does no harm.

    Attributes:
        surface: Id of the surface.
        index: Position among the surface's units, in the order of computation.
        stage: Position of the stage that it belongs to.
        cells: (row, column) of each cell.
        start: First example, in the slice's order.
        stop: One after the last example.
        kind: What is measured there.
    """

    surface: Sha256
    index: int
    stage: int
    cells: tuple[tuple[int, int], ...]
    start: int
    stop: int
    kind: UnitKind = "losses"


class Announcement(Message):
    """What a worker says when a result (or a failure) lies in the blob store.

    `subject` is the surface's id for "unit", "unit_failed" and "finishing" (preview and direction file are stored), and
    the file's SHA-256 for "intake". `problem` is public text; `retry` False means that trying again cannot help.
    """

    kind: Literal["unit", "unit_failed", "finishing", "intake"]
    subject: Sha256
    unit: int | None = None
    seconds: float | None = None
    problem: str | None = None
    retry: bool = True
    worker: str = ""


class WorkerStatus(Message):
    """A worker's heartbeat. Speeds are multiply-accumulates per second, by a short probe at the start, then by its units.

    Attributes:
        macs_per_second: By the last units.
        speeds: By the units of each architecture it has lately computed; by the probe under `PROBE`.
    """

    name: str
    pid: int
    host: str
    device: str
    threads: int
    state: Literal["starting", "idle", "busy", "stopping"]
    macs_per_second: float | None = None
    speeds: dict[str, float] = Field(default_factory=dict)
    surface: str | None = None
    started: float

    def speed_on(self, architecture: str) -> float | None:
        """Its speed with an architecture; as the probe has it for one that it has not computed, None before the probe."""
        return self.speeds.get(architecture) or self.speeds.get(PROBE) or self.macs_per_second
