"""A unit's tallies as bytes (`checked_arrays`)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from landscape_core.results import Tally
from worker.checked_arrays import opened, sealed

_MAGIC = b"LATALLY1"
_FIELDS = {"examples": np.int64, "loss_sum": np.float64, "loss_sq": np.float64, "correct": np.int64}
_COUNT = "count_"


def encode_unit(cells: Sequence[tuple[int, int]], tally: Tally) -> bytes:
    """The blob of a unit.

    Args:
        cells: (row, column) of each cell.
        tally: Arrays of shape (cells,), in the same order.
    """
    arrays = {name: getattr(tally, name) for name in _FIELDS}
    arrays |= {f"{_COUNT}{name}": array for name, array in tally.counts.items()}
    return sealed(_MAGIC, {"cells": np.array(cells, np.int32).reshape(-1, 2), **arrays})


def decode_unit(blob: bytes) -> tuple[np.ndarray, Tally]:
    """What `encode_unit` was given, bit for bit (losses that are not finite included); cells as (cells, 2) int32.

    Raises:
        DamagedBlob: The bytes are not what was written, or of another release's form; the unit is to be computed again.
    """
    arrays = opened(_MAGIC, blob)
    counts = {
        name.removeprefix(_COUNT): array.astype(np.int64, copy=False)
        for name, array in arrays.items()
        if name.startswith(_COUNT)
    }
    tally = Tally(**{name: arrays[name].astype(kind, copy=False) for name, kind in _FIELDS.items()}, counts=counts)
    return arrays["cells"].astype(np.int32, copy=False), tally
