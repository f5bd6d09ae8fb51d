"""The front door of the workers: what the app asks them for, and hears from them. No torch.

Redis is a hint: it may be flushed at any time. Whoever waits for a result looks at the blobs, asks `units_in_flight`
and enqueues what is missing. So delivery is at least once, and each job does no harm when it runs twice.
"""

from __future__ import annotations

import json
import logging
import re
import threading
import time
from collections.abc import AsyncIterator, Iterable
from typing import Any, Self, TypeVar

from pydantic import ValidationError
from redis import Redis
from rq import Queue
from rq.exceptions import DuplicateJobError
from rq.executions import Execution

from worker.allowlist import FAILURE_TTL_S, JOB_TIMEOUT_S, AllowListedJob
from worker.blobs import DamagedBlob, Kind
from worker.connection import connect, refuse_open_server
from worker.curvature_schedule import curvature_plan
from worker.eigenvalues import Eigenvalues
from worker.events import Event, follow, stream_entries
from worker.job import (
    COMPUTE,
    INTAKE,
    PREVIEW,
    RESULTS_STREAM,
    Announcement,
    WorkerStatus,
    cancel_key,
    events_stream,
    worker_key,
)
from worker.schedule import Plan, plan
from worker.tallies import decode_unit, encode_unit

__all__ = ["DamagedBlob", "Eigenvalues", "Event", "Plan", "WorkQueue", "connect", "curvature_plan"]
__all__ += ["decode_unit", "encode_unit", "plan", "refuse_open_server"]

QUEUES = (INTAKE, PREVIEW, COMPUTE)
"""In the order in which workers empty them."""

WORKER_TTL_S = 10
"""A worker, and the job that it runs, are taken for dead so long after their last heartbeat."""

MAX_BLOCK_MS = 4000
"""Longest wait in one read. redis-py gives up a connection that is silent for its `socket_timeout`, five seconds."""

_HANDOVER_S = 1.0
_RESULTS_KEPT = 10_000
_EVENTS_KEPT = 512
_EVENT_BYTES_KEPT = 32 << 20
_EVENTS_TTL_S = 86_400
_ENDED_TTL_S = 300
_CANCELLED_S = 86_400
"""How long workers are told to leave a surface alone: far longer than any of its units waits in a queue."""

log = logging.getLogger(__name__)
Model = TypeVar("Model", Announcement, WorkerStatus)


