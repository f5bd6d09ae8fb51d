"""Checkpoints: what was uploaded, what is in it, which architectures fit."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import select

from app.database import CheckpointRow, SurfaceRow
from app.errors import Conflict
from app.schemas import ArchitectureInfo, CandidateInfo, CheckpointInfo
from app.services.runs import Runs, run_info, run_of
from app.services.uploads import digest_of
from landscape_core import catalogue
from landscape_core.errors import InvalidRequest
from landscape_core.reading.report import CheckpointReport
from landscape_core.requests import SurfaceRequest
from worker.blobs import Kind


class Checkpoints(Runs):
    """All about checkpoints."""

    def checkpoints(self) -> list[CheckpointInfo]:
        """All checkpoints, newest first."""
        with self.database.reading() as session:
            rows = session.scalars(select(CheckpointRow).order_by(CheckpointRow.created.desc())).all()
        known = {row.id: row for row in rows}
        return [_info(row, known) for row in rows]

    def checkpoint(self, checkpoint_id: str) -> CheckpointInfo:
        """One checkpoint.

        Raises:
            NotFound: There is none of this id.
        """
        row = self.upload_row(CheckpointRow, "checkpoint", checkpoint_id)
        with self.database.reading() as session:
            return _info(row, self._members(session, row))

    def checkpoint_names(self, checkpoints: list[str]) -> list[str]:
        """The file names of checkpoints, in order; "" of one that is not here."""
        with self.database.reading() as session:
            rows = session.scalars(select(CheckpointRow).where(CheckpointRow.id.in_(checkpoints))).all()
        names = {row.id: row.filename for row in rows}
        return [names.get(checkpoint, "") for checkpoint in checkpoints]

    def add_checkpoint(self, path: Path, filename: str, sha256: str | None = None) -> CheckpointInfo:
        """Takes in an uploaded file; the same bytes give the same checkpoint, and a rejected one is inspected again.

        Args:
            path: The file, which is gone afterwards.
            filename: Where it came from, to show.
            sha256: Of its bytes, if known.
        """
        sha = sha256 or digest_of(path)
        self.take_in("checkpoint", path, filename, sha)
        return self.checkpoint(sha)

    def delete_checkpoint(self, checkpoint_id: str) -> None:
        """Removes a checkpoint; surfaces that were computed from it stay.

        With a training run that came as an archive go those of its checkpoints that came with it only and are in no other.

        Raises:
            NotFound: There is none of this id.
            Conflict: Surfaces are being computed from it.
        """
        row = self.upload_row(CheckpointRow, "checkpoint", checkpoint_id)
        with self.database.reading() as session:
            doomed = self._with_run(session, row)
            working = SurfaceRow.state.in_(("queued", "running")) & SurfaceRow.job.is_not(None)
            asked = session.scalars(select(SurfaceRow.request).where(working)).all()
        count = sum(any(one in (request or "") for one in doomed) for request in asked)
        if count:
            what = "1 surface is" if count == 1 else f"{count} surfaces are"
            raise Conflict(f"{what} being computed from this {'run' if run_of(row) else 'checkpoint'}; cancel them first.")
        for one in doomed:
            self._delete_upload("checkpoint", one)

    def architectures(self) -> list[ArchitectureInfo]:
        """All catalogued architectures."""
        return [ArchitectureInfo(**entry.model_dump()) for entry in catalogue.architectures()]

    def checkpoint_report(self, checkpoint_id: str, field: str = "checkpoint") -> tuple[CheckpointRow, CheckpointReport]:
        """A checkpoint that can be computed with, and what its inspection found.

        Args:
            checkpoint_id: The checkpoint.
            field: The part of the request that names it.

        Raises:
            InvalidRequest: There is none of this id, or it is not ready.
        """
        with self.database.reading() as session:
            row = session.get(CheckpointRow, checkpoint_id)
        if row is None:
            raise InvalidRequest(f"There is no checkpoint {checkpoint_id[:12]}…; upload the file first.", field=field)
        if row.state != "ready" or row.report is None:
            reason = (
                f"was rejected: {row.problem}" if row.state == "rejected" else "is still being inspected; ask again in a moment"
            )
            raise InvalidRequest(f"The checkpoint {row.filename} {reason.rstrip('.')}.", field=field)
        if run_of(row) is not None:
            raise InvalidRequest(f"{row.filename} is a run of several checkpoints; name one of its members.", field=field)
        return row, CheckpointReport.model_validate_json(row.report)

    def check_companions(self, request: SurfaceRequest) -> None:
        """Passes when the other checkpoints that a request names are here, ready, and of the request's network.

        Raises:
            InvalidRequest: They are not; `field` names the part of the request.
        """
        named = request.plane.named_checkpoints
        shapes = self.checkpoint_report(request.checkpoint)[1].shapes if named else {}
        for checkpoint, field in named.items():
            row, report = self.checkpoint_report(checkpoint, field)
            catalogue.check_companion(request.architecture, shapes, report.shapes, f"The checkpoint {row.filename}", field)

    def _objection(self, kind: Kind, report: dict[str, Any]) -> str | None:
        if report.get("kind") != "checkpoint" or report.get("candidates"):
            return super()._objection(kind, report)
        return catalogue.explain_no_match({name: tuple(shape) for name, shape in report.get("shapes", {}).items()})


def _info(row: CheckpointRow, known: Mapping[str, CheckpointRow]) -> CheckpointInfo:
    """What is told of a row; `known` holds the rows of an archive's members."""
    info = CheckpointInfo(
        id=row.id,
        filename=row.filename,
        size_bytes=row.size_bytes,
        state=row.state,  # type: ignore[arg-type]  # the table holds nothing else
        problem=row.problem,
        created=row.created,
    )
    run = run_of(row)
    if run is not None:
        return run_info(info, run, known)
    if row.report is None:
        return info
    report = CheckpointReport.model_validate_json(row.report)
    known = {
        name: getattr(report, name)
        for name in ("format", "container", "tensors", "parameters", "metadata", "warnings", "nearest")
    }
    return info.model_copy(update={**known, "candidates": tuple(_candidate(fits, report) for fits in report.candidates)})


def _candidate(fits: catalogue.Candidate, report: CheckpointReport) -> CandidateInfo:
    return CandidateInfo(
        name=fits.architecture.name,
        options=fits.architecture.options,
        text=str(fits.architecture),
        note=fits.note,
        macs_per_example=catalogue.macs_per_example(fits.architecture, report.shapes, fits.input_shape),
        input_shape=fits.input_shape,
        classes=fits.classes,
        takes_tokens=fits.takes_tokens,
    )
