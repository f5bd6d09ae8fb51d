"""Surface files from strangers: the original's `.h5`, our `.npz` or `.json`, by content; read by `landscape_core.formats`."""

from __future__ import annotations

from pathlib import Path

from landscape_core.errors import SurfaceRejected
from landscape_core.formats import MAX_FILE_BYTES, Split, h5, json, npz, only
from landscape_core.results import Surface


def read_surface(path: Path, split: Split | None = None) -> Surface:
    """The surface in a file, whose content says which form it has; `read_splits` without the splits.

    Args:
        path: The file.
        split: As for `read_splits`.

    Returns:
        The surface; `loss` and its like (ny, nx).

    Raises:
        SurfaceRejected: As `read_splits` does.

    Example:
        >>> x, one = np.linspace(0, 1, 2), np.ones((1, 2))
        >>> Surface(x, None, one, one.astype(np.uint8), one, one.astype(np.int64), one).save("curve.npz")
        >>> Path("curve.npz").rename("upload.bin").name  # what it is called does not matter
        'upload.bin'
        >>> read_surface(Path("upload.bin")).loss.tolist()
        [[1.0, 1.0]]
    """
    return read_splits(path, split)[0]


def read_splits(path: Path, split: Split | None = None) -> tuple[Surface, tuple[Split, ...]]:
    """The surface in a file, and all splits that the file holds: two of an `.h5` with both, else none is told.

    Args:
        path: The file.
        split: Which split of an `.h5` that holds both; None takes train, or test if there is no train.

    Returns:
        The surface, `loss` and its like (ny, nx); and the splits.

    Raises:
        SurfaceRejected: If it is no surface file, is damaged or too long, or does not hold the split.
    """
    try:
        size = path.stat().st_size
        if size == 0:
            raise SurfaceRejected("The file is empty: the download or the upload may have failed; try it again.")
        if size > MAX_FILE_BYTES:
            raise SurfaceRejected(f"The file has {size:,} bytes; a surface file has at most {MAX_FILE_BYTES:,}.")
        data = path.read_bytes()
    except OSError as error:
        raise SurfaceRejected(f"The file cannot be read ({error.strerror or error}).") from None
    if data.startswith(b"\x89HDF\r\n\x1a\n"):
        return h5.load(data, split), h5.splits(data)
    if data.startswith(b"PK"):
        return only(npz.load(data), split), ()
    if data.lstrip()[:1] == b"{":
        return only(json.load(data), split), ()
    raise SurfaceRejected(
        "The file is no surface file: expected the .npz or .json of this program, or the .h5 of loss-landscape."
    )
