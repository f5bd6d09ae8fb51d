"""Training runs that came as one archive: what became of its members, each of which is a checkpoint like any other.

The archive's row holds a `RunReport`; its members have rows of their own, under the SHA-256 of their own bytes, so that the
same checkpoint brought alone is the same. Once the archive is taken apart, nothing of it is kept but that report.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from pydantic import ValidationError
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.database import CheckpointRow, UploadColumns
from app.schemas import CheckpointInfo, MemberInfo
from app.services.parts import shown_name
from app.services.uploads import Uploads
from landscape_core.catalogue import Candidate
from landscape_core.reading.report import RunMember, RunReport
from worker.blobs import Kind, canonical_key, quarantine_key, report_key

BEGINS = '{"kind": "run"'
"""How the report on an archive begins, as it stands in the database."""


class Runs(Uploads):
    """What is particular about an archive of checkpoints."""

    def members_of_archives(self) -> frozenset[str]:
        """The ids of all checkpoints that came in an archive."""
        with self.database.reading() as session:
            archives = session.scalars(select(CheckpointRow).where(_is_archive())).all()
            return frozenset(sha for archive in archives for sha in ids_of(run_of(archive)))

    def _took_in(self, kind: Kind, session: Session, report: Mapping[str, Any]) -> list[tuple[str, str]]:
        """The members of an archive become uploads that are inspected, unless they are here already."""
        found = run_report(report) if kind == "checkpoint" else None
        fresh: list[tuple[str, str]] = []
        for member in found.members if found else ():
            if member.sha256 is None:
                continue
            row = session.get(CheckpointRow, member.sha256)
            if row is not None and row.state == "ready" and self.blobs.exists(canonical_key(kind, member.sha256)):
                self.blobs.delete(quarantine_key(kind, member.sha256))
                continue
            name = shown_name(member.filename)
            if row is None or row.state != "inspecting":  # else it was brought alone as well: a report is of that, and wanted
                self.blobs.delete(report_key(kind, member.sha256))
            if row is None:
                row = CheckpointRow(id=member.sha256, filename=name, size_bytes=member.size_bytes, state="inspecting")
                session.add(row)
            row.state, row.problem, row.report = "inspecting", None, None
            fresh.append((member.sha256, name))
        return fresh

    def _forgotten(self, kind: Kind, session: Session, report: Mapping[str, Any]) -> None:
        """Members of an archive that was deleted while it was taken apart do not stay in quarantine."""
        found = run_report(report) if kind == "checkpoint" else None
        for member in found.members if found else ():
            if member.sha256 is not None and session.get(CheckpointRow, member.sha256) is None:
                self.blobs.delete(quarantine_key(kind, member.sha256))

    def _with_run(self, session: Session, row: CheckpointRow) -> list[str]:
        """What is deleted with a row: itself, and of an archive the members that came with it only and are in no other."""
        found = run_of(row)
        if found is None:
            return [row.id]
        archives = session.scalars(select(CheckpointRow).where(CheckpointRow.id != row.id, _is_archive())).all()
        elsewhere = {sha for other in archives for sha in ids_of(run_of(other))}
        members = session.scalars(select(CheckpointRow).where(CheckpointRow.id.in_(ids_of(found)))).all()
        return [row.id, *(one.id for one in members if not (one.alone or one.created < row.created or one.id in elsewhere))]

    def _members(self, session: Session, row: CheckpointRow) -> dict[str, CheckpointRow]:
        """The rows of an archive's members that are still here, by id."""
        wanted = ids_of(run_of(row))
        rows = session.scalars(select(CheckpointRow).where(CheckpointRow.id.in_(wanted))).all() if wanted else []
        return {member.id: member for member in rows}


def ids_of(run: RunReport | None) -> list[str]:
    """The members' ids, in the order of the run; none without a run."""
    return [member.sha256 for member in run.members if member.sha256 is not None] if run else []


def run_of(row: UploadColumns) -> RunReport | None:
    """What an archive of checkpoints held; None of any other file."""
    text = row.report or ""
    return run_report(json.loads(text)) if text.startswith(BEGINS) else None


def run_report(values: Mapping[str, Any]) -> RunReport | None:
    """A report, if it is that of an archive of checkpoints."""
    if values.get("kind") == "run":
        with suppress(ValidationError):
            return RunReport.model_validate(values)
    return None


def run_info(info: CheckpointInfo, run: RunReport, rows: Mapping[str, CheckpointRow]) -> CheckpointInfo:
    """What is told of an archive: its members, and what they amount to.

    Args:
        info: What is told of any upload.
        run: What the archive held.
        rows: Its members that are still here.
    """
    members = tuple(
        _member(member, rows.get(member.sha256 or ""))
        for member in run.members
        if member.sha256 is None or member.sha256 in rows
    )
    told = info.model_copy(update={"format": run.format, "warnings": run.warnings, "members": members})
    if info.state != "ready":
        return told
    states = {member.state for member in members}
    if "inspecting" in states:
        return told.model_copy(update={"state": "inspecting"})
    return told if "ready" in states else told.model_copy(update={"state": "rejected", "problem": _nothing(members)})


def _member(member: RunMember, row: CheckpointRow | None) -> MemberInfo:
    known: dict[str, Any] = {"id": member.sha256, "filename": member.filename, "size_bytes": member.size_bytes}
    if row is None:
        return MemberInfo(**known, state="rejected", problem=member.problem)
    candidates = json.loads(row.report).get("candidates") if row.state == "ready" and row.report is not None else None
    network = str(Candidate.model_validate(candidates[0]).architecture) if candidates else None
    return MemberInfo(**known, state=row.state, problem=row.problem, network=network)  # type: ignore[arg-type]  # the table's


def _nothing(members: Sequence[MemberInfo]) -> str:
    """Why nothing in an archive can be used."""
    first = next((member for member in members if member.problem), None)
    if first is None:
        return "All of its checkpoints have been deleted; upload the archive again to have them back."
    return f"None of its files can be used as a checkpoint. {first.filename}: {first.problem}"


def _is_archive() -> Any:
    return CheckpointRow.report.startswith(BEGINS, autoescape=True)
