"""How many workers `lossatlas up` starts unless it is told."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from landscape_core.reading.sandbox import machine_cores, machine_memory

MOST = 4
BYTES_EACH = 2 * 1024**3
"""Memory of the machine that there should be for each worker; one takes about half a gigabyte and what it computes."""

ACCELERATORS = tuple(map(Path, ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")))
"""What the drivers of NVIDIA and AMD make, and Windows' in its Linux, seen without loading PyTorch."""


def usual_workers(devices: Sequence[str], threads: str | None) -> int:
    """One worker for each core, up to four, that divide the cores; one for each accelerator that is named.

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
    each = int(threads) if threads and threads.isdecimal() else 1
    return max(1, min(MOST, machine_cores() // max(1, each), machine_memory() // BYTES_EACH))


def _has_accelerator() -> bool:
    return sys.platform == "darwin" or any(path.exists() for path in ACCELERATORS)
