"""The first thing to compare a surface with: the same question, asked of the data set's other split."""

from __future__ import annotations

from collections.abc import Sequence

from app.schemas import DatasetInfo
from landscape_core.errors import InvalidRequest
from landscape_core.requests import HessianDirection, SurfaceRequest


def on_other_split(request: SurfaceRequest, datasets: Sequence[DatasetInfo]) -> SurfaceRequest:
    """The same question on the other split: train for test, test for train. The plane and the grid stay the same.

    Where the other split has fewer examples than were asked for, it is asked as a whole.

    Args:
        request: The question.
        datasets: The data sets that are here.

    Raises:
        InvalidRequest: There is no other split, or the plane belongs to this one.
    """
    other = "test" if request.data.split == "train" else "train"
    if any(isinstance(spec, HessianDirection) for spec in request.plane.specs.values()):
        raise InvalidRequest(
            f"The plane is spanned by eigenvectors of the {request.data.split} loss, so the {other} loss has another plane; "
            "download the directions and ask with that file to see both losses on one plane.",
            field="plane",
        )
    known = next((dataset for dataset in datasets if dataset.id == request.data.dataset), None)
    available = known.splits.get(other, 0) if known else 0
    if not available:
        title = known.title if known else "The data set"
        raise InvalidRequest(f"{title} has no {other} split on this server.", field="data.split")
    examples = min(request.data.examples or available, available)
    data = request.data.model_copy(update={"split": other, "examples": examples})
    return request.model_copy(update={"data": data})
