"""Training runs projected on a plane, as files: the original's `.h5`, `.json`, `.csv`.

    .h5    read, written   `proj_xcoord`, `proj_ycoord` at its root, as tomgoldstein/loss-landscape writes it (projection.py,
                           `project_trajectory`); what that has no place for lies in a group `loss_atlas`
    .json  read, written   as in a surface's provenance
    .csv   written         one row per checkpoint

Our coordinates are those of least squares, in units of the directions (the original's `lstsq`). Its own default, `cos`, writes
⟨θ_k − θ*, δ⟩ / ‖δ‖, a length, which is the same only for directions of length one at right angles, as principal ones are. Its
files do not say which they hold. A file of a line has no `proj_ycoord`.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from landscape_core.errors import SurfaceRejected
from landscape_core.formats.atomic import write_atomically
from landscape_core.plane import PlaneSpec, PrincipalDirection
from landscape_core.projection import MEASURED, MOST_CHECKPOINTS, Projection

WRITABLE = (".h5", ".json", ".csv")
"""Suffixes that a projection can be written as."""

FORMAT = "loss-atlas projection"
MAX_FILE_BYTES = 64 << 20

_OURS = "loss_atlas"
_LISTS = ("off_plane", *MEASURED)


def projection_bytes(projection: Projection, suffix: str) -> bytes:
    """The content of a file of this form.

    Args:
        projection: The run.
        suffix: One of `WRITABLE`, in any case.

    Raises:
        SurfaceRejected: If there is no such form.
    """
    writers = {".h5": _h5, ".json": _json, ".csv": _csv}
    writer = writers.get(suffix.lower())
    if writer is None:
        raise SurfaceRejected(
            f"A projection is written as {', '.join(WRITABLE)}, not as {suffix or 'a file without a suffix'!r}."
        )
    return writer(projection)


def save_projection(projection: Projection, path: Path) -> None:
    """Writes the run in the form that the path's suffix names; the file is there whole or not at all.

    Args:
        projection: The run.
        path: Where; an existing file is replaced.

    Raises:
        SurfaceRejected: If there is no such form.
    """
    write_atomically(path, projection_bytes(projection, path.suffix), private=False)


def load_projection(path: str | Path) -> Projection:
    """A run projected on a plane, from our `.h5` or `.json` or the original's `.h5`; `surface.figure(projection=…)` draws it.

    Args:
        path: The file.

    Raises:
        SurfaceRejected: If it is missing, damaged, too long or of another form.

    Example:
        >>> from landscape_core.projection import Projection
        >>> import tempfile
        >>> run = Projection.read({"coordinates": [[1.0, 2.0], [0.0, 0.0]]}, axes=2)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_projection(run, Path(folder) / "run.h5")
        ...     load_projection(Path(folder) / "run.h5").coordinates.tolist()
        [[1.0, 2.0], [0.0, 0.0]]
    """
    path = Path(path)
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise SurfaceRejected(
                f"{path.name} has {path.stat().st_size:,} bytes; a projection has at most {MAX_FILE_BYTES:,}."
            )
        data = path.read_bytes()
    except OSError as error:
        raise SurfaceRejected(f"{path.name} cannot be read ({error.strerror or error}).") from None
    found = _from_h5(data) if data.startswith(b"\x89HDF") else _from_json(data)
    axes = len(found["coordinates"][0]) if found["coordinates"] else 0
    run = Projection.read(found, axes) if axes in {1, 2} else None
    if run is None:
        raise SurfaceRejected(
            f"{path.name} should hold 1 to {MOST_CHECKPOINTS:,} places of one or two coordinates, but does not."
        )
    return run


def principal_values(plane: PlaneSpec, trajectory: Mapping[str, Any] | None) -> dict[str, np.ndarray]:
    """What the original writes beside principal directions (`setup_PCA_directions`), in the order of the axes.

    Args:
        plane: The directions.
        trajectory: From a provenance.

    Returns:
        `explained_variance_ratio_`, `explained_variance_` and `singular_values_`, as scikit-learn's PCA names them; nothing if
        a direction is no principal one.
    """
    known = (trajectory or {}).get("explained_variance")
    if not known or None in known or not all(isinstance(spec, PrincipalDirection) for spec in plane.specs.values()):
        return {}
    variance = np.array(known, np.float64)
    count = len((trajectory or {})["coordinates"])
    return {
        "explained_variance_ratio_": np.array((trajectory or {})["explained_variance_ratio"], np.float64),
        "explained_variance_": variance,
        "singular_values_": np.sqrt(variance * (count - 1)),
    }


def _h5(projection: Projection) -> bytes:
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        for axis, name in zip(range(projection.coordinates.shape[1]), ("proj_xcoord", "proj_ycoord"), strict=False):
            file[name] = projection.coordinates[:, axis]
        ours = file.create_group(_OURS)
        for name in (*_LISTS, "explained_variance_ratio"):
            ours[name] = getattr(projection, name)
        texts = {"names": list(projection.names), "checkpoints": list(projection.checkpoints)}
        ours.attrs["texts"] = json.dumps(texts)
        ours.attrs["method"] = "lstsq"
    return buffer.getvalue()


def _json(projection: Projection) -> bytes:
    return json.dumps({"format": FORMAT, "version": 1, **projection.as_provenance()}, indent=1, allow_nan=False).encode()


def _csv(projection: Projection) -> bytes:
    axes = ("alpha", "beta")[: projection.coordinates.shape[1]]
    stream = io.StringIO(newline="")
    table = csv.writer(stream, lineterminator="\n")
    table.writerow(["checkpoint", *axes, *_LISTS, "name"])
    for index, place in enumerate(projection.coordinates):
        numbers = [*place, *(getattr(projection, name)[index] for name in _LISTS)]
        name = projection.names[index]
        safe = f"'{name}" if name.startswith(("=", "+", "-", "@")) else name  # a spreadsheet would compute it
        table.writerow([index + 1, *("" if np.isnan(value) else repr(float(value)) for value in numbers), safe])
    return stream.getvalue().encode()


def _from_h5(data: bytes) -> dict[str, Any]:
    try:
        with h5py.File(io.BytesIO(data), "r") as file:
            if "proj_xcoord" not in file:
                raise SurfaceRejected("The .h5 has no proj_xcoord, so it is no projection file of loss-landscape's form.")
            columns = [_numbers(file, name) for name in ("proj_xcoord", "proj_ycoord") if name in file]
            if len({len(column) for column in columns}) != 1:
                raise SurfaceRejected("proj_xcoord and proj_ycoord in the .h5 should be of the same length, but are not.")
            found: dict[str, Any] = {"coordinates": np.stack(columns, axis=1).tolist()}
            if isinstance(file.get(_OURS, getlink=True), h5py.HardLink):
                listed = [name for name in (*_LISTS, "explained_variance_ratio") if name in file[_OURS]]
                found |= {name: _numbers(file, f"{_OURS}/{name}").tolist() for name in listed}
                texts = json.loads(str(file[_OURS].attrs.get("texts", "{}")))
                found |= texts if isinstance(texts, dict) else {}
            return found
    except (OSError, KeyError, ValueError, RuntimeError, TypeError, OverflowError, RecursionError) as error:
        reason = (str(error).splitlines() or ["damaged"])[0]
        raise SurfaceRejected(f"The file is not a readable .h5 projection ({reason}).") from None


def _numbers(file: h5py.File, name: str) -> np.ndarray:
    """One row of numbers, which lies in the file itself. Nothing is read before its size is known."""
    item = file[name] if isinstance(file.get(name, getlink=True), h5py.HardLink) else None
    if not isinstance(item, h5py.Dataset) or item.external is not None or item.is_virtual:
        raise SurfaceRejected(f"{name} in the .h5 should be a data set that lies in the file itself.")
    if item.dtype.kind not in "fiu" or item.dtype.itemsize > 8 or item.ndim != 1 or item.size > MOST_CHECKPOINTS:
        raise SurfaceRejected(f"{name} in the .h5 should be one row of at most {MOST_CHECKPOINTS:,} numbers.")
    return np.asarray(item[()], np.float64)


def _from_json(data: bytes) -> dict[str, Any]:
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        found = None
    places = found.get("coordinates") if isinstance(found, dict) and found.get("format") == FORMAT else None
    if not isinstance(places, list) or not all(isinstance(place, list) for place in places):
        raise SurfaceRejected(
            "The file is no projection: expected the .h5 of loss-landscape, or the .h5 or .json of this program."
        )
    return found
