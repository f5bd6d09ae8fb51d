"""What may be asked: the one definition that is the form, the REST body, the job payload and what is stored.

Every model is frozen and refuses unknown fields. `SurfaceRequest.digest` is the surface's id, so a renamed field
or a changed default is a decision, not an accident: a test holds a stored digest.
"""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

MAX_CHECKPOINTS = 1000
"""Most checkpoints of one trajectory: all of them are in memory at once."""

MAX_POINTS = 501
"""Most points on one axis: 501² cells are a quarter of a million evaluations of the network."""

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Seed = Annotated[int, Field(ge=0, le=2**63 - 1)]
Trajectory = Annotated[tuple[Sha256, ...], Field(min_length=1, max_length=MAX_CHECKPOINTS)]
Finite = Annotated[float, Field(allow_inf_nan=False, ge=-1e6, le=1e6)]
Loss = Literal["cross_entropy", "mse_softmax", "mse", "multi_margin", "nll"]
Norm = Literal["filter", "layer", "weight", "dfilter", "dlayer", "none"]


class Message(BaseModel):
    """Base of everything that crosses a process: frozen, and unknown fields are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def canonical_json(self) -> str:
        """The one JSON text of this message: sorted keys, no spaces, no NaN."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"), allow_nan=False)


class ArchitectureSpec(Message):
    """A catalogued way to build a network: `resnet56`, or `mlp` with `{"activation": "tanh"}`."""

    name: str = Field(min_length=1, max_length=64)
    options: dict[str, str | int | float | bool] = Field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> ArchitectureSpec:
        """Reads the command line's form, `name` or `name:option=value,option=value`."""
        name, _, rest = text.partition(":")
        options: dict[str, str | int | float | bool] = {}
        for pair in filter(None, rest.split(",")):
            key, _, value = pair.partition("=")
            options[key] = _scalar(value)
        return cls(name=name, options=options)

    def __str__(self) -> str:
        options = ",".join(f"{k}={str(v).lower() if isinstance(v, bool) else v}" for k, v in sorted(self.options.items()))
        return f"{self.name}:{options}" if options else self.name


class Standardisation(Message):
    """Per-channel mean and standard deviation, in units of pixel values scaled to [0, 1]."""

    mean: tuple[Finite, ...] = Field(min_length=1, max_length=64)
    std: tuple[Annotated[float, Field(gt=0, allow_inf_nan=False, le=1e6)], ...] = Field(min_length=1, max_length=64)

    @model_validator(mode="after")
    def _same_length(self) -> Standardisation:
        if len(self.mean) != len(self.std):
            raise ValueError(f"mean has {len(self.mean)} channels but std has {len(self.std)}; give as many of each")
        return self


class DataSlice(Message):
    """Which examples are evaluated, and how they are prepared.

    `dataset` is a catalogued name or the SHA-256 of an uploaded data set. `examples` None means the whole split.
    `seed` draws the fixed permutation from which the first `examples` are taken; None keeps the data set's own order.
    """

    dataset: str = Field(min_length=1, max_length=128)
    split: Literal["train", "test"] = "train"
    examples: Annotated[int, Field(ge=1, le=100_000_000)] | None = None
    seed: Seed | None = 0
    preprocessing: Annotated[str, Field(min_length=1, max_length=64)] | Standardisation = "none"


class RandomDirection(Message):
    """A Gaussian direction, drawn per parameter tensor from a generator seeded by (seed, tensor name)."""

    kind: Literal["random"] = "random"
    seed: Seed


class FileDirection(Message):
    """A direction from a file in the original's `.h5` form: `plane.x` takes its xdirection, `plane.y` its ydirection.

    `file` is the SHA-256 of the file's bytes. The stored tensors are used as they are: they are already normalised.
    """

    kind: Literal["file"] = "file"
    file: Sha256


class TowardsDirection(Message):
    """θ' − θ*, from the request's checkpoint to another of the same network: at 1 stands the other one.

    As in the code of Li et al. 2018 (`create_target_direction`), the difference is neither normalised nor masked: biases
    and batch norm move too, and with `of="states"` the running statistics. `checkpoint` is the SHA-256 of the other's bytes.
    """

    kind: Literal["towards"] = "towards"
    checkpoint: Sha256


class PrincipalDirection(Message):
    """A principal direction of a training run, of length one (Li et al. 2018, section 7.2; `setup_PCA_directions`).

    The principal components are those of the differences θ_k − θ* of the checkpoints to the request's own, which belongs to
    the run whether or not it is named; their mean is taken off, as scikit-learn's PCA does there. `ignore="biasbn"` leaves out
    tensors of at most one dimension; the norm has no part in it. The entry of largest magnitude is positive.

    Attributes:
        index: 1 for the direction of most variance.
        checkpoints: The run, by the SHA-256 of each file's bytes, in its order.
    """

    kind: Literal["principal"] = "principal"
    index: int = Field(ge=1, le=MAX_CHECKPOINTS)
    checkpoints: Trajectory


