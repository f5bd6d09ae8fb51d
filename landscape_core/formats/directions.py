"""Direction files in the form of Li et al.'s own code (net_plotter.py, h5_util.py)."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

import h5py
import numpy as np

from landscape_core.formats.atomic import write_atomically


def directions_h5(
    x: list[np.ndarray], y: list[np.ndarray] | None, path: Path, beside: Mapping[str, np.ndarray] | None = None
) -> None:
    """Writes directions in the original's form: groups `xdirection`, `ydirection` with members "0" … "N-1".

    Args:
        x: One float32 array per tensor, of the tensor's shape, in the network's order.
        y: The same for the second direction; None for a curve.
        path: Where.
        beside: Further arrays at the root, as from `principal_values`.
    """
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        for name, direction in (("xdirection", x), ("ydirection", y)):
            for index, tensor in enumerate(direction or ()):
                file.create_dataset(f"{name}/{index}", data=np.asarray(tensor, dtype=np.float32))
        for name, values in (beside or {}).items():
            file[name] = values
    write_atomically(path, buffer.getvalue())
