"""Files inspected in children, once for all tests, with what each cost."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from . import hostile
from .torch_files import unsupported

PROCESSES = 2
MEASURING = Path(__file__).with_name("measuring.py")


@dataclass(frozen=True)
class Outcome:
    """How an inspection ended: a report, or the class and text of an error; and what it cost."""

    report: dict[str, Any] | None
    error: str | None
    text: str
    seconds: float
    peak: int
    canonical: Path


def inspect_all(asked: dict[str, tuple[str, Path]], folder: Path) -> dict[str, Outcome]:
    """Has files inspected one after the other: name -> (kind, path)."""
    outs = {name: folder / f"out-{index}" for index, name in enumerate(asked)}
    table = [(name, (kind, str(path), str(outs[name]))) for name, (kind, path) in asked.items()]
    with ThreadPoolExecutor(PROCESSES) as pool:
        answers = [answer for part in pool.map(_measured, (table[n::PROCESSES] for n in range(PROCESSES))) for answer in part]
    return {a["name"]: Outcome(a["report"], a["error"], a["text"], a["seconds"], a["peak"], outs[a["name"]]) for a in answers}


def _measured(table: list[tuple[str, tuple[str, str, str]]]) -> list[dict[str, Any]]:
    command, given = [sys.executable, str(MEASURING)], json.dumps(dict(table))
    run = subprocess.run(command, input=given, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return [json.loads(line) for line in run.stdout.splitlines()]


@pytest.fixture(scope="session")
def canary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What hostile code would create, if any ran."""
    return tmp_path_factory.mktemp("canary") / "touched"


@pytest.fixture(scope="session")
def hostile_files(canary: Path) -> dict[str, bytes]:
    """All hostile files by name."""
    return hostile.files(canary) | unsupported()


@pytest.fixture(scope="session")
def outcomes(hostile_files: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcome]:
    """Every hostile file, and every odd but honest one, inspected as a checkpoint."""
    folder = tmp_path_factory.mktemp("hostile")
    asked = {}
    for name, data in (hostile_files | hostile.honest_files()).items():
        (folder / f"{name}.pt").write_bytes(data)
        asked[name] = ("checkpoint", folder / f"{name}.pt")
    return inspect_all(asked, folder)
