"""A whole Loss Atlas, started by its command, asked over HTTP and followed as a browser follows it."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from safetensors.numpy import save

from app.processes import LEASH
from benchmarks import processes
from benchmarks.material import images, request, tensors
from landscape_core.errors import ComputationFailed

READY = re.compile(r"Loss Atlas is ready: (http://\S+)")
READY_WITHIN_S, STOPPED_WITHIN_S, QUIET_WITHIN_S, SILENT_S = 120.0, 30.0, 120.0, 600.0
WIDTHS, SHAPE = (784, 256, 128, 10), (28, 28)
OF_CIFAR10 = (32, 32, 3)


@dataclass(frozen=True)
class Job:
    """A surface to measure with: of a perceptron 784-256-128-10 on images of MNIST's shape, or a ResNet on CIFAR-10's.

    Attributes:
        points: Cells along each axis.
        examples: At every cell.
        architecture: `mlp`, or a catalogued ResNet.
    """

    points: int
    examples: int
    architecture: str = "mlp"

    @property
    def shape(self) -> tuple[int, ...]:
        """Of an example."""
        return SHAPE if self.architecture == "mlp" else OF_CIFAR10

    def __str__(self) -> str:
        name = f"mlp {'-'.join(map(str, WIDTHS))}" if self.architecture == "mlp" else self.architecture
        size = f"{self.shape[0]} × {self.shape[1]}"
        return f"{self.points} × {self.points} cells, {name}, {self.examples:,} examples of {size}"


@dataclass(frozen=True)
class Followed:
    """One surface, from the request to its end.

    Attributes:
        surface: Its id.
        stages_s: Seconds from the request to the arrival of each stage's whole surface; stages that were passed over came
            with the next.
        seconds: To the word that it is finished.
        stages: How many it has.
        event_bytes: Bytes of all events.
        computed_s: Seconds that workers spent on its units, by their own clocks.
        units: How many units it was cut into.
        cpu_s: Processor seconds meanwhile, of "web", "worker" and "valkey"; empty where the system does not tell.
    """

    surface: str
    stages_s: tuple[float, ...]
    seconds: float
    stages: int
    event_bytes: int
    computed_s: float
    units: int
    cpu_s: dict[str, float] = field(default_factory=dict)


class Atlas:
    """A running Loss Atlas, and the way to it.

    Args:
        process: `lossatlas up`.
        url: Its address.
        data: Its folder.
    """

    def __init__(self, process: subprocess.Popen[bytes], url: str, data: Path) -> None:
        self.process, self.url, self.data = process, url, data
        self.http = httpx.Client(base_url=f"{url}/api/v1", timeout=120)
        self._uploaded: dict[Job, tuple[str, str]] = {}

    def upload(self, kind: str, name: str, content: bytes) -> dict[str, Any]:
        """A checkpoint or data set, once it has been inspected.

        Raises:
            ComputationFailed: It was rejected.
        """
        parameter = "filename" if kind == "checkpoints" else "name"
        answer = self.http.put(f"/{kind}", params={parameter: name}, content=content).raise_for_status().json()
        while True:
            info: dict[str, Any] = self.http.get(f"/{kind}/{answer['id']}").raise_for_status().json()
            if info["state"] == "ready":
                return info
            if info["state"] != "inspecting":
                raise ComputationFailed(f"{name} was not accepted: {info.get('problem')}")
            time.sleep(0.1)

    def body(self, job: Job, seed: int) -> dict[str, Any]:
        """The request of a job along directions of this seed; what it needs is uploaded the first time."""
        if job not in self._uploaded:
            checkpoint = self.upload("checkpoints", "bench.safetensors", save(tensors(job.architecture, WIDTHS)))
            buffer = io.BytesIO()
            x, y = images(job.examples, job.shape)
            np.savez(buffer, x=x, y=y)
            self._uploaded[job] = checkpoint["id"], self.upload("datasets", "bench.npz", buffer.getvalue())["id"]
        checkpoint_id, dataset = self._uploaded[job]
        asked = request(
            job.architecture, job.points, examples=job.examples, checkpoint=checkpoint_id, dataset=dataset, seed=seed
        )
        found: dict[str, Any] = json.loads(asked.canonical_json())
        return found

    def compute(self, job: Job, seed: int) -> Followed:
        """Asks for a surface that nobody asked for before, and follows it to its end.

        Raises:
            ComputationFailed: It did not finish.
        """
        body, before = self.body(job, seed), self._cpu()
        stages: list[float] = []
        began, size, state = time.perf_counter(), 0, ""
        surface = self.http.post("/surfaces", json=body).raise_for_status().json()["id"]
        for kind, data, length in self._events(surface):
            size += length
            if kind == "surface":
                stage, last = data["stage"], data["stages"]
                stages += [time.perf_counter() - began] * (stage - len(stages))
            elif kind == "end":
                state = data["state"]
                break
        seconds, after = time.perf_counter() - began, self._cpu()
        if state != "finished":
            raise ComputationFailed(f"The surface of the benchmark ended as {state or 'nothing'}, expected finished.")
        provenance = self.http.get(f"/surfaces/{surface}").raise_for_status().json()["provenance"]
        self._wait_until_idle(surface)
        cpu = {name: after[name] - used for name, used in before.items()}
        return Followed(surface, tuple(stages), seconds, last, size, provenance["seconds"], provenance["units"], cpu)

    def first_stages(self, job: Job, seed: int, number: int) -> list[float]:
        """Seconds from the request to the arrival of each of the first stages; then the surface is cancelled.

        Args:
            job: A surface that nobody asked for before.
            seed: Of its directions.
            number: How many stages are waited for.

        Raises:
            ComputationFailed: It ended before.
        """
        body, stages = self.body(job, seed), list[float]()
        began = time.perf_counter()
        surface = self.http.post("/surfaces", json=body).raise_for_status().json()["id"]
        for kind, data, _ in self._events(surface):
            if kind == "surface":
                stages += [time.perf_counter() - began] * (data["stage"] - len(stages))
            if len(stages) >= number or kind == "end":
                break
        if len(stages) < number:
            raise ComputationFailed(f"The surface of the benchmark ended after {len(stages)} stages, expected {number}.")
        self._leave(surface)
        return stages[:number]

    def begin(self, job: Job, seed: int, seconds: float) -> str:
        """Asks for a surface that nobody asked for before, and cancels it after so many seconds: its id."""
        surface: str = self.http.post("/surfaces", json=self.body(job, seed)).raise_for_status().json()["id"]
        time.sleep(seconds)
        self._leave(surface)
        return surface

    @property
    def knows_processes(self) -> bool:
        """Whether the system tells of its processes' time and memory."""
        return processes.PROC.exists()

    def peak_bytes(self) -> dict[str, int]:
        """The largest memory of "web", "worker" and "valkey" so far."""
        found = processes.family(self.process.pid)
        return {name: processes.peak_bytes(found[name]) for name in ("web", "worker", "valkey")}

    def _leave(self, surface: str) -> None:
        answer = self.http.post(f"/surfaces/{surface}/cancel")
        if answer.status_code != httpx.codes.CONFLICT:  # it has finished meanwhile
            answer.raise_for_status()
        _wait_for_workers(self, None)

    def _events(self, surface: str) -> Iterator[tuple[str, dict[str, Any], int]]:
        """(kind, data, bytes) of a surface's events until the stream ends."""
        kind, size = "", 0
        with self.http.stream("GET", f"/surfaces/{surface}/events", timeout=SILENT_S) as stream:
            for line in stream.iter_lines():
                size += len(line) + 1
                if line.startswith("event:"):
                    kind = line.removeprefix("event:").strip()
                elif line.startswith("data:"):
                    yield kind, json.loads(line.removeprefix("data:")), size
                    size = 0

    def _wait_until_idle(self, surface: str) -> None:
        """Returns when the surface's picture is drawn too, so that nothing disturbs what is measured next."""
        waited_until = time.monotonic() + QUIET_WITHIN_S
        while time.monotonic() < waited_until:
            if self.http.get(f"/surfaces/{surface}").raise_for_status().json()["preview"] != "wait":
                return
            time.sleep(0.1)

    def _cpu(self) -> dict[str, float]:
        if not self.knows_processes:
            return {}
        found = processes.family(self.process.pid)
        return {name: processes.cpu_seconds(found[name]) for name in ("web", "worker", "valkey")}


