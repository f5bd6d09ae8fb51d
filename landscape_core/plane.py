"""Planes through a network, as they are asked for: recipes of directions, and how random ones are scaled."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from landscape_core.message import Message, Seed, Sha256

MAX_EIGENVECTORS = 20
"""Highest number of an eigenvector from either end: each is found after those before it."""

MAX_RUN_VALUES = 500_000_000
"""Most numbers in the checkpoints of one trajectory: 2 GB of float32, and six times that where one tensor is most of it."""

MAX_HESSIAN_PARAMETERS = 50_000_000
"""Most parameters of a network whose Hessian is looked into: the search keeps dozens of float64 vectors of this length."""

MAX_CHECKPOINTS = 1000
"""Most checkpoints of one trajectory."""

Trajectory = Annotated[tuple[Sha256, ...], Field(min_length=1, max_length=MAX_CHECKPOINTS)]
Norm = Literal["filter", "layer", "weight", "dfilter", "dlayer", "none"]


class RandomDirection(Message):
    """A Gaussian direction, drawn per parameter tensor from a generator seeded by (seed, tensor name).

    Attributes:
        kind: Always `random`.
        seed: 0 … 2⁶³ − 1.

    Example:
        >>> RandomDirection(seed=7).model_dump()
        {'kind': 'random', 'seed': 7}
    """

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
    and batch norm move too, and with `of="states"` the running statistics.

    Attributes:
        checkpoint: The SHA-256 of the other's bytes.
        aligned: Whether the other's hidden units are first put into the order in which its weights are nearest to θ*; it
            computes the same function then (Ainsworth, Hayase, Srinivasa 2023, Git Re-Basin, algorithm 1: weight matching).
    """

    kind: Literal["towards"] = "towards"
    checkpoint: Sha256
    aligned: bool = Field(default=False, exclude_if=lambda aligned: not aligned)


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


class HessianDirection(Message):
    """An eigenvector, of length one, of the Hessian of the request's mean loss at θ*, in evaluation mode.

    `ignore="biasbn"` keeps it to tensors of two dimensions and more; running statistics have no part in it, nor has the norm.
    The entry of largest magnitude is positive. The eigenvalue is in the surface's provenance. Where an activation has kinks
    (ReLU), the Hessian is that between them, and a surface along its eigenvectors may bend more than the eigenvalue says.

    Attributes:
        index: 1 for the largest eigenvalue, 2 for the next; -1 for the smallest (the most negative), -2 for the next.
        examples: The mean is over the first so many of the request's examples, in their order; over all if there are fewer.
    """

    kind: Literal["hessian"] = "hessian"
    index: int = Field(ge=-MAX_EIGENVECTORS, le=MAX_EIGENVECTORS)
    examples: int = Field(default=512, ge=1, le=100_000_000)

    @field_validator("index")
    @classmethod
    def _from_an_end(cls, index: int) -> int:
        if index == 0:
            raise ValueError("eigenvectors are counted from 1 (the largest eigenvalue) or from -1 (the smallest)")
        return index


DirectionSpec = Annotated[
    RandomDirection | FileDirection | TowardsDirection | PrincipalDirection | HessianDirection, Field(discriminator="kind")
]


class Normalisation(Message):
    """How a random direction is scaled to the network (Li et al. 2018, section 4; the original's `normalize_direction`).

    `ignore="biasbn"` sets tensors of at most one dimension (biases, batch-norm parameters) to zero in the direction.
    `of="states"` lets batch-norm's running statistics move as well.

    Attributes:
        norm: What a direction's parts are scaled to: `filter` and `layer` to the norm of the network's own filter or tensor,
            `weight` to its absolute values, `dfilter` and `dlayer` to length one, `none` not at all.
        ignore: `biasbn` or `none`.
        of: `weights` (parameters) or `states` (all of the `state_dict`).

    Example:
        >>> Normalisation()  # filter by filter, biases and batch norm left where they are
        Normalisation(norm='filter', ignore='biasbn', of='weights')
        >>> Normalisation.model_validate({"norm": "layer", "ignore": "none"}).norm
        'layer'
    """

    norm: Norm = "filter"
    ignore: Literal["biasbn", "none"] = "biasbn"
    of: Literal["weights", "states"] = "weights"


class PlaneSpec(Message):
    """Origin θ* and one or two directions: θ(α, β) = θ* + α δ + β η. `y` is None for a curve.

    `trajectory` names the checkpoints of a training run that are projected on the plane; principal directions name their own.
    `orthogonal` takes η's component along δ off it, once both are scaled (Gram-Schmidt); Li et al. 2018 do not.

    Attributes:
        x: δ.
        y: η.
        normalisation: How random directions are scaled, and which tensors move.
        trajectory: Ids of the run's checkpoints; None for none.
        orthogonal: Whether η is put at right angles to δ.

    Raises:
        ValidationError: A curve asks for `orthogonal`, or two runs are named.

    Example:
        >>> plane = PlaneSpec(x=RandomDirection(seed=1), y=HessianDirection(index=1), orthogonal=True)
        >>> list(plane.specs), plane.is_derived
        (['x', 'y'], True)
        >>> PlaneSpec(x=RandomDirection(seed=1)).model_dump(exclude={"normalisation"})
        {'x': {'kind': 'random', 'seed': 1}, 'y': None}
    """

    x: DirectionSpec
    y: DirectionSpec | None = None
    normalisation: Normalisation = Normalisation()
    trajectory: Trajectory | None = Field(default=None, exclude_if=lambda run: run is None)
    orthogonal: bool = Field(default=False, exclude_if=lambda chosen: not chosen)

    @model_validator(mode="after")
    def _one_run(self) -> PlaneSpec:
        runs = {spec.checkpoints for spec in self.specs.values() if isinstance(spec, PrincipalDirection)}
        if len(runs) > 1:
            raise ValueError("both principal directions must be of the same checkpoints, in the same order")
        if runs and self.trajectory is not None:
            raise ValueError("a plane of principal directions shows their own checkpoints; leave out plane.trajectory")
        return self

    @model_validator(mode="after")
    def _two_directions(self) -> PlaneSpec:
        if self.orthogonal and self.y is None:
            raise ValueError("a curve has one direction, which nothing can be at right angles to; leave out plane.orthogonal")
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
