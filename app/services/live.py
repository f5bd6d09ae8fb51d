"""Surfaces that somebody sends while they are computed elsewhere: opened, sent state by state, finished or left.

    open_live ──▶ row "running", a secret
    send_state ─▶ quarantine blob, `pending` ──▶ worker: canonical blob and report ──▶ settle_state ──▶ shown, told
    tell_live ──▶ how far it is; "finished", or "cancelled" for one that is left unfinished

A state is a whole surface file, inspected as every file from outside. One at a time is inspected, so that nobody can send
faster than the workers read. All that is known is in the database, so any process may go on with it.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import time
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.database import LiveRow, SurfaceRow, now
from app.errors import Conflict, Forbidden, TooMany
from app.schemas import LiveTicket, LiveWish, LiveWord, SurfaceInfo
from app.services.imports import WAIT_S, Imports
from app.services.parts import shown_name
from app.services.progress import end_event, progress_of
from app.services.uploads import report_from
from app.snapshots import StageSnapshot
from landscape_core.errors import NotFound, SurfaceRejected
from landscape_core.formats import npz
from landscape_core.results import Surface
from worker.blobs import quarantine_key, report_key, surface_key

MOST_LIVE = 50
"""Most surfaces that are sent at a time."""

MOST_STATES = 1000
"""Most states of one surface."""

MOST_STATE_BYTES = 64 << 20
"""Longest file of one state: a grid of 1001 x 1001 cells fits."""

SECRET_BYTES = 32

LEFT = "Its sender stopped before the surface was whole; {what}."
SILENT = "Nothing has come from its sender for {silence} s, so the surface is left unfinished; {what}."


class LiveImports(Imports):
    """Surfaces in the making elsewhere."""

    def open_live(self, wish: LiveWish) -> LiveTicket:
        """A surface that waits for its first state.

        Raises:
            TooMany: As many as may be are being sent.
        """
        surface, secret = secrets.token_hex(32), secrets.token_urlsafe(SECRET_BYTES)
        name = shown_name(wish.name)
        with self.database.writing() as session:
            _check_room(session)
            session.add(SurfaceRow(id=surface, origin="imported", title=name, state="running", stages=wish.stages))
            session.flush()
            session.add(LiveRow(surface=surface, secret_sha256=_digest(secret)))
        return LiveTicket(id=surface, secret=secret)

    def send_state(
        self, surface_id: str, secret: str, path: Path, sha256: str, stage: int, stages: int, wait_s: float = WAIT_S
    ) -> SurfaceInfo:
        """The next state of a live surface is shown afterwards, or is being inspected. One that came before changes nothing.

        Args:
            surface_id: The surface.
            secret: The sender's.
            path: The state's file, which is moved away.
            sha256: Of its bytes.
            stage: Counts whole surfaces, this one included.
            stages: How many there will be; 0 if not known.
            wait_s: How long to wait for the inspection. If it takes longer, `progress.stage` is still that of the state before.

        Raises:
            NotFound: There is no such surface.
            Forbidden: The secret is another.
            Conflict: The surface is finished.
            TooMany: The state before is still being inspected, or too many have come.
            SurfaceRejected: The file is refused; the surface is as it was.
        """
        with self.database.reading() as session:
            live, row = self._sent_by(session, surface_id, secret)
            begins = stage > row.stage and self._may_begin(live, row, sha256)
        if begins:  # the file is there before it is known of: what a killed process leaves can be gone on with
            self._quarantine(sha256, path)
        with self.database.writing() as session:
            live, row = self._sent_by(session, surface_id, secret)
            if begins and self._may_begin(live, row, sha256):
                live.states, live.refused = live.states + 1, None
                live.pending, live.pending_stage, live.pending_stages = sha256, stage, max(stage, stages) if stages else 0
            live.heard = now()
            if row.state != "finished":
                _run(session, row)
        if begins:
            with self._redis_may_be_away():
                self.queue.enqueue_intake("surface", sha256, "surface")
        return self._state_verdict(surface_id, sha256, wait_s)

    def tell_live(self, surface_id: str, secret: str, word: LiveWord) -> SurfaceInfo:
        """The surface is as far as its sender says, finished, or left unfinished; followers are told.

        Raises:
            NotFound: There is no such surface.
            Forbidden: The secret is another.
            Conflict: It is finished already, or its latest state is not there yet.
        """
        with self.database.writing() as session:
            live, row = self._sent_by(session, surface_id, secret)
            if row.state == "finished" and word.state != "finished":
                raise Conflict("The surface is finished; nothing can be said of it any more.")
            live.heard = now()
            if row.state != "finished":
                self._apply(session, live, row, word)
        progress = progress_of(row, None).model_dump(mode="json")
        with self._redis_may_be_away():
            if row.state == "running":
                self.queue.publish_event(surface_id, "progress", {"progress": progress, "state": row.state})
            else:
                self.queue.publish_event(surface_id, "end", end_event(row.state, row.problem))  # type: ignore[arg-type]
            if row.state == "finished":
                self.queue.enqueue_finish(surface_id)
        return self.surface(surface_id)

    def settle_state(self, sha: str, problem: str | None = None) -> bool:
        """Takes over what the inspection of a state found, and shows it; says whether there was something to take over.

        Args:
            sha: The state's file.
            problem: Why it could not be inspected at all; None reads the report.
        """
        with self.database.reading() as session:
            surfaces = session.scalars(select(LiveRow.surface).where(LiveRow.pending == sha)).all()
        if not surfaces:
            return False
        surface = None
        if problem is None:
            try:
                problem = report_from(self.blobs.get(report_key("surface", sha))).get("problem")
            except NotFound:
                return False
        if problem is None:
            try:
                surface = npz.load(self.blobs.get(surface_key(sha)))
            except (NotFound, SurfaceRejected) as error:
                problem = f"What was read of the file is damaged ({error}); send it again."
        for each in surfaces:
            self._take_state(each, sha, surface, problem)
        with self.database.reading() as session:
            if session.get(SurfaceRow, sha) is None:  # else the same bytes were imported as a file too
                self._delete_inspected("surface", sha)
        return True

    def live_states(self) -> list[str]:
        """The states' files whose inspection is not finished."""
        with self.database.reading() as session:
            return [sha for sha in session.scalars(select(LiveRow.pending).where(LiveRow.pending.is_not(None))) if sha]

    def leave_silent(self, since: datetime) -> None:
        """Surfaces of which nothing was heard for long are left unfinished.

        Args:
            since: Silence before this counts for nothing: the server may have been away itself.
        """
        silence = self.settings.live_silence_s
        oldest = now() - timedelta(seconds=silence)
        if since > oldest:
            return
        with self.database.writing() as session:
            query = select(SurfaceRow).join(LiveRow, SurfaceRow.id == LiveRow.surface)
            silent = LiveRow.pending.is_(None) & (LiveRow.heard < oldest)
            left = session.scalars(query.where(SurfaceRow.state == "running", silent)).all()
            for row in left:
                row.state, row.problem = "cancelled", _left(SILENT, row, silence)
        with self._redis_may_be_away():
            for row in left:
                self.queue.publish_event(row.id, "end", end_event("cancelled", row.problem))

    def _sent_by(self, session: Session, surface_id: str, secret: str) -> tuple[LiveRow, SurfaceRow]:
        """The rows of a live surface, if the secret is its sender's."""
        row = session.get(SurfaceRow, surface_id, with_for_update=True)
        live = session.get(LiveRow, surface_id)
        if row is None or live is None:
            raise NotFound(f"There is no surface {surface_id[:80]!r} that is sent from elsewhere.")
        if not hmac.compare_digest(live.secret_sha256, _digest(secret)):
            raise Forbidden("Only the sender of this surface may do that: the X-Live-Secret is not the one it was opened with.")
        return live, row

    @staticmethod
    def _may_begin(live: LiveRow, row: SurfaceRow, sha: str) -> bool:
        """Whether this state is to be inspected; False if it is being inspected already.

        Raises:
            Conflict: The surface is finished.
            TooMany: Another state is being inspected, or too many have come.
        """
        if row.state == "finished":
            raise Conflict("The surface is finished; open another.")
        if live.pending not in {None, sha}:
            raise TooMany("The state before is still being inspected; send this one when it is shown.")
        if live.pending is None and live.states >= MOST_STATES:
            raise TooMany(f"{MOST_STATES} states of this surface have come, which is as many as may be.")
        return live.pending is None

    def _quarantine(self, sha: str, path: Path) -> None:
        with self.database.reading() as session:
            imported = session.get(SurfaceRow, sha)
        if imported is None or imported.state != "finished":  # else its report is there already
            self.blobs.delete(report_key("surface", sha))
            self.blobs.move_in(quarantine_key("surface", sha), path)

    def _state_verdict(self, surface_id: str, sha: str, wait_s: float) -> SurfaceInfo:
        """The surface once this state is inspected, or has not been for so long.

        Raises:
            SurfaceRejected: The state was refused.
        """
        deadline = time.monotonic() + wait_s
        while True:
            self.settle_state(sha)
            with self.database.reading() as session:
                live = session.get(LiveRow, surface_id)
            if live is None or live.pending != sha or time.monotonic() > deadline:
                break
            time.sleep(0.05)
        if live is not None and live.pending is None and live.refused is not None:
            raise SurfaceRejected(live.refused)
        return self.surface(surface_id)

    def _take_state(self, surface_id: str, sha: str, surface: Surface | None, problem: str | None) -> None:
        """Stores and tells a state, unless another thread was faster."""
        with self.database.writing() as session:
            row = session.get(SurfaceRow, surface_id, with_for_update=True)
            live = session.get(LiveRow, surface_id, populate_existing=True)
            if row is None or live is None or live.pending != sha:
                return
            live.pending, live.refused, live.heard = None, problem, now()
            if surface is None:
                return
            # in the transaction, so that a slower thread writes nothing older
            self.blobs.put(surface_key(surface_id), npz.dump(surface))
            row.stage, row.stages = live.pending_stage, live.pending_stages
            row.examples = int(surface.examples.max(initial=0))
            row.provenance = json.dumps(surface.provenance, allow_nan=False)
            if surface.request is not None:
                row.request = surface.request.canonical_json()
        snapshot = replace(StageSnapshot.of(surface, row.stage), stage=row.stage, stages=row.stages)
        with self._redis_may_be_away():
            self.queue.publish_event(surface_id, "surface", snapshot.event(progress_of(row, None), row.state))  # type: ignore[arg-type]

    @staticmethod
    def _apply(session: Session, live: LiveRow, row: SurfaceRow, word: LiveWord) -> None:
        if word.done is not None:
            row.done = word.done
        if word.state == "finished":
            if live.pending is not None or not row.stage:
                raise Conflict("The surface's last state is not there yet; finish it when it is shown.")
            row.state, row.problem, row.done, row.finishing, row.finished = "finished", None, 1.0, "wait", now()
            row.stages = row.stage
        elif word.state == "unfinished":
            row.state, row.problem = "cancelled", _left(LEFT, row)
        else:
            _run(session, row)


def _check_room(session: Session) -> None:
    """Passes while fewer surfaces are being sent than may be.

    Raises:
        TooMany: If not.
    """
    ours = select(func.count()).select_from(LiveRow).join(SurfaceRow, SurfaceRow.id == LiveRow.surface)
    if (count := session.scalar(ours.where(SurfaceRow.state == "running")) or 0) >= MOST_LIVE:
        raise TooMany(f"{count} surfaces are being sent, which is as many as may be; try again later.")


def _run(session: Session, row: SurfaceRow) -> None:
    """The surface is being sent, also if it was left unfinished before; one that goes on counts like a new one."""
    if row.state != "running":
        _check_room(session)
    row.state, row.problem = "running", None


def _left(sentence: str, row: SurfaceRow, silence: int = 0) -> str:
    what = "what had come until then is shown" if row.stage else "nothing of it had come"
    return sentence.format(what=what, silence=silence)


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
