"""Files that appear whole or not at all, have reached the disk, and are private to this user."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

CHUNK_BYTES = 8 << 20
"""Bytes that are copied at a time."""


def final_path(root: Path, key: str) -> Path:
    """The local file of a blob; makes its folder, private to this user."""
    path = root / key
    for folder in reversed(path.relative_to(root).parents):
        if not (root / folder).is_dir():
            (root / folder).mkdir(mode=0o700, exist_ok=True)
            sync_folder((root / folder).parent)
    return path


@contextmanager
def staged(root: Path, key: str, data: bytes | Path) -> Iterator[tuple[Path, Path]]:
    """Gives a temporary file, its content safely on the disk, and its final place beside it; the caller renames or links."""
    final = final_path(root, key)
    temporary = final.with_name(f"{final.name}#{secrets.randbits(48)}")
    try:
        with private(temporary) as file:
            if isinstance(data, Path):
                with data.open("rb") as source:
                    shutil.copyfileobj(source, file, CHUNK_BYTES)
            else:
                file.write(data)
            file.flush()
            os.fsync(file.fileno())
        yield temporary, final
        sync_folder(final.parent)
    finally:
        temporary.unlink(missing_ok=True)


def private(path: Path) -> IO[bytes]:
    """Opens a new file for writing that only this user can read."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")


def sync_folder(folder: Path) -> None:
    """What was made or renamed in the folder has reached the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
