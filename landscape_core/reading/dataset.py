"""Data sets in `.npz` files: `x` and `y`, and `x_test` and `y_test` if there is a test split. No pickles.

`x` is uint8, (N, H, W, C), (N, H, W) or (N, F): pixels; or float, (N, C, H, W), (N, H, W) or (N, F): as the network takes them.
`y` is integers, (N,): the class of each example, from 0.

Sequences of tokens: `x` is integers of any other type (uint16, int32, int64, …), (N, T): ids from 0. `y`, (N, T), are the
tokens that follow; without it each row is shifted by one, so that its last token is only a label and T - 1 are left.
"""

from __future__ import annotations

import lzma
import zipfile
import zlib
from dataclasses import dataclass
from io import BufferedIOBase
from pathlib import Path

import numpy as np

from landscape_core.catalogue.data import holds_tokens
from landscape_core.errors import DatasetRejected
from landscape_core.reading.limits import Limits
from landscape_core.reading.npz_archive import read_arrays
from landscape_core.reading.zip_archive import BadArchive, EncryptedArchive

DATASET_LIMITS = Limits(growth=20, entries=1_000)
"""Drawings of digits compress fivefold, photographs hardly at all; nothing but zeros a thousandfold."""

MAX_CLASSES = 100_000
MAX_TOKENS = 10_000_000
"""Most tokens of a vocabulary; the largest of today's have a quarter of a million."""

_NAMES = ("x", "y", "x_test", "y_test")


@dataclass(frozen=True)
class DatasetContents:
    """Examples with their classes.

    Attributes:
        x: (N, H, W, C), (N, H, W) or (N, F) uint8, or (N, C, H, W), (N, H, W) or (N, F) float32; tokens are (N, T) int32.
        y: (N,) int64, from 0; of tokens (N, T) int32, those that follow.
        x_test: The same of the test split; None if there is none.
        y_test: Its classes; None if there is none.
        ignored: Names of arrays in the file that are not used.

    Example:
        >>> contents = DatasetContents(np.zeros((5, 8, 8, 3), np.uint8), np.array([0, 1, 2, 1, 0]))
        >>> contents.splits, contents.shape, contents.classes
        ({'train': 5}, (3, 8, 8), 3)
    """

    x: np.ndarray
    y: np.ndarray
    x_test: np.ndarray | None = None
    y_test: np.ndarray | None = None
    ignored: tuple[str, ...] = ()

    @property
    def splits(self) -> dict[str, int]:
        """Name of each split -> how many examples it has."""
        return {"train": len(self.x)} | ({} if self.x_test is None else {"test": len(self.x_test)})

    @property
    def shape(self) -> tuple[int, ...]:
        """(channels, height, width), (features,) or (tokens,) of one example, as the network gets it."""
        inner = self.x.shape[1:]
        if len(inner) == 2:
            return (1, *inner)
        return (inner[2], *inner[:2]) if len(inner) == 3 and self.x.dtype == np.uint8 else inner

    @property
    def classes(self) -> int:
        """One more than the largest class; of tokens, one more than the largest id."""
        ids = (self.x, self.x_test) if holds_tokens(self.x.dtype.name) else ()
        return 1 + max(int(y.max()) for y in (self.y, self.y_test, *ids) if y is not None)


