"""`lossatlas up`: everything on one machine, started together and stopped together.

    this process ── web (uvicorn, in the main thread)
      └ keeper ──── Valkey (unless LOSSATLAS_REDIS_URL names a server), worker 1 … N

Up: lock on the data folder, port, Valkey until it answers, workers, web. Down: web, workers, Valkey. Nothing is left behind,
not even after SIGKILL of this process (see `leash`). A second start on the same data folder is refused, because two Valkey
servers would write the same file.
"""

from __future__ import annotations

import contextlib
import fcntl
import http.client
import logging
import os
import signal
import socket
import sys
import threading
import time
import webbrowser
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import click
import uvicorn

from app.processes import Child, Keeper, StartRefused
from app.settings import AppSettings
from app.valkey import EmbeddedValkey
from app.worker_count import usual_workers
from landscape_core.errors import LandscapeError
from landscape_core.reading.sandbox import machine_cores
from worker.lasting import keep_what_is_loaded
from worker.settings import WorkerSettings

LOGGER = logging.getLogger(__name__)

REFUSED = 2
"""Exit status when nothing was started."""
WORKER_GRACE_S = 12.0
"""A worker hands back what it computes within 10 s of SIGTERM."""
LOCK_WAIT_S, VALKEY_WAIT_S, HEALTH_WAIT_S = 15.0, 120.0, 60.0
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
EVERY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104  # compared with, not bound to
"""The loopback address that reaches a server which listens on all addresses."""


class _StopAsked(BaseException):
    """A signal asked to stop before the web server, which minds them itself, was running."""


class _Server(uvicorn.Server):
    """uvicorn raises the signal that stopped it once more; the parts that are stopped after it would then never be."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The first signal stops it; to uvicorn a second one would mean to leave everything as it is."""
        if not self.should_exit:
            super().handle_exit(sig, frame)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        for number in STOP_SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self.handle_exit)
        try:
            yield
        finally:
            _ignore_signals()


def run(
    host: str = "127.0.0.1", port: int = 8050, workers: int | None = None, data: Path = Path("data"), open_browser: bool = False
) -> int:
    """Runs web, workers and, if no other is named, a Valkey server, until a signal asks to stop.

    Args:
        host: Address to listen on: a name or an address of this machine.
        port: TCP port; 0 takes a free one.
        workers: Number of worker processes, among which the machine's cores are divided; None for `usual_workers`.
        data: Folder of everything that is kept; made if missing.
        open_browser: Whether to open the address in a browser when it is ready.

    Returns:
        0 after an orderly stop, 1 if the web server failed, 2 (and one sentence on stderr) if nothing was started.

    Raises:
        ValidationError: A variable that workers read cannot be used.
    """
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    os.umask(0o077)
    try:
        settings = AppSettings(data=data.resolve())
        devices = [device.strip() for device in os.environ.get("LOSSATLAS_DEVICE", "auto").split(",")]
        for device in devices:
            WorkerSettings(device=device)  # what a worker would refuse at every start is refused here, once
        workers = workers or usual_workers(devices, os.environ.get("LOSSATLAS_THREADS"))
        with _stopped_by_signals(), _locked(data) as lock, _listening(host, port) as listener, _keeper() as keeper:
            settings = _with_redis(settings, keeper, lock)
            for number in range(workers):
                keeper.add(_worker(settings, number, workers, devices[number % len(devices)]))
            return _serve(settings, listener, _address(host, listener), open_browser)
    except LandscapeError as error:
        click.echo(f"lossatlas: {error}", err=True)
        return REFUSED
    except _StopAsked:
        return 0


