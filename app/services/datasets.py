"""Data sets, catalogued and uploaded, and direction files."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import func, select

from app.database import DatasetRow, DirectionsRow, SurfaceRow
from app.errors import Conflict
from app.schemas import DatasetInfo, FileInfo
from app.services.uploads import Uploads, digest_of
from landscape_core import catalogue
from landscape_core.catalogue import DatasetFacts
from landscape_core.catalogue.data import holds_tokens
from landscape_core.errors import DatasetRejected, InvalidRequest, NotFound
from landscape_core.reading.report import DatasetReport, DirectionsReport
from landscape_core.requests import FileDirection, PlaneSpec


class Datasets(Uploads):
    """All about data sets and direction files."""

    def datasets(self) -> list[DatasetInfo]:
        """The catalogued data sets that are on this machine, then the uploaded ones, newest first."""
        with self.database.reading() as session:
            rows = session.scalars(select(DatasetRow).order_by(DatasetRow.created.desc())).all()
        catalogued = catalogue.available_datasets(self.settings.datasets_folder)
        return [_catalogued(facts) for facts in catalogued] + [_uploaded(row) for row in rows]

    def dataset(self, dataset_id: str) -> DatasetInfo:
        """One data set.

        Raises:
            NotFound: There is none of this id.
        """
        for facts in catalogue.available_datasets(self.settings.datasets_folder):
            if facts.id == dataset_id:
                return _catalogued(facts)
        return _uploaded(self.upload_row(DatasetRow, "dataset", dataset_id))

    def add_dataset(self, path: Path, filename: str, sha256: str | None = None) -> DatasetInfo:
        """Takes in an uploaded data set; the same bytes give the same one.

        Args:
            path: The file, which is gone afterwards.
            filename: Where it came from, to show.
            sha256: Of its bytes, if known.
        """
        sha = sha256 or digest_of(path)
        self.take_in("dataset", path, filename, sha)
        return self.dataset(sha)

    def delete_dataset(self, dataset_id: str) -> None:
        """Removes an uploaded data set; surfaces that were computed on it stay.

        Raises:
            NotFound: There is no uploaded one of this id.
            Conflict: Surfaces are being computed on it.
        """
        self.upload_row(DatasetRow, "dataset", dataset_id)
        with self.database.reading() as session:
            working = SurfaceRow.state.in_(("queued", "running"))
            count = session.scalar(select(func.count()).where(SurfaceRow.dataset == dataset_id, working)) or 0
        if count:
            what = "1 surface is" if count == 1 else f"{count} surfaces are"
            raise Conflict(f"{what} being computed on this data set; cancel them first.")
        self._delete_upload("dataset", dataset_id)

    def directions(self, directions_id: str) -> FileInfo:
        """One direction file.

        Raises:
            NotFound: There is none of this id.
        """
        row = self.upload_row(DirectionsRow, "directions", directions_id)
        return FileInfo(id=row.id, state=row.state, filename=row.filename, problem=row.problem)  # type: ignore[arg-type]

    def add_directions(self, path: Path, filename: str, sha256: str | None = None) -> FileInfo:
        """Takes in an uploaded direction file; the same bytes give the same one.

        Args:
            path: The file, which is gone afterwards.
            filename: Where it came from, to show.
            sha256: Of its bytes, if known.
        """
        sha = sha256 or digest_of(path)
        self.take_in("directions", path, filename, sha)
        return self.directions(sha)

    def preprocessings(self) -> list[str]:
        """The names of all preprocessings."""
        return list(catalogue.preprocessings())

    def dataset_facts(self, dataset_id: str) -> DatasetFacts:
        """What is known of a data set that can be computed with.

        Raises:
            InvalidRequest: There is none of this id, or it is not ready or not on this machine.
        """
        with self.database.reading() as session:
            row = session.get(DatasetRow, dataset_id)
        if row is not None:
            if row.state != "ready" or row.report is None:
                reason = f"was rejected: {row.problem}" if row.state == "rejected" else "is still being inspected; ask again"
                raise InvalidRequest(f"The data set {row.filename} {reason.rstrip('.')}.", field="data.dataset")
            report = DatasetReport.model_validate_json(row.report)
            return DatasetFacts(id=row.id, **report.model_dump(exclude={"kind", "warnings", "problem"}))
        try:
            facts = catalogue.facts(dataset_id, self.settings.datasets_folder)
        except (NotFound, DatasetRejected) as error:
            raise InvalidRequest(
                self._no_dataset(dataset_id) if isinstance(error, NotFound) else str(error), field="data.dataset"
            ) from None
        if facts is None:
            raise InvalidRequest(
                f"The data set {dataset_id} is not on this machine; put its files into {self.settings.datasets_folder}, "
                "or upload it as an .npz.",
                field="data.dataset",
            )
        return facts

    def check_directions(self, plane: PlaneSpec) -> None:
        """Passes when the direction files of a plane are here and have the directions that are asked of them.

        Raises:
            InvalidRequest: They are not, or have not.
        """
        for axis, spec in (("x", plane.x), ("y", plane.y)):
            if not isinstance(spec, FileDirection):
                continue
            field = f"plane.{axis}.file"
            with self.database.reading() as session:
                row = session.get(DirectionsRow, spec.file)
            if row is None:
                raise InvalidRequest(f"There is no direction file {spec.file[:12]}…; upload it first.", field=field)
            if row.state != "ready" or row.report is None:
                reason = f"was rejected: {row.problem}" if row.state == "rejected" else "is still being inspected; ask again"
                raise InvalidRequest(f"The direction file {row.filename} {reason.rstrip('.')}.", field=field)
            if axis == "y" and DirectionsReport.model_validate_json(row.report).directions < 2:
                raise InvalidRequest(
                    f"The direction file {row.filename} holds one direction only; ask for a curve, or choose another for y.",
                    field=field,
                )

    def _no_dataset(self, dataset_id: str) -> str:
        known = ", ".join(facts.id for facts in catalogue.available_datasets(self.settings.datasets_folder))
        return f"There is no data set {dataset_id[:80]!r}; choose one of {known}, or upload an .npz and give its id."


def _catalogued(facts: DatasetFacts) -> DatasetInfo:
    known = facts.model_dump(exclude={"dtype"})
    return DatasetInfo(state="ready", uploaded=False, holds_tokens=facts.holds_tokens, **known)


def _uploaded(row: DatasetRow) -> DatasetInfo:
    info = DatasetInfo(id=row.id, title=row.filename, state=row.state, problem=row.problem, uploaded=True)  # type: ignore[arg-type]
    if row.report is None:
        return info
    report = DatasetReport.model_validate_json(row.report)
    known = report.model_dump(include={"title", "splits", "shape", "classes", "preprocessing"})
    tokens = holds_tokens(report.dtype)
    return info.model_copy(update={**known, "holds_tokens": tokens, "source": f"uploaded as {row.filename}"})
