"""Writing a file so that it is there whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def write_atomically(path: Path, data: bytes) -> None:
    """Leaves `path` with exactly `data`, readable by its owner only, or as it was before.

    The bytes go to a temporary file in the same folder, to the disk, and only then under their name.

    Args:
        path: Where; its folder exists.
        data: The whole content.
    """
    handle, name = tempfile.mkstemp(prefix=f".{path.name[:64]}.", dir=path.parent)  # mkstemp gives mode 0600
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
