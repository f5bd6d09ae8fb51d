"""What a child process takes from itself before it opens a hostile file: memory, time, files, processes, network.

The reader is built so that none of this is needed; it is here for the day when the reader, zlib, numpy or HDF5 has a fault.
"""

from __future__ import annotations

import ctypes
import math
import os
import resource
import sys
from contextlib import suppress
from pathlib import Path

CANONICAL, REPORT, MEMBERS = "canonical", "report.json", "members"
"""Names of what the child writes into its folder; `MEMBERS` is a folder, in which it writes 0000, 0001, …"""

_MEMORY = 2 << 30
_CGROUPS = Path("/sys/fs/cgroup")
_SECONDS = 60
_GRACE = 5
"""Seconds from the signal that says the time is up, SIGXCPU, to SIGKILL, which does not say why."""
_BYTES_PER_SECOND = 20_000_000
_NEW_USERS, _NEW_NETWORK = 0x10000000, 0x40000000
"""CLONE_NEWUSER, CLONE_NEWNET of linux/sched.h."""
_PARENT_DEATH, _NO_NEW_PRIVILEGES, _KILL = 1, 38, 9
"""PR_SET_PDEATHSIG, PR_SET_NO_NEW_PRIVS of linux/prctl.h; SIGKILL."""


def cpu_seconds(file_bytes: int) -> int:
    """How much processor time a file of this size may take.

    Args:
        file_bytes: Its size.
    """
    return _SECONDS + file_bytes // _BYTES_PER_SECOND


def _lower(name: int, bound: int) -> int:
    """The bound, or what this process may have at most if that is less."""
    hard = resource.getrlimit(name)[1]
    return bound if hard == resource.RLIM_INFINITY else min(bound, hard)


def machine_memory() -> int:
    """How many bytes of memory this process could have at most: the machine's, or its control group's if that has less."""
    found = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for bound in _bounds("memory.max"):
        with suppress(ValueError):  # no bound ("max")
            found = min(found, int(bound))
    return found


def machine_cores() -> int:
    """How many CPU cores this process may use: the machine's, its affinity's or its control group's, whichever are fewest."""
    found = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    for bound in _bounds("cpu.max"):
        with suppress(ValueError):  # no bound ("max 100000")
            quota, period = map(int, bound.split())
            found = min(found, max(1, math.ceil(quota / period)))
    return found


def _bounds(name: str) -> list[str]:
    """What stands in this file of this process's control group and of those above it; nothing without groups of version 2."""
    found: list[str] = []
    with suppress(OSError, ValueError):
        group = Path("/proc/self/cgroup").read_text(encoding="ascii").partition("0::/")[2].strip()
        for folder in (_CGROUPS / group, *(_CGROUPS / group).parents):
            if folder.is_relative_to(_CGROUPS):
                with suppress(OSError, ValueError):
                    found.append((folder / name).read_text(encoding="ascii"))
    return found


def lock_down(file_bytes: int, growth: int) -> None:
    """Bounds this process for good: address space, processor time, open files, size of written files, no core dumps.

    However large the file is, it gets no more than half of the machine's memory (or `_MEMORY`, if that is more). On Linux it
    also is the first to go when memory runs out, dies with its parent, can gain no privileges, and, where the system allows it,
    sees no network.

    Args:
        file_bytes: Size of the file that it will read.
        growth: How many times that size honest contents may take.
    """
    honest = growth * file_bytes
    memory = min(_MEMORY + 2 * honest, max(_MEMORY, machine_memory() // 2))
    for name, bound, above in (
        (resource.RLIMIT_AS, memory, 0),
        (resource.RLIMIT_CPU, cpu_seconds(file_bytes), _GRACE),
        (resource.RLIMIT_NOFILE, 64, 0),
        (resource.RLIMIT_CORE, 0, 0),
        (resource.RLIMIT_FSIZE, (64 << 20) + honest, 0),
        (resource.RLIMIT_NPROC, 0, 0),
    ):
        with suppress(ValueError, OSError):  # macOS refuses RLIMIT_AS
            resource.setrlimit(name, (_lower(name, bound), _lower(name, bound + above)))
    if sys.platform == "linux":
        with suppress(OSError):
            Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
        libc = ctypes.CDLL(None)
        libc.prctl(_PARENT_DEATH, _KILL)
        libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
        libc.unshare(_NEW_USERS | _NEW_NETWORK)
