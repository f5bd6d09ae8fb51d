"""Requests for tests, from the parts that a test is about."""

from __future__ import annotations

from landscape_core.requests import (
    ArchitectureSpec,
    Axis,
    DataSlice,
    FileDirection,
    Grid,
    Loss,
    Normalisation,
    PlaneSpec,
    RandomDirection,
    Standardisation,
    SurfaceRequest,
)

SHA = "0" * 64


def axis(points: int, reach: float = 1.0) -> Axis:
    """From −reach to reach."""
    return Axis(start=-reach, stop=reach, points=points)


def surface_request(
    architecture: str,
    x: Axis,
    y: Axis | None = None,
    *,
    examples: int | None = None,
    seed: int | None = None,
    preprocessing: str | Standardisation = "none",
    loss: Loss = "cross_entropy",
    normalisation: Normalisation | None = None,
    from_file: bool = False,
) -> SurfaceRequest:
    """Random directions with the seeds 1 and 2, or those of a file."""
    first = FileDirection(file=SHA) if from_file else RandomDirection(seed=1)
    second = FileDirection(file=SHA) if from_file else RandomDirection(seed=2)
    return SurfaceRequest(
        checkpoint=SHA,
        architecture=ArchitectureSpec.parse(architecture),
        data=DataSlice(dataset="arrays", examples=examples, seed=seed, preprocessing=preprocessing),
        loss=loss,
        plane=PlaneSpec(x=first, y=None if y is None else second, normalisation=normalisation or Normalisation()),
        grid=Grid(x=x, y=y),
    )