def read_dataset(path: Path, limits: Limits = DATASET_LIMITS) -> DatasetContents:
    """The data set in an `.npz` file.

    Args:
        path: The file.
        limits: Bounds.

    Returns:
        The arrays in the project's own types and orders.

    Raises:
        DatasetRejected: If it is no such file, is damaged, or its arrays are not as described above.

    Example:
        >>> np.savez("mine.npz", x=np.zeros((5, 2)), y=np.array([0, 1, 0, 1, 1]))
        >>> read_dataset(Path("mine.npz")).x.dtype
        dtype('float32')
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            arrays, ignored = _arrays(file, size, limits)
    except EncryptedArchive as error:
        raise DatasetRejected(str(error)) from None
    except BadArchive as error:
        raise _damaged(str(error)) from None
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError, ValueError) as error:
        raise _damaged(str(error)[:80] or type(error).__name__) from None
    except MemoryError:
        raise DatasetRejected("The .npz asks for more memory than there is; upload fewer examples.") from None
    except OSError as error:
        raise DatasetRejected(f"The file cannot be read ({error.strerror or error}).") from None
    _check_names(arrays)
    x, y = _split(arrays, "x", "y")
    if "x_test" not in arrays:
        return DatasetContents(x, y, ignored=ignored)
    x_test, y_test = _split(arrays, "x_test", "y_test")
    if x_test.shape[1:] != x.shape[1:] or x_test.dtype != x.dtype:
        found, expected = f"{x_test.shape[1:]} of {x_test.dtype}", f"{x.shape[1:]} of {x.dtype}"
        raise DatasetRejected(f"x_test should be like x, but its examples are {found} where those of x are {expected}.")
    return DatasetContents(x, y, x_test, y_test, ignored)


def write_dataset(contents: DatasetContents, path: Path) -> None:
    """Writes the canonical form: an uncompressed `.npz`.

    Args:
        contents: From `read_dataset`.
        path: Where; an existing file is replaced.

    Example:
        >>> contents = DatasetContents(np.zeros((5, 2), np.float32), np.array([0, 1, 0, 1, 1]))
        >>> write_dataset(contents, Path("mine.npz"))
        >>> read_dataset(Path("mine.npz")).y.tolist()
        [0, 1, 0, 1, 1]
    """
    arrays = {name: getattr(contents, name) for name in _NAMES if getattr(contents, name) is not None}
    with path.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)


def _arrays(file: BufferedIOBase, size: int, limits: Limits) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    head = file.read(4)
    if size == 0:
        raise DatasetRejected("The file is empty: the download or the upload may have failed; try it again.")
    if not head.startswith(b"PK"):
        raise DatasetRejected("The file is not an .npz; write the data set with numpy.savez('data.npz', x=images, y=labels).")
    return read_arrays(file, size, limits, _NAMES)


def _check_names(arrays: dict[str, np.ndarray]) -> None:
    if "x" in arrays and "y" not in arrays and "y_test" not in arrays and holds_tokens(arrays["x"].dtype.name):
        return
    missing = [name for name in ("x", "y") if name not in arrays]
    if missing:
        raise DatasetRejected(
            f"The .npz lacks {' and '.join(missing)}; write it with numpy.savez('data.npz', x=images, y=labels)."
        )
    if ("x_test" in arrays) != ("y_test" in arrays):
        raise DatasetRejected("The .npz has only one of x_test and y_test; give both, or neither.")


def _split(arrays: dict[str, np.ndarray], x: str, y: str) -> tuple[np.ndarray, np.ndarray]:
    """The checked examples and labels of one split."""
    if not holds_tokens(arrays[x].dtype.name):
        return _examples(x, arrays[x]), _labels(y, arrays[y], arrays[x])
    tokens = _tokens(x, arrays[x])
    if y not in arrays:
        if tokens.shape[1] < 2:
            raise DatasetRejected(
                f"{x} has sequences of 1 token, so none follows; give longer ones, or the tokens {y} that follow."
            )
        return np.ascontiguousarray(tokens[:, :-1]), np.ascontiguousarray(tokens[:, 1:])
    if arrays[y].shape != tokens.shape or not holds_tokens(arrays[y].dtype.name):
        raise DatasetRejected(
            f"{y} should hold the token that follows each of {x}, {tokens.shape} of whole numbers other than uint8, but is "
            f"{arrays[y].shape} of {arrays[y].dtype}; leave {y} out to have {x} shifted by one."
        )
    return tokens, _tokens(y, arrays[y])


def _tokens(name: str, ids: np.ndarray) -> np.ndarray:
    if ids.ndim != 2:
        raise DatasetRejected(
            f"{name} of {ids.dtype} should be token ids of the shape (N, T), but has {ids.shape}; pixels are of uint8."
        )
    if ids.size == 0:
        raise DatasetRejected(f"{name} should hold token ids, but is empty (shape {ids.shape}).")
    least, most = int(ids.min()), int(ids.max())
    if least < 0 or most >= MAX_TOKENS:
        raise DatasetRejected(
            f"{name} should hold token ids from 0 to {MAX_TOKENS - 1:,}, but holds {least if least < 0 else most:,}; "
            "padding cannot be left out of the loss, so cut the text into sequences of one length."
        )
    return ids.astype(np.int32)


def _examples(name: str, x: np.ndarray) -> np.ndarray:
    if x.size == 0:
        raise DatasetRejected(f"{name} should hold examples, but is empty (shape {x.shape}).")
    if x.dtype != np.uint8 and x.dtype.kind != "f":
        raise DatasetRejected(
            f"{name} should be uint8 (pixels), float (as the network takes them) or int (tokens), but is {x.dtype}."
        )
    if x.ndim not in {2, 3, 4}:
        last = "(N, H, W, C)" if x.dtype == np.uint8 else "(N, C, H, W)"
        raise DatasetRejected(f"{name} should have the shape {last}, (N, H, W) or (N, F), but has {x.shape}.")
    if x.dtype == np.uint8:
        if x.ndim == 4 and x.shape[1] in {1, 3} and x.shape[3] > 4:
            raise DatasetRejected(
                f"{name} of uint8 should have its channels last, (N, H, W, C), but has the shape {x.shape}; "
                f"use numpy.moveaxis({name}, 1, -1)."
            )
        return x
    with np.errstate(over="ignore"):
        values = x.astype(np.float32)
    bad = int(values.size - np.isfinite(values).sum())
    if bad:
        raise DatasetRejected(f"{name} holds {bad:,} values that are not finite float32 numbers; remove or replace them.")
    return values


def _labels(name: str, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    if y.shape == x.shape and x.ndim == 2:
        raise DatasetRejected(
            f"{name} has the shape of x, {y.shape}, as tokens have, but x is {x.dtype}, which is not read as token ids; "
            "save them as uint16, int32 or int64."
        )
    if y.shape != x.shape[:1]:
        raise DatasetRejected(f"{name} should have one class for each of the {len(x):,} examples, but has the shape {y.shape}.")
    if y.dtype.kind not in "iu":
        raise DatasetRejected(f"{name} should hold whole numbers (the class of each example), but holds {y.dtype}.")
    least, most = int(y.min()), int(y.max())
    if least < 0 or most >= MAX_CLASSES:
        raise DatasetRejected(f"{name} should hold classes from 0 to {MAX_CLASSES - 1:,}, but holds {least} to {most}.")
    return y.astype(np.int64)


def _damaged(what: str) -> DatasetRejected:
    return DatasetRejected(f"The .npz cannot be read: {what}; write it with numpy.savez('data.npz', x=images, y=labels).")
