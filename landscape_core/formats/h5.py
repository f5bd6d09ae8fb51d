"""The files of Li et al.'s own code (tomgoldstein/loss-landscape: plot_surface.py, net_plotter.py, h5_util.py).

A surface file holds at its root `dir_file`, `xcoordinates` (nx,), `ycoordinates` (ny,; absent for a curve), `train_loss` and
`train_acc` (percent), or `test_loss` and `test_acc`; -1 marks what was not computed.

The layout trap: these arrays are *allocated* (nx, ny) but *filled* by flat index over (ny, nx). Only
`f["train_loss"][:].ravel().reshape(ny, nx)` gives `Z[j, i] = L(x[i], y[j])`. For nx = ny this changes nothing. We write
the same trap, so that the original's code and ours read the same surface from either's files.

A file may hold both splits of one plane, as the original's `plot_surface` with test data writes them: `load` gives the train
surface unless told otherwise, `dump_splits` writes both.

Eigenvalues of the Hessian stand at the root as `max_eig` and `min_eig`, as the original has them (plot_hessian_eigen.py), in
the same layout; -1 marks there too what was not computed, though an eigenvalue may be -1. They are the first split's.

What the original has no place for (state, examples, standard errors, and as `quantity_…` all that is known beside, eigenvalues
included) goes into a group `loss_atlas`, as honest (ny, nx) tables with NaN where unknown, and `request` and `provenance` into
root attributes (for a second split in the file `loss_atlas_test`, `test_request` and `test_provenance`); the original's code
looks at neither. The original's arrays are the record: where they were changed since (its code fills in what is missing, in
place), `loss_atlas` is not believed.

Decided: a loss of -1 means "not computed" if the accuracy is -1 too or absent. With an accuracy from 0 to 100 it is a
measurement: `nll` and other losses may be negative. A loss that is not finite is a measurement that is not finite. An
eigenvalue of -1 is one only if our own table says so too. Eigenvalues at cells without a loss are left out.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any, Literal, get_args

import h5py
import numpy as np

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
from landscape_core.quantities import ordered
from landscape_core.results import ESTIMATED, MEASURED, NOT_COMPUTED, NOT_FINITE, Surface

Split = Literal["train", "test"]

_OURS = "loss_atlas"
_QUANTITY = "quantity_"
_EIGENVALUES = ("max_eig", "min_eig")
"""Quantities that the original's files have at their root."""


def dump(surface: Surface) -> bytes:
    """The content of a surface file in the original's form."""
    return _dump([(_split(surface), surface)])


def dump_splits(train: Surface, test: Surface) -> bytes:
    """The content of a file in the original's form that holds both splits of one plane.

    Args:
        train: The surface of the train split.
        test: That of the test split, on the same coordinates.

    Raises:
        SurfaceRejected: If they do not lie on the same coordinates.
    """
    same = (train.y is None) == (test.y is None) and np.array_equal(train.x, test.x)
    if not same or (train.y is not None and test.y is not None and not np.array_equal(train.y, test.y)):
        raise SurfaceRejected("One .h5 holds the train and the test surface of one grid, but their coordinates differ.")
    return _dump([("train", train), ("test", test)])


def _dump(splits: Sequence[tuple[str, Surface]]) -> bytes:
    buffer = io.BytesIO()
    first = splits[0][1]
    with h5py.File(buffer, "w") as file:
        file["dir_file"] = _dir_file(first)
        file["xcoordinates"] = first.x
        if first.y is not None:
            file["ycoordinates"] = first.y
        for split, surface in splits:
            _put(file, split, surface, alone=surface is first)
    return buffer.getvalue()


def _put(file: h5py.File, split: str, surface: Surface, *, alone: bool) -> None:
    """Writes one split's values; what is ours stands under plain names for the first split of a file."""
    shape = (surface.x.size,) if surface.y is None else (surface.x.size, surface.y.size)
    hole = surface.state == NOT_COMPUTED
    unknown = hole | np.isnan(surface.accuracy)
    file[f"{split}_loss"] = np.where(hole, -1.0, surface.loss).reshape(shape)
    file[f"{split}_acc"] = np.where(unknown, -1.0, surface.accuracy).reshape(shape)
    ours = file.create_group(_OURS if alone else f"{_OURS}_{split}")
    for name in ("state", "examples", "stderr", "loss"):
        ours[name] = getattr(surface, name)
    for name in ordered(surface.quantities):
        table = surface.quantities[name]
        ours[f"{_QUANTITY}{name}"] = table
        if name in _EIGENVALUES and alone:
            file[name] = np.where(np.isnan(table), -1.0, table).reshape(shape)
    before = "" if alone else f"{split}_"
    file.attrs[f"{before}request"] = request_text(surface)
    file.attrs[f"{before}provenance"] = provenance_text(surface)


