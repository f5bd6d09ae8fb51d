"""A surface's directions that are not random, as bytes: a magic word, the SHA-256 of what follows, an `.npz` without pickles.

They are made once, by the worker that is first, so that all units of a surface are measured along the same bytes.
"""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from worker.blobs import DamagedBlob

_MAGIC = b"LADIRS01"


@dataclass
class StoredDirections:
    """What is stored of directions, as `landscape_core.compute` takes it.

    Attributes:
        x: One array for each tensor of the network that moves; empty if the first direction is random.
        y: The same for the second direction; None if it is random or there is none.
        about: What the provenance says of them.
    """

    x: list[np.ndarray]
    y: list[np.ndarray] | None
    about: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def load(cls, file: Path | io.BytesIO) -> StoredDirections:
        """Reads the canonical form of a direction file: an npz with x_0000, x_0001 … and perhaps y_0000 … in it."""
        with np.load(file, allow_pickle=False) as arrays:
            x, y = ([arrays[name] for name in sorted(arrays.files) if name.startswith(axis)] for axis in ("x_", "y_"))
            about = json.loads(arrays["about"].tobytes()) if "about" in arrays.files else {}
        return cls(x, y or None, about)


def encode_directions(x: list[np.ndarray], y: list[np.ndarray] | None, about: dict[str, Any]) -> bytes:
    """The blob of a surface's derived directions.

    Args:
        x: One array for each moved tensor; empty if the first direction is random.
        y: The same for the second direction; None if it is random or there is none.
        about: What the provenance says of them; JSON-able.
    """
    arrays = {f"x_{index:06d}": array for index, array in enumerate(x)}
    arrays |= {f"y_{index:06d}": array for index, array in enumerate(y or ())}
    buffer = io.BytesIO()
    text = np.frombuffer(json.dumps(about, allow_nan=False).encode(), np.uint8)
    np.savez(buffer, allow_pickle=False, about=text, **arrays)
    body = buffer.getvalue()
    return _MAGIC + hashlib.sha256(body).digest() + body


def decode_directions(blob: bytes) -> StoredDirections:
    """What `encode_directions` was given, bit for bit.

    Raises:
        DamagedBlob: The bytes are not what was written, or of another release's form; they are to be made again.
    """
    start = len(_MAGIC) + hashlib.sha256().digest_size
    body = blob[start:]
    if blob[:start] != _MAGIC + hashlib.sha256(body).digest():
        raise DamagedBlob("a surface's derived directions do not match their checksum")
    return StoredDirections.load(io.BytesIO(body))
