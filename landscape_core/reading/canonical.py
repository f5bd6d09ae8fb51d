"""The canonical form of a checkpoint: safetensors with the names cleaned, in the file's order. Only this is used afterwards."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from landscape_core.errors import CheckpointRejected
from landscape_core.reading.checkpoint import CheckpointContents

_ORDER = "order"
"""Key of the metadata that lists the names in the checkpoint's order; the library itself sorts by element type."""


def write_canonical(contents: CheckpointContents, path: Path) -> None:
    """Leaves `path` with the network's tensors as safetensors, readable by its owner only, or as it was before.

    Args:
        contents: From `read_checkpoint`.
        path: Where; its folder exists.

    Example:
        >>> weights = {"w": np.ones((3, 2), np.float32)}
        >>> write_canonical(CheckpointContents("torch zip", "", "", weights, {}), Path("safe.safetensors"))
        >>> read_canonical(Path("safe.safetensors"))["w"].shape
        (3, 2)
    """
    handle, name = tempfile.mkstemp(prefix=".canonical.", dir=path.parent)
    try:
        save_file(contents.tensors, name, {_ORDER: json.dumps(list(contents.tensors), ensure_ascii=False)})
        os.fsync(handle)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    finally:
        os.close(handle)


def read_canonical(path: Path) -> dict[str, np.ndarray]:
    """Name -> numbers, in the order of the original file. Float32, float64, integers or bool.

    Args:
        path: Written by `write_canonical`.

    Returns:
        The arrays, of the shapes that they had.

    Raises:
        CheckpointRejected: If it is damaged.

    Example:
        >>> contents = CheckpointContents("torch zip", "", "", {"b": np.ones(2, np.float32), "a": np.zeros(1)}, {})
        >>> write_canonical(contents, Path("safe.safetensors"))
        >>> list(read_canonical(Path("safe.safetensors")))  # the file's order, not the alphabet's
        ['b', 'a']
    """
    try:
        with safe_open(path, framework="np") as file:
            order = json.loads((file.metadata() or {}).get(_ORDER, "null"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  not a dict
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointRejected(f"The stored checkpoint is damaged ({error}); upload the file again.") from None
    if not isinstance(order, list) or sorted(map(str, order)) != sorted(tensors):
        raise CheckpointRejected("The stored checkpoint is damaged (its order is lost); upload the file again.")
    return {name: tensors[name] for name in order}
