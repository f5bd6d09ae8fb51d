"""What an inspection says about a file: messages that cross from the child process, through the blob store, to the page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath
from typing import Literal

import numpy as np

from landscape_core.catalogue import Candidate, Comparison, explain_no_match, match, nearest
from landscape_core.reading.checkpoint import CheckpointContents
from landscape_core.reading.dataset import DatasetContents
from landscape_core.reading.sniff import printable
from landscape_core.requests import Message
from landscape_core.results import ESTIMATED, MEASURED, Surface

Kind = Literal["checkpoint", "dataset", "directions", "surface"]


class CheckpointReport(Message):
    """What a checkpoint file holds. The order of `shapes` and `dtypes` is the file's, so write it without sorting keys.

    Attributes:
        kind: Always `checkpoint`.
        format: `torch zip`, `torch legacy`, `torch tar`, `torch export` or `safetensors`.
        container: Where in the file the network was; "" for the root.
        prefix: What was taken off every name.
        tensors: How many.
        parameters: How many weights and biases.
        shapes: Name -> shape.
        dtypes: Name -> element type in the file, by `torch.dtype`'s name.
        other: Tensors outside the container.
        metadata: Small scalars beside the network.
        warnings: What a person should know, one sentence each.
        candidates: Architectures that fit exactly, best first.
        nearest: The catalogued network that is nearest to a file that none fits; None if one fits, or none is near at all.
        problem: Always None; a file with a problem is rejected.

    Example:
        >>> from safetensors.numpy import save_file
        >>> save_file({"fc1.weight": np.ones((3, 2), np.float32)}, "net.safetensors")
        >>> from landscape_core.reading import read_checkpoint
        >>> report = checkpoint_report(read_checkpoint(Path("net.safetensors")), "net.safetensors")
        >>> report.kind, report.tensors, report.shapes
        ('checkpoint', 1, {'fc1.weight': (3, 2)})
    """

    kind: Literal["checkpoint"] = "checkpoint"
    format: str
    container: str
    prefix: str
    tensors: int
    parameters: int
    shapes: dict[str, tuple[int, ...]]
    dtypes: dict[str, str]
    other: int
    metadata: dict[str, str | int | float | bool]
    warnings: tuple[str, ...]
    candidates: tuple[Candidate, ...]
    nearest: Comparison | None = None
    problem: None = None


class DatasetReport(Message):
    """What a data set's file holds.

    Attributes:
        kind: Always `dataset`.
        title: The file's name without its suffix.
        splits: Name of each split -> how many examples it has.
        shape: (channels, height, width), (features,) or (tokens,) of one example.
        dtype: `uint8`, `float32` or, of tokens, `int32`.
        classes: One more than the largest class, or the largest id of a token.
        preprocessing: Always `none`: a file does not say.
        warnings: What a person should know, one sentence each.
        problem: Always None.

    Example:
        >>> DatasetReport(title="mine", splits={"train": 5}, shape=(2,), dtype="float32", classes=3).preprocessing
        'none'
    """

    kind: Literal["dataset"] = "dataset"
    title: str
    splits: dict[str, int]
    shape: tuple[int, ...]
    dtype: str
    classes: int
    preprocessing: str = "none"
    warnings: tuple[str, ...] = ()
    problem: None = None


class DirectionsReport(Message):
    """What a direction file holds.

    Attributes:
        kind: Always `directions`.
        directions: 1 for a curve, 2 for a surface.
        shapes: Of each tensor, in the file's order.
        warnings: What a person should know, one sentence each.
        problem: Always None.

    Example:
        >>> DirectionsReport(directions=1, shapes=((3, 2), (3,))).model_dump()["directions"]
        1
    """

    kind: Literal["directions"] = "directions"
    directions: Literal[1, 2]
    shapes: tuple[tuple[int, ...], ...]
    warnings: tuple[str, ...] = ()
    problem: None = None


class SurfaceReport(Message):
    """What a surface file holds.

    Attributes:
        kind: Always `surface`.
        rows: Points of the second axis; 1 for a curve.
        columns: Points of the first axis.
        curve: Whether there is only one axis.
        measured: Cells with a finite loss that was measured, or estimated by the `fast` budget.
        not_finite: Cells that were measured and gave no finite loss.
        has_request: Whether the file says how it was made in a form that can be computed again.
        splits: Of an `.h5`, which splits it holds, train before test; this report is of the first unless another was asked for.
        warnings: What a person should know, one sentence each.
        problem: Always None.

    Example:
        >>> report = SurfaceReport(rows=1, columns=51, curve=True, measured=50, not_finite=1, has_request=False)
        >>> report.measured + report.not_finite == report.rows * report.columns  # no holes
        True
    """

    kind: Literal["surface"] = "surface"
    rows: int
    columns: int
    curve: bool
    measured: int
    not_finite: int
    has_request: bool
    splits: tuple[Literal["train", "test"], ...] = ()
    warnings: tuple[str, ...] = ()
    problem: None = None


class RunMember(Message):
    """One file of an archive of checkpoints.

    Attributes:
        filename: Its name in the archive, with its folders.
        size_bytes: Unpacked; 0 if it was not unpacked.
        sha256: Of its bytes, in hexadecimal; null if it is no checkpoint of the run.
        problem: Then why, in one sentence.
    """

    filename: str
    size_bytes: int
    sha256: str | None = None
    problem: str | None = None


class RunReport(Message):
    """What an archive of checkpoints holds.

    Attributes:
        kind: Always `run`.
        format: `zip`, `tar` or `tar.gz`.
        members: In the natural order of their names.
        warnings: What a person should know, one sentence each.
        problem: Always None.

    Example:
        >>> RunReport(format="zip", members=()).kind
        'run'
    """

    kind: Literal["run"] = "run"
    format: Literal["zip", "tar", "tar.gz"]
    members: tuple[RunMember, ...]
    warnings: tuple[str, ...] = ()
    problem: None = None


Report = CheckpointReport | DatasetReport | DirectionsReport | SurfaceReport


def checkpoint_report(contents: CheckpointContents, filename: str) -> CheckpointReport:
    """What a person is told about a checkpoint.

    Args:
        contents: From `read_checkpoint`.
        filename: The file's name where it came from; a hint where several architectures fit.

    Returns:
        What the file holds, and which architectures fit it.

    Example:
        >>> from safetensors.numpy import save_file
        >>> save_file({"fc1.weight": np.ones((3, 2), np.float32)}, "net.safetensors")
        >>> from landscape_core.reading import read_checkpoint
        >>> report = checkpoint_report(read_checkpoint(Path("net.safetensors")), "net.safetensors")
        >>> report.parameters, [str(candidate.architecture) for candidate in report.candidates]
        (6, ['mlp'])
    """
    candidates = match(contents.shapes, filename)
    warnings = [*contents.warnings, *_wrong_suffix(contents.format, filename)]
    if not candidates:
        warnings.append(explain_no_match(contents.shapes))
    return CheckpointReport(
        format=contents.format,
        container=contents.container,
        prefix=contents.prefix,
        tensors=len(contents.tensors),
        parameters=contents.parameters,
        shapes=contents.shapes,
        dtypes=contents.dtypes,
        other=contents.other,
        metadata=contents.metadata,
        warnings=tuple(warnings),
        candidates=candidates,
        nearest=None if candidates else nearest(contents.shapes),
    )


def dataset_report(contents: DatasetContents, filename: str) -> DatasetReport:
    """What a person is told about a data set.

    Args:
        contents: From `read_dataset`.
        filename: The file's name where it came from.
    """
    ignored = ", ".join(printable(name)[:40] for name in contents.ignored[:5])
    return DatasetReport(
        title=printable(PurePath(filename).stem)[:100] or "data set",
        splits=contents.splits,
        shape=contents.shape,
        dtype=str(contents.x.dtype),
        classes=contents.classes,
        warnings=(f"Not used: {ignored}.",) if ignored else (),
    )


def directions_report(x: Sequence[np.ndarray], y: Sequence[np.ndarray] | None) -> DirectionsReport:
    """What a person is told about a direction file.

    Args:
        x: Arrays of the first direction.
        y: Arrays of the second; None for a curve.
    """
    return DirectionsReport(directions=1 if y is None else 2, shapes=tuple(array.shape for array in x))


def surface_report(surface: Surface, splits: tuple[Literal["train", "test"], ...] = ()) -> SurfaceReport:
    """What a person is told about a surface file.

    Args:
        surface: From `read_surface`.
        splits: All that its file holds, if it is an `.h5`.
    """
    return SurfaceReport(
        rows=surface.loss.shape[0],
        columns=surface.loss.shape[1],
        curve=surface.is_curve,
        measured=int(np.isin(surface.state, (MEASURED, ESTIMATED)).sum()),
        not_finite=surface.not_finite,
        has_request=surface.request is not None,
        splits=splits,
    )


def _wrong_suffix(form: str, filename: str) -> list[str]:
    """A sentence if the name promises another form than the content has; `.pth.tar` and the like promise nothing."""
    suffix = PurePath(filename).suffix.lower()
    is_safetensors = form == "safetensors"
    if (suffix == ".safetensors") == is_safetensors or (is_safetensors and suffix in {"", ".bin"}):
        return []
    return [f"The name ends in {printable(suffix)[:20]!r}, but the content is of the form {form!r}, and was read as that."]
