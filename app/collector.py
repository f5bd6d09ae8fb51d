"""Gathers what workers found, and sees to it that what is missing is computed.

One thread, in one web process at a time (a lock in Redis that lapses by itself; should two collect for a moment, both do the
same). In its loop it

    hears   announcements: folds units into surfaces, takes over inspections
    looks   which surfaces are wanted
    sweeps  every two seconds: what dead workers left, what Redis forgot; every six: other jobs that nobody announced
    fills   the queue with the next units, a few seconds ahead, fairly among surfaces
    tells   whoever follows a surface

The record is in blobs and database, so it may be killed at any point and begin again.
"""

from __future__ import annotations

import asyncio
import logging
import math
import re
import secrets
import threading
import time
from collections import Counter
from typing import Any

from pydantic import ValidationError
from redis.exceptions import RedisError
from sqlalchemy import select, update
from sqlalchemy.exc import OperationalError

from app.active import ActiveSurface
from app.database import SurfaceRow
from app.finishing import Finishing
from app.services import Services
from app.services.progress import speed_of
from app.services.surfaces import UNREADABLE
from app.turns import Turns
from worker.job import RESULTS_STREAM, Announcement, WorkerStatus

LOCK = "lossatlas:collector"
LEASE_MS = 10_000
LOOK_EVERY_S, SWEEP_EVERY_S, FINISHING_EVERY_S, REST_S = 0.5, 2.0, 6.0, 0.5
HEAR_MS = 250
"""Longest wait for an announcement: a surface that was just asked for waits no longer to be noticed."""

UNITS_PER_WORKER, UNITS_MORE = 3, 4
"""Units that wait or are computed at a time; more would only delay what is asked for later."""

UNIT_JOB = re.compile(r"unit-([0-9a-f]{64})-(\d+)-\d+")

WANTED = SurfaceRow.state.in_(("queued", "running")) & SurfaceRow.job.is_not(None)
WANTED_IDS = select(SurfaceRow.id).where(WANTED).order_by(SurfaceRow.created)
"""Made once: making this statement would take as long as asking it, and it is asked twice a second."""

log = logging.getLogger(__name__)


