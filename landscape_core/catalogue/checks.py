"""Whether a question can be asked: the request against the checkpoint's tensors and the data set's facts. No torch."""

from __future__ import annotations

import math

from landscape_core.catalogue.data import DatasetFacts, standardisation
from landscape_core.catalogue.family import Candidate, Shapes
from landscape_core.catalogue.matching import fit, size_problem
from landscape_core.errors import InvalidRequest
from landscape_core.requests import ArchitectureSpec, PlaneSpec, RandomDirection, Standardisation, SurfaceRequest


def check_request(request: SurfaceRequest, shapes: Shapes, dataset: DatasetFacts) -> None:
    """Passes when the request can be computed from a checkpoint of these tensors on this data set.

    Direction files are checked when they are read (`compute.directions`).

    Args:
        request: The question.
        shapes: The checkpoint's names and shapes, in the file's order.
        dataset: What is known of the request's data set.

    Raises:
        InvalidRequest: It cannot; `field` names the part at fault and the text what to change.
    """
    candidate = fit(request.architecture, shapes)
    _check_examples(request, dataset)
    _check_shape(request.architecture, candidate, dataset)
    _check_size(request.architecture, shapes, dataset)
    if dataset.classes > candidate.classes:
        raise InvalidRequest(
            f"{dataset.title} has {dataset.classes} classes, but this {request.architecture.name} has {candidate.classes} "
            "outputs; choose the data set that the network was trained on.",
            field="data.dataset",
        )
    _check_preprocessing(request.data.preprocessing, dataset)
    _check_plane(request.plane)


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


def _check_plane(plane: PlaneSpec) -> None:
    if isinstance(plane.x, RandomDirection) and isinstance(plane.y, RandomDirection) and plane.x.seed == plane.y.seed:
        raise InvalidRequest(
            f"Both directions have seed {plane.x.seed}, so they are the same and span a line; give them different seeds.",
            field="plane.y.seed",
        )


def _channels(count: int) -> str:
    return "1 channel" if count == 1 else f"{count} channels"


def _times(shape: tuple[int, ...]) -> str:
    return " x ".join(str(size) for size in shape)
