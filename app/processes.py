"""Child processes that are kept running, and that never outlive this one.

One thread, the `Keeper`, starts, watches and stops them all. It must be one thread that lives as long as they do: the
kernel's "parent is gone" signal (see `leash`) follows the thread that forked, not the process.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from landscape_core.errors import LandscapeError

LOGGER = logging.getLogger(__name__)

LEASH = Path(__file__).with_name("leash.py")
POLL_S, STOP_POLL_S = 0.2, 0.05
"""How often children are looked at, and how often while they stop."""
FIRST_DELAY_S, LONGEST_DELAY_S = 1.0, 30.0
"""A child that died is started again after the first delay; each further death doubles it, up to the longest."""
LIVED_WELL_S = 60.0
"""A child that lived this long starts with the first delay again."""


class StartRefused(LandscapeError):
    """Nothing was started; the text says in one sentence why, and what to do."""


@dataclass(eq=False)
class Child:
    """One process to be kept running.

    Attributes:
        name: What log lines call it.
        command: Absolute path of the program, and its arguments.
        environment: All of its environment.
        grace_s: Seconds from SIGTERM to SIGKILL of its whole process group when everything stops.
        stops_last: Whether it is stopped only when the others are gone, because they use it.
        prepare: Called in the keeper's thread before every start.
        pass_fds: File descriptors that it inherits.
        deaths: How often it has ended unasked.
        last_status: How it ended the last time: its exit status, or minus a signal's number; None before that.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    grace_s: float = 5.0
    stops_last: bool = False
    prepare: Callable[[], None] | None = None
    pass_fds: tuple[int, ...] = ()
    deaths: int = 0
    last_status: int | None = None
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)
    started_s: float = 0.0
    due_s: float = 0.0
    delay_s: float = FIRST_DELAY_S

    def start(self) -> None:
        """Starts it in a session of its own, so that Ctrl-C in the terminal reaches only the supervisor."""
        if self.prepare is not None:
            self.prepare()
        inherited = ",".join(map(str, self.pass_fds))
        self.process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(LEASH), str(os.getpid()), inherited, *self.command],
            env=dict(self.environment),
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            pass_fds=self.pass_fds,
            umask=0o077,
        )
        self.started_s = time.monotonic()

    def ended(self) -> bool:
        """Whether it runs no more; if so, what is left of its process group is killed, and it is reaped."""
        if self.process is None:
            return True
        if os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            return False
        self.signal_group(signal.SIGKILL)  # before it is reaped: until then its number is not given to anyone else
        self.process.wait()
        return True

    def signal_group(self, number: signal.Signals) -> None:
        """Sends a signal to all of its process group; no such process is no error."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, number)

    def terminate(self) -> None:
        """Asks it to stop."""
        if self.process is not None:
            self.process.terminate()

    def schedule_restart(self) -> None:
        """Notes a death and sets when it is started again."""
        status, now = self.process.returncode if self.process else 0, time.monotonic()
        if now - self.started_s >= LIVED_WELL_S:
            self.delay_s = FIRST_DELAY_S
        how = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
        LOGGER.warning("%s %s; starting it again in %g s", self.name, how, self.delay_s)
        self.due_s, self.delay_s = now + self.delay_s, min(2 * self.delay_s, LONGEST_DELAY_S)
        self.process, self.last_status = None, status
        self.deaths += 1


class Keeper(threading.Thread):
    """The thread that starts children, starts them again when they die, and stops them."""

    def __init__(self) -> None:
        super().__init__(name="keeper", daemon=True)
        self._children: list[Child] = []
        self._lock = threading.Lock()
        self._stopping, self._awake = threading.Event(), threading.Event()

    def add(self, child: Child) -> None:
        """Has the child started by the keeper's thread, now and whenever it dies."""
        with self._lock:
            self._children.append(child)
        self._awake.set()

    def stop(self) -> None:
        """Stops all children and returns when none is left."""
        self._stopping.set()
        self._awake.set()
        if self.is_alive():
            self.join()

    def run(self) -> None:
        """Keeps watch until `stop`; then stops the children, those that others use last."""
        while True:
            self._awake.wait(POLL_S)
            self._awake.clear()
            if self._stopping.is_set():
                break
            with self._lock:
                children = tuple(self._children)
            for child in children:
                self._look_after(child)
        for last in (False, True):
            _stop_together([child for child in self._children if child.stops_last is last])

    def _look_after(self, child: Child) -> None:
        if child.process is None:
            if time.monotonic() >= child.due_s:
                try:
                    child.start()
                except OSError as error:
                    LOGGER.warning("%s cannot be started (%s); trying again in %g s", child.name, error, LONGEST_DELAY_S)
                    child.deaths, child.due_s = child.deaths + 1, time.monotonic() + LONGEST_DELAY_S
        elif child.ended():
            child.schedule_restart()


def _stop_together(children: Sequence[Child]) -> None:
    """SIGTERM to each; SIGKILL to the groups of those that do not end within their grace."""
    running = [child for child in children if not child.ended()]
    for child in running:
        child.terminate()
    asked_s = time.monotonic()
    while running := [child for child in running if not child.ended()]:
        for child in running:
            if time.monotonic() - asked_s > child.grace_s:
                LOGGER.warning("%s did not stop within %g s and is killed", child.name, child.grace_s)
                child.signal_group(signal.SIGKILL)
        time.sleep(STOP_POLL_S)
