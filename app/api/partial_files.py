"""Where resumable uploads grow: tuspyserver's storage, with nothing blocking, nothing held in memory, no two writers at once.

<folder>/<uid>          the bytes so far; gone once the upload has been taken in
<folder>/<uid>.info     what tuspyserver knows of it (its offset is the truth: what lies behind it is cut off)
<folder>/<uid>.result   what became of it
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import HTTPException
from tuspyserver.storage import TusStorage

from app.schemas import UploadResult

WRITE_BYTES = 4 << 20


class PartialFiles(TusStorage):
    """Uploads in a folder.

    Args:
        folder: Made if missing; nobody else's.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._open: dict[str, tuple[int, bytearray]] = {}
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def path(self, uid: str) -> Path:
        """Where the bytes lie."""
        return self.folder / uid

    def result(self, uid: str) -> UploadResult | None:
        """What became of an upload; None if that is not known yet."""
        try:
            return UploadResult.model_validate_json((self.folder / f"{uid}.result").read_bytes())
        except FileNotFoundError:
            return None

    def write_result(self, uid: str, result: UploadResult) -> None:
        """Notes what became of an upload."""
        _write(self.folder / f"{uid}.result", result.canonical_json())

    def complete(self) -> list[tuple[str, dict[str, str]]]:
        """(uid, metadata) of the uploads that have come whole and of which nothing became yet."""
        found = []
        for file in self.folder.glob("*.info"):
            uid, info = file.stem, _read(file)
            if info and info.get("offset") == info.get("size") and self.path(uid).exists() and self.result(uid) is None:
                found.append((uid, dict(info.get("metadata", {}))))
        return found

    # ── what tuspyserver asks for ────────────────────────────────────────────────────────────────────────────────────

    async def create(self, uid: str) -> None:
        """Begins an upload."""
        await _off_loop(lambda: os.close(os.open(self.path(uid), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)))

    async def exists(self, uid: str) -> bool:
        """Whether there is or was such an upload."""
        return await asyncio.to_thread((self.folder / f"{uid}.info").exists)

    async def size(self, uid: str) -> int:
        """How many bytes lie there."""
        path = self.path(uid)
        return await asyncio.to_thread(lambda: path.stat().st_size if path.exists() else 0)

    async def append(self, uid: str, chunk: bytes) -> None:
        """Adds bytes at the end; `lock` is held."""
        if uid not in self._open:
            raise HTTPException(404, "There is no such upload, or it has come whole already.")
        file, pending = self._open[uid]
        pending += chunk
        if len(pending) >= WRITE_BYTES:
            await _off_loop(lambda: _drain(file, pending))

    async def flush(self, uid: str) -> None:
        """All bytes that came have reached the disk."""
        if uid not in self._open:
            return
        file, pending = self._open[uid]

        def sync() -> None:
            _drain(file, pending)
            os.fsync(file)

        await _off_loop(sync)

    async def finalize(self, uid: str) -> None:
        """Nothing is left to do for a file."""

    async def read(self, uid: str) -> bytes | None:
        """The bytes; unused, since uploads are long."""
        path = self.path(uid)
        return await asyncio.to_thread(lambda: path.read_bytes() if path.exists() else None)

    async def delete(self, uid: str) -> None:
        """Forgets an upload."""

        def remove() -> None:
            for suffix in ("", ".info", ".result"):
                (self.folder / f"{uid}{suffix}").unlink(missing_ok=True)

        await asyncio.to_thread(remove)

    async def read_info(self, uid: str) -> dict[str, Any] | None:
        """What tuspyserver wrote of an upload."""
        return await asyncio.to_thread(_read, self.folder / f"{uid}.info")

    async def write_info(self, uid: str, data: dict[str, Any]) -> None:
        """Notes what tuspyserver knows of an upload. It refuses to tell the offset of one that has no file type."""
        metadata = {"filetype": "application/octet-stream", **data.get("metadata", {})}
        await _off_loop(lambda: _write(self.folder / f"{uid}.info", json.dumps({**data, "metadata": metadata})))

    async def list_uids(self) -> list[str]:
        """The ids of all uploads."""
        return await asyncio.to_thread(lambda: [file.stem for file in self.folder.glob("*.info")])

    def location(self, uid: str) -> str:
        """The path of the bytes."""
        return str(self.path(uid))

    @asynccontextmanager
    async def lock(self, uid: str) -> AsyncIterator[None]:  # type: ignore[override]  # theirs is annotated as an iterator
        """Writes to an upload alone, behind its offset.

        Raises:
            HTTPException: 409 if another connection is writing to it.
        """
        try:
            file = os.open(self.path(uid), os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            yield
            return
        try:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise HTTPException(409, "Another connection is sending this upload; try again in a moment.") from None
            offset = int((await self.read_info(uid) or {}).get("offset", 0))
            os.ftruncate(file, offset)
            os.lseek(file, offset, os.SEEK_SET)
            self._open[uid] = (file, bytearray())
            yield
        finally:
            if uid in self._open and self._open[uid][0] == file:
                del self._open[uid]
            os.close(file)


def _drain(file: int, pending: bytearray) -> None:
    while pending:
        del pending[: os.write(file, pending)]


async def _off_loop(work: Callable[[], None]) -> None:
    """Does the work in a thread.

    Raises:
        HTTPException: 507 if the disk does not take it.
    """
    try:
        await asyncio.to_thread(work)
    except OSError as error:
        reason = error.strerror or str(error)
        raise HTTPException(507, f"The server could not store the upload ({reason}); try again later.") from error


def _read(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _write(path: Path, text: str) -> None:
    """Writes a small file, all of it or nothing, which only the user may read."""
    temporary = path.with_name(f".{path.name}.tmp")
    file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.write(file, text.encode())
        os.fsync(file)
    finally:
        os.close(file)
    os.replace(temporary, path)
