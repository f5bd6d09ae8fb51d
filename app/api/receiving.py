"""Files that come as the raw body of a request: streamed to disk, hashed on the way, never held in memory."""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from fastapi import Request

from app.errors import NoSpace, TooLarge
from app.settings import AppSettings
from worker.blobs import Kind

MIN_FREE_BYTES = 1 << 30
"""Disk space that uploads leave for results."""

WRITE_BYTES = 4 << 20

RAW_BODY = {
    "requestBody": {
        "required": True,
        "description": "The file's bytes.",
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}
"""For OpenAPI: the body is the file."""


@dataclass(frozen=True)
class Received:
    """A file that has come whole.

    Attributes:
        path: Where it lies; whoever takes it in moves it.
        sha256: Of its bytes, in hexadecimal.
    """

    path: Path
    sha256: str


@asynccontextmanager
async def received(request: Request, kind: Kind, settings: AppSettings, longest: int | None = None) -> AsyncIterator[Received]:
    """The body as a file, which is removed afterwards if nobody moved it.

    Args:
        request: Its body is the file.
        kind: What the file is said to be, which bounds its length.
        settings: Folder and limits.
        longest: Most bytes that are taken, if fewer than of any file of this kind.

    Raises:
        TooLarge: It is longer than is taken.
        NoSpace: The disk is nearly full.
    """
    limit = min(limit_of(kind, settings), longest or limit_of(kind, settings))
    declared = request.headers.get("content-length", "")
    check_room(settings, kind, int(declared) if declared.isdigit() else 0)
    settings.incoming.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = settings.incoming / f"raw-{secrets.token_hex(16)}"
    digest, size = hashlib.sha256(), 0
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb", buffering=0) as file:

            def write(data: bytes) -> None:
                digest.update(data)
                while data:
                    data = data[file.write(data) :]

            pending = bytearray()
            async for chunk in request.stream():
                size += len(chunk)
                if size > limit:
                    raise too_large(limit)
                pending += chunk
                if len(pending) >= WRITE_BYTES:
                    await asyncio.to_thread(write, bytes(pending))
                    pending.clear()
            await asyncio.to_thread(write, bytes(pending))
        yield Received(path, digest.hexdigest())
    except OSError as error:
        raise no_space(error) from error
    finally:
        path.unlink(missing_ok=True)


def limit_of(kind: Kind, settings: AppSettings) -> int:
    """The longest file of a kind that is taken, in bytes."""
    return settings.max_dataset_bytes if kind == "dataset" else settings.max_upload_bytes


def check_room(settings: AppSettings, kind: Kind, size: int) -> None:
    """Passes when a file of this size may come.

    Raises:
        TooLarge: It is longer than is taken.
        NoSpace: The disk would be nearly full with it.
    """
    if size > limit_of(kind, settings):
        raise too_large(limit_of(kind, settings))
    settings.incoming.mkdir(mode=0o700, parents=True, exist_ok=True)
    if shutil.disk_usage(settings.incoming).free - size < MIN_FREE_BYTES:
        raise NoSpace("The server's disk is nearly full, so it takes no files; delete some, or ask its owner to make room.")


def too_large(limit: int) -> TooLarge:
    """The error for a file that is longer than is taken."""
    return TooLarge(f"The file is longer than {limit:,} bytes, which is the most that this server takes.")


def no_space(error: OSError) -> NoSpace:
    """The error for a file that could not be written."""
    return NoSpace(
        f"The server could not store the file ({error.strerror or error}); ask its owner to make room, then send it again."
    )