@contextmanager
def running(folder: Path, workers: int, threads: int) -> Iterator[Atlas]:
    """`lossatlas up` on a free port with an empty data folder; stopped at the end, and if this process should be killed.

    Args:
        folder: For data and log; made.
        workers: How many.
        threads: Of each.

    Raises:
        ComputationFailed: It does not start.
    """
    folder.mkdir(parents=True)
    command = [sys.executable, "-P", "-m", "cli.main", "up", "--port", "0", "--data", str(folder / "data")]
    leashed = [sys.executable, "-I", "-S", str(LEASH), str(os.getpid()), "", *command, "--workers", str(workers)]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            leashed, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment(threads), start_new_session=True
        )
    try:
        atlas = Atlas(process, _address(process, folder / "log"), folder / "data")
        with atlas.http:
            _wait_for_workers(atlas, workers)
            yield atlas
    finally:
        stop(process)


def environment(threads: int) -> dict[str, str]:
    """What processes are started with: nothing of the user's own Loss Atlas, and so many threads."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("LOSSATLAS_")}
    return ours | {"LOSSATLAS_THREADS": str(threads)}


def stop(process: subprocess.Popen[bytes]) -> None:
    """Ends a process that was started here, the hard way if it does not listen."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(STOPPED_WITHIN_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    waited_until = time.monotonic() + READY_WITHIN_S
    while time.monotonic() < waited_until and process.poll() is None:
        if found := READY.search(log.read_text(errors="replace")):
            return found[1]
        time.sleep(0.05)
    words = log.read_text(errors="replace").strip().splitlines()
    raise ComputationFailed(f"lossatlas up did not start: {words[-1] if words else 'it says nothing'}")


def _wait_for_workers(atlas: Atlas, workers: int | None) -> None:
    """Returns when so many workers, or all that there are, have nothing to do."""
    waited_until = time.monotonic() + READY_WITHIN_S
    while time.monotonic() < waited_until:
        found = atlas.http.get("/activity").raise_for_status().json()["workers"]
        if sum(worker["state"] == "idle" for worker in found) == (len(found) if workers is None else workers):
            return
        time.sleep(0.1)
    wanted = f"all {len(found)}" if workers is None else workers
    raise ComputationFailed(f"expected {wanted} workers to be idle within {READY_WITHIN_S:g} s; they are not.")
