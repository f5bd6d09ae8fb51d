"""What may be asked: the one definition that is the form, the REST body, the job payload and what is stored.

Every model is frozen and refuses unknown fields. `SurfaceRequest.digest` is the surface's id, so a renamed field
or a changed default is a decision, not an accident: a test holds a stored digest.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from landscape_core.grid import MAX_POINTS, Axis, Finite, Grid
from landscape_core.message import Message, Seed, Sha256
from landscape_core.plane import (
    MAX_CHECKPOINTS,
    MAX_EIGENVECTORS,
    DirectionSpec,
    FileDirection,
    HessianDirection,
    Norm,
    Normalisation,
    PlaneSpec,
    PrincipalDirection,
    RandomDirection,
    TowardsDirection,
)

__all__ = [
    "BATCH_NORM_EXAMPLES",
    "CURVATURE_PASSES",
    "LEAST_TOLERANCE",
    "MAX_CHECKPOINTS",
    "MAX_EIGENVECTORS",
    "MAX_POINTS",
    "MOST_TOLERANCE",
    "NATS",
    "TOLERANCE",
    "ArchitectureSpec",
    "Axis",
    "BatchNorm",
    "Budget",
    "CurvatureSpec",
    "DataSlice",
    "DirectionSpec",
    "FileDirection",
    "Finite",
    "Grid",
    "HessianDirection",
    "Loss",
    "Message",
    "Metric",
    "Norm",
    "Normalisation",
    "Option",
    "PlaneSpec",
    "Precision",
    "PrincipalDirection",
    "RandomDirection",
    "Seed",
    "Sha256",
    "Standardisation",
    "SurfaceRequest",
    "TowardsDirection",
    "check_budget",
]

TOLERANCE = 0.005
"""Root mean square error of a `fast` surface, as a share of the losses' range, if nothing else is asked for."""

LEAST_TOLERANCE, MOST_TOLERANCE = 1e-4, 0.2
"""What may be asked for."""

CURVATURE_PASSES = 200
"""About how many evaluations of its examples a cell's eigenvalues take: some 40 products, each as long as five."""

BATCH_NORM_EXAMPLES = 512
"""Most examples that batch norm's statistics are re-estimated over: one batch, which has to fit into memory."""

Option = str | int | Annotated[float, Field(allow_inf_nan=False)] | bool
Budget = Literal["exact", "fast"]
BatchNorm = Literal["fixed", "reestimated"]
Metric = Literal["top5", "class_accuracy"]
Precision = Literal["float32", "tf32", "bfloat16"]
Loss = Literal["cross_entropy", "mse_softmax", "mse", "multi_margin", "nll"]

NATS = frozenset({"cross_entropy", "nll"})
"""Losses that are measured in nats."""


class ArchitectureSpec(Message):
    """A catalogued way to build a network: `resnet56`, or `mlp` with `{"activation": "tanh"}`."""

    name: str = Field(min_length=1, max_length=64)
    options: dict[str, Option] = Field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> ArchitectureSpec:
        """Reads the command line's form, `name` or `name:option=value,option=value`."""
        name, _, rest = text.partition(":")
        options: dict[str, Option] = {}
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


class CurvatureSpec(Message):
    """The largest and the smallest eigenvalue of the Hessian at every cell (Li et al. 2018, section 6).

    It is the Hessian of the mean loss over the first `examples` of the request's examples, by the parameters that
    `plane.normalisation.ignore` leaves, in evaluation mode. Each cell takes about as long as 200 evaluations of them.
    """

    examples: int = Field(default=256, ge=1, le=100_000_000)


