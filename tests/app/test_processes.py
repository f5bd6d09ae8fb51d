"""Children that are kept running: started again, stopped in order, killed when they will not stop."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from app import processes
from app.processes import LEASH, Child, Keeper

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def eventually(condition: Callable[[], object], within_s: float = 10.0) -> bool:
    until = time.monotonic() + within_s
    while not condition() and time.monotonic() < until:
        time.sleep(0.01)
    return bool(condition())


def runs(pid: int) -> bool:
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def python(code: str, *arguments: str, **options: object) -> Child:
    command = [sys.executable, "-I", "-S", "-c", code, *arguments]
    return Child(name="child", command=command, environment=dict(os.environ), **options)


@pytest.fixture
def keeper() -> Iterator[Keeper]:
    keeper = Keeper()
    keeper.start()
    yield keeper
    keeper.stop()


def test_a_child_that_dies_is_started_again_after_a_delay_that_doubles_up_to_a_limit(keeper, tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "LONGEST_DELAY_S", 0.2)
    starts = tmp_path / "starts"
    child = python(f"open({str(starts)!r}, 'a').write('x'); raise SystemExit(3)", delay_s=0.05)
    keeper.add(child)
    assert eventually(lambda: child.deaths >= 4)
    assert child.delay_s == 0.2
    assert child.last_status == 3
    assert len(starts.read_text()) >= 4


def test_a_child_that_lived_well_is_started_again_soon(keeper, monkeypatch):
    monkeypatch.setattr(processes, "LIVED_WELL_S", 0.0)
    child = python("pass", delay_s=16.0)
    keeper.add(child)
    assert eventually(lambda: child.deaths == 1)
    assert child.due_s - time.monotonic() <= processes.FIRST_DELAY_S


def test_a_child_that_cannot_be_prepared_is_tried_again_and_the_others_go_on(keeper, monkeypatch):
    monkeypatch.setattr(processes, "LONGEST_DELAY_S", 0.05)
    attempts: list[int] = []

    def prepare() -> None:
        attempts.append(1)
        if len(attempts) < 3:
            raise OSError(28, "No space left on device")

    child, other = python("import time; time.sleep(60)", prepare=prepare), python("import time; time.sleep(60)")
    keeper.add(child)
    keeper.add(other)
    assert eventually(lambda: child.process is not None and other.process is not None)
    assert len(attempts) == 3


def test_stopping_waits_for_the_grace_then_kills_and_leaves_no_grandchild(tmp_path):
    note = tmp_path / "pid"
    code = (
        "import os, signal, subprocess, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        "child = subprocess.Popen(['/bin/sleep', '60']);"
        "open(sys.argv[1] + '.tmp', 'w').write(str(child.pid)); os.rename(sys.argv[1] + '.tmp', sys.argv[1]); time.sleep(60)"
    )
    keeper, child = Keeper(), python(code, str(note), grace_s=0.3)
    keeper.start()
    keeper.add(child)
    assert eventually(note.exists)
    began = time.monotonic()
    keeper.stop()
    assert time.monotonic() - began >= 0.3
    assert child.process is not None
    assert child.process.returncode == -9
    assert eventually(lambda: not runs(int(note.read_text())))


def test_what_a_dead_child_leaves_running_is_killed(keeper, tmp_path):
    note = tmp_path / "pid"
    code = "import subprocess, sys; open(sys.argv[1], 'w').write(str(subprocess.Popen(['/bin/sleep', '60']).pid))"
    child = python(code, str(note))
    keeper.add(child)
    assert eventually(lambda: child.deaths == 1)
    assert eventually(lambda: not runs(int(note.read_text())))


def test_those_that_others_use_stop_last(tmp_path):
    log = tmp_path / "log"
    code = (
        "import signal, sys, time\n"
        "def stop(*_):\n    time.sleep(float(sys.argv[3])); open(sys.argv[1], 'a').write(sys.argv[2]); sys.exit()\n"
        "signal.signal(signal.SIGTERM, stop); open(sys.argv[1], 'a').write('+'); time.sleep(60)"
    )
    keeper = Keeper()
    keeper.start()
    keeper.add(python(code, str(log), "server", "0", stops_last=True))
    keeper.add(python(code, str(log), "worker", "0.3"))
    assert eventually(lambda: log.exists() and log.read_text() == "++")
    keeper.stop()
    assert log.read_text() == "++workerserver"


def test_the_leash_refuses_to_run_for_a_parent_that_is_gone():
    command = [sys.executable, "-I", "-S", str(LEASH), "1", "", "/bin/echo", "ran"]
    result = subprocess.run(command, capture_output=True, check=True)
    assert result.stdout == b""


WATCH = "import sys; sys.path.insert(0, sys.argv[1]); import leash, os; sys.exit(leash.watch(os.getppid(), sys.argv[2:], []))"


def test_where_the_kernel_does_not_help_the_leash_watches_its_parent(tmp_path):
    note = tmp_path / "pid"
    command = ["/bin/sh", "-c", f"echo $$ > {note}.tmp; mv {note}.tmp {note}; exec sleep 60"]
    parent = subprocess.Popen(
        [
            sys.executable,
            "-c",
            f"import subprocess; subprocess.Popen({[sys.executable, '-c', WATCH, str(LEASH.parent), *command]}).wait()",
        ]
    )
    assert eventually(note.exists)
    parent.kill()
    parent.wait()
    assert eventually(lambda: not runs(int(note.read_text())))


@pytest.mark.parametrize(("script", "status"), [("exit 3", 3), ("kill -9 $$", 137), ("kill -TERM $PPID; exec sleep 60", 143)])
def test_a_watching_leash_ends_as_its_command_ends(script, status):
    command = [sys.executable, "-c", WATCH, str(LEASH.parent), "/bin/sh", "-c", f"sleep 0.2; {script}"]
    assert subprocess.run(command, check=False, timeout=20).returncode == status
