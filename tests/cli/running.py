"""Running the real command, and small files for it."""

from __future__ import annotations

import atexit
import itertools
import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from landscape_core.results import MEASURED, Surface

REFERENCE = Path(os.environ.get("LOSSATLAS_REFERENCE", ""))
needs_reference = [
    pytest.mark.reference,
    pytest.mark.skipif(
        "LOSSATLAS_REFERENCE" not in os.environ, reason="LOSSATLAS_REFERENCE, the folder of reference data, is not set"
    ),
]


@cache
def _server() -> subprocess.Popen[str]:
    """What forks for every run; it ends with this process."""
    command = [sys.executable, str(Path(__file__).with_name("forking.py"))]
    server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=_environment())
    atexit.register(server.kill)
    return server


def _environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(Path(__file__).parents[2]), "LOSSATLAS_THREADS": "2"}


def lossatlas(
    *words: object, folder: Path | None = None, timeout_s: float = 250, cold: bool = False
) -> subprocess.CompletedProcess[str]:
    """The finished command, run in a process of its own; a cold one has loaded nothing before."""
    given = [str(word) for word in words]
    if cold:
        command = [sys.executable, "-m", "cli.main", *given]
        return subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=timeout_s, cwd=folder, env=_environment()
        )
    asked = {"words": given, "folder": str(folder or Path.cwd()), "environment": _environment(), "timeout_s": timeout_s}
    answer = _answer(asked)
    if answer["code"] is None:
        raise subprocess.TimeoutExpired(given, timeout_s)
    return subprocess.CompletedProcess(given, answer["code"], answer["out"], answer["err"])


def _answer(asked: dict[str, Any]) -> dict[str, Any]:
    server = _server()
    assert server.stdin is not None
    assert server.stdout is not None
    try:
        server.stdin.write(json.dumps(asked) + "\n")
        server.stdin.flush()
        return json.loads(server.stdout.readline())
    except BaseException:  # it is gone, or would answer the next run with this one's end
        server.kill()
        server.communicate()
        _server.cache_clear()
        raise


def mlp_tensors(seed: int = 0, widths: tuple[int, ...] = (784, 16, 10)) -> dict[str, np.ndarray]:
    """A small perceptron with random weights, under torch's names for a Sequential."""
    random = np.random.default_rng(seed)
    tensors = {}
    for index, (inputs, outputs) in enumerate(itertools.pairwise(widths)):
        tensors[f"layers.{2 * index}.weight"] = random.normal(0, inputs**-0.5, (outputs, inputs)).astype(np.float32)
        tensors[f"layers.{2 * index}.bias"] = random.normal(0, 0.1, outputs).astype(np.float32)
    return tensors


def measured(nx: int, ny: int | None) -> Surface:
    """A saddle of a surface, or a line as a curve: losses from -1 to 1, without a request."""
    x = np.linspace(-1, 1, nx)
    y = None if ny is None else np.linspace(-1, 1, ny)
    loss = x[None, :] + np.zeros((1, 1)) if y is None else x[None, :] ** 2 - y[:, None] ** 2
    return Surface(
        x=x,
        y=y,
        loss=loss,
        state=np.full(loss.shape, MEASURED, np.uint8),
        accuracy=np.full(loss.shape, 50.0),
        examples=np.full(loss.shape, 10, np.int64),
        stderr=np.full(loss.shape, 0.1),
    )


def save_mlp(path: Path, seed: int = 0, widths: tuple[int, ...] = (784, 16, 10)) -> Path:
    """Writes the perceptron as safetensors."""
    save_file(mlp_tensors(seed, widths), path)
    return path
