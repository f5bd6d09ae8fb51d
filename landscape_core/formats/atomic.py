"""Writing a file so that it is there whole or not at all."""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path


def write_atomically(path: Path, data: bytes, *, private: bool = True) -> None:
    """Leaves `path` with exactly `data`, or as it was before.

    The bytes go to a temporary file in the same folder, to the disk, and only then under their name.

    Args:
        path: Where; its folder exists.
        data: The whole content.
        private: Whether only its owner may read it, and a link is replaced. Otherwise the file is as any program would leave
            it: a link is followed, an existing file keeps its mode, a new one gets the usual one.
    """
    place = path if private else path.resolve()
    temporary = place.with_name(f".{place.name[:64]}.{secrets.token_hex(8)}")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600 if private else 0o666)
    try:
        with os.fdopen(handle, "wb") as file:
            if not private and place.exists():
                os.fchmod(handle, stat.S_IMODE(place.stat().st_mode))
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(place)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
