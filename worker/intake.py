"""The locked-down inspector: what a worker does with an uploaded file. Loads no torch, and never opens the file itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from landscape_core.reading import inspect_in_child
from landscape_core.reading.report import Kind

CANONICAL_SUFFIXES: dict[Kind, str] = {
    "checkpoint": ".safetensors",
    "dataset": ".npz",
    "directions": ".npz",
    "surface": ".npz",
}
"""Suffix of the form in which a file of each kind is kept."""


def inspect(kind: Kind, path: Path, filename: str, out: Path) -> dict[str, Any]:
    """The report on an uploaded file; its canonical form lies at `out` afterwards. Only that is ever used.

    Args:
        kind: `checkpoint`, `dataset`, `directions` or `surface`.
        path: The raw file, in a place where nobody else writes.
        filename: Its name where it came from; a hint, never a path.
        out: Where the canonical form goes. Untouched if the file is refused.

    Returns:
        What `landscape_core.reading.report` describes, as JSON-able values in the file's order.

    Raises:
        FileRejected: The file cannot be used; the text says why and what to do.
    """
    return inspect_in_child(kind, path, filename, out)
