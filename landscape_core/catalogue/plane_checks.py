"""Whether a plane can be made: its directions among themselves, and the memory that they take. No torch."""

from __future__ import annotations

from landscape_core.errors import InvalidRequest
from landscape_core.plane import MAX_HESSIAN_PARAMETERS, MAX_RUN_VALUES
from landscape_core.requests import (
    FileDirection,
    HessianDirection,
    PlaneSpec,
    PrincipalDirection,
    RandomDirection,
    SurfaceRequest,
    TowardsDirection,
)


def check_plane(plane: PlaneSpec, checkpoint: str = "") -> None:
    """Passes when a plane's directions span one.

    Args:
        plane: The directions.
        checkpoint: The request's own, which no direction may go towards.

    Raises:
        InvalidRequest: They are the same, or one has no length.

    Example:
        >>> check_plane(PlaneSpec(x=RandomDirection(seed=1), y=RandomDirection(seed=2)))
        >>> try:
        ...     check_plane(PlaneSpec(x=RandomDirection(seed=1), y=RandomDirection(seed=1)))
        ... except InvalidRequest as error:
        ...     print(error.field, "-", error)
        plane.y.seed - Both directions have seed 1, so they are the same and span a line; give them different seeds.
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


def check_memory(request: SurfaceRequest, parameters: int) -> None:
    """What directions and eigenvalues are made from has to fit into a worker's memory.

    Args:
        request: The question.
        parameters: How many numbers the network has.

    Raises:
        InvalidRequest: It does not.
    """
    check_plane_memory(request.plane, parameters)
    if request.curvature is not None:
        check_curvature_memory(parameters)


def check_plane_memory(plane: PlaneSpec, parameters: int) -> None:
    """Passes when what the directions are made from fits into memory.

    Args:
        plane: The directions.
        parameters: How many numbers the network has.

    Raises:
        InvalidRequest: The run has too many, or the network is too large for the Hessian's eigenvectors.
    """
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


def check_curvature_memory(parameters: int) -> None:
    """Passes when a network is not too large for the Hessian's eigenvalues at every cell.

    Args:
        parameters: How many numbers the network has.

    Raises:
        InvalidRequest: It is.
    """
    if parameters > MAX_HESSIAN_PARAMETERS:
        raise InvalidRequest(
            f"Eigenvalues of the Hessian are measured for networks of at most {MAX_HESSIAN_PARAMETERS:,} parameters, but this "
            f"one has {parameters:,}; ask for the surface without them.",
            field="curvature",
        )
