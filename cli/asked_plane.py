"""A plane as it was typed, with the training run on it: what `lossatlas compute`, `curvature` and `project` have in common."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cli.library_networks import LibraryNetwork
from cli.own_code import OwnCode
from cli.parsing import Principal, Towards, TypedDirection
from landscape_core.errors import InvalidRequest
from landscape_core.requests import MAX_CHECKPOINTS, ArchitectureSpec, Normalisation


@dataclass(frozen=True)
class AskedPlane:
    """A typed plane through a network, and a training run on it.

    Attributes:
        file: The checkpoint.
        architecture: Catalogued, or the user's own code; None to take the one that fits.
        x: First direction; a path is that of a direction file.
        y: Second direction; None for a line.
        align: Whether the hidden units of checkpoints that a direction leads to are matched first.
        run: The checkpoints of the training run that is projected on the plane, in its order.
        normalisation: How random directions are scaled, and what moves.
        orthogonal: Whether the second direction is put at right angles to the first.
    """

    file: Path
    architecture: ArchitectureSpec | OwnCode | LibraryNetwork | None
    x: TypedDirection
    y: TypedDirection | None
    align: bool
    run: tuple[Path, ...]
    normalisation: Normalisation
    orthogonal: bool

    @property
    def direction_files(self) -> list[Path]:
        """The direction files that are named, x before y."""
        return [path for path in (self.x, self.y) if isinstance(path, Path)]

    @property
    def companions(self) -> list[Path]:
        """The other checkpoints that are named, in the order of the question."""
        return [*(typed.path for typed in (self.x, self.y) if isinstance(typed, Towards)), *self.run]

    @property
    def has_principal(self) -> bool:
        """Whether a direction is one of the run's own."""
        return any(isinstance(typed, Principal) for typed in (self.x, self.y))

    def check_align(self) -> None:
        """Passes when hidden units are to be matched only where there is another checkpoint.

        Raises:
            InvalidRequest: If not.
        """
        if self.align and not any(isinstance(direction, Towards) for direction in (self.x, self.y)):
            raise InvalidRequest(
                "--align is for directions towards another checkpoint; give one, as in --x towards:OTHER.pt.",
                field="plane.x.aligned",
            )

    def check_run(self) -> None:
        """Passes when there is a run where a principal direction of it is asked for, and it is not too long.

        Raises:
            InvalidRequest: If not.
        """
        if self.has_principal and not self.run:
            raise InvalidRequest(
                "A principal direction is one of a training run: name its files after --checkpoints.", field="plane"
            )
        if len(self.run) > MAX_CHECKPOINTS:
            raise InvalidRequest(
                f"--checkpoints takes at most {MAX_CHECKPOINTS:,} files, but {len(self.run):,} came.", field="plane.trajectory"
            )
