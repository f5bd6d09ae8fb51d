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
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from tempfile import mkstemp
from threading import Lock
from typing import Any

from fastapi import HTTPException
from tuspyserver.storage import TusStorage

from app.schemas import UploadResult

WRITE_BYTES = 4 << 20
BUSY = "Another connection is sending this upload; try again in a moment."


class PartialFiles(TusStorage):
    """Uploads in a folder.

    Args:
        folder: Made if missing; nobody else's.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._open: dict[str, _Writer] = {}
        self._telling = [Lock() for _ in range(16)]  # an upload's own is found by its id; see `_note`
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
        writer = self._open[uid]
        writer.pending += chunk
        if len(writer.pending) >= WRITE_BYTES:
            await _off_loop(writer.drain)

    async def flush(self, uid: str) -> None:
        """All bytes that came have reached the disk."""
        if uid in self._open:
            await _off_loop(self._open[uid].sync)

    async def finalize(self, uid: str) -> None:
        """Nothing is left to do for a file."""

    async def read(self, uid: str) -> bytes | None:
        """The bytes; unused, since uploads are long."""
        path = self.path(uid)
        return await asyncio.to_thread(lambda: path.read_bytes() if path.exists() else None)

    async def delete(self, uid: str) -> None:
        """Forgets an upload.

        Raises:
            HTTPException: 409 if a connection is writing to it.
        """

        def remove() -> None:
            with suppress(FileNotFoundError):  # it has been taken in, or was never begun
                file = _opened_alone(self.path(uid))
                try:
                    self.path(uid).unlink(missing_ok=True)
                finally:
                    os.close(file)
            with self._lock_of(uid):
                for suffix in (".info", ".result"):
                    (self.folder / f"{uid}{suffix}").unlink(missing_ok=True)

        await _off_loop(remove)

    async def read_info(self, uid: str) -> dict[str, Any] | None:
        """What tuspyserver wrote of an upload."""
        return await asyncio.to_thread(_read, self.folder / f"{uid}.info")

    async def write_info(self, uid: str, data: dict[str, Any]) -> None:
        """Notes what tuspyserver knows of an upload. It refuses to tell the offset of one that has no file type."""
        metadata = {"filetype": "application/octet-stream", **data.get("metadata", {})}
        await _off_loop(lambda: self._note(uid, {**data, "metadata": metadata}))

    async def list_uids(self) -> list[str]:
        """The ids of all uploads."""
        return await asyncio.to_thread(lambda: [file.stem for file in self.folder.glob("*.info")])

    def location(self, uid: str) -> str:
        """The path of the bytes."""
        return str(self.path(uid))

    @asynccontextmanager
    async def lock(self, uid: str) -> AsyncIterator[None]:  # type: ignore[override]  # theirs is annotated as an iterator
        """Writes to an upload alone, behind its offset. Whatever ends the writing, what has come is kept.

        Raises:
            HTTPException: 409 if another connection is writing to it.
        """
        try:
            file = _opened_alone(self.path(uid))
        except FileNotFoundError:
            yield
            return
        writer = self._open[uid] = _Writer(file)
        try:
            offset = int((await self.read_info(uid) or {}).get("offset", 0))
            os.ftruncate(file, offset)
            os.lseek(file, offset, os.SEEK_SET)
            yield
        finally:
            del self._open[uid]
            await asyncio.to_thread(self._end, uid, writer)

    def _end(self, uid: str, writer: _Writer) -> None:
        """Counts in what came before a sender fell silent or was refused: tuspyserver does so only if it hangs up.

        A disk that does not take it has been told of already, by `append` or `flush`.
        """
        try:
            with suppress(OSError):
                writer.sync()
                self._note(uid, {"offset": os.lseek(writer.file, 0, os.SEEK_CUR)})
        finally:
            os.close(writer.file)

    def _note(self, uid: str, data: dict[str, Any]) -> None:
        """Updates what is known of an upload that is there.

        tuspyserver writes what it read some time ago, also while it does not hold `lock`: so an offset never goes back.
        """
        path = self.folder / f"{uid}.info"
        with self._lock_of(uid):
            known = _read(path)
            if known is not None or self.path(uid).exists():
                known = known or {}
                offset = max(data.get("offset", 0), known.get("offset", 0))
                if (noted := {**known, **data, "offset": offset}) != known:
                    _write(path, json.dumps(noted))

    def _lock_of(self, uid: str) -> Lock:
        return self._telling[zlib.crc32(uid.encode()) % len(self._telling)]


def _opened_alone(path: Path) -> int:
    """A file that nobody else has open through this function, until it is closed.

    Raises:
        FileNotFoundError: It is not there.
        HTTPException: 409 if somebody has.
    """
    file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        raise HTTPException(409, BUSY) from None
    return file


class _Writer:
    """A file that is written to, and what has not reached it yet.

    Args:
        file: Its descriptor, at the place to write to.
    """

    def __init__(self, file: int) -> None:
        self.file, self.pending = file, bytearray()
        self._alone = Lock()  # a request that is cancelled leaves its thread at work

    def drain(self) -> None:
        """All has been written."""
        with self._alone:
            while self.pending:
                del self.pending[: os.write(self.file, self.pending)]

    def sync(self) -> None:
        """All has reached the disk."""
        self.drain()
        os.fsync(self.file)


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
    file, temporary = mkstemp(prefix=".", suffix=".tmp", dir=path.parent)
    try:
        with os.fdopen(file, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(file)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
