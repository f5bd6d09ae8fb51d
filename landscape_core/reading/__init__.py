"""Any file from a stranger -> what is in it, in a canonical form. Never `torch.load`, never a class of the file's choosing.

    inspect_in_child    THE way in for uploads: a fresh, limited process reads the file, this one checks what came out
    unpack_in_child     a zip or tar file of several checkpoints (`SeveralFiles`) -> its members, each to be inspected alone
    read_checkpoint     torch zip, legacy and tar files, safetensors -> `CheckpointContents`
    read_canonical      the safetensors that an inspection leaves -> tensors
    checkpoint_report   what a person is told about a checkpoint
    read_dataset        `.npz` with x, y -> `DatasetContents`
    read_directions     `.h5` of loss-landscape -> `DirectionsContents`

How a pickled checkpoint is read: `sniff` tells the container; `zip_container`, `legacy_container` or `tar_container` opens it;
`pickles` follows the pickle, `rebuild` says what its calls mean, `records` are what comes out; `structure` finds the network
among them; `tensors` gets the numbers.

Names are loaded when first asked for, so that the child process does not load what its file does not need.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from landscape_core.reading.canonical import read_canonical, write_canonical
    from landscape_core.reading.checkpoint import CheckpointContents, read_checkpoint
    from landscape_core.reading.dataset import DatasetContents, read_dataset, write_dataset
    from landscape_core.reading.directions import DirectionsContents, read_directions, write_directions
    from landscape_core.reading.inspection import inspect_in_child, unpack_in_child
    from landscape_core.reading.limits import Limits
    from landscape_core.reading.refusals import SeveralFiles
    from landscape_core.reading.report import (
        CheckpointReport,
        DatasetReport,
        DirectionsReport,
        RunReport,
        SurfaceReport,
        checkpoint_report,
    )
    from landscape_core.reading.surface import read_surface

__all__ = [
    "CheckpointContents",
    "CheckpointReport",
    "DatasetContents",
    "DatasetReport",
    "DirectionsContents",
    "DirectionsReport",
    "Limits",
    "RunReport",
    "SeveralFiles",
    "SurfaceReport",
    "checkpoint_report",
    "inspect_in_child",
    "read_canonical",
    "read_checkpoint",
    "read_dataset",
    "read_directions",
    "read_surface",
    "unpack_in_child",
    "write_canonical",
    "write_dataset",
    "write_directions",
]

_HOMES = {
    "canonical": ("read_canonical", "write_canonical"),
    "checkpoint": ("CheckpointContents", "read_checkpoint"),
    "dataset": ("DatasetContents", "read_dataset", "write_dataset"),
    "directions": ("DirectionsContents", "read_directions", "write_directions"),
    "inspection": ("inspect_in_child", "unpack_in_child"),
    "limits": ("Limits",),
    "report": ("CheckpointReport", "DatasetReport", "DirectionsReport", "RunReport", "SurfaceReport", "checkpoint_report"),
    "refusals": ("SeveralFiles",),
    "surface": ("read_surface",),
}


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{home}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
