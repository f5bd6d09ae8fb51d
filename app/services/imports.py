"""Surfaces that were computed elsewhere: files that people bring, and the gallery that comes with the package."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path, PurePath
from typing import Any

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.database import LiveRow, SurfaceRow, now
from app.schemas import SurfaceInfo
from app.services.parts import shown_name
from app.services.surfaces import Surfaces
from app.services.uploads import digest_of, report_from
from landscape_core.errors import InvalidRequest, NotFound, SurfaceRejected
from landscape_core.formats import npz
from landscape_core.results import Surface
from worker.blobs import preview_key, quarantine_key, report_key, surface_directions_key, surface_key, test_half

GALLERY = Path(__file__).parents[1] / "gallery"
"""One folder per surface: surface.npz, about.json, preview.png, and the checkpoint it was computed from."""

SPLITS = ("train", "test")
"""What a surface file of the original's form may hold, in the order in which their surfaces are told."""

WAIT_S = 10.0
"""How long the answer to an import waits for the inspection."""


class Imports(Surfaces):
    """Surfaces from files."""

    def import_surface(self, path: Path, filename: str, sha256: str | None = None, wait_s: float = WAIT_S) -> SurfaceInfo:
        """A surface file becomes a surface; the same bytes give the same one.

        One of the original's form with both splits becomes two, and the train surface is told; `provenance.splits` names both.

        Args:
            path: The file, which is gone afterwards.
            filename: Where it came from, to show.
            sha256: Of its bytes, if known.
            wait_s: How long to wait for the inspection. If it takes longer, the surface is "queued".

        Raises:
            SurfaceRejected: The file is damaged or of no known form.
        """
        sha, name = sha256 or digest_of(path), shown_name(filename)
        with self.database.reading() as session:
            row = session.get(SurfaceRow, sha)
        if row is not None and row.state == "finished" and self._has_halves(sha):
            path.unlink()
            return self.surface(sha)
        self.blobs.delete(report_key("surface", sha))
        self.blobs.move_in(quarantine_key("surface", sha), path)
        with self.database.writing() as session:
            row = session.get(SurfaceRow, sha)
            if row is None:
                row = SurfaceRow(id=sha, origin="imported", title=PurePath(name).stem or name)
                session.add(row)
            row.state, row.problem = "queued", None
        with self._redis_may_be_away():
            self.queue.enqueue_intake("surface", sha, name)
        return self._verdict(sha, wait_s)

    def settle_import(self, sha: str, problem: str | None = None) -> bool:
        """Takes over what the inspection of a surface file found; says whether there was something to take over.

        Args:
            sha: The file.
            problem: Why it could not be inspected at all; None reads the report.
        """
        ids = [sha]
        if problem is None:
            try:
                report = report_from(self.blobs.get(report_key("surface", sha)))
            except NotFound:
                return False
            problem = report.get("problem")
            ids += [test_half(sha)] if report.get("test_half") else []
        surfaces: list[Surface] = []
        if problem is None:
            try:
                surfaces = [npz.load(self.blobs.get(surface_key(each))) for each in ids]
            except (NotFound, SurfaceRejected) as error:
                problem = f"What was read of the file is damaged ({error}); import it again."
        with self.database.writing() as session:
            row = session.get(SurfaceRow, sha)
            if row is None and session.scalar(select(LiveRow.surface).where(LiveRow.pending == sha)) is None:
                for each in ids:
                    self._delete_nobodys(session, each)  # it was deleted meanwhile
            if row is None or row.origin != "imported" or row.state != "queued":
                return False
            if not surfaces:
                row.state, row.problem, row.finishing = "failed", problem, "failed"
            _describe_all(session, row, ids, surfaces)
        for each in ids if surfaces else ():
            with self._redis_may_be_away():
                self.queue.enqueue_finish(each)
        return True

    def importing(self) -> list[str]:
        """The surface files whose inspection is not finished."""
        with self.database.reading() as session:
            query = select(SurfaceRow.id).where(SurfaceRow.origin == "imported", SurfaceRow.state == "queued")
            return list(session.scalars(query))

    def install_gallery(self, folder: Path = GALLERY) -> None:
        """The surfaces that come with the package are there, finished and with their pictures; also when called again.

        Args:
            folder: Holds one folder per surface.
        """
        for about in sorted(folder.glob("*/about.json"), reverse=True):  # lists begin with the newest
            self._install(about.parent, json.loads(about.read_text(encoding="utf-8")))

    def _has_halves(self, sha: str) -> bool:
        """Whether all that came in a surface's file is here still."""
        ids = halves(self.surface(sha)).values()
        with self.database.reading() as session:
            return all(session.get(SurfaceRow, each) is not None for each in ids)

    def _verdict(self, sha: str, wait_s: float) -> SurfaceInfo:
        """The surface once its file is inspected; one that was refused is forgotten.

        Raises:
            SurfaceRejected: The file was refused.
        """
        deadline = time.monotonic() + wait_s
        while True:
            self.settle_import(sha)
            info = self.surface(sha)
            if info.state != "queued" or time.monotonic() > deadline:
                break
            time.sleep(0.1)
        if info.state == "failed":
            self.delete_surface(sha)
            raise SurfaceRejected(info.problem or "The file was refused.")
        return info

    def _install(self, folder: Path, about: dict[str, Any]) -> None:
        surface = npz.load((folder / "surface.npz").read_bytes())
        if surface.request is None:
            raise SurfaceRejected(f"{folder.name} in the gallery does not say what was asked.")
        surface_id = surface.request.digest
        with self.database.reading() as session:
            known = session.get(SurfaceRow, surface_id)
        if known is None or known.state != "finished" or known.origin != "gallery":
            self.blobs.put(surface_key(surface_id), (folder / "surface.npz").read_bytes())
            with suppress(IntegrityError), self.database.writing() as session:  # another process may do the same
                row = session.get(SurfaceRow, surface_id) or SurfaceRow(id=surface_id, title="", job=None)
                row.origin, row.title = "gallery", str(about.get("title") or folder.name)[:255]
                session.add(row)
                _describe(row, surface, {**surface.provenance, "about": about})
                row.job, row.finishing = None, "done" if (folder / "preview.png").exists() else "wait"
        for name, key in (("preview.png", preview_key(surface_id)), ("directions.h5", surface_directions_key(surface_id))):
            if (folder / name).exists():
                self.blobs.put_if_absent(key, folder / name)
        checkpoint = next(iter(sorted(folder.glob("checkpoint.*"))), None)
        if checkpoint is not None:
            self._install_checkpoint(checkpoint, str(about.get("checkpoint") or f"{folder.name}{checkpoint.suffix}"))

    def _install_checkpoint(self, file: Path, filename: str) -> None:
        self.settings.incoming.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.settings.incoming) as folder:
            copy = Path(folder) / "checkpoint"
            shutil.copyfile(file, copy)
            self.add_checkpoint(copy, filename)


