"""Direction files of Li et al.'s own code (net_plotter.py, h5_util.py): groups `xdirection`, `ydirection`, members "0" … "N-1".

One float32 array per parameter, or per entry of the state_dict. HDF5 can refer to other files on the machine (external links,
external storage, virtual data sets); here everything has to lie in the file itself.
"""

from __future__ import annotations

import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from landscape_core.errors import DirectionsRejected
from landscape_core.reading.limits import Limits
from landscape_core.reading.npz_archive import read_arrays

_MOST_DIMENSIONS = 8
_DAMAGE = (OSError, KeyError, ValueError, RuntimeError, TypeError, MemoryError, zipfile.BadZipFile, zlib.error, EOFError)
"""What h5py, zipfile and numpy raise for damaged files."""


@dataclass(frozen=True)
class DirectionsContents:
    """One or two directions.

    Attributes:
        x: float32 arrays, one per tensor of the network, in its order.
        y: The same for the second direction; None for a curve.

    Example:
        >>> DirectionsContents([np.ones((3, 2), np.float32), np.zeros(3, np.float32)]).y is None  # a curve
        True
    """

    x: list[np.ndarray]
    y: list[np.ndarray] | None = None


def read_directions(path: Path, limits: Limits = Limits()) -> DirectionsContents:  # noqa: B008  frozen
    """The directions in a file: the original's `.h5`, or the canonical `.npz` that `write_directions` makes.

    Args:
        path: The file; its content says which form it has.
        limits: Bounds.

    Returns:
        float32 arrays, one for each tensor of the network, in its order.

    Raises:
        DirectionsRejected: If it is no such file, is damaged, or refers to other files.

    Example:
        >>> with h5py.File("dirs.h5", "w") as file:
        ...     file["xdirection/0"] = np.ones((3, 2))
        >>> read_directions(Path("dirs.h5")).x[0].shape
        (3, 2)
    """
    try:
        size = path.stat().st_size
        if size == 0:
            raise DirectionsRejected("The file is empty: the download or the upload may have failed; try it again.")
        with path.open("rb") as file:
            if file.read(2) == b"PK":
                return _from_npz(read_arrays(file, size, limits)[0])
        with h5py.File(path, "r") as file5:
            groups = [_group(file5, name, size, limits) for name in ("xdirection", "ydirection")]
    except _DAMAGE as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:80]
        raise DirectionsRejected(f"The file is not a readable direction file (.h5 of loss-landscape): {reason}.") from None
    return _checked(groups[0], groups[1])


def write_directions(contents: DirectionsContents, path: Path) -> None:
    """Writes the canonical form: an uncompressed `.npz` with `x_0000` … and `y_0000` ….

    Args:
        contents: From `read_directions`.
        path: Where; an existing file is replaced.

    Example:
        >>> write_directions(DirectionsContents([np.ones((3, 2), np.float32)]), Path("dirs.npz"))
        >>> read_directions(Path("dirs.npz")).x[0].tolist()
        [[1.0, 1.0], [1.0, 1.0], [1.0, 1.0]]
    """
    arrays = {f"x_{index:04d}": array for index, array in enumerate(contents.x)}
    arrays |= {f"y_{index:04d}": array for index, array in enumerate(contents.y or ())}
    with path.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)


def _group(file: h5py.File, name: str, size: int, limits: Limits) -> list[np.ndarray] | None:
    if name not in file:
        return None
    group = file[name] if isinstance(file.get(name, getlink=True), h5py.HardLink) else None
    if not isinstance(group, h5py.Group) or not 0 < len(group) <= limits.tensors:
        raise DirectionsRejected(f"{name} in the .h5 should be a group of 1 to {limits.tensors:,} arrays, in the file itself.")
    if {*group} != {str(index) for index in range(len(group))}:
        raise DirectionsRejected(f"{name} in the .h5 should have the members 0 to {len(group) - 1}, but has others.")
    left, arrays = limits.total(size), []
    for index in range(len(group)):
        arrays.append(_member(group, str(index), left))
        left -= arrays[-1].nbytes
    return arrays


def _member(group: h5py.Group, name: str, left: int) -> np.ndarray:
    """One tensor's part of a direction. Nothing is read before its size is known."""
    item = group[name] if isinstance(group.get(name, getlink=True), h5py.HardLink) else None
    if not isinstance(item, h5py.Dataset) or item.external is not None or item.is_virtual:
        raise DirectionsRejected(f"{group.name}/{name} in the .h5 should be an array that lies in the file itself.")
    if item.dtype.kind not in "fiu" or item.dtype.itemsize > 8 or item.shape is None or item.ndim > _MOST_DIMENSIONS:
        raise DirectionsRejected(f"{group.name}/{name} in the .h5 should hold plain numbers, but holds {item.dtype}.")
    if item.nbytes > left:
        raise DirectionsRejected(f"{group.name}/{name} in the .h5 claims {item.nbytes:,} bytes, far more than the file has.")
    return _plain(f"{group.name}/{name}", np.asarray(item[()]))


def _from_npz(arrays: dict[str, np.ndarray]) -> DirectionsContents:
    count = {axis: sum(name.startswith(f"{axis}_") for name in arrays) for axis in ("x", "y")}
    names = {axis: [f"{axis}_{index:04d}" for index in range(count[axis])] for axis in count}
    if {*names["x"], *names["y"]} != arrays.keys():
        raise DirectionsRejected("The .npz should hold x_0000, x_0001, … and y_0000, …, but holds other arrays.")
    groups = [[_plain(name, arrays[name]) for name in names[axis]] or None for axis in ("x", "y")]
    return _checked(groups[0], groups[1])


def _plain(name: str, array: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        values = np.ascontiguousarray(array, np.float32).reshape(array.shape)
    if not np.isfinite(values).all():
        raise DirectionsRejected(f"{name} holds values that are not finite float32 numbers, so it is no direction.")
    return values


def _checked(x: list[np.ndarray] | None, y: list[np.ndarray] | None) -> DirectionsContents:
    if x is None:
        raise DirectionsRejected("The file has no xdirection, so it is no direction file; a surface file is imported instead.")
    if y is not None and [a.shape for a in x] != [a.shape for a in y]:
        raise DirectionsRejected("xdirection and ydirection should have arrays of the same shapes, but they differ.")
    return DirectionsContents(x, y)
