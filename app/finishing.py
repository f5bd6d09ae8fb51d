"""What workers do besides units, seen to its end: inspections of uploads, and the last touches to finished surfaces."""

from __future__ import annotations

import json
import logging
import shutil
import time
from collections import Counter
from pathlib import Path

from sqlalchemy import select, update

from app.database import SurfaceRow, now
from app.services import Services
from app.services.uploads import ROWS
from app.settings import PARTIAL
from landscape_core.errors import LandscapeError, NotFound
from landscape_core.formats import npz
from worker.blobs import Kind, surface_key, surface_prefix
from worker.job import Announcement

MOST_ATTEMPTS = 3
DIED = "Reading the file stopped the worker three times, so it was refused."

KEEP_UPLOADS_S = 2 * 86_400
"""How long an upload that nobody goes on with is kept."""

CLEAN_EVERY_S = 3600.0

log = logging.getLogger(__name__)


class Finishing:
    """Counts attempts, takes over results, asks again for what was lost.

    Args:
        services: Database, blobs and queue.
    """

    def __init__(self, services: Services) -> None:
        self._services, self._queue = services, services.queue
        self._failures: Counter[str] = Counter()
        self._cleaned_at, self._began = -CLEAN_EVERY_S, now()

    def hear(self, announcement: Announcement) -> None:
        """Takes over an inspection, or the last touches to a surface."""
        if announcement.kind == "finishing":
            self._finished(announcement)
            return
        sha = announcement.subject
        settled = [self._services.settle_state(sha)] + [self._services.settle(kind, sha) for kind in ROWS]
        settled.append(self._services.settle_import(sha))
        if not any(settled) and announcement.problem is not None:
            self._count(sha, announcement.problem, announcement.retry)
        self._ask_for_members()

    def died(self, job: str) -> None:
        """The worker is gone that did this job ("intake-<kind>-<sha>" or "finish-<surface>")."""
        task, _, rest = job.partition("-")
        if task == "intake":
            self._count(rest.rpartition("-")[2], DIED, retry=True)
        elif task == "finish":
            self._count_finish(rest, retry=True)

    def sweep(self) -> None:
        """Takes over what nobody announced, and asks again for what nobody does."""
        self._sweep_files()
        self._services.leave_silent(self._began)
        waiting = (SurfaceRow.state == "finished") & (SurfaceRow.finishing == "wait")
        with self._services.database.reading() as session:
            surfaces = session.scalars(select(SurfaceRow.id).where(waiting)).all()
        for surface in surfaces:
            if not self._queue.finish_in_flight(surface):
                self._queue.enqueue_finish(surface)
        if time.monotonic() - self._cleaned_at > CLEAN_EVERY_S:
            self._cleaned_at = time.monotonic()
            incoming = self._services.settings.incoming
            for folder in (incoming, incoming / PARTIAL):
                clean(folder, KEEP_UPLOADS_S)
            self._queue.forget_failures()

    def _sweep_files(self) -> None:
        """Inspections that nobody announced, or that nobody does."""
        inspecting = self._services.inspecting()
        members = self._services.members_of_archives() if inspecting else frozenset()
        for kind, sha, filename in inspecting:
            if not self._services.settle(kind, sha) and sha not in members:
                self._ask_for_inspection(kind, sha, filename)
        if members:
            self._ask_for_members()
        imports = [(sha, self._services.settle_import) for sha in self._services.importing()]
        states = [(sha, self._services.settle_state) for sha in self._services.live_states()]
        for sha, settle in imports + states:
            if not settle(sha) and not self._queue.intake_in_flight("surface", sha):
                self._queue.enqueue_intake("surface", sha, "surface")

    def _ask_for_members(self) -> None:
        """Asks for the next members of archives, one for each worker: all of a long run at once would hold up surfaces."""
        inspecting = self._services.inspecting()
        members = self._services.members_of_archives() if inspecting else frozenset()
        waiting = [upload for upload in inspecting if upload[1] in members]
        if not waiting:
            return
        for upload in waiting[: max(1, len(self._queue.workers()))]:
            self._ask_for_inspection(*upload)

    def _ask_for_inspection(self, kind: Kind, sha: str, filename: str) -> None:
        if not self._queue.intake_in_flight(kind, sha):
            self._queue.enqueue_intake(kind, sha, filename)

    def _count(self, sha: str, problem: str, retry: bool) -> None:
        """One more inspection came to nothing; after the third, or if it cannot help, the file is refused."""
        self._failures[sha] += 1
        if retry and self._failures[sha] < MOST_ATTEMPTS:
            return
        del self._failures[sha]
        kinds: list[Kind] = list(ROWS)
        for kind in kinds:
            self._services.settle(kind, sha, problem)
        self._services.settle_state(sha, problem)
        self._services.settle_import(sha, problem)

    def _finished(self, announcement: Announcement) -> None:
        surface = announcement.subject
        if announcement.problem is not None:
            log.warning("no picture of %s: %s", surface, announcement.problem)
            self._count_finish(surface, announcement.retry)
            return
        try:
            whole = npz.load(self._services.blobs.get(surface_key(surface)))
        except (NotFound, LandscapeError) as error:
            log.warning("no values of %s: %s", surface, error)
            return
        ours = (SurfaceRow.id == surface) & (SurfaceRow.state == "finished")
        with self._services.database.writing() as session:
            row = session.scalar(select(SurfaceRow).where(ours))
            if row is None:
                return
            row.finishing = "done"
            row.provenance = json.dumps({**json.loads(row.provenance), **whole.provenance}, allow_nan=False)
        goes_on = whole.request is not None and whole.request.budget == "fast"  # an exact surface takes its units over
        for part in ("run/",) if goes_on else ("units/", "run/"):
            self._services.blobs.delete_prefix(f"{surface_prefix(surface)}{part}")

    def _count_finish(self, surface: str, retry: bool) -> None:
        self._failures[surface] += 1
        if retry and self._failures[surface] < MOST_ATTEMPTS:
            return
        del self._failures[surface]
        with self._services.database.writing() as session:
            session.execute(update(SurfaceRow).where(SurfaceRow.id == surface).values(finishing="failed"))


def clean(folder: Path, keep_s: float) -> None:
    """Removes what has lain in a folder for longer.

    Args:
        folder: Of unfinished uploads.
        keep_s: How long a file may lie untouched, in seconds.
    """
    oldest = time.time() - keep_s
    for path in folder.glob("*"):
        try:
            if path.name == PARTIAL or path.stat().st_mtime >= oldest:
                continue
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
        except OSError as error:
            log.info("%s stays: %s", path.name, error)