def load(data: bytes, split: Split | None = None) -> Surface:
    """The surface in a file of the original's form, ours or theirs, whole or half done.

    Args:
        data: The file's content.
        split: Which of its splits; None takes train, or test if there is no train.

    Raises:
        SurfaceRejected: If it is no such file, is damaged, its parts contradict each other, or it does not hold the split.
    """
    try:
        with h5py.File(io.BytesIO(data), "r") as file:
            return _read(file, split)
    except (OSError, KeyError, ValueError, RuntimeError, TypeError, OverflowError) as error:
        reason = str(error.args[0] if error.args else error).splitlines()
        raise SurfaceRejected(f"The file is not a readable .h5 surface ({reason[0] if reason else 'damaged'}).") from None


def splits(data: bytes) -> tuple[Split, ...]:
    """The splits that a file of the original's form holds, train before test; those that cannot be read count too.

    Args:
        data: The content of a file that `load` takes.
    """
    with h5py.File(io.BytesIO(data), "r") as file:
        return _held(file)


def _held(file: h5py.File) -> tuple[Split, ...]:
    return tuple(name for name in get_args(Split) if f"{name}_loss" in file)


def _read(file: h5py.File, wanted: Split | None) -> Surface:
    if "xcoordinates" not in file:
        what = "a direction file, not a surface" if "xdirection" in file else "no surface file of loss-landscape's form"
        raise SurfaceRejected(f"The .h5 has no xcoordinates: it is {what}.")
    x = checked_axis("xcoordinates", _values(file, "xcoordinates", None))
    y = checked_axis("ycoordinates", _values(file, "ycoordinates", None)) if "ycoordinates" in file else None
    shape = (1 if y is None else y.size, x.size)
    split, first = _which(file, wanted)
    loss, accuracy = _values(file, f"{split}_loss", shape), _accuracy(file, split, shape)
    hole = (loss == -1) & np.isnan(accuracy)
    state = np.where(hole, NOT_COMPUTED, np.where(np.isfinite(loss), MEASURED, NOT_FINITE)).astype(np.uint8)
    examples, stderr, more = np.zeros(shape, np.int64), np.full(shape, np.nan), {}
    ours, before = (_OURS, "") if first else (f"{_OURS}_{split}", f"{split}_")
    if ours in file:
        state, examples, stderr, same = _details(file, ours, state, loss)
        more = _quantities(file, ours, same)
    eigenvalues = _eigenvalues(file, shape, more) if first else {}
    more = {name: np.where(state == NOT_COMPUTED, np.nan, table) for name, table in (more | eigenvalues).items()}
    text = _text(file.attrs.get(f"{before}provenance", ""))
    return checked_surface(
        x=x,
        y=y,
        loss=np.where((state == MEASURED) | (state == ESTIMATED), loss, np.nan),
        state=state,
        accuracy=accuracy,
        examples=examples,
        stderr=stderr,
        request=request_from(_text(file.attrs.get(f"{before}request", ""))),
        provenance=provenance_from(text) if text else _their_provenance(file, split),
        quantities=more,
    )


def _accuracy(file: h5py.File, split: str, shape: tuple[int, int]) -> np.ndarray:
    raw = _values(file, f"{split}_acc", shape) if f"{split}_acc" in file else np.full(shape, -1.0)
    return np.where(raw == -1, np.nan, raw)


def _which(file: h5py.File, wanted: Split | None) -> tuple[str, bool]:
    """The split that is read, and whether it is the file's first.

    Raises:
        SurfaceRejected: If the file does not hold it.
    """
    held = _held(file)
    if not held:
        raise SurfaceRejected(
            "The .h5 holds neither train_loss nor test_loss, so it is no surface file of loss-landscape's form."
        )
    if wanted is not None and wanted not in held:
        raise SurfaceRejected(f"The .h5 holds no {wanted}_loss, only {held[0]}_loss.")
    split = wanted or held[0]
    return split, split == held[0]


