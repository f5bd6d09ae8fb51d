"""The machine that figures are of, in words."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path


def described(gpu: str | None = None) -> str:
    """Processor, memory, system and versions, as a Markdown list.

    Args:
        gpu: Name of the device that is no processor, if one is used.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    facts = {
        "Processor": f"{_processor()}, {cores} core{'s' if cores > 1 else ''} of it for this process",
        "Memory": _memory(),
        "Graphics": gpu or "none that PyTorch uses",
        "System": f"{platform.system()} {platform.release()}, Python {platform.python_version()}",
        "Versions": ", ".join(f"{name} {version(name)}" for name in ("loss-atlas", "torch", "numpy")),
        "Taken": now(),
    }
    return "\n".join(f"* {name}: {value}" for name, value in facts.items())


def now() -> str:
    """Date and time of day."""
    return f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"


def load() -> str:
    """How busy the machine is: the load average of the last minute."""
    return f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0]} ({platform.machine()})" if names else platform.processor() or platform.machine()


def _memory() -> str:
    try:
        size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return "unknown"
    return f"{size / 2**30:.1f} GiB"