class SurfaceRequest(Message):
    """One question about a loss landscape; the same question has the same digest.

    `batch_norm` says which running statistics the network has at a cell: `fixed` those of the checkpoint (or moved with
    it, by `plane.normalisation.of`), as in Li et al. 2018; `reestimated` those of the moved network itself over the first
    `BATCH_NORM_EXAMPLES` of the request's examples (`compute.batch_norm`).
    `precision` says how the network's forward pass is rounded (`compute.precision`); else than in float32 some cells are held
    against float32, for the provenance.
    `budget` `exact` measures every example at every cell, `fast` as few as an estimate takes whose root mean square error is to
    be at most `tolerance`, a share of the losses' range (`landscape_core.fast_budget`).
    `metrics` are counted beside loss and accuracy: `top5`, `class_accuracy`; in whatever order they are given, they are sorted.
    """

    checkpoint: Sha256
    architecture: ArchitectureSpec
    data: DataSlice
    loss: Loss = "cross_entropy"
    plane: PlaneSpec
    grid: Grid
    budget: Budget = "exact"
    tolerance: Annotated[float, Field(ge=LEAST_TOLERANCE, le=MOST_TOLERANCE, allow_inf_nan=False)] = Field(
        default=TOLERANCE, exclude_if=lambda share: share == TOLERANCE
    )
    batch_norm: BatchNorm = Field(default="fixed", exclude_if=lambda how: how == "fixed")
    precision: Precision = Field(default="float32", exclude_if=lambda precision: precision == "float32")
    curvature: CurvatureSpec | None = Field(default=None, exclude_if=lambda spec: spec is None)
    metrics: Annotated[tuple[Metric, ...], AfterValidator(lambda given: tuple(sorted(set(given))))] = Field(
        default=(), exclude_if=lambda metrics: not metrics
    )

    @model_validator(mode="after")
    def _curve_or_surface(self) -> SurfaceRequest:
        if (self.grid.y is None) != (self.plane.y is None):
            raise ValueError("grid.y and plane.y must both be given (a surface) or both be null (a curve)")
        return self

    @model_validator(mode="after")
    def _statistics_of_one_kind(self) -> SurfaceRequest:
        if self.batch_norm == "reestimated" and self.curvature is not None:
            raise ValueError("eigenvalues are those with fixed statistics; choose batch_norm fixed, or leave out curvature")
        if self.batch_norm == "reestimated" and self.plane.normalisation.of == "states":
            raise ValueError(
                "re-estimated statistics take the place of moved ones; choose normalisation.of weights, or batch_norm fixed"
            )
        return self

    @model_validator(mode="after")
    def _eigenvalues_in_float32(self) -> SurfaceRequest:
        if self.precision != "float32" and self.curvature is not None:
            raise ValueError("eigenvalues are measured in float32; choose precision float32, or leave out curvature")
        return self

    @model_validator(mode="after")
    def _budget_of_losses(self) -> SurfaceRequest:
        check_budget(self.budget, self.tolerance, eigenvalues=self.curvature is not None)
        return self

    @property
    def statistics_examples(self) -> int:
        """How many examples batch norm is re-estimated over at each cell before it is measured; 0 if it is fixed."""
        if self.batch_norm == "fixed":
            return 0
        return min(self.data.examples or BATCH_NORM_EXAMPLES, BATCH_NORM_EXAMPLES)

    @property
    def curvature_passes(self) -> int:
        """About how many evaluations of one example the eigenvalues at each cell take; 0 if none are asked for."""
        if self.curvature is None:
            return 0
        return CURVATURE_PASSES * min(self.curvature.examples, self.data.examples or self.curvature.examples)

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical JSON, in hexadecimal: the surface's id."""
        return hashlib.sha256(self.canonical_json().encode()).hexdigest()


def check_budget(budget: Budget, tolerance: float, *, eigenvalues: bool) -> None:
    """Passes when a budget goes with what else is asked for.

    Args:
        budget: Of the surface.
        tolerance: Within bounds.
        eigenvalues: Whether eigenvalues are asked for at every cell.

    Raises:
        ValueError: It does not.
    """
    if budget == "exact" and tolerance != TOLERANCE:
        raise ValueError("an exact surface has no tolerance; choose budget fast, or leave out tolerance")
    if budget == "fast" and eigenvalues:
        raise ValueError("the fast budget estimates losses, not eigenvalues; choose budget exact, or leave out curvature")


def _scalar(text: str) -> Any:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return {"true": True, "false": False}.get(text.lower(), text)
