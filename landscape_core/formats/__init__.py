"""Surfaces as files: the numbers (`.npz`, the original's `.h5`, `.json`, `.csv`), a picture, and shapes for other programs.

    .npz   read, written   lossless, byte-stable, no pickles (see `npz`)
    .h5    read, written   the form of Li et al.'s own code, layout trap and all (see `h5`)
    .json  read, written   for programs without numpy (see `json`)
    .csv   written         one row per cell, for spreadsheets (see `csv`)
    .png   written         a picture, 1200 x 630 (see `png`)
    .vtp   written         PolyData for ParaView, as the original exports it (see `vtp`)
    .stl   written         a closed solid for 3-D printing (see `stl`)
    .glb   written         a coloured 3-D model for slides and the web (see `glb`)

`Z[j, i] = L(x[i], y[j])` in all of them. The last three are `SHAPES`: their heights may be a logarithm, or clipped; the others
hold measurements as they are. A reader gives a `Surface` whose arrays agree, or raises `SurfaceRejected`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from landscape_core.errors import InvalidRequest, SurfaceRejected
from landscape_core.formats import csv, glb, h5, json, npz, stl, vtp
from landscape_core.formats.atomic import write_atomically
from landscape_core.formats.directions import directions_h5
from landscape_core.formats.h5 import Split
from landscape_core.formats.projections import load_projection, principal_values, projection_bytes, save_projection
from landscape_core.results import Surface

__all__ = [
    "MAX_FILE_BYTES",
    "READABLE",
    "SHAPES",
    "WRITABLE",
    "Split",
    "directions_h5",
    "load",
    "load_projection",
    "only",
    "principal_values",
    "projection_bytes",
    "save",
    "save_projection",
    "save_splits",
    "split_paths",
    "to_bytes",
    "write_atomically",
]

MAX_FILE_BYTES = 512 << 20
"""Longest surface file that is read: the largest grid (2001 x 2001) takes 164 MB as `.npz`."""


def _png(surface: Surface) -> bytes:
    from landscape_core.formats.png import render_png  # noqa: PLC0415  matplotlib takes half a second to import

    return render_png(surface)


_WRITERS: dict[str, Callable[[Surface], bytes]] = {
    ".npz": npz.dump,
    ".h5": h5.dump,
    ".csv": csv.dump,
    ".json": json.dump,
    ".png": _png,
}
_SHAPERS: dict[str, Callable[..., bytes]] = {".vtp": vtp.dump, ".stl": stl.dump, ".glb": glb.dump}
_READERS: dict[str, Callable[[bytes], Surface]] = {".npz": npz.load, ".h5": h5.load, ".json": json.load}

SHAPES = tuple(_SHAPERS)
"""Suffixes of the forms that hold a shape, whose heights may be a logarithm, or clipped."""

WRITABLE = (*_WRITERS, *SHAPES)
"""Suffixes that a surface can be written as."""

READABLE = tuple(_READERS)
"""Suffixes that a surface can be read from."""


def to_bytes(surface: Surface, suffix: str, *, log: bool = False, max_loss: float | None = None) -> bytes:
    """The content of a file of this form.

    Args:
        surface: What to write.
        suffix: One of `WRITABLE`, in any case.
        log: Heights are ln(loss + 0.1); for `SHAPES` only.
        max_loss: Higher losses are lowered to this one; for `SHAPES` only.

    Raises:
        InvalidRequest: If the heights are wanted otherwise in a form of measurements, or cannot be made so.
        SurfaceRejected: If there is no such form, or the surface has no shape that it can hold.

    Example:
        >>> x, zeros = np.linspace(0, 1, 3), np.zeros((2, 3))
        >>> n = zeros.astype(np.int64) + 10
        >>> surface = Surface(x, x[:2], zeros + x, np.ones((2, 3), np.uint8), zeros + 50, n, zeros)
        >>> print(to_bytes(surface, ".csv").decode().splitlines()[0])
        x,y,loss,accuracy,stderr,examples,state
        >>> to_bytes(surface, ".npz")[:2]  # a zip archive
        b'PK'
    """
    form = suffix.lower()
    if form in _SHAPERS:
        return _SHAPERS[form](surface, log=log, max_loss=max_loss)
    writer = _WRITERS.get(form)
    if writer is None:
        asked = suffix or "a file without a suffix"
        raise SurfaceRejected(f"A surface is written as {', '.join(WRITABLE)}, not as {asked!r}.")
    if log or max_loss is not None:
        shapes = f"{', '.join(SHAPES[:-1])} and {SHAPES[-1]}"
        raise InvalidRequest(
            f"A {form} holds what was measured: a logarithm and a highest loss are for {shapes}.",
            field="log" if log else "max_loss",
        )
    return writer(surface)


def save(surface: Surface, path: Path, *, log: bool = False, max_loss: float | None = None) -> None:
    """Writes the surface in the form that the path's suffix names; the file is there whole or not at all.

    Args:
        surface: What to write.
        path: Where; an existing file is replaced and keeps its mode, a link is followed.
        log: As for `to_bytes`.
        max_loss: As for `to_bytes`.

    Raises:
        InvalidRequest: As `to_bytes` does.
        SurfaceRejected: As `to_bytes` does.

    Example:
        >>> x, zeros = np.linspace(0, 1, 3), np.zeros((2, 3))
        >>> n = zeros.astype(np.int64) + 10
        >>> surface = Surface(x, x[:2], zeros + x, np.ones((2, 3), np.uint8), zeros + 50, n, zeros)
        >>> save(surface, Path("bowl.json"))
        >>> load(Path("bowl.json")).accuracy[0, 0]
        np.float64(50.0)
    """
    write_atomically(path, to_bytes(surface, path.suffix, log=log, max_loss=max_loss), private=False)


def save_splits(train: Surface, test: Surface, path: Path) -> list[Path]:
    """Writes the train and the test surface of one plane.

    An `.h5` holds both, in the original's form; of the other forms each has a file of its own, NAME.train.SUFFIX and
    NAME.test.SUFFIX.

    Args:
        train: The surface of the train split.
        test: That of the test split, on the same coordinates.
        path: Where; its suffix names the form.

    Returns:
        The files that were written.

    Raises:
        SurfaceRejected: As `to_bytes` does, or if one file is to hold two grids.

    Example:
        >>> x, zeros = np.linspace(0, 1, 3), np.zeros((2, 3))
        >>> n = zeros.astype(np.int64) + 10
        >>> surface = Surface(x, x[:2], zeros + x, np.ones((2, 3), np.uint8), zeros + 50, n, zeros)
        >>> from dataclasses import replace
        >>> test = replace(surface, loss=surface.loss + 1)
        >>> [path.name for path in save_splits(surface, test, Path("both.npz"))]
        ['both.train.npz', 'both.test.npz']
        >>> _ = save_splits(surface, test, Path("both.h5"))
        >>> load("both.h5", split="test").loss[0].tolist()
        [1.0, 1.5, 2.0]
    """
    if path.suffix.lower() == ".h5":
        write_atomically(path, h5.dump_splits(train, test), private=False)
        return [path]
    files = split_paths(path)
    for surface, file in zip((train, test), files, strict=True):
        save(surface, file)
    return files


def split_paths(path: Path) -> list[Path]:
    """The files that `save_splits` writes.

    Args:
        path: As for `save_splits`.

    Example:
        >>> [path.name for path in split_paths(Path("a.csv"))], [path.name for path in split_paths(Path("a.h5"))]
        (['a.train.csv', 'a.test.csv'], ['a.h5'])
    """
    if path.suffix.lower() == ".h5":
        return [path]
    return [path.with_name(f"{path.stem}.{split}{path.suffix}") for split in ("train", "test")]


def load(path: str | Path, split: Split | None = None) -> Surface:
    """Reads a surface in the form that the path's suffix names.

    The `.h5` reader is a C library: read files from strangers in a child process (`reading.inspect_in_child`).

    Args:
        path: The file.
        split: Which split of an `.h5` that holds both; None takes train, or test if there is no train.

    Returns:
        The surface; `loss` and its like (ny, nx).

    Raises:
        SurfaceRejected: If the file is missing, too long, damaged, of another form, or does not hold the split.

    Example:
        >>> x, zeros = np.linspace(0, 1, 3), np.zeros((2, 3))
        >>> n = zeros.astype(np.int64) + 10
        >>> surface = Surface(x, x[:2], zeros + x, np.ones((2, 3), np.uint8), zeros + 50, n, zeros)
        >>> save(surface, Path("bowl.h5"))
        >>> load("bowl.h5").loss.tolist()
        [[0.0, 0.5, 1.0], [0.0, 0.5, 1.0]]
    """
    path = Path(path)
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        found = path.suffix or "a file without a suffix"
        raise SurfaceRejected(f"A surface is read from {', '.join(READABLE)}, not from {found!r}.")
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise SurfaceRejected(f"The file has {path.stat().st_size:,} bytes; a surface file has at most {MAX_FILE_BYTES:,}.")
        data = path.read_bytes()
    except OSError as error:
        raise SurfaceRejected(f"The file cannot be read ({error.strerror or error}).") from None
    return h5.load(data, split) if reader is h5.load else only(reader(data), split)


def only(surface: Surface, split: Split | None) -> Surface:
    """The surface of a file that holds one, if it is that of the split.

    Args:
        surface: As it was read.
        split: The split that is wanted; None takes any.

    Raises:
        SurfaceRejected: If it is known to be that of the other split.

    Example:
        >>> x, zeros = np.linspace(0, 1, 3), np.zeros((2, 3))
        >>> n = zeros.astype(np.int64) + 10
        >>> surface = Surface(x, x[:2], zeros + x, np.ones((2, 3), np.uint8), zeros + 50, n, zeros)
        >>> only(surface, "test") is surface  # it does not say of which split it is
        True
    """
    held = surface.request.data.split if surface.request is not None else None
    if split is not None and held is not None and held != split:
        raise SurfaceRejected(f"The file holds the {held} surface, not the {split} surface.")
    return surface
