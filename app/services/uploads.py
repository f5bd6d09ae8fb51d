"""Files that were uploaded: from quarantine through the worker's inspection to ready or rejected.

    add ──▶ quarantine blob, row "inspecting", job ──▶ worker: canonical blob and report, announcement ──▶ settle ──▶ row

The web process never opens a file's content; it hashes it and reads the report. Same bytes, same id.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.database import CheckpointRow, DatasetRow, DirectionsRow, SurfaceRow, UploadColumns
from app.services.parts import Parts, shown_name
from landscape_core.errors import NotFound
from worker.blobs import Kind, canonical_key, digest_key, quarantine_key, report_key, surface_prefix, test_half

ROWS: dict[Kind, type[UploadColumns]] = {
    "checkpoint": CheckpointRow,
    "dataset": DatasetRow,
    "directions": DirectionsRow,
}
NAMES: dict[Kind, str] = {"checkpoint": "checkpoint", "dataset": "data set", "directions": "direction file"}
Row = TypeVar("Row", CheckpointRow, DatasetRow, DirectionsRow)


class Uploads(Parts):
    """What checkpoints, data sets and direction files have in common."""

    def upload_row(self, table: type[Row], kind: Kind, sha: str) -> Row:
        """What is known of an upload.

        Raises:
            NotFound: Nothing.
        """
        with self.database.reading() as session:
            row = session.get(table, sha)
        if row is None:
            raise NotFound(f"There is no {NAMES[kind]} {sha[:80]!r}; upload it first.")
        return row

    def take_in(self, kind: Kind, path: Path, filename: str, sha256: str | None) -> None:
        """The file goes into quarantine and is inspected; one that is ready or being inspected already is dropped.

        Args:
            kind: Not "surface".
            path: The file, which is gone afterwards.
            filename: Where it came from, to show.
            sha256: Of its bytes; computed if None.
        """
        sha, size = sha256 or digest_of(path), path.stat().st_size
        with self.database.reading() as session:
            row = session.get(ROWS[kind], sha)
        if row is not None and row.state == "ready" and self.blobs.exists(canonical_key(kind, sha)):
            path.unlink()
            self._came_again(kind, sha)
            return
        self.blobs.delete(report_key(kind, sha))
        self.blobs.move_in(quarantine_key(kind, sha), path)
        name = shown_name(filename)
        fresh: dict[str, Any] = {"filename": name, "size_bytes": size, "state": "inspecting", "problem": None, "report": None}
        fresh |= {"alone": True} if kind == "checkpoint" else {}
        with suppress(IntegrityError), self.database.writing() as session:  # somebody brings the same bytes at this moment
            row = session.get(ROWS[kind], sha)
            if row is None:
                session.add(ROWS[kind](id=sha, **fresh))
            else:
                for field, value in fresh.items():
                    setattr(row, field, value)
        with self._redis_may_be_away():
            self.queue.enqueue_intake(kind, sha, name)

    def _came_again(self, kind: Kind, sha: str) -> None:
        """Notes that what is ready was brought by itself as well; only checkpoints come in archives too."""
        if kind == "checkpoint":
            with self.database.writing() as session:
                row = session.get(CheckpointRow, sha)
                if row is not None:
                    row.alone = True

    def settle(self, kind: Kind, sha: str, problem: str | None = None) -> bool:
        """Takes over what an inspection found; says whether there was something to take over.

        Args:
            kind: Not "surface".
            sha: The upload.
            problem: Why it could not be inspected at all; None reads the report.
        """
        report: dict[str, Any] = {"problem": problem}
        if problem is None:
            try:
                report = report_from(self.blobs.get(report_key(kind, sha)))
            except NotFound:
                return False
        with self.database.writing() as session:
            row = session.get(ROWS[kind], sha)
            if row is None:  # it was deleted while it was being inspected
                self._delete_inspected(kind, sha)
                self._forgotten(kind, session, report)
                return False
            if row.state != "inspecting":
                return False
            row.problem = report.get("problem") or self._objection(kind, report)
            row.state = "ready" if row.problem is None else "rejected"
            row.report = json.dumps(report) if "kind" in report else None
            fresh = self._took_in(kind, session, report)
        with self._redis_may_be_away():
            for member, filename in fresh[:1]:  # the others in turn with surfaces' units: the collector sees to that
                self.queue.enqueue_intake(kind, member, filename)
        return True

    def inspecting(self) -> list[tuple[Kind, str, str]]:
        """(kind, sha, filename) of all uploads whose inspection is not finished; those of a kind as they came."""
        found: list[tuple[Kind, str, str]] = []
        with self.database.reading() as session:
            for kind, table in ROWS.items():
                rows = session.execute(
                    select(table.id, table.filename).where(table.state == "inspecting").order_by(table.created)
                )
                found += [(kind, sha, filename) for sha, filename in rows]
        return found

    def _took_in(self, kind: Kind, session: Session, report: Mapping[str, Any]) -> list[tuple[str, str]]:  # noqa: ARG002
        """(id, name) of what came with an upload and is inspected next; there is nothing."""
        return []

    def _forgotten(self, kind: Kind, session: Session, report: Mapping[str, Any]) -> None:
        """What came with an upload that was deleted meanwhile goes as well; there is nothing."""

    def _objection(self, kind: Kind, report: dict[str, Any]) -> str | None:  # noqa: ARG002
        """A reason of ours to reject what could be read; None if there is none."""
        return None

    def _delete_upload(self, kind: Kind, sha: str) -> None:
        with self.database.writing() as session:
            row = session.get(ROWS[kind], sha)
            if row is not None:
                session.delete(row)
        self._delete_inspected(kind, sha)
        self.blobs.delete(quarantine_key(kind, sha))

    def _delete_inspected(self, kind: Kind, sha: str) -> None:
        """What an inspection leaves is gone; the file itself stays, which may have been brought again meanwhile."""
        canonical = canonical_key(kind, sha)
        for key in (canonical, digest_key(canonical), report_key(kind, sha)):
            self.blobs.delete(key)
        if kind == "surface":
            with self.database.reading() as session:
                self._delete_nobodys(session, test_half(sha))

    def _delete_nobodys(self, session: Session, surface: str) -> None:
        """What was stored under a surface's id is gone, unless there is a surface of that id: it may have come before."""
        if session.get(SurfaceRow, surface) is None:
            self.blobs.delete_prefix(surface_prefix(surface))


def report_from(text: bytes) -> dict[str, Any]:
    """What an inspection found; a problem if that cannot be read."""
    try:
        report = json.loads(text)
    except ValueError:
        report = None
    return report if isinstance(report, dict) else {"problem": "The report on the file is damaged; upload the file again."}


def digest_of(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
