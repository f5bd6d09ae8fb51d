"""What processes have used: their processor time and their largest memory, as Linux tells it."""

from __future__ import annotations

import os
from pathlib import Path

PROC = Path("/proc")
"""Other systems do not have it."""


def family(pid: int) -> dict[str, list[int]]:
    """The processes of a Loss Atlas by what they are: "web", "worker", "valkey", "other"."""
    found: dict[str, list[int]] = {"web": [pid], "worker": [], "valkey": [], "other": []}
    for child in _children(pid):
        command = (PROC / str(child) / "cmdline").read_bytes().replace(b"\0", b" ")
        kind = "worker" if b"worker.main" in command else "valkey" if b"valkey" in command else "other"
        found[kind].append(child)
    return found


def cpu_seconds(pids: list[int]) -> float:
    """Processor time that the processes have used so far, with that of their children that have ended."""
    total = 0.0
    for pid in pids:
        fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
        total += sum(int(ticks) for ticks in fields[11:15]) / os.sysconf("SC_CLK_TCK")
    return total


def peak_bytes(pids: list[int]) -> int:
    """The largest memory that each has had in use (resident set), added up."""
    total = 0
    for pid in pids:
        lines = (PROC / str(pid) / "status").read_text().splitlines()
        total += sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
    return total


def _children(pid: int) -> list[int]:
    found = []
    for folder in PROC.iterdir():
        try:
            parent = (folder / "stat").read_text().rpartition(")")[2].split()[1]
        except (OSError, IndexError):
            continue
        if folder.name.isdigit() and int(parent) == pid:
            found.append(int(folder.name))
    return found
