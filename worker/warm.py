"""A worker that runs jobs in its own process, so that PyTorch, network and data stay loaded. Written for rq 3.0.

RQ's `SimpleWorker` does so too, but has no heartbeat while a job runs: killed, it is missed after the job's timeout. Here
a thread keeps three things alive every two seconds: the worker's status, its registration, and the job in hand. The same
thread ends the process when a job makes no progress, when a stop takes too long, and when the parent is gone.

A stop is a flag that the job looks at between batches; the job then goes back to the front of its queue. Cancelling is a
key in Redis (`job.cancel_key`). RQ's own stop commands come over a channel that we do not subscribe to.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
import time
from dataclasses import dataclass, field
from typing import Any, Literal

from redis import ConnectionPool
from redis.exceptions import RedisError
from rq import Queue, SimpleWorker, worker_registration
from rq.exceptions import StopRequested
from rq.executions import Execution
from rq.job import Job, JobStatus
from rq.utils import now
from rq.worker import WorkerStatus as RqState

from worker.allowlist import AllowListedJob
from worker.job import PROBE, WorkerStatus
from worker.queue import QUEUES, WORKER_TTL_S, WorkQueue, surface_of
from worker.settings import WorkerSettings

BEAT_S = 2.0
HANG_S = 600.0
"""A job without a sign of progress for so long is taken for hung, and the process ends: a hung GPU hears nothing."""

STOP_WITHIN_S = 8.0
"""A stop that takes longer, because a batch does, ends the process."""

log = logging.getLogger(__name__)


MOST_SPEEDS = 32


class HandedBack(Exception):
    """The job was left because the worker stops: another worker is to do it."""


@dataclass
class Vitals:
    """What the thread that works and the thread that beats know of each other.

    Attributes:
        stop: Set once the worker is to stop.
        state: What the activity page shows.
        surface: The surface that is being computed.
        macs_per_second: The speed last measured.
        speeds: By architecture, the last `MOST_SPEEDS`; by the probe under `PROBE`.
        progress: Changes whenever the job in hand gets on.
        patience_s: How long the job in hand may go without progress.
    """

    stop: threading.Event = field(default_factory=threading.Event)
    state: Literal["starting", "idle", "busy", "stopping"] = "starting"
    surface: str | None = None
    macs_per_second: float | None = None
    speeds: dict[str, float] = field(default_factory=dict)
    progress: int = 0
    patience_s: float = HANG_S

    def got_on(self) -> None:
        """Notes a sign of progress."""
        self.progress += 1

    def measured(self, macs: float, seconds: float, architecture: str | None = None) -> None:
        """Mixes a measured speed into the one that is known: the last one, and the architecture's."""
        speed = macs / max(seconds, 1e-6)
        self.macs_per_second = _mixed(self.macs_per_second, speed)
        if architecture is not None:
            others = {name: known for name, known in self.speeds.items() if name != architecture}
            kept = dict(list(others.items())[-MOST_SPEEDS:]) | {name: others[name] for name in (PROBE,) if name in others}
            self.speeds = kept | {architecture: _mixed(self.speeds.get(architecture), speed)}


def _mixed(known: float | None, speed: float) -> float:
    return speed if known is None else 0.7 * known + 0.3 * speed


class Heart(threading.Thread):
    """Beats every two seconds while the process lives, whether or not there is work.

    Args:
        settings: The worker's.
        queue: Where its status is shown.
        vitals: Shared with the working thread.
        parent: Id of the parent process, whose end is this one's too; None to live on.
    """

    def __init__(self, settings: WorkerSettings, queue: WorkQueue, vitals: Vitals, parent: int | None) -> None:
        super().__init__(name="heart", daemon=True)
        self.device, self.threads = settings.device, settings.threads or 1
        self._name, self._queue, self._vitals, self._parent = settings.name, queue, vitals, parent
        self._started_at = time.time()
        self._lock, self._wake, self._ended = threading.Lock(), threading.Event(), threading.Event()
        self._work: tuple[WarmWorker, Job, Queue, Execution] | None = None
        self._seen_progress, self._quiet_beats, self._stop_beats = 0, 0, 0

    def run(self) -> None:
        """Beats until `end`; a Redis that is away is no reason to stop."""
        while not self._ended.is_set():
            if self._parent is not None and os.getppid() != self._parent:
                log.warning("the process that started this worker is gone; stopping")
                self._parent = None
                os.kill(os.getpid(), signal.SIGTERM)
            try:
                self._beat()
            except RedisError as error:
                log.warning("no heartbeat: %s", error)
            self._look_after_work()
            self._wake.wait(BEAT_S)
            self._wake.clear()

    def beat_now(self) -> None:
        """Shows a change of state at once."""
        self._wake.set()

    def end(self) -> None:
        """Stops beating and shows the worker as gone."""
        self._ended.set()
        self._wake.set()
        self.join(BEAT_S)
        try:
            self._queue.forget_worker(self._name)
        except RedisError as error:
            log.warning("could not sign off: %s", error)

    def begin(self, worker: WarmWorker, job: Job, queue: Queue, execution: Execution) -> None:
        """A job is taken in hand."""
        with self._lock:
            self._work, self._quiet_beats, self._stop_beats = (worker, job, queue, execution), 0, 0
        self._vitals.patience_s, self._vitals.state = HANG_S, "busy"
        self.beat_now()

    def finish(self) -> None:
        """The job is out of hand."""
        with self._lock:
            self._work = None
        self._vitals.surface, self._vitals.state = None, "stopping" if self._vitals.stop.is_set() else "idle"

    def _beat(self) -> None:
        vitals = self._vitals
        status = WorkerStatus(
            name=self._name,
            pid=os.getpid(),
            host=socket.gethostname(),
            device=self.device,
            threads=self.threads,
            state="stopping" if vitals.stop.is_set() else vitals.state,
            macs_per_second=vitals.macs_per_second,
            speeds=vitals.speeds,
            surface=vitals.surface,
            started=self._started_at,
        )
        self._queue.beat(status)
        with self._lock:
            if self._work is not None:
                worker, job, _, execution = self._work
                worker.maintain_heartbeats(job, execution)

    def _look_after_work(self) -> None:
        """Ends the process over a job that hangs or does not stop. Counts beats: time in which it was suspended is none."""
        with self._lock:
            if self._work is None:
                return
            quiet = self._seen_progress == self._vitals.progress
            self._seen_progress = self._vitals.progress
            self._quiet_beats = self._quiet_beats + 1 if quiet else 0
            self._stop_beats += self._vitals.stop.is_set()
            if self._stop_beats * BEAT_S >= STOP_WITHIN_S:
                log.warning("the job in hand does not stop; handing it back")
                self._hand_back(self._work)
                os._exit(0)
            if self._quiet_beats * BEAT_S >= self._vitals.patience_s:
                log.critical(
                    "job %s made no progress for %.0f s; ending the process", self._work[1].id, self._vitals.patience_s
                )
                os._exit(70)

    def _hand_back(self, work: tuple[WarmWorker, Job, Queue, Execution]) -> None:
        worker, job, queue, execution = work
        try:
            worker.hand_back(job, queue, execution)
            self._queue.forget_worker(self._name)
        except RedisError as error:
            log.warning("could not hand back: %s", error)


