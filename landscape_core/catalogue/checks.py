"""Whether a question can be asked: the request against the checkpoint's tensors and the data set's facts. No torch."""

from __future__ import annotations

import math

from landscape_core.catalogue.data import DatasetFacts
from landscape_core.catalogue.family import COUNTER, Candidate, Shapes
from landscape_core.catalogue.matching import fit, size_problem
from landscape_core.catalogue.metric_checks import check_metrics
from landscape_core.catalogue.networks import symmetry_of
from landscape_core.catalogue.plane_checks import check_memory, check_plane
from landscape_core.catalogue.preprocessing import standardisation
from landscape_core.errors import InvalidRequest
from landscape_core.requests import (
    ArchitectureSpec,
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

    Example:
        >>> request = SurfaceRequest.model_validate({
        ...     "checkpoint": "0" * 64, "architecture": {"name": "mlp"}, "data": {"dataset": "mine"}, "loss": "mse",
        ...     "plane": {"x": {"kind": "random", "seed": 1}}, "grid": {"x": {"start": -1, "stop": 1, "points": 3}},
        ... })
        >>> facts = DatasetFacts(id="mine", title="Mine", splits={"train": 9}, shape=(2,), dtype="float32", classes=2)
        >>> check_request(request, {"w.weight": (2, 2)}, facts)  # it can be computed
        >>> try:
        ...     check_request(request, {"w.weight": (2, 7)}, facts)
        ... except InvalidRequest as error:
        ...     print(error.field, "-", str(error).split(";")[0])
        data.dataset - This mlp takes 7 numbers per example, but Mine has 2 (2)
    """
    candidate = fit(request.architecture, shapes)
    _check_batch_norm(request, shapes)
    check_data(request, dataset)
    _check_shape(request.architecture, candidate, dataset)
    _check_size(request.architecture, shapes, dataset)
    if dataset.classes > candidate.classes and dataset.holds_tokens:
        raise InvalidRequest(
            f"{dataset.title} has tokens up to the id {dataset.classes - 1:,}, but this {request.architecture.name} has a "
            f"vocabulary of {candidate.classes:,}, with ids up to {candidate.classes - 1:,}; choose tokens made with the "
            "network's own tokenizer.",
            field="data.dataset",
        )
    if dataset.classes > candidate.classes:
        raise InvalidRequest(
            f"{dataset.title} has {dataset.classes} classes, but this {request.architecture.name} has {candidate.classes} "
            "outputs; choose the data set that the network was trained on.",
            field="data.dataset",
        )
    check_memory(request, sum(math.prod(shape) for shape in shapes.values()))
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

    Example:
        >>> request = SurfaceRequest.model_validate({
        ...     "checkpoint": "0" * 64, "architecture": {"name": "mlp"}, "data": {"dataset": "mine"}, "loss": "mse",
        ...     "plane": {"x": {"kind": "random", "seed": 1}}, "grid": {"x": {"start": -1, "stop": 1, "points": 3}},
        ... })
        >>> facts = DatasetFacts(id="mine", title="Mine", splits={"test": 9}, shape=(2,), dtype="float32", classes=2)
        >>> try:
        ...     check_data(request, facts)
        ... except InvalidRequest as error:
        ...     print(error.field, "-", error)
        data.split - Mine has no train examples, only a test split.
    """
    _check_examples(request, dataset)
    _check_preprocessing(request.data.preprocessing, dataset)
    _check_metrics(request, dataset)
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

    Example:
        >>> mlp, own = ArchitectureSpec(name="mlp"), {"a.weight": (5, 4), "b.weight": (3, 5)}
        >>> check_companion(mlp, own, {"fc1.weight": (5, 4), "fc2.weight": (3, 5)}, "other.pt", "plane.x.checkpoint")
        >>> try:
        ...     check_companion(mlp, own, {"fc1.weight": (6, 4), "fc2.weight": (3, 6)}, "other.pt", "plane.x.checkpoint")
        ... except InvalidRequest as error:
        ...     print(error.field, "-", str(error).split(", but")[0])
        plane.x.checkpoint - other.pt is of another mlp: its layers.0.weight has the shape (6, 4)
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


def _check_batch_norm(request: SurfaceRequest, shapes: Shapes) -> None:
    if request.batch_norm == "reestimated" and not any(name.endswith("running_var") for name in shapes):
        raise InvalidRequest(
            f"This {request.architecture.name} has no batch norm, so there is nothing to re-estimate; leave batch_norm fixed.",
            field="batch_norm",
        )


def _network_shapes(architecture: ArchitectureSpec, shapes: Shapes) -> dict[str, tuple[int, ...]]:
    """Shapes by the network's own names, without batch norm's counters."""
    own = {theirs: ours for ours, theirs in fit(architecture, shapes).renames.items()}
    return {own.get(name, name): tuple(shape) for name, shape in shapes.items() if not name.endswith(COUNTER)}


def _shape_of(shape: tuple[int, ...] | None) -> str:
    return "no tensor of this name" if shape is None else f"the shape {shape}"


def _check_metrics(request: SurfaceRequest, dataset: DatasetFacts) -> None:
    if request.metrics and dataset.holds_tokens:
        raise InvalidRequest(
            f"{dataset.title} has one label for each token, and top5 and class_accuracy count one an example; leave them out.",
            field="metrics",
        )
    check_metrics(request.metrics, dataset.classes, request.grid.cells, dataset.title)


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
    if request.batch_norm == "reestimated" and (request.data.examples or available) < 2:
        raise InvalidRequest(
            "Batch norm's variances are re-estimated over two examples at least, but 1 was asked for; ask for more, or leave "
            "batch_norm fixed.",
            field="data.examples",
        )


def _check_shape(architecture: ArchitectureSpec, candidate: Candidate, dataset: DatasetFacts) -> None:
    name, shape = architecture.name, dataset.shape
    if candidate.takes_tokens or dataset.holds_tokens:
        _check_tokens(name, candidate, dataset)
        return
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


def _check_tokens(name: str, candidate: Candidate, dataset: DatasetFacts) -> None:
    if not dataset.holds_tokens:
        raise InvalidRequest(
            f"{name} takes sequences of token ids, but {dataset.title} holds {dataset.dtype} examples of the shape "
            f"({_times(dataset.shape)}); choose a data set of tokens (an .npz whose x is uint16, int32 or int64).",
            field="data.dataset",
        )
    if not candidate.takes_tokens:
        raise InvalidRequest(
            f"{dataset.title} holds sequences of token ids, which {name} does not take; choose the data set that the network "
            "was trained on.",
            field="data.dataset",
        )
    if dataset.shape[0] > candidate.input_shape[0]:
        raise InvalidRequest(
            f"{dataset.title} has sequences of {dataset.shape[0]:,} tokens, but this {name} has a context of "
            f"{candidate.input_shape[0]:,}; cut them shorter.",
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
    if dataset.holds_tokens:
        raise InvalidRequest(
            f"{dataset.title} holds tokens, which have no mean and standard deviation; choose the preprocessing 'none'.",
            field="data.preprocessing",
        )
    if given == shape[0] or (given == 1 and len(shape) == 1):
        return
    what = f"Preprocessing {preprocessing!r} is" if isinstance(preprocessing, str) else "mean and std are"
    raise InvalidRequest(
        f"{what} for {_channels(given)}, but {dataset.title} has {shape[0]}; "
        f"choose {dataset.preprocessing!r}, or give mean and std for each channel.",
        field="data.preprocessing",
    )


def _channels(count: int) -> str:
    return "1 channel" if count == 1 else f"{count} channels"


def _times(shape: tuple[int, ...]) -> str:
    return " x ".join(str(size) for size in shape)