class WorkQueue:
    """Jobs in, announcements and events out.

    Args:
        redis: A connection whose answers are bytes (`connect` makes a good one).
    """

    def __init__(self, redis: Redis) -> None:
        self.redis = redis
        self.queues = {
            name: Queue(name, connection=redis, job_class=AllowListedJob, serializer="json", default_timeout=JOB_TIMEOUT_S)
            for name in QUEUES
        }
        self._lock = threading.Lock()
        self._seen: dict[str, float] = {}

    @classmethod
    def at(cls, url: str) -> Self:
        """The queue in the Redis at this URL."""
        return cls(connect(url))

    # ── asking for work ──────────────────────────────────────────────────────────────────────────────────────────────

    def enqueue_intake(self, kind: Kind, sha: str, filename: str) -> bool:
        """Asks for the inspection of the quarantined upload; says whether that was new."""
        return self._enqueue(INTAKE, "run_intake", (kind, sha, filename), _intake_id(kind, sha))

    def enqueue_unit(self, surface: str, index: int, preview: bool, attempt: int) -> bool:
        """Asks for one unit, ahead of others if it is for a preview; says whether that was new.

        `attempt` makes the job's id another one: an attempt that died is never taken for the next.
        """
        name = PREVIEW if preview else COMPUTE
        return self._enqueue(name, "run_unit", (surface, index), f"{_unit_prefix(surface)}{index}-{attempt}")

    def enqueue_finish(self, surface: str) -> bool:
        """Asks for the preview and the direction file of a surface whose `surface.npz` is stored; says whether that was new."""
        return self._enqueue(PREVIEW, "run_finish", (surface,), _finish_id(surface))

    # ── what becomes of it ───────────────────────────────────────────────────────────────────────────────────────────

    def in_flight(self) -> frozenset[str]:
        """Ids of all jobs that wait in a queue or are run by a worker whose heart beats.

        A job between its queue and its worker is in neither for some milliseconds; so what was there a second ago counts
        as well. Heartbeats expire by Redis' own clock: clocks of other machines do not matter.
        """
        with self.redis.pipeline(transaction=False) as pipeline:
            for queue in self.queues.values():
                pipeline.lrange(queue.key, 0, -1)
                pipeline.zrange(queue.started_job_registry.key, 0, -1)
            answers = pipeline.execute()
        waiting = {job.decode() for jobs in answers[::2] for job in jobs}
        started = (entry.decode() for entries in answers[1::2] for entry in entries)
        alive = {entry.rpartition(":")[0] for entry, beats in self._beating(started) if beats}
        now = time.monotonic()
        with self._lock:
            self._seen.update(dict.fromkeys(waiting | alive, now))
            self._seen = {job: seen for job, seen in self._seen.items() if now - seen <= _HANDOVER_S}
            return frozenset(self._seen)

    def units_in_flight(self, surface: str) -> frozenset[int]:
        """The units of a surface that somebody works on or will, without anyone's doing."""
        prefix = _unit_prefix(surface)
        return frozenset(int(job.removeprefix(prefix).partition("-")[0]) for job in self.in_flight() if job.startswith(prefix))

    def intake_in_flight(self, kind: Kind, sha: str) -> bool:
        """Whether the inspection of this upload is in flight."""
        return _intake_id(kind, sha) in self.in_flight()

    def finish_in_flight(self, surface: str) -> bool:
        """Whether the preview of this surface is in flight."""
        return _finish_id(surface) in self.in_flight()

    def clean_abandoned(self) -> tuple[str, ...]:
        """Forgets jobs whose worker died, running nothing that stands in them. Gives their ids."""
        keys = [queue.started_job_registry.key for queue in self.queues.values()]
        with self.redis.pipeline(transaction=False) as pipeline:
            for key in keys:
                pipeline.zrange(key, 0, -1)
            found = zip(keys, pipeline.execute(), strict=True)
        started = [(key, entry.decode()) for key, entries in found for entry in entries]
        beating = self._beating(entry for _, entry in started)
        silent = [(key, entry) for (key, _), (entry, beats) in zip(started, beating, strict=True) if not beats]
        dead = [entry for key, entry in silent if self.redis.zrem(key, entry)]  # others have just come to their end
        abandoned = [entry.rpartition(":")[0] for entry in dead]
        for job in set(abandoned) - (self.in_flight() if abandoned else frozenset()):
            self.redis.delete(AllowListedJob.key_for(job))
        return tuple(abandoned)

    def forget_failures(self) -> None:
        """Removes what RQ noted of jobs that failed `FAILURE_TTL_S` seconds ago or before."""
        for queue in self.queues.values():
            queue.failed_job_registry.cleanup()

    def cancel(self, surface: str) -> None:
        """Workers leave the surface alone from now on; one that is at it stops after the batch in hand."""
        self.redis.set(cancel_key(surface), b"1", ex=_CANCELLED_S)

    def uncancel(self, surface: str) -> None:
        """Workers may work on the surface again."""
        self.redis.delete(cancel_key(surface))

    def cancelled(self, surfaces: Iterable[str]) -> list[str]:
        """Those of the surfaces that are to be left alone."""
        asked = list(surfaces)
        keys: Any = self.redis.mget([cancel_key(surface) for surface in asked]) if asked else []
        return [surface for surface, key in zip(asked, keys, strict=True) if key is not None]

    def is_cancelled(self, surface: str) -> bool:
        """Whether the surface is to be left alone."""
        return bool(self.redis.exists(cancel_key(surface)))

    # ── workers ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def workers(self) -> list[WorkerStatus]:
        """The workers whose heart beats, by name."""
        keys: Any = list(self.redis.scan_iter(match=worker_key("*"), count=1000))
        texts = self.redis.mget(keys) if keys else []
        statuses = (_parsed(WorkerStatus, text) for text in texts if text is not None)
        return sorted((status for status in statuses if status is not None), key=lambda status: status.name)

    def lengths(self) -> dict[str, int]:
        """How many jobs wait in each queue."""
        return {name: self.redis.llen(queue.key) for name, queue in self.queues.items()}

    def beat(self, status: WorkerStatus) -> None:
        """Shows a worker as alive for `WORKER_TTL_S` seconds."""
        self.redis.set(worker_key(status.name), status.canonical_json(), ex=WORKER_TTL_S)

    def forget_worker(self, name: str) -> None:
        """Shows a worker as gone at once."""
        self.redis.delete(worker_key(name))

    # ── streams ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def announce(self, announcement: Announcement) -> str:
        """Tells the collector that a result or a failure lies in the blob store; gives the stream id."""
        fields: dict[Any, Any] = {"json": announcement.canonical_json()}
        stream_id: Any = self.redis.xadd(RESULTS_STREAM, fields, maxlen=_RESULTS_KEPT, approximate=True)
        return str(stream_id.decode())

    def results(self, last_id: str = "0", block_ms: int = 1000) -> list[tuple[str, Announcement]]:
        """Announcements after `last_id`, oldest first, at most 500; waits up to `block_ms` (at most 4000) for one.

        What cannot be read as an announcement is logged and removed.
        """
        streams: dict[Any, Any] = {RESULTS_STREAM: last_id}
        answer: Any = self.redis.xread(streams, count=500, block=max(1, min(block_ms, MAX_BLOCK_MS)))
        found = []
        for stream_id, fields in stream_entries(answer):
            announcement = _parsed(Announcement, fields.get(b"json", b""))
            if announcement is None:
                self.redis.xdel(RESULTS_STREAM, stream_id)
            else:
                found.append((stream_id.decode(), announcement))
        return found

    def publish_event(self, surface: str, event: str, data: dict[str, Any]) -> str:
        """Tells whoever follows the surface; gives the stream id, which is the SSE id.

        The last 512 events are kept for a day, fewer if they are large: each must be understandable by itself. After the
        event "end" all are kept for five minutes: whoever comes later is told from the record.
        """
        text = json.dumps(data, separators=(",", ":"), allow_nan=False)
        kept = max(8, min(_EVENTS_KEPT, _EVENT_BYTES_KEPT // len(text)))
        key = events_stream(surface)
        fields: dict[Any, Any] = {"event": event, "data": text}
        with self.redis.pipeline() as pipeline:
            pipeline.xadd(key, fields, maxlen=kept, approximate=kept == _EVENTS_KEPT)
            pipeline.expire(key, _ENDED_TTL_S if event == "end" else _EVENTS_TTL_S)
            return str(pipeline.execute()[0].decode())

    def last_event_id(self, surface: str) -> str:
        """Id of the newest event, "0" if there is none: take it, then a snapshot, then follow from it."""
        newest: Any = self.redis.xrevrange(events_stream(surface), count=1)
        return str(newest[0][0].decode()) if newest else "0"

    def events(self, surface: str, last_id: str, idle_s: float = 2.0) -> AsyncIterator[Event | None]:
        """Events after `last_id` as they come, for ever; None after each `idle_s` seconds without one.

        Stands on a connection of its own, outlives a restart of Redis, and is to be closed by `aclose()`.
        """
        return follow(self.redis, events_stream(surface), last_id, idle_s)

    def _enqueue(self, queue: str, function: str, arguments: tuple[Any, ...], job_id: str) -> bool:
        options: dict[str, Any] = {"result_ttl": 0, "failure_ttl": FAILURE_TTL_S, "job_id": job_id, "unique": True}
        for _ in range(2):
            try:
                self.queues[queue].enqueue_call(f"worker.tasks.{function}", arguments, description=job_id, **options)
            except DuplicateJobError:
                if job_id in self.in_flight():
                    return False
                self.redis.delete(AllowListedJob.key_for(job_id))  # left behind by a failure or a dead worker
            else:
                with self._lock:
                    self._seen[job_id] = time.monotonic()
                return True
        return False

    def _beating(self, entries: Iterable[str]) -> list[tuple[str, bool]]:
        """Each "job:execution" of a started registry, and whether its worker's heart beats."""
        with self.redis.pipeline(transaction=False) as pipeline:
            for entry in (entries := list(entries)):
                pipeline.exists(Execution.from_composite_key(entry, self.redis).key)
            return list(zip(entries, map(bool, pipeline.execute()), strict=True))


def surface_of(job: str) -> str | None:
    """The surface that a job is about, by its id; None for an inspection, and for what is no id of ours."""
    found = re.fullmatch(r"(?:unit|finish)-([0-9a-f]{64})(?:-\d+-\d+)?", job)
    return found and found[1]


def _intake_id(kind: Kind, sha: str) -> str:
    return f"intake-{kind}-{sha}"


def _unit_prefix(surface: str) -> str:
    return f"unit-{surface}-"


def _finish_id(surface: str) -> str:
    return f"finish-{surface}"


def _parsed(model: type[Model], text: bytes | str) -> Model | None:
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        log.warning("left aside: no %s: %s", model.__name__, error.errors(include_input=False, include_url=False)[:3])
        return None
