"""The worker process: `python -m worker.main`, by itself as long as it is wanted.

Redis may go away and come back; the loop begins again with a back-off of at most two seconds. The process ends by SIGTERM,
SIGINT, or with the process that started it, with exit status 0; 2 says that its settings cannot be used.
"""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from pydantic import ValidationError
from redis.exceptions import AuthenticationError, AuthorizationError, RedisError
from rq.exceptions import StopRequested

from landscape_core.errors import InvalidRequest, LandscapeError
from worker.blobs import BlobStore
from worker.job import PROBE
from worker.lasting import keep_what_is_loaded
from worker.queue import WorkQueue, refuse_open_server
from worker.settings import WorkerSettings, refuse_unknown_variables
from worker.warm import Heart, Vitals, WarmWorker

LONGEST_WAIT_S = 2.0

SPIN_COUNT = "1000"
"""How long OpenMP's threads spin for each other (GOMP_SPINCOUNT). With its own choice, a ResNet-20 on two cores slows down
thirtyfold beside two other busy processes (a browser that draws, another worker); with this, sevenfold. It costs 15 % alone."""

log = logging.getLogger("worker")


def main(settings: WorkerSettings | None = None, *, follow_parent: bool = True) -> int:
    """Works until it is told to stop.

    Args:
        settings: Read from the environment if None.
        follow_parent: Stop when the process that started this one ends.

    Returns:
        The exit status: 0 after a stop, 2 for settings that cannot be used.
    """
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", level=logging.INFO, force=True)
    logging.getLogger("rq").setLevel(logging.WARNING)
    parent = os.getppid() if follow_parent else None
    vitals = Vitals()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: _stop_at_once(vitals))
    try:
        if settings is None:
            refuse_unknown_variables(os.environ)
            settings = WorkerSettings()
        queue = WorkQueue.at(settings.redis_url)
        _wait_for_redis(queue, vitals)
        with _own_folder(settings.data / "tmp" / "workers", settings.name) as temporary:
            _live(settings, queue, vitals, parent, temporary)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = "_".join(map(str, first["loc"])).upper().removeprefix("LOSSATLAS_")
        log.error("LOSSATLAS_%s cannot be used: %s.", name, first["msg"])
        return 2
    except LandscapeError as error:
        log.error("%s", error)
        return 2
    except (StopRequested, KeyboardInterrupt):
        pass
    log.info("stopped")
    return 0


def _live(settings: WorkerSettings, queue: WorkQueue, vitals: Vitals, parent: int | None, temporary: Path) -> None:
    """Shows signs of life, loads PyTorch, measures the speed, then works."""
    heart = Heart(settings, queue, vitals, parent)
    heart.start()
    os.environ.setdefault("GOMP_SPINCOUNT", SPIN_COUNT)
    try:
        # PyTorch takes seconds to load; the heart already beats
        from landscape_core.compute import choose_device, cpu_threads  # noqa: PLC0415
        from worker import tasks  # noqa: PLC0415
        from worker.speed import measured_macs_per_second  # noqa: PLC0415

        heart.device, heart.threads = choose_device(settings.device), settings.threads or cpu_threads()
        tasks.install(tasks.Tasks(settings, queue, BlobStore(settings.blobs), vitals, heart.device, temporary))
        vitals.macs_per_second = measured_macs_per_second(heart.device, settings.threads)
        vitals.speeds = {PROBE: vitals.macs_per_second}
        vitals.state = "idle"
        keep_what_is_loaded()
        heart.beat_now()
        log.info("ready: %s on %s, %.3g multiply-accumulates/s", settings.name, heart.device, vitals.macs_per_second)
        _work(queue, vitals, heart)
    finally:
        heart.end()


def _work(queue: WorkQueue, vitals: Vitals, heart: Heart) -> None:
    """Runs RQ's loop until a stop; it also ends when Redis goes away or answers with an error, and then begins again."""
    wait_s = 0.1
    while not vitals.stop.is_set():
        began = time.monotonic()
        try:
            WarmWorker(queue, vitals, heart).work(logging_level="WARNING")
        except RedisError as error:
            log.warning("Redis does not serve this worker: %s", error)
        except StopRequested:
            return
        wait_s = 0.1 if time.monotonic() - began > 10 else min(2 * wait_s, LONGEST_WAIT_S)
        vitals.stop.wait(wait_s)


def _wait_for_redis(queue: WorkQueue, vitals: Vitals) -> None:
    """Returns once Redis answers.

    Raises:
        InvalidRequest: It refuses us, or stands open to everybody.
    """
    while not vitals.stop.is_set():
        try:
            queue.redis.ping()
            refuse_open_server(queue.redis)
        except (AuthenticationError, AuthorizationError) as error:
            raise InvalidRequest(f"Redis refuses the name or password in LOSSATLAS_REDIS_URL ({error}); correct it.") from error
        except RedisError as error:
            log.warning("waiting for Redis: %s", error)
            vitals.stop.wait(LONGEST_WAIT_S)
        else:
            return
    raise StopRequested


def _stop_at_once(vitals: Vitals) -> None:
    """SIGTERM or SIGINT before there is work; `WarmWorker.request_stop` takes over then."""
    if not vitals.stop.is_set():
        vitals.stop.set()
        raise StopRequested


@contextmanager
def _own_folder(folder: Path, name: str) -> Iterator[Path]:
    """A folder of this worker's for temporary files; what dead workers left is removed (a live one holds a lock)."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for lock in folder.glob("*.lock"):
        with suppress(OSError), _locked(lock):
            shutil.rmtree(lock.with_suffix(""), ignore_errors=True)
            lock.unlink()
    own, lock = folder / name, folder / f"{name}.lock"
    with ExitStack() as stack:
        try:
            stack.enter_context(_locked(lock))
        except BlockingIOError as error:
            raise InvalidRequest(f"There is a worker named {name} already; give this one another LOSSATLAS_NAME.") from error
        own.mkdir(mode=0o700, exist_ok=True)
        stack.callback(lock.unlink, missing_ok=True)
        stack.callback(shutil.rmtree, own, ignore_errors=True)
        yield own


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield


if __name__ == "__main__":
    sys.exit(main())
