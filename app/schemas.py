"""What the REST interface answers. Pages use the same objects."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from landscape_core.catalogue import Comparison
from landscape_core.quantities import is_known, known_names
from landscape_core.requests import Message, SurfaceRequest
from worker.job import WorkerStatus

FileState = Literal["inspecting", "ready", "rejected"]
Measured = Literal["losses", "eigenvalues"]
SurfaceState = Literal["queued", "running", "finished", "failed", "cancelled"]


class CandidateInfo(Message):
    """An architecture whose tensors match the file's. `note` says why it was found, or what to choose between.

    With `takes_tokens`, an example is a sequence of token ids: `input_shape` holds its greatest length, and `classes` is the
    size of the vocabulary.
    """

    name: str
    options: dict[str, str | int | float | bool]
    text: str
    note: str
    macs_per_example: int
    input_shape: tuple[int, ...]
    classes: int
    takes_tokens: bool = False


class MemberInfo(Message):
    """One file of an archive of checkpoints. `id` is null if it is none of the run; `network` is as a candidate's `text`."""

    id: str | None
    filename: str
    size_bytes: int
    state: FileState
    problem: str | None = None
    network: str | None = None


class CheckpointInfo(Message):
    """One uploaded file of parameters. `format` and what follows are null until it has been inspected.

    An archive of several has `members`, in the natural order of their names, each a checkpoint of its own; it is itself none
    that a surface can be computed from. It is `inspecting` until all are inspected, and `ready` if any of them is.

    `nearest` holds a file that fits no architecture against the catalogued network that has most of its tensors.
    """

    id: str
    filename: str
    size_bytes: int
    state: FileState
    problem: str | None = None
    format: str | None = None
    container: str | None = None
    tensors: int | None = None
    parameters: int | None = None
    metadata: dict[str, str | int | float | bool] = Field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    candidates: tuple[CandidateInfo, ...] = ()
    nearest: Comparison | None = None
    members: tuple[MemberInfo, ...] = ()
    created: datetime


class DatasetInfo(Message):
    """A catalogued or uploaded data set. `id` is what a request's `data.dataset` takes.

    With `holds_tokens`, an example is a sequence of token ids: `shape` holds its length, and `classes` is one more than the
    largest id.
    """

    id: str
    title: str
    state: FileState
    problem: str | None = None
    uploaded: bool
    splits: dict[str, int] = Field(default_factory=dict)
    shape: tuple[int, ...] = ()
    classes: int | None = None
    holds_tokens: bool = False
    preprocessing: str = "none"
    source: str = ""


class Ticket(Message):
    """What was brought or asked for, and its state; its own address says more."""

    id: str
    state: FileState | SurfaceState


class UploadResult(Message):
    """What became of a resumable upload. `test_half` is the id of the test surface, where a surface file held both splits."""

    kind: Literal["checkpoint", "dataset", "directions", "surface"]
    id: str
    state: FileState | SurfaceState
    problem: str | None = None
    test_half: str | None = None


class FileInfo(Message):
    """An uploaded file of which there is no more to say, as a direction file."""

    id: str
    state: FileState
    filename: str
    problem: str | None = None


class ArchitectureInfo(Message):
    """A catalogued architecture and its options, each with the values it may take."""

    name: str
    title: str
    options: dict[str, list[str]]


class Progress(Message):
    """How far a surface is. `done` is a share of the work in 0 … 1; `stage` counts whole surfaces so far of `stages`.

    `measures` says what is measured now: losses, or, once they all are there, the eigenvalues that were asked for.
    """

    done: float = 0.0
    stage: int = 0
    stages: int = 0
    examples: int = 0
    seconds_left: float | None = None
    measures: Measured = "losses"


