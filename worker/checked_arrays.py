"""Arrays as bytes that tell whether they are what was written: a magic word, the SHA-256 of what follows, and an `.npz`."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping

import numpy as np

from worker.blobs import DamagedBlob


def sealed(magic: bytes, arrays: Mapping[str, np.ndarray]) -> bytes:
    """The arrays as a blob.

    Args:
        magic: What blobs of this form begin with.
        arrays: By name; none of objects.
    """
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **dict(arrays))
    body = buffer.getvalue()
    return magic + hashlib.sha256(body).digest() + body


def opened(magic: bytes, blob: bytes) -> dict[str, np.ndarray]:
    """What `sealed` was given, bit for bit.

    Raises:
        DamagedBlob: The bytes are not what was written, or of another form.
    """
    start = len(magic) + hashlib.sha256().digest_size
    body = blob[start:]
    if blob[:start] != magic + hashlib.sha256(body).digest():
        raise DamagedBlob("what a unit found does not match its checksum")
    with np.load(io.BytesIO(body), allow_pickle=False) as arrays:
        return dict(arrays)
