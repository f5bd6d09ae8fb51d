"""A surface as JSON, for programs without numpy.

    {"format": "loss-atlas surface", "version": 1,
     "x": [nx numbers], "y": [ny numbers] or null for a curve,
     "loss": [ny rows of nx], "accuracy": …, "stderr": …, "examples": …, "state": …,
     "states": ["not_computed", "measured", "not_finite", "estimated"],
     "quantities": {"top5": [ny rows of nx], …}, by the names in `landscape_core.quantities`; absent if there are none,
     "request": object or null, "provenance": object}

JSON has neither NaN nor infinity: what is unknown or not finite is null, and `state` says which of the two it is. Numbers
carry as many digits as bring back the same float64. (A standard error that overflowed to infinity comes back as unknown.)
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from landscape_core.errors import SurfaceRejected
from landscape_core.formats.checked import (
    check_volume,
    checked_axis,
    checked_name,
    checked_surface,
    provenance_from,
    request_from,
    without_nan,
)
from landscape_core.formats.csv import STATES
from landscape_core.quantities import ordered
from landscape_core.results import Surface

FORMAT, VERSION = "loss-atlas surface", 1


def dump(surface: Surface) -> bytes:
    """The content of the surface's `.json`, ASCII, the same bytes each time."""
    document = {
        "format": FORMAT,
        "version": VERSION,
        "x": surface.x.tolist(),
        "y": None if surface.y is None else surface.y.tolist(),
        "loss": without_nan(surface.loss.tolist()),
        "accuracy": without_nan(surface.accuracy.tolist()),
        "stderr": without_nan(surface.stderr.tolist()),
        "examples": surface.examples.tolist(),
        "state": surface.state.tolist(),
        "states": STATES,
        **({"quantities": _tables(surface)} if surface.quantities else {}),
        "request": None if surface.request is None else surface.request.model_dump(mode="json"),
        "provenance": without_nan(surface.provenance),
    }
    return (json.dumps(document, separators=(",", ":"), allow_nan=False) + "\n").encode()


def load(data: bytes) -> Surface:
    """The surface in a `.json` as written by `dump`.

    Args:
        data: The file's content.

    Raises:
        SurfaceRejected: If it is no such file, or its parts contradict each other.
    """
    try:
        document = json.loads(data, parse_constant=_no_constant)
        request, provenance = (json.dumps(document.get(name)) for name in ("request", "provenance"))
    except AttributeError:
        raise SurfaceRejected("The JSON is not a surface: it should be an object.") from None
    except (ValueError, RecursionError) as error:
        raise SurfaceRejected(f"The file is not valid JSON ({str(error).splitlines()[0]}).") from None
    if not isinstance(document, dict) or document.get("format") != FORMAT or document.get("version") != VERSION:
        raise SurfaceRejected(f'The JSON is not a surface: "format" should be "{FORMAT}" and "version" {VERSION}.')
    return checked_surface(
        x=checked_axis("x", _numbers(document, "x", 1)),
        y=None if document.get("y") is None else checked_axis("y", _numbers(document, "y", 1)),
        loss=_numbers(document, "loss", 2),
        state=_integers(document, "state", 255).astype(np.uint8),
        accuracy=_numbers(document, "accuracy", 2),
        examples=_integers(document, "examples", 2**63 - 1),
        stderr=_numbers(document, "stderr", 2),
        request=request_from(request),
        provenance=provenance_from(provenance),
        quantities=_quantities(document),
    )


def _tables(surface: Surface) -> dict[str, Any]:
    return {name: without_nan(surface.quantities[name].tolist()) for name in ordered(surface.quantities)}


def _quantities(document: dict[str, Any]) -> dict[str, np.ndarray]:
    tables = document.get("quantities", {})
    if not isinstance(tables, dict):
        raise SurfaceRejected('"quantities" should be an object of names and tables.')
    found = {checked_name(name): _numbers(tables, name, 2) for name in tables}
    check_volume(sum(table.size for table in found.values()))
    return found


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON; use null")


def _rows(document: dict[str, Any], name: str) -> list[list[Any]]:
    rows = document.get(name)
    if not isinstance(rows, list) or not rows or not all(isinstance(row, list) and len(row) == len(rows[0]) for row in rows):
        raise SurfaceRejected(f'"{name}" should be a list of rows of equal length.')
    return rows


def _numbers(document: dict[str, Any], name: str, dimensions: int) -> np.ndarray:
    rows = _rows(document, name) if dimensions == 2 else [document.get(name)]
    if not all(isinstance(row, list) for row in rows):
        raise SurfaceRejected(f'"{name}" should be a list of numbers.')
    if not all(item is None or type(item) in {int, float} for row in rows for item in row or ()):
        raise SurfaceRejected(f'"{name}" should hold numbers, and null for what is unknown.')
    try:
        table = np.array([[np.nan if item is None else float(item) for item in row or ()] for row in rows])
    except OverflowError:
        raise SurfaceRejected(f'"{name}" holds a number that no float64 can hold.') from None
    return table if dimensions == 2 else table[0]


def _integers(document: dict[str, Any], name: str, most: int) -> np.ndarray:
    rows = _rows(document, name)
    if not all(type(item) is int and 0 <= item <= most for row in rows for item in row):
        raise SurfaceRejected(f'"{name}" should hold whole numbers from 0 to {most}.')
    return np.array(rows, dtype=np.int64)