def halves(surface: SurfaceInfo) -> dict[str, str]:
    """The ids of the train and the test surface that came in one file with this one; none if it came alone.

    What stands in the provenance may come from the file, so it is held against how these ids are made.

    Args:
        surface: Any.
    """
    found = surface.provenance.get("splits") if surface.origin == "imported" else None
    if not isinstance(found, dict) or set(found) != set(SPLITS) or surface.id not in found.values():
        return {}
    with suppress(InvalidRequest):
        if test_half(str(found["train"])) == found["test"]:
            return found
    return {}


def _describe_all(session: Session, row: SurfaceRow, ids: Sequence[str], surfaces: Sequence[Surface]) -> None:
    """The rows of what a file held: its surface, or its train and its test surface, which know of each other."""
    name = row.title
    both = {"splits": dict(zip(SPLITS, ids, strict=True))} if len(ids) == len(SPLITS) else {}
    for split, each, surface in zip(SPLITS, ids, surfaces, strict=False):
        one = row if each == row.id else session.get(SurfaceRow, each)
        if one is None:
            one = SurfaceRow(id=each, origin="imported", title=name, created=row.created)
            session.add(one)
        one.title = f"{name[:240]} ({split})" if both else name
        _describe(one, surface, {**surface.provenance, **both})


def _describe(row: SurfaceRow, surface: Surface, provenance: dict[str, Any]) -> None:
    """The row is that of a finished surface."""
    row.state, row.problem, row.done, row.stage, row.stages = "finished", None, 1.0, 1, 1
    row.examples = int(surface.examples.max(initial=0))
    row.provenance, row.finished = json.dumps(provenance, allow_nan=False), now()
    if surface.request is not None:
        row.request = surface.request.canonical_json()
        row.checkpoint, row.dataset = surface.request.checkpoint, surface.request.data.dataset
