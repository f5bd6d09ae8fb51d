"""How many workers `lossatlas up` starts unless it is told."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from landscape_core.reading.sandbox import machine_cores, machine_memory

MOST = 4
BYTES_EACH = 2 * 1024**3
"""Memory of the machine that there should be for each worker; one takes about half a gigabyte and what it computes."""

BUSY = 0.8
"""Share of the cores that workers' threads should take at least: four workers would leave two of six idle, three leave none."""

ACCELERATORS = tuple(map(Path, ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")))
"""What the drivers of NVIDIA and AMD make, and Windows' in its Linux, seen without loading PyTorch."""


def usual_workers(devices: Sequence[str], threads: str | None) -> int:
    """One worker for each core, up to four that share more; one for each accelerator that is named.

    Several processes compute faster than as many threads of one, which wait for each other in every layer: a small
    network's threads longer than they compute.

    Args:
        devices: What LOSSATLAS_DEVICE names.
        threads: What LOSSATLAS_THREADS says, if it does.
    """
    kinds = {device.partition(":")[0] for device in devices}
    if kinds == {"auto"} and not _has_accelerator():
        kinds = {"cpu"}
    if kinds != {"cpu"}:
        return len(devices)
    found, most = machine_cores(), min(MOST, machine_memory() // BYTES_EACH)
    if threads and threads.isdecimal():
        return max(1, min(most, found // max(1, int(threads))))
    return sharing(found, max(1, min(most, found)))


def sharing(found: int, most: int) -> int:
    """How many workers share cores so that few are idle; all have as many threads, on which the last bits of values depend.

    Args:
        found: The cores.
        most: Workers, no more than cores.
    """
    return next(number for number in range(most, 0, -1) if found // number * number >= BUSY * found)


def _has_accelerator() -> bool:
    return sys.platform == "darwin" or any(path.exists() for path in ACCELERATORS)