class SurfaceInfo(Message):
    """One surface: its question, how far it is, how it was made.

    `preview` says whether its picture is there: it is drawn a moment after the surface is finished.
    """

    id: str
    state: SurfaceState
    title: str
    problem: str | None = None
    origin: Literal["computed", "imported", "gallery"] = "computed"
    checkpoint_name: str = ""
    request: SurfaceRequest | None
    progress: Progress
    provenance: dict[str, Any] = Field(default_factory=dict)
    preview: Literal["wait", "done", "failed"] = "wait"
    created: datetime
    finished: datetime | None = None


class LiveWish(Message):
    """A surface that is computed elsewhere and will be sent meanwhile. `stages` is 0 if nobody knows how many there will be."""

    name: Annotated[str, Field(min_length=1, max_length=255)] = "surface"
    stages: Annotated[int, Field(ge=0, le=10_000)] = 0


class LiveTicket(Message):
    """Where a live surface is sent to. This answer alone holds the secret, without which nobody sends to it."""

    id: str
    secret: str


class LiveWord(Message):
    """What the sender of a live surface says between its states: how far it is, or that it is over.

    `finished` makes the latest state the whole surface; `unfinished` leaves it as it is.
    """

    state: Literal["running", "finished", "unfinished"] = "running"
    done: Annotated[float, Field(ge=0, le=1)] | None = None


class CostEstimate(Message):
    """What a request will cost on the workers that are there; seconds are None while no worker has measured its speed.

    `forward_passes` are of one example each, over all cells, with those that re-estimate batch norm. `macs` and `seconds` are
    of everything; `curvature_seconds` is the part of them that eigenvalues take, None if none are asked for.
    """

    cells: int
    examples: int
    forward_passes: int
    macs: float
    seconds: float | None
    first_surface_seconds: float | None
    curvature_seconds: float | None = None


class Vector(Message):
    """A vector in Plotly's scene units."""

    x: Annotated[float, Field(allow_inf_nan=False)]
    y: Annotated[float, Field(allow_inf_nan=False)]
    z: Annotated[float, Field(allow_inf_nan=False)]


class Camera(Message):
    """Plotly's scene camera."""

    eye: Vector
    center: Vector = Vector(x=0, y=0, z=0)
    up: Vector = Vector(x=0, y=0, z=1)


def _known(name: str) -> str:
    if not is_known(name):
        raise ValueError(f"there is no quantity {name!r}; {known_names()}")
    return name


class View(Message):
    """How a surface is looked at; nothing in it costs a computation. `clip` cuts the picture above that loss.

    `colour_by` names what the colours show: the loss, the accuracy, or a quantity. Where the surface does not have it, the
    colours show the loss.
    """

    camera: Camera | None = None
    projection: Literal["surface", "contour"] = "surface"
    colour: Annotated[str, Field(pattern=r"^[A-Za-z]{1,32}$")] = "Viridis"
    colour_by: Annotated[str, Field(max_length=32), AfterValidator(_known)] = "loss"
    log: bool = False
    clip: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    contours: bool = False


class ShareWish(Message):
    """What a link is to show; `label` is for its owner alone."""

    view: View = View()
    label: Annotated[str, Field(max_length=200)] = ""


class ShareInfo(Message):
    """A revocable link. `token` is given once, when it is made, and to whoever already holds it.

    In a listing `token` is the link's public id, which revokes it but opens nothing, and `url` is empty.
    """

    token: str
    url: str
    surface: str
    view: View
    label: str = ""
    created: datetime
    views: int = 0


class SharedSurface(Message):
    """What a link opens."""

    share: ShareInfo
    surface: SurfaceInfo


class Health(Message):
    """Whether the parts answer."""

    status: Literal["ok", "degraded"]
    redis: bool
    database: bool
    workers: int
    version: str


class Activity(Message):
    """What is going on. `surfaces` are those in work, oldest first, then the last that were done."""

    workers: list[WorkerStatus]
    queues: dict[str, int]
    surfaces: list[SurfaceInfo]


class Problem(Message):
    """What went wrong. `message` is one sentence for people; `field` names the part of the request at fault."""

    code: str
    message: str
    field: str | None = None


class ProblemAnswer(Message):
    """The one form of all answers that are no success."""

    error: Problem
