"""The project's own surface file: a plain `.npz` that any numpy opens, without pickles.

    x           (nx,) float64
    y           (ny,) float64; absent for a curve
    loss        (ny, nx) float64; NaN where not computed or not finite
    state       (ny, nx) uint8; 0 not computed, 1 measured, 2 measured and not finite, 3 estimated by the fast budget
    accuracy    (ny, nx) float64, percent; NaN where unknown
    examples    (ny, nx) int64
    stderr      (ny, nx) float64, standard error of the loss; NaN where unknown
    request     JSON text (0-d unicode); "null" if there is none
    provenance  JSON text (0-d unicode)
    quantity_…  (ny, nx) float64, for each name in `landscape_core.quantities` that the surface has; NaN where unknown

The same surface gives the same bytes everywhere: entries are stored uncompressed, in this order, with a fixed date.
"""

from __future__ import annotations

import io
import lzma
import zipfile
import zlib

import numpy as np
from numpy.lib import format as npy

from landscape_core.errors import SurfaceRejected
from landscape_core.formats.checked import (
    MAX_AXIS,
    MAX_TEXT,
    check_volume,
    checked_axis,
    checked_name,
    checked_surface,
    provenance_from,
    provenance_text,
    request_from,
    request_text,
)
from landscape_core.npy_header import HEADER_BYTES, read_npy_header
from landscape_core.quantities import ordered
from landscape_core.results import Surface

_DTYPES = {"x": "<f8", "y": "<f8", "loss": "<f8", "state": "|u1", "accuracy": "<f8", "examples": "<i8", "stderr": "<f8"}
_TEXTS = ("request", "provenance")
_QUANTITY = "quantity_"
_DAMAGE = (
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, NotImplementedError, RuntimeError, ValueError, OSError, EOFError,
)  # fmt: skip
"""What zipfile and numpy raise for damaged files."""

_LONGEST = max(8 * MAX_AXIS**2, 4 * MAX_TEXT) + HEADER_BYTES


def dump(surface: Surface) -> bytes:
    """The content of the surface's `.npz`, the same bytes each time."""
    arrays = {name: getattr(surface, name) for name in _DTYPES if getattr(surface, name) is not None}
    arrays |= {f"{_QUANTITY}{name}": surface.quantities[name] for name in ordered(surface.quantities)}
    arrays |= {"request": np.array(request_text(surface)), "provenance": np.array(provenance_text(surface))}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            content = io.BytesIO()
            little = np.ascontiguousarray(array).reshape(array.shape).astype(_DTYPES.get(name, array.dtype.newbyteorder("<")))
            npy.write_array(content, little, version=(1, 0), allow_pickle=False)
            entry = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            entry.create_system, entry.external_attr = 3, 0o600 << 16
            archive.writestr(entry, content.getvalue())
    return buffer.getvalue()


def load(data: bytes) -> Surface:
    """The surface in an `.npz` as written by `dump`, or by numpy's own `savez` with the same names.

    Args:
        data: The file's content.

    Raises:
        SurfaceRejected: If it is no such file, is damaged, or its parts contradict each other.
    """
    arrays = _arrays(data)
    missing = [name for name in (*_DTYPES, *_TEXTS) if name not in arrays and name not in {"y", *_TEXTS}]
    if missing:
        raise SurfaceRejected(f"The .npz lacks {', '.join(missing)}; a surface's .npz holds {', '.join((*_DTYPES, *_TEXTS))}.")
    return checked_surface(
        x=checked_axis("x", arrays["x"]),
        y=checked_axis("y", arrays["y"]) if "y" in arrays else None,
        loss=_cells(arrays, "loss", "f"),
        state=_cells(arrays, "state", "u"),
        accuracy=_cells(arrays, "accuracy", "f"),
        examples=_cells(arrays, "examples", "iu"),
        stderr=_cells(arrays, "stderr", "f"),
        request=request_from(_text(arrays, "request")),
        provenance=provenance_from(_text(arrays, "provenance")),
        quantities={
            checked_name(name.removeprefix(_QUANTITY)): _cells(arrays, name, "f")
            for name in arrays
            if name.startswith(_QUANTITY)
        },
    )


def _arrays(data: bytes) -> dict[str, np.ndarray]:
    wanted = {f"{name}.npy" for name in (*_DTYPES, *_TEXTS)}
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = [(entry, entry.filename) for entry in archive.infolist()]
            entries = [entry for entry, name in names if name in wanted or name.startswith(_QUANTITY)]
            if len({entry.filename for entry in entries}) != len(entries):
                raise SurfaceRejected("The .npz holds the same entry twice.")
            check_volume(sum(entry.file_size for entry in entries if entry.filename.startswith(_QUANTITY)) // 8)
            return {entry.filename.removesuffix(".npy"): _array(entry.filename, _content(archive, entry)) for entry in entries}
    except _DAMAGE as error:
        reason = (str(error).splitlines() or ["damaged"])[0]
        raise SurfaceRejected(f"The file is not a readable .npz ({reason}).") from None


def _content(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    if entry.file_size > _LONGEST:
        raise SurfaceRejected(f"{entry.filename} in the .npz is {entry.file_size:,} bytes long; at most {_LONGEST:,} are read.")
    with archive.open(entry) as stream:
        return stream.read(_LONGEST)


def _array(name: str, content: bytes) -> np.ndarray:
    """The array in an `.npy`'s bytes; the header is checked against the bytes that are there before anything is made of it."""
    stream = io.BytesIO(content)
    shape, fortran, dtype = read_npy_header(name, stream)
    count = 1
    for length in shape:
        count *= length
    left = len(content) - stream.tell()
    if dtype.kind not in "fiuU" or dtype.names is not None or count < 0 or count * dtype.itemsize != left:
        raise SurfaceRejected(f"{name} in the .npz should hold {shape} plain values, but its {left:,} bytes are not that.")
    return np.frombuffer(content, dtype, offset=stream.tell()).reshape(shape, order="F" if fortran else "C")


def _cells(arrays: dict[str, np.ndarray], name: str, kinds: str) -> np.ndarray:
    array, dtype = arrays[name], _DTYPES.get(name, "<f8")
    if array.ndim != 2 or array.dtype.kind not in kinds or array.dtype.itemsize > 8:
        raise SurfaceRejected(f"{name} should be a table (ny, nx) of {dtype}, but is {array.shape} of {array.dtype}.")
    return np.ascontiguousarray(array, dtype=dtype[1:])


def _text(arrays: dict[str, np.ndarray], name: str) -> str:
    array = arrays.get(name)
    if array is None:
        return ""
    if array.shape != () or array.dtype.kind != "U":
        raise SurfaceRejected(f"{name} should be one JSON text, but is {array.shape} of {array.dtype}.")
    try:
        return str(array)
    except ValueError:
        raise SurfaceRejected(f"{name} should be one JSON text, but holds characters that do not exist.") from None
