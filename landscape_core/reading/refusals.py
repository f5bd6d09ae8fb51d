"""The refusals that several parts of the reader have in common, so that each has one wording."""

from __future__ import annotations

from landscape_core.errors import CheckpointRejected
from landscape_core.reading.limits import Limits


class SeveralFiles(CheckpointRejected):
    """The file is an archive of checkpoints: it can be taken apart, and is no checkpoint itself.

    Example:
        >>> import zipfile
        >>> from safetensors.numpy import save
        >>> with zipfile.ZipFile("run.zip", "w") as archive:
        ...     for epoch in (1, 10, 2):
        ...         archive.writestr(f"epoch{epoch}.safetensors", save({"w": np.full((1, 2), epoch, np.float32)}))
        >>> from landscape_core.reading import read_checkpoint
        >>> try:
        ...     read_checkpoint(Path("run.zip"))
        ... except SeveralFiles as error:
        ...     print(type(error).__name__)
        SeveralFiles
    """


def damaged(what: str) -> CheckpointRejected:
    """The refusal of a file that breaks the rules of its own format.

    Args:
        what: A clause, as in "it is cut short".
    """
    return CheckpointRejected(f"The file is damaged or is no PyTorch checkpoint: {what}; save it again with torch.save.")


def too_large(name: str, shape: tuple[int, ...], limits: Limits) -> CheckpointRejected:
    """The refusal of a tensor beyond what any network has.

    Args:
        name: The tensor's name.
        shape: Its declared shape.
        limits: Bounds.
    """
    return CheckpointRejected(
        f"The tensor {name[:80]!r} of the shape {str(shape)[:80]} is too large: at most {limits.numel:,} numbers are read."
    )