class WarmWorker(SimpleWorker):
    """RQ's loop with our heart and our way to stop.

    Args:
        queue: The queues, emptied in their order.
        vitals: Shared with the heart.
        heart: Keeps the job in hand alive.
    """

    max_connection_wait_time = 2.0
    log_result_lifespan = False

    def __init__(self, queue: WorkQueue, vitals: Vitals, heart: Heart) -> None:
        super().__init__(
            [queue.queues[name] for name in QUEUES],
            connection=queue.redis,
            job_class=AllowListedJob,
            serializer="json",
            worker_ttl=20,
            default_result_ttl=0,
            log_job_description=False,
        )
        # rq gives connections more time than it waits for a job, but only those that are made from now on: others of the pool
        # keep their own even when they connect again, so that an idle worker would take the server for gone
        former = queue.redis.connection_pool
        queue.redis.connection_pool = ConnectionPool(former.connection_class, **former.connection_kwargs)
        former.disconnect(inuse_connections=False)
        self._vitals, self._heart = vitals, heart

    def get_heartbeat_ttl(self, job: Job, working_time: float = 0.0) -> int:  # noqa: ARG002 - rq's signature
        """Seconds after which the job counts as abandoned unless the heart beats."""
        return WORKER_TTL_S

    def execute_job(self, job: Job, queue: Queue) -> None:
        """Runs a job here, with the heart keeping it alive."""
        execution = self.prepare_execution(job)
        self._vitals.surface = surface_of(job.id)
        self._heart.begin(self, job, queue, execution)
        try:
            self.perform_job(job, queue, execution)
        finally:
            self._heart.finish()
            self._heart.beat_now()
        self.set_state(RqState.IDLE)

    def hand_back(self, job: Job, queue: Queue, execution: Execution) -> None:
        """The job stands at the front of its queue again, as if nobody had taken it."""
        with self.connection.pipeline() as pipeline:
            self.cleanup_execution(job, pipeline=pipeline, execution=execution)
            job.set_status(JobStatus.QUEUED, pipeline=pipeline)
            queue.push_job_id(job.id, pipeline=pipeline, at_front=True)
            pipeline.execute()

    def _finalize_failure(self, job: Job, queue: Queue, execution: Execution, exc_info: Any) -> None:
        if isinstance(exc_info[1], HandedBack):
            self.hand_back(job, queue, execution)
        else:
            super()._finalize_failure(job, queue, execution, exc_info)

    def handle_exception(self, job: Job, *exc_info: Any) -> None:
        """Logs that a job failed, in one line: what stands in a job may come from anybody."""
        log.error("job %s failed: %s: %.300r", job.id, exc_info[0].__name__, str(exc_info[1]))

    def request_stop(self, signum: Any, frame: Any) -> None:  # noqa: ARG002 - a signal handler
        """SIGTERM or SIGINT: an idle worker stops now, a busy one after the batch in hand."""
        if self._vitals.stop.is_set():
            return
        self._stop_requested = True
        self._vitals.stop.set()
        if self.get_state() != RqState.BUSY:
            raise StopRequested
        self._heart.beat_now()

    def subscribe(self) -> None:
        """Listens to no commands."""

    def run_maintenance_tasks(self) -> None:
        """Forgets dead workers. Abandoned jobs are the app's business (`WorkQueue.clean_abandoned`)."""
        for queue in self.queues:
            worker_registration.clean_worker_registry(queue)
        self.last_cleaned_at = now()  # type: ignore[assignment]  # rq declares it as None