DirectionSpec = Annotated[RandomDirection | FileDirection | TowardsDirection | PrincipalDirection, Field(discriminator="kind")]


class Normalisation(Message):
    """How a random direction is scaled to the network (Li et al. 2018, section 4; the original's `normalize_direction`).

    `ignore="biasbn"` sets tensors of at most one dimension (biases, batch-norm parameters) to zero in the direction.
    `of="states"` lets batch-norm's running statistics move as well.
    """

    norm: Norm = "filter"
    ignore: Literal["biasbn", "none"] = "biasbn"
    of: Literal["weights", "states"] = "weights"


class PlaneSpec(Message):
    """Origin θ* and one or two directions: θ(α, β) = θ* + α δ + β η. `y` is None for a curve.

    `trajectory` names the checkpoints of a training run that are projected on the plane; principal directions name their own.
    """

    x: DirectionSpec
    y: DirectionSpec | None = None
    normalisation: Normalisation = Normalisation()
    trajectory: Trajectory | None = Field(default=None, exclude_if=lambda run: run is None)

    @model_validator(mode="after")
    def _one_run(self) -> PlaneSpec:
        runs = {spec.checkpoints for spec in self.specs.values() if isinstance(spec, PrincipalDirection)}
        if len(runs) > 1:
            raise ValueError("both principal directions must be of the same checkpoints, in the same order")
        if runs and self.trajectory is not None:
            raise ValueError("a plane of principal directions shows their own checkpoints; leave out plane.trajectory")
        return self

    @property
    def specs(self) -> dict[Literal["x", "y"], DirectionSpec]:
        """The recipe of each direction that there is, by its axis."""
        return {"x": self.x} if self.y is None else {"x": self.x, "y": self.y}

    @property
    def run(self) -> tuple[str, ...]:
        """The checkpoints of the training run that is projected on the plane; empty if there is none."""
        own = (spec.checkpoints for spec in self.specs.values() if isinstance(spec, PrincipalDirection))
        return next(own, self.trajectory or ())

    @property
    def named_checkpoints(self) -> dict[str, str]:
        """Every other checkpoint that the plane is made from, and the field of the request that names it first."""
        found: dict[str, str] = {}
        for axis, spec in self.specs.items():
            if isinstance(spec, TowardsDirection):
                found.setdefault(spec.checkpoint, f"plane.{axis}.checkpoint")
            elif isinstance(spec, PrincipalDirection):
                found = dict.fromkeys(spec.checkpoints, f"plane.{axis}.checkpoints") | found
        return dict.fromkeys(self.trajectory or (), "plane.trajectory") | found

    @property
    def is_derived(self) -> bool:
        """Whether something of the plane follows from more than the checkpoint, seeds and direction files."""
        return bool(self.run) or any(not isinstance(spec, RandomDirection | FileDirection) for spec in self.specs.values())


class Axis(Message):
    """Evenly spaced coordinates from start to stop, both included; a single point stands at start."""

    start: Finite
    stop: Finite
    points: int = Field(ge=1, le=MAX_POINTS)

    @model_validator(mode="after")
    def _ascending(self) -> Axis:
        if self.points > 1 and not self.start < self.stop:
            raise ValueError(f"start must be below stop, but {self.start:g} is not below {self.stop:g}")
        if self.points > 1 and not (np.diff(self.coordinates) > 0).all():
            raise ValueError(
                f"{self.points} points do not fit between {self.start!r} and {self.stop!r}: neighbours are the same number; "
                "take a wider range or fewer points"
            )
        return self

    @property
    def coordinates(self) -> np.ndarray:
        """The coordinates, (points,) float64, in units of the direction.

        Written so that an axis of 2R-1 points contains that of R points exactly, and stop is met exactly.
        """
        if self.points == 1:
            return np.array([self.start])
        t = np.arange(self.points) / (self.points - 1)
        values = self.start + (self.stop - self.start) * t
        values[-1] = self.stop
        return values


class Grid(Message):
    """One axis (a curve) or two (a surface)."""

    x: Axis
    y: Axis | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """(ny, nx); ny is 1 for a curve."""
        return (1 if self.y is None else self.y.points, self.x.points)

    @property
    def cells(self) -> int:
        """How many cells the grid has."""
        return self.shape[0] * self.shape[1]


class SurfaceRequest(Message):
    """One question about a loss landscape; the same question has the same digest."""

    checkpoint: Sha256
    architecture: ArchitectureSpec
    data: DataSlice
    loss: Loss = "cross_entropy"
    plane: PlaneSpec
    grid: Grid
    budget: Literal["exact"] = "exact"

    @model_validator(mode="after")
    def _curve_or_surface(self) -> SurfaceRequest:
        if (self.grid.y is None) != (self.plane.y is None):
            raise ValueError("grid.y and plane.y must both be given (a surface) or both be null (a curve)")
        return self

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical JSON, in hexadecimal: the surface's id."""
        return hashlib.sha256(self.canonical_json().encode()).hexdigest()


def _scalar(text: str) -> Any:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return {"true": True, "false": False}.get(text.lower(), text)
