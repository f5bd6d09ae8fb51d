"""The parent's own look at what a child wrote: headers and bounds, by code that has not met the hostile file."""

from __future__ import annotations

import stat
from pathlib import Path

from landscape_core.catalogue.data import holds_tokens
from landscape_core.errors import CheckpointRejected, DatasetRejected, DirectionsRejected, FileRejected, SurfaceRejected
from landscape_core.formats import MAX_FILE_BYTES, npz
from landscape_core.reading.dataset import DATASET_LIMITS
from landscape_core.reading.limits import Limits
from landscape_core.reading.npz_archive import ArrayHeader, read_headers
from landscape_core.reading.report import CheckpointReport, DatasetReport, DirectionsReport, Kind, Report, SurfaceReport
from landscape_core.reading.safetensors_file import read_header

_LIMITS = Limits(header_bytes=64 << 20)
"""A canonical header lists the names twice."""

REPORTS: dict[Kind, type[Report]] = {
    "checkpoint": CheckpointReport,
    "dataset": DatasetReport,
    "directions": DirectionsReport,
    "surface": SurfaceReport,
}
REJECTIONS: dict[Kind, type[FileRejected]] = {
    "checkpoint": CheckpointRejected,
    "dataset": DatasetRejected,
    "directions": DirectionsRejected,
    "surface": SurfaceRejected,
}


def agrees(report: Report, canonical: Path) -> bool:
    """Whether a canonical file is well formed and holds what the report says.

    Args:
        report: From the child.
        canonical: Written by the child.

    Raises:
        ValueError: It is not well formed.
        FileRejected: It is not well formed.
    """
    size = regular_size(canonical)
    if isinstance(report, SurfaceReport):  # the project's own form alone: no HDF5 library meets it here
        return size <= MAX_FILE_BYTES and npz.load(canonical.read_bytes()).loss.shape == (report.rows, report.columns)
    with canonical.open("rb") as file:
        if isinstance(report, CheckpointReport):
            shapes = {name: placed.shape for name, placed in read_header(file, size, _LIMITS).tensors.items()}
            return shapes == report.shapes and report.tensors == len(shapes) == len(report.dtypes)
        headers = read_headers(file, size, DATASET_LIMITS)
    if isinstance(report, DatasetReport):
        return _is_dataset(report, headers)
    names = [f"{axis}_{index:04d}" for axis in ("x", "y")[: report.directions] for index in range(len(report.shapes))]
    shapes_found = [headers[name].shape for name in names if name in headers]
    return shapes_found == list(report.shapes) * report.directions and len(headers) == len(names)


def regular_size(path: Path) -> int:
    """How many bytes a file has that is no link and nothing else that leads elsewhere.

    Args:
        path: Written by the child.

    Raises:
        OSError: It is not there.
        ValueError: It is no plain file.
    """
    found = path.lstat()
    if not stat.S_ISREG(found.st_mode):
        raise ValueError(f"{path.name} is no plain file")
    return found.st_size


def _is_dataset(report: DatasetReport, headers: dict[str, ArrayHeader]) -> bool:
    splits = {"train": ("x", "y"), "test": ("x_test", "y_test")}
    for split, (x, y) in splits.items():
        if split in report.splits:
            count = (report.splits[split],)
            labels = (*count, *report.shape) if holds_tokens(report.dtype) else count
            if x not in headers or y not in headers or headers[x].shape[:1] != count or headers[y].shape != labels:
                return False
            if holds_tokens(report.dtype) and (headers[x].shape != labels or headers[y].dtype.name != report.dtype):
                return False
            if str(headers[x].dtype) != report.dtype:
                return False
    return len(headers) == 2 * len(report.splits)