def _details(
    file: h5py.File, ours: str, state: np.ndarray, loss: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """State, examples and stderr of our group where the original's arrays still say the same, and where that is.

    A measured loss of -1 of unknown accuracy looks like a hole in the original's arrays; here it is known to be none.
    """
    stored = _values(file, f"{ours}/state", None)
    examples = _values(file, f"{ours}/examples", None)
    stderr = _values(file, f"{ours}/stderr", None)
    written = _values(file, f"{ours}/loss", None) if f"{ours}/loss" in file else loss
    if {stored.shape, examples.shape, stderr.shape, written.shape} != {state.shape}:
        raise SurfaceRejected(f"The tables in {ours} should have the shape {state.shape} of the axes, but do not.")
    valued = (stored == MEASURED) | (stored == ESTIMATED)
    same = (stored == state) | (valued & (state != NOT_FINITE))
    same &= ~valued | (written == loss)  # a measured value that was changed since has neither examples nor error bars of ours
    return (
        np.where(same, stored, state).astype(np.uint8),
        np.where(same, examples, 0).astype(np.int64),
        np.where(same & (stored != NOT_COMPUTED), stderr, np.nan),
        same,
    )


def _quantities(file: h5py.File, ours: str, same: np.ndarray) -> dict[str, np.ndarray]:
    """The quantities in our group, at the cells where the original's arrays still say the same."""
    group = file[ours]
    names = [name for name in group if name.startswith(_QUANTITY)] if isinstance(group, h5py.Group) else []
    check_volume(len(names) * same.size)
    found = {}
    for name in names:
        table = _values(file, f"{ours}/{name}", None)
        if table.shape != same.shape:
            raise SurfaceRejected(f"The tables in {ours} should have the shape {same.shape} of the axes, but do not.")
        found[checked_name(name.removeprefix(_QUANTITY))] = np.where(same, table, np.nan).astype(np.float64)
    return found


def _eigenvalues(file: h5py.File, shape: tuple[int, int], ours: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The eigenvalues at the file's root. -1 is not computed, except where our own table has an eigenvalue of -1."""
    found = {}
    for name in _EIGENVALUES:
        if name in file:
            raw = _values(file, name, shape)
            known = np.isfinite(raw) & ((raw != -1) | (ours.get(name, np.nan) == -1))
            if known.any() or name in ours:
                found[name] = np.where(known, raw, np.nan)
    return found


def _values(file: h5py.File, name: str, shape: tuple[int, int] | None) -> np.ndarray:
    """A data set's numbers, undoing the layout trap if a shape (ny, nx) is given. Nothing is read before its size is known."""
    item = file[name] if isinstance(file.get(name, getlink=True), h5py.HardLink) else None
    if not isinstance(item, h5py.Dataset) or item.external is not None or item.is_virtual:
        raise SurfaceRejected(f"{name} in the .h5 should be a data set that lies in the file itself.")
    if item.dtype.kind not in "fiu" or item.dtype.itemsize > 8 or item.size is None:
        raise SurfaceRejected(f"{name} in the .h5 should hold numbers, but holds {item.dtype}.")
    if shape is None:
        if item.size > MAX_AXIS**2:
            raise SurfaceRejected(f"{name} in the .h5 holds {item.size:,} values, more than any surface that is read.")
        return np.asarray(item[()])
    if item.size != shape[0] * shape[1]:
        raise SurfaceRejected(f"{name} in the .h5 should hold {shape[1]} x {shape[0]} values, but has the shape {item.shape}.")
    return np.asarray(item[()], dtype=np.float64).ravel().reshape(shape)


def _text(value: Any) -> str:
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
    if not isinstance(text, str):
        raise SurfaceRejected("request and provenance in the .h5 should be JSON texts, but are something else.")
    return text


def _their_provenance(file: h5py.File, split: str) -> dict[str, Any]:
    item = file["dir_file"] if isinstance(file.get("dir_file", getlink=True), h5py.HardLink) else None
    text = ""
    if isinstance(item, h5py.Dataset) and item.shape == () and h5py.check_string_dtype(item.dtype) and item.external is None:
        text = _text(item[()])[: MAX_TEXT >> 10]
    source: dict[str, Any] = {"format": "loss-landscape .h5", "split": split, "dir_file": text}
    if also := [name for name in ("train", "test") if name != split and f"{name}_loss" in file]:
        source["also_in_file"] = also
    return {"source": source}


def _source(surface: Surface) -> dict[str, Any]:
    source = surface.provenance.get("source")
    return source if isinstance(source, dict) else {}


def _split(surface: Surface) -> str:
    if surface.request is not None:
        return surface.request.data.split
    return "test" if _source(surface).get("split") == "test" else "train"


def _dir_file(surface: Surface) -> str:
    if surface.request is not None:
        return f"{surface.request.digest}.directions.h5"
    text = str(_source(surface).get("dir_file", ""))
    return "".join(character if character.isprintable() else "?" for character in text)  # HDF5 takes no NUL, no surrogates
