"""Whether a question can be asked: the request against the checkpoint's tensors and the data set's facts. No torch."""

from __future__ import annotations

import math

from landscape_core.catalogue.data import DatasetFacts, standardisation
from landscape_core.catalogue.family import COUNTER, Candidate, Shapes
from landscape_core.catalogue.matching import fit, size_problem
from landscape_core.catalogue.networks import symmetry_of
from landscape_core.errors import InvalidRequest
from landscape_core.plane import MAX_HESSIAN_PARAMETERS, MAX_RUN_VALUES
from landscape_core.requests import (
    ArchitectureSpec,
    FileDirection,
    HessianDirection,
    PlaneSpec,
    PrincipalDirection,
    RandomDirection,
    Standardisation,
    SurfaceRequest,
    TowardsDirection,
)


def check_request(request: SurfaceRequest, shapes: Shapes, dataset: DatasetFacts) -> None:
    """Passes when the request can be computed from a checkpoint of these tensors on this data set.

    Direction files are checked when they are read (`compute.directions`), other checkpoints by `check_companion`.

    Args:
        request: The question.
        shapes: The checkpoint's names and shapes, in the file's order.
        dataset: What is known of the request's data set.

    Raises:
        InvalidRequest: It cannot; `field` names the part at fault and the text what to change.
    """
    candidate = fit(request.architecture, shapes)
    check_data(request, dataset)
    _check_shape(request.architecture, candidate, dataset)
    _check_size(request.architecture, shapes, dataset)
    if dataset.classes > candidate.classes:
        raise InvalidRequest(
            f"{dataset.title} has {dataset.classes} classes, but this {request.architecture.name} has {candidate.classes} "
            "outputs; choose the data set that the network was trained on.",
            field="data.dataset",
        )
    _check_memory(request.plane, sum(math.prod(shape) for shape in shapes.values()))
    for axis, spec in request.plane.specs.items():
        if isinstance(spec, TowardsDirection) and spec.aligned:
            symmetry_of(request.architecture, shapes, f"plane.{axis}.aligned")


def check_data(request: SurfaceRequest, dataset: DatasetFacts) -> None:
    """Passes when the request's examples, preprocessing and plane can be had, whatever the network.

    Args:
        request: The question.
        dataset: What is known of the request's data set.

    Raises:
        InvalidRequest: They cannot; `field` names the part at fault and the text what to change.
    """
    _check_examples(request, dataset)
    _check_preprocessing(request.data.preprocessing, dataset)
    check_plane(request.plane, request.checkpoint)


def check_companion(architecture: ArchitectureSpec, shapes: Shapes, others: Shapes, called: str, field: str) -> None:
    """Passes when another checkpoint holds parameters of the very network that is asked about, whatever names it gives them.

    Args:
        architecture: The network, which fits `shapes`.
        shapes: The request's checkpoint: names and shapes, in the file's order.
        others: The other checkpoint's.
        called: What the other one is called, for the message.
        field: The part of the request that names it.

    Raises:
        InvalidRequest: It does not; the text says what differs.
    """
    wanted = _network_shapes(architecture, shapes)
    try:
        found = _network_shapes(architecture, others)
    except InvalidRequest as error:
        reason = str(error).removeprefix(f"The checkpoint does not fit {architecture}: ").rstrip(".")
        raise InvalidRequest(
            f"{called} holds no parameters of this {architecture.name} ({reason}); name a checkpoint of the same network.",
            field=field,
        ) from None
    differs = [name for name in {**wanted, **found} if wanted.get(name) != found.get(name)]
    if differs:
        name = differs[0]
        has, needs = (_shape_of(shapes.get(name)) for shapes in (found, wanted))
        raise InvalidRequest(
            f"{called} is of another {architecture.name}: its {name} has {has}, but this network's has {needs}; "
            "name a checkpoint of the same network.",
            field=field,
        )


def _network_shapes(architecture: ArchitectureSpec, shapes: Shapes) -> dict[str, tuple[int, ...]]:
    """Shapes by the network's own names, without batch norm's counters."""
    own = {theirs: ours for ours, theirs in fit(architecture, shapes).renames.items()}
    return {own.get(name, name): tuple(shape) for name, shape in shapes.items() if not name.endswith(COUNTER)}


def _shape_of(shape: tuple[int, ...] | None) -> str:
    return "no tensor of this name" if shape is None else f"the shape {shape}"


def _check_examples(request: SurfaceRequest, dataset: DatasetFacts) -> None:
    available = dataset.splits.get(request.data.split, 0)
    if available == 0:
        splits = " and ".join(name for name, count in dataset.splits.items() if count) or "no"
        raise InvalidRequest(
            f"{dataset.title} has no {request.data.split} examples, only a {splits} split.", field="data.split"
        )
    if request.data.examples is not None and request.data.examples > available:
        raise InvalidRequest(
            f"{request.data.examples:,} examples were asked for, but {dataset.title} has {available:,} in its "
            f"{request.data.split} split; ask for at most {available:,}.",
            field="data.examples",
        )


