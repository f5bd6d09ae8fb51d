"""The errors whose text a person may read.

    LandscapeError                 its text is public: what was expected, what came, what to do
    ├── InvalidRequest             a question that cannot be asked; `field` names the part at fault
    ├── FileRejected               a file that cannot be used
    │   ├── CheckpointRejected     … a checkpoint
    │   ├── DatasetRejected        … a data set
    │   ├── DirectionsRejected     … a direction file
    │   └── SurfaceRejected        … a surface file
    ├── NotFound                   no such checkpoint, data set, surface or link
    ├── ComputationFailed          a computation that began and could not be finished
    │   └── OutOfMemory            … because the device's memory did not suffice
    ├── Cancelled                  a computation that was asked to stop
    └── PushFailed                 a server that could not be reached, or did not do its part

Anything else that is raised is a bug: it is logged whole and shown as one line with a reference.
"""

from __future__ import annotations

from typing import ClassVar


class LandscapeError(Exception):
    """Base of all errors whose text is safe and useful to show.

    Attributes:
        code: What kind of error it is, for programs; every kind has its own.

    Example:
        >>> from landscape_core.reading import read_checkpoint
        >>> try:
        ...     _ = Path("weights.pt").write_bytes(b"")
        ...     read_checkpoint(Path("weights.pt"))
        ... except LandscapeError as error:
        ...     print(error.code, "-", str(error).split(":")[0])
        checkpoint_rejected - The file is empty
    """

    code: ClassVar[str] = "error"


class InvalidRequest(LandscapeError):
    """The request cannot be carried out as it stands.

    Args:
        message: One sentence for the person who asked.
        field: Dotted path of the part at fault, as in ``grid.x.points``; None if it is no single part.
    """

    code = "invalid_request"

    def __init__(self, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


class FileRejected(LandscapeError):
    """A file that cannot be used; the text names the reason and the remedy."""

    code = "file_rejected"


class CheckpointRejected(FileRejected):
    """A file that is not a checkpoint we can read, or fits no architecture."""

    code = "checkpoint_rejected"


class DatasetRejected(FileRejected):
    """A file that is not a data set in the documented form."""

    code = "dataset_rejected"


class DirectionsRejected(FileRejected):
    """A direction file that is damaged or does not belong to the network."""

    code = "directions_rejected"


class SurfaceRejected(FileRejected):
    """A surface file that is damaged or of no known form."""

    code = "surface_rejected"


class NotFound(LandscapeError):
    """What was named does not exist."""

    code = "not_found"


class ComputationFailed(LandscapeError):
    """The computation began and could not be finished."""

    code = "computation_failed"


class OutOfMemory(ComputationFailed):
    """The device's memory did not suffice, even with one example at a time."""

    code = "out_of_memory"


class Cancelled(LandscapeError):
    """The computation was asked to stop, and did."""

    code = "cancelled"


class PushFailed(LandscapeError):
    """A Loss Atlas server could not be reached, or did not do its part."""

    code = "push_failed"