@contextlib.contextmanager
def _stopped_by_signals() -> Iterator[None]:
    """Until the web server runs, the first signal unwinds what has been started, and further ones change nothing."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        _ignore_signals()
        raise _StopAsked

    for number in STOP_SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup
            signal.signal(number, stop)
    yield


def _ignore_signals() -> None:
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)


@contextlib.contextmanager
def _keeper() -> Iterator[Keeper]:
    keeper = Keeper()
    keeper.start()
    try:
        yield keeper
    finally:
        _ignore_signals()
        keeper.stop()


@contextlib.contextmanager
def _locked(data: Path) -> Iterator[int]:
    """Holds the lock on the data folder; yields its file descriptor, which holds it too wherever it is inherited.

    Raises:
        StartRefused: Another instance uses the folder, or it cannot be written.
    """
    try:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(data / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StartRefused(f"The data folder {data} cannot be used ({error.strerror}); give another with --data.") from error
    try:
        _take_lock(lock, data)
        os.ftruncate(lock, 0)
        os.pwrite(lock, str(os.getpid()).encode(), 0)
        yield lock
    finally:
        os.close(lock)


def _take_lock(lock: int, data: Path) -> None:
    """Takes the lock, waiting only for what is left of an instance that was killed and is going down."""
    waited_until = time.monotonic() + LOCK_WAIT_S
    while True:
        try:
            return fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(lock, 32, 0).decode(errors="replace").strip()
            if _runs(holder) or time.monotonic() > waited_until:
                raise StartRefused(
                    f"Another instance (process {holder or 'unknown'}) already uses the data folder {data}; stop it first, "
                    "or give another folder with --data."
                ) from None
            time.sleep(0.1)


def _runs(pid: str) -> bool:
    """Whether there is such a process; a text that is no number names none."""
    try:
        os.kill(int(pid), 0)
    except (ValueError, ProcessLookupError):
        return False
    except PermissionError:
        return True
    return True


@contextlib.contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    """A listening socket, taken before anything is started, so that a port in use is known at once.

    Raises:
        StartRefused: The port is in use or not allowed, or the host is not an address of this machine.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError, OverflowError) as error:
        raise StartRefused(f"{host!r} is not an address of this machine ({error}); give another with --host.") from error
    with listener:
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(2048)
        except OSError as error:
            raise StartRefused(
                f"Cannot listen on {host} port {port} ({error.strerror}); give another with --port or --host."
            ) from error
        yield listener


def _address(host: str, listener: socket.socket) -> str:
    """The address that a browser on this machine opens."""
    host = EVERY_ADDRESS.get(host, host)
    return f"http://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}"


def _with_redis(settings: AppSettings, keeper: Keeper, lock: int) -> AppSettings:
    """The settings with the address of a server that answers: the one they name, or an embedded one.

    Raises:
        StartRefused: The embedded server does not start.
    """
    if settings.redis_url:
        return settings
    valkey = EmbeddedValkey(settings.data / "valkey", lock)
    keeper.add(valkey.child)
    waited_until = time.monotonic() + VALKEY_WAIT_S
    while not valkey.answers():
        if valkey.child.deaths >= 4 or time.monotonic() > waited_until:
            raise StartRefused(f"The embedded Valkey server does not start: {valkey.last_words() or 'it says nothing'}")
        time.sleep(0.02)
    return settings.model_copy(update={"redis_url": valkey.url})


def _worker(settings: AppSettings, number: int, workers: int, device: str) -> Child:
    """A worker with its share of the cores and, if the workers are named, a name of its own."""
    environment = {
        "LOSSATLAS_THREADS": str(max(1, machine_cores() // workers)),
        **os.environ,
        "LOSSATLAS_DATA": str(settings.data),
        "LOSSATLAS_DEVICE": device,
        "LOSSATLAS_REDIS_URL": str(settings.redis_url),
    }
    if workers > 1 and "LOSSATLAS_NAME" in environment:
        environment["LOSSATLAS_NAME"] += f"-{number + 1}"
    return Child(
        name=f"worker {number + 1}",
        command=[sys.executable, "-P", "-m", "worker.main"],
        environment=environment,
        grace_s=WORKER_GRACE_S,
    )


def _serve(settings: AppSettings, listener: socket.socket, address: str, open_browser: bool) -> int:
    """Runs the web server until a signal stops it; 1 if it could not start."""
    from app.main import SERVING, create_app  # noqa: PLC0415  # a slow import; the workers are starting meanwhile

    server = _Server(uvicorn.Config(create_app(settings), log_config=None, **SERVING))
    keep_what_is_loaded()
    herald = threading.Thread(target=_announce, args=(server, address, open_browser), name="herald", daemon=True)
    herald.start()
    with contextlib.suppress(SystemExit):  # uvicorn's way to say that the application did not start; it has logged why
        server.run(sockets=[listener])
    return 0 if server.started else 1


def _announce(server: uvicorn.Server, address: str, open_browser: bool) -> None:
    """Prints the address once the server is in good health."""
    warn_at = time.monotonic() + HEALTH_WAIT_S
    while not server.should_exit:
        if server.started and _health(address) == http.HTTPStatus.OK:
            click.echo(f"Loss Atlas is ready: {address}  (Ctrl-C stops it)")
            if open_browser:
                webbrowser.open(address)
            return
        if time.monotonic() > warn_at:
            LOGGER.warning("%s/api/v1/health does not answer 200 after %g s", address, HEALTH_WAIT_S)
            warn_at = float("inf")
        time.sleep(0.05)


def _health(address: str) -> int:
    """The HTTP status of the health page; 0 if there is no answer."""
    connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=5)
    try:
        connection.request("GET", "/api/v1/health")
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()