def _check_shape(architecture: ArchitectureSpec, candidate: Candidate, dataset: DatasetFacts) -> None:
    name, shape = architecture.name, dataset.shape
    if len(candidate.input_shape) == 1:
        takes, has = candidate.input_shape[0], math.prod(shape)
        if takes != has:
            raise InvalidRequest(
                f"This {name} takes {takes:,} numbers per example, but {dataset.title} has {has:,} ({_times(shape)}); "
                "choose the data set that the network was trained on.",
                field="data.dataset",
            )
        return
    channels = candidate.input_shape[0]
    if len(shape) != 3:
        raise InvalidRequest(
            f"{name} takes images of {_channels(channels)}, but an example of {dataset.title} has the shape ({_times(shape)}).",
            field="data.dataset",
        )
    if shape[0] != channels:
        raise InvalidRequest(
            f"{name} takes images of {_channels(channels)}, but {dataset.title} has {shape[0]}; "
            "choose the data set that the network was trained on.",
            field="data.dataset",
        )


def _check_size(architecture: ArchitectureSpec, shapes: Shapes, dataset: DatasetFacts) -> None:
    if len(dataset.shape) != 3:
        return
    height, width = dataset.shape[1:]
    problem = size_problem(architecture, shapes, height, width)
    if problem is not None:
        raise InvalidRequest(f"{dataset.title} has images of {height} x {width}, {problem}.", field="data.dataset")


def _check_preprocessing(preprocessing: str | Standardisation, dataset: DatasetFacts) -> None:
    chosen = standardisation(preprocessing)
    if chosen is None:
        return
    given, shape = len(chosen.mean), dataset.shape
    if given == shape[0] or (given == 1 and len(shape) == 1):
        return
    what = f"Preprocessing {preprocessing!r} is" if isinstance(preprocessing, str) else "mean and std are"
    raise InvalidRequest(
        f"{what} for {_channels(given)}, but {dataset.title} has {shape[0]}; "
        f"choose {dataset.preprocessing!r}, or give mean and std for each channel.",
        field="data.preprocessing",
    )


def check_plane(plane: PlaneSpec, checkpoint: str = "") -> None:
    """Passes when a plane's directions span one.

    Args:
        plane: The directions.
        checkpoint: The request's own, which no direction may go towards.

    Raises:
        InvalidRequest: They are the same, or one has no length.
    """
    x, y = plane.x, plane.y
    if isinstance(x, RandomDirection) and isinstance(y, RandomDirection) and x.seed == y.seed:
        raise InvalidRequest(
            f"Both directions have seed {x.seed}, so they are the same and span a line; give them different seeds.",
            field="plane.y.seed",
        )
    for axis, spec in plane.specs.items():
        if isinstance(spec, TowardsDirection) and spec.checkpoint == checkpoint:
            raise InvalidRequest(
                f"Direction {axis} goes towards the very checkpoint that it starts from, so it has no length; "
                "name another checkpoint.",
                field=f"plane.{axis}.checkpoint",
            )
        if isinstance(spec, PrincipalDirection) and spec.index > (most := len({*spec.checkpoints, checkpoint}) - 1):
            raise InvalidRequest(
                f"A run of {most + 1} different checkpoints, with the network's own, has at most {most} principal "
                f"direction{'' if most == 1 else 's'}, so no number {spec.index}; name more, or ask for a lower number.",
                field=f"plane.{axis}.index",
            )
    if x == y and not isinstance(x, FileDirection):
        raise InvalidRequest(
            f"Both directions are the same ({x.kind}), so they span a line; give another for y, or ask for a curve.",
            field="plane.y.checkpoint" if isinstance(x, TowardsDirection) else "plane.y.index",
        )


def _check_memory(plane: PlaneSpec, parameters: int) -> None:
    """What directions are made from has to fit into a worker's memory."""
    values = (len({*plane.run}) + 1) * parameters
    if plane.run and values > MAX_RUN_VALUES:
        raise InvalidRequest(
            f"The run's {len({*plane.run}):,} checkpoints hold {values:,} numbers with the network's own, but at most "
            f"{MAX_RUN_VALUES:,} are taken; name fewer of them.",
            field=next(iter(plane.named_checkpoints.values())),
        )
    for axis, spec in plane.specs.items():
        if isinstance(spec, HessianDirection) and parameters > MAX_HESSIAN_PARAMETERS:
            raise InvalidRequest(
                f"Eigenvectors of the Hessian are found for networks of at most {MAX_HESSIAN_PARAMETERS:,} parameters, but "
                f"this one has {parameters:,}; choose other directions.",
                field=f"plane.{axis}.index",
            )


def _channels(count: int) -> str:
    return "1 channel" if count == 1 else f"{count} channels"


def _times(shape: tuple[int, ...]) -> str:
    return " x ".join(str(size) for size in shape)
