"""A unit's tallies as bytes: a magic word, the SHA-256 of what follows, and an `.npz` without pickles."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence

import numpy as np

from landscape_core.results import Tally
from worker.blobs import DamagedBlob

_MAGIC = b"LATALLY1"
_FIELDS = {"examples": np.int64, "loss_sum": np.float64, "loss_sq": np.float64, "correct": np.int64}
_COUNT = "count_"


def encode_unit(cells: Sequence[tuple[int, int]], tally: Tally) -> bytes:
    """The blob of a unit.

    Args:
        cells: (row, column) of each cell.
        tally: Arrays of shape (cells,), in the same order.
    """
    buffer = io.BytesIO()
    arrays = {name: getattr(tally, name) for name in _FIELDS}
    arrays |= {f"{_COUNT}{name}": array for name, array in tally.counts.items()}
    np.savez(buffer, allow_pickle=False, cells=np.array(cells, np.int32).reshape(-1, 2), **arrays)
    body = buffer.getvalue()
    return _MAGIC + hashlib.sha256(body).digest() + body


def decode_unit(blob: bytes) -> tuple[tuple[tuple[int, int], ...], Tally]:
    """What `encode_unit` was given, bit for bit (losses that are not finite included).

    Raises:
        DamagedBlob: The bytes are not what was written, or of another release's form; the unit is to be computed again.
    """
    start = len(_MAGIC) + hashlib.sha256().digest_size
    body = blob[start:]
    if blob[:start] != _MAGIC + hashlib.sha256(body).digest():
        raise DamagedBlob("a unit's tallies do not match their checksum")
    with np.load(io.BytesIO(body), allow_pickle=False) as arrays:
        cells = tuple((row, column) for row, column in arrays["cells"].tolist())
        counts = {
            name.removeprefix(_COUNT): arrays[name].astype(np.int64, copy=False) for name in arrays if name.startswith(_COUNT)
        }
        return cells, Tally(**{name: arrays[name].astype(kind, copy=False) for name, kind in _FIELDS.items()}, counts=counts)