class Collector:
    """The loop, and what it holds of the surfaces in work.

    Args:
        services: Database, blobs and queue.
    """

    def __init__(self, services: Services) -> None:
        self._services, self._queue = services, services.queue
        self._token = secrets.token_hex(16).encode()
        self._stop = threading.Event()
        self._leads = False
        self._heard = "0"
        self._leased_at = self._looked_at = self._swept_at = self._finishing_at = -math.inf
        self._active: dict[str, ActiveSurface] = {}
        self._strangers: set[str] = set()
        """Surfaces that were heard of since the last look, and are not in work."""
        self._workers: dict[str, WorkerStatus] = {}
        self._finishing = Finishing(services)
        self._turns = Turns()

    async def run(self) -> None:
        """Collects in a thread of its own until cancelled."""
        thread = threading.Thread(target=self._live, name="collector", daemon=True)
        thread.start()
        try:
            await asyncio.Event().wait()
        finally:
            self._stop.set()
            await asyncio.shield(asyncio.to_thread(thread.join, 10.0))

    def _live(self) -> None:
        while not self._stop.is_set():
            try:
                if self._lead():
                    self._step()
                else:
                    self._stop.wait(REST_S)
            except (RedisError, OperationalError, OSError) as error:
                log.warning("waiting for queue, database or disk: %s", error)
                self._stop.wait(REST_S)
            except Exception:
                log.exception("internal error in the collector; it begins again")
                self._active.clear()
                self._stop.wait(REST_S)
        self._resign()

    def _lead(self) -> bool:
        """Whether this process is the one that collects; takes the lock if it is free."""
        if self._leads and time.monotonic() - self._leased_at < LEASE_MS / 5000:
            return True
        redis = self._queue.redis
        led = self._leads
        self._leads = bool(redis.set(LOCK, self._token, nx=True, px=LEASE_MS)) or redis.get(LOCK) == self._token
        if self._leads:
            redis.pexpire(LOCK, LEASE_MS)
            self._leased_at = time.monotonic()
        if self._leads and not led:
            newest: Any = redis.xrevrange(RESULTS_STREAM, count=1)
            self._heard = newest[0][0].decode() if newest else "0"
        if not self._leads:
            self._active.clear()
        return self._leads

    def _resign(self) -> None:
        try:
            if self._leads and self._queue.redis.get(LOCK) == self._token:
                self._queue.redis.delete(LOCK)
        except RedisError as error:
            log.info("the lock lapses by itself: %s", error)

    def _step(self) -> None:
        for stream_id, announcement in self._queue.results(self._heard, HEAR_MS):
            try:
                self._hear(announcement)
            except (RedisError, OperationalError, OSError):
                raise  # it is heard again once they answer
            except Exception:
                log.exception("passed over an announcement; what it was about is found by the sweep")
            self._heard = stream_id
        clock = time.monotonic()
        if clock - self._looked_at >= LOOK_EVERY_S:
            self._looked_at = clock
            if not self._look():
                return
        if clock - self._swept_at >= SWEEP_EVERY_S:
            self._swept_at = clock
            self._sweep()
        self._fill()
        speed = speed_of(self._workers.values())
        share = speed and speed / max(1, len(self._active))
        for surface in self._active.values():
            surface.tell(share)
        self._active = {name: surface for name, surface in self._active.items() if not surface.is_over}

    def _hear(self, announcement: Announcement) -> None:
        if announcement.kind in {"intake", "finishing"}:
            self._finishing.hear(announcement)
            return
        if announcement.subject not in self._active and announcement.subject not in self._strangers:
            self._look()  # perhaps it was asked for a moment ago
        surface = self._active.get(announcement.subject)
        if surface is None:
            self._strangers.add(announcement.subject)
        elif announcement.kind == "unit":
            if announcement.worker not in self._workers:
                self._workers = {worker.name: worker for worker in self._queue.workers()}
            worker = self._workers.get(announcement.worker)
            surface.done(announcement, None if worker is None else worker.device)
            self._turns.came(surface.id, announcement.seconds or 0.0)
        elif announcement.unit is not None:
            surface.failed(announcement.unit, announcement.problem or "It could not be computed.", announcement.retry)

    def _look(self) -> bool:
        """Takes up surfaces that are wanted, and leaves those that are not any more. False if another collects by now."""
        self._strangers.clear()
        with self._services.database.reading() as session:
            ids = session.scalars(WANTED_IDS).all()
            new = [name for name in ids if name not in self._active]
            fresh = session.scalars(select(SurfaceRow).where(WANTED, SurfaceRow.id.in_(new))).all() if new else ()
        for row in fresh:
            self._take_up(row)
            if not self._lead():
                return False
        self._active = {name: self._active[name] for name in ids if name in self._active}
        return True

    def _take_up(self, row: SurfaceRow) -> None:
        """Begins or goes on with a surface; one that this release cannot read is given up, and no other suffers."""
        try:
            self._active[row.id] = ActiveSurface(self._services, row)
        except ValidationError as error:
            log.warning("%s cannot be taken up: %s", row.id, error.errors(include_input=False, include_url=False)[:3])
            with self._services.database.writing() as session:
                session.execute(update(SurfaceRow).where(SurfaceRow.id == row.id).values(state="failed", problem=UNREADABLE))

    def _sweep(self) -> None:
        """Finds what was lost: jobs of dead workers, jobs that Redis forgot, results that nobody announced."""
        for name in self._queue.cancelled(self._active):
            if self._services.is_wanted(name):  # the database decides; Redis kept a word that was taken back
                self._queue.uncancel(name)
        deaths = Counter(self._queue.clean_abandoned())
        for job in deaths:
            found = UNIT_JOB.fullmatch(job)
            if found is None:
                self._finishing.died(job)
            elif found[1] in self._active:
                self._active[found[1]].died(int(found[2]))
        in_flight: dict[str, set[int]] = {}
        for job in self._queue.in_flight():
            if found := UNIT_JOB.fullmatch(job):
                in_flight.setdefault(found[1], set()).add(int(found[2]))
        for name, surface in self._active.items():
            surface.notice_losses(frozenset(in_flight.get(name, ())))
        if time.monotonic() - self._finishing_at >= FINISHING_EVERY_S:
            self._finishing_at = time.monotonic()
            self._finishing.sweep()
        self._workers = {worker.name: worker for worker in self._queue.workers()}

    def _fill(self) -> None:
        if not self._active:
            return
        window = UNITS_PER_WORKER * max(1, len(self._workers)) + UNITS_MORE
        each = max(2, math.ceil(window / len(self._active)))
        for name in self._turns.order(self._active):
            self._active[name].fill(each, ahead=self._turns.is_ahead(name))
            if self._turns.overtakes(name):
                self._active[name].fill(each, ahead=True, further=True)
