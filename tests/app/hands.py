"""A worker that the test plays itself."""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from typing import Any

import numpy as np

from landscape_core.formats import npz
from landscape_core.results import Tally
from worker.allowlist import AllowListedJob
from worker.blobs import job_key, preview_key, provenance_key, surface_key, unit_key
from worker.job import Announcement, SurfaceJob, WorkerStatus, WorkUnit, events_stream
from worker.queue import QUEUES, Plan, WorkQueue, encode_unit, plan


class Hands:
    """Takes jobs out of the queues and gives results, or does not."""

    def __init__(self, services: Any) -> None:
        self.blobs, self.queue = services.blobs, WorkQueue(services.queue.redis)
        self.taken: Counter[int] = Counter()
        self.beat()

    @property
    def taken_twice(self) -> set[int]:
        return {unit for unit, times in self.taken.items() if times > 1}

    def beat(self) -> None:
        status = WorkerStatus(
            name="hands", pid=1, host="h", device="cpu", threads=1, state="idle", macs_per_second=2e7, started=time.time()
        )
        self.queue.beat(status)

    def job(self, surface: str) -> SurfaceJob:
        return SurfaceJob.model_validate_json(self.blobs.get(job_key(surface)))

    def plan(self, surface: str) -> Plan:
        return plan(self.job(surface))

    def tally(self, unit: WorkUnit) -> Tally:
        values = [
            np.random.default_rng((row, column, unit.start)).normal(5, 10.0 ** (unit.start % 5)) for row, column in unit.cells
        ]
        n = unit.stop - unit.start
        return Tally(np.full(len(values), n), np.array(values), np.array(values) ** 2 + 1, np.full(len(values), n // 2))

    def waiting(self) -> list[tuple[str, int]]:
        """(surface, unit) of the units in the queues."""
        found = []
        for name in QUEUES:
            for job in self.queue.queues[name].get_job_ids():
                if job.startswith("unit-"):
                    _, surface, unit, _ = job.split("-")
                    found.append((surface, int(unit)))
        return found

    def take(self, surface: str, wanted: int | None = None) -> int | None:
        """The next unit of this surface out of the queues; a certain one, if it is there."""
        for name in QUEUES:
            for job in self.queue.queues[name].get_job_ids():
                prefix = f"unit-{surface}-"
                unit = int(job.removeprefix(prefix).partition("-")[0]) if job.startswith(prefix) else None
                if unit is not None and wanted in {None, unit}:
                    self._remove(name, job)
                    self.taken[unit] += 1
                    return unit
        return None

    def wait_for(self, surface: str, wanted: int | None = None, seconds: float = 50) -> int:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.beat()
            unit = self.take(surface, wanted)
            if unit is not None:
                return unit
            time.sleep(0.03)
        raise AssertionError(f"unit {wanted} was not asked for within {seconds} s")

    def take_intake(self, sha: str) -> bool:
        return self._take_job("intake", f"-{sha}")

    def take_finish(self, surface: str) -> bool:
        return self._take_job("preview", f"finish-{surface}")

    def forget_jobs(self) -> None:
        for name in QUEUES:
            for job in self.queue.queues[name].get_job_ids():
                self._remove(name, job)

    def give(self, surface: str, index: int, announce: bool = True, keep: bool = False) -> None:
        """Stores a unit's tallies, then says so."""
        self.blobs.put_if_absent(provenance_key(surface), json.dumps({"device": "cpu"}).encode())
        unit = self.plan(surface).unit(index)
        self.blobs.put(unit_key(surface, index), encode_unit(unit.cells, self.tally(unit)))
        if announce and not keep:
            self.announce(surface, index)

    def announce(self, surface: str, index: int) -> None:
        self.say(Announcement(kind="unit", subject=surface, unit=index, seconds=0.5, worker="hands"))

    def fail(self, surface: str, index: int, problem: str, retry: bool) -> None:
        self.say(Announcement(kind="unit_failed", subject=surface, unit=index, problem=problem, retry=retry, worker="hands"))

    def die(self, surface: str, index: int, attempt: int) -> None:
        """What a killed worker leaves: a job that is being done, by nobody whose heart beats."""
        registry = self.queue.queues["preview"].started_job_registry
        self.queue.redis.zadd(registry.key, {f"unit-{surface}-{index}-{attempt}:dead": time.time() + 600})

    def finish(self, surface: str, **own: Any) -> None:
        whole = npz.load(self.blobs.get(surface_key(surface)))
        whole.provenance.update(own)
        self.blobs.put(surface_key(surface), npz.dump(whole))
        self.blobs.put(preview_key(surface), b"png")
        self.say(Announcement(kind="finishing", subject=surface))

    def say(self, announcement: Announcement) -> None:
        self.queue.announce(announcement)

    def work_until_idle(self, surface: str, twice: bool = False, shuffle: bool = False, seconds: float = 120) -> None:
        """Does all units of a surface as they are asked for."""
        quiet_since, end = time.monotonic(), time.monotonic() + seconds
        at_hand: list[int] = []
        while time.monotonic() < end and time.monotonic() - quiet_since < 30:
            self.beat()
            while (unit := self.take(surface)) is not None:
                at_hand.append(unit)
            if shuffle:
                random.Random(len(at_hand)).shuffle(at_hand)
            for unit in at_hand:
                quiet_since = time.monotonic()
                for _ in range(1 + twice):
                    self.give(surface, unit)
            at_hand.clear()
            if (self.published(surface) or [("", {})])[-1][0] == "end":
                return
            time.sleep(0.03)

    def published(self, surface: str) -> list[tuple[str, dict[str, Any]]]:
        entries: Any = self.queue.redis.xrange(events_stream(surface))
        return [(fields[b"event"].decode(), json.loads(fields[b"data"])) for _, fields in entries]

    def ids(self, surface: str) -> list[str]:
        entries: Any = self.queue.redis.xrange(events_stream(surface))
        return [stream_id.decode() for stream_id, _ in entries]

    def _take_job(self, name: str, ending: str) -> bool:
        for job in self.queue.queues[name].get_job_ids():
            if job.endswith(ending):
                self._remove(name, job)
                return True
        return False

    def _remove(self, name: str, job: str) -> None:
        self.queue.redis.lrem(self.queue.queues[name].key, 0, job)
        self.queue.redis.delete(AllowListedJob.key_for(job))
