"""What every surface file must keep to, whatever its form: the one gate through which all readers build a `Surface`."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
from pydantic import ValidationError

from landscape_core.errors import SurfaceRejected
from landscape_core.quantities import MAX_CLASSES, is_stored, ordered, quantity, stored_names
from landscape_core.requests import MAX_POINTS, SurfaceRequest
from landscape_core.results import ESTIMATED, MEASURED, NOT_COMPUTED, Surface

MAX_AXIS = 2001
"""Most coordinates on one axis of a surface that is read; more than can be requested, since others compute too."""

MAX_TEXT = 4 << 20
"""Most characters of a request or provenance that are read."""

MAX_QUANTITY_VALUES = (MAX_CLASSES + 3) * MAX_POINTS**2
"""Most numbers in all quantities of a surface that is read: all that there are, over the largest grid that can be requested."""


def checked_name(name: str) -> str:
    """The name of a quantity that may be stored.

    Args:
        name: As read.

    Raises:
        SurfaceRejected: If there is no such quantity, or it follows from others and is never stored.
    """
    if not is_stored(name):
        raise SurfaceRejected(f"The file holds a quantity {name[:40]!r}, but no surface stores that; {stored_names()}.")
    return name


def check_volume(numbers: int) -> None:
    """Passes when a file's quantities are not too many to be read.

    Args:
        numbers: How many numbers there are in all of them.

    Raises:
        SurfaceRejected: If there are too many.
    """
    if numbers > MAX_QUANTITY_VALUES:
        raise SurfaceRejected(f"The quantities in the file hold {numbers:,} numbers; at most {MAX_QUANTITY_VALUES:,} are read.")


def checked_axis(name: str, values: np.ndarray) -> np.ndarray:
    """Coordinates as float64, (points,), which are finite and ascend.

    Args:
        name: What the file calls them, for the message.
        values: As read.

    Raises:
        SurfaceRejected: If they are not.
    """
    if values.ndim != 1 or not 1 <= values.size <= MAX_AXIS:
        raise SurfaceRejected(f"{name} should be one row of 1 to {MAX_AXIS} coordinates, but has the shape {values.shape}.")
    if values.dtype.kind not in "fiu":
        raise SurfaceRejected(f"{name} should hold numbers, but holds {values.dtype}.")
    axis = values.astype(np.float64)
    if not np.isfinite(axis).all():
        raise SurfaceRejected(f"{name} should be finite, but holds NaN or infinite coordinates.")
    if not (axis[1:] > axis[:-1]).all():
        raise SurfaceRejected(f"{name} should ascend, but they do not; write the file with ascending coordinates.")
    return axis


def checked_surface(
    x: np.ndarray,
    y: np.ndarray | None,
    *,
    request: SurfaceRequest | None,
    provenance: dict[str, Any],
    quantities: dict[str, np.ndarray] | None = None,
    **cells: np.ndarray,
) -> Surface:
    """The surface of these parts, known to be in order.

    Args:
        x: From `checked_axis`.
        y: From `checked_axis`; None for a curve.
        request: From `request_from`.
        provenance: From `provenance_from`.
        quantities: By names from `checked_name`, each (ny, nx) float64.
        cells: `loss`, `state`, `accuracy`, `examples` and `stderr`, each (ny, nx) of the dtype that `Surface` names.

    Raises:
        SurfaceRejected: If shapes differ, a state is unknown or disagrees with the values, an accuracy is no percentage, a
            quantity is neither finite nor unknown or is known where nothing was computed, or the request asks for other
            coordinates.
    """
    shape = (1 if y is None else y.size, x.size)
    more = {name: (quantities or {})[name] for name in ordered(quantities or {})}
    for name, array in {**cells, **more}.items():
        if array.shape != shape:
            raise SurfaceRejected(f"{name} should have the shape {shape} of the axes, but has {array.shape}.")
    surface = Surface(x=x, y=y, request=request, provenance=provenance, quantities=more, **cells)
    _check_cells(surface)
    _check_quantities(surface)
    _check_grid(surface)
    return surface


def _check_cells(surface: Surface) -> None:
    if (surface.state > ESTIMATED).any():
        raise SurfaceRejected(f"state should be 0 to {ESTIMATED} at every cell, but {int(surface.state.max())} occurs.")
    valued = (surface.state == MEASURED) | (surface.state == ESTIMATED)
    if not (np.isfinite(surface.loss) == valued).all():
        raise SurfaceRejected("loss and state contradict each other: a loss is finite exactly where state is 1 or 3.")
    if np.isinf(surface.accuracy).any() or (surface.accuracy < 0).any() or (surface.accuracy > 100 + 1e-6).any():
        raise SurfaceRejected("accuracy should be a percentage from 0 to 100, but other values occur.")
    hole = surface.state == NOT_COMPUTED
    if np.isfinite(surface.accuracy[hole]).any() or surface.examples[hole].any():
        raise SurfaceRejected("A cell that was not computed should have no accuracy and no examples, but some have.")
    if (surface.examples < 0).any() or (surface.stderr < 0).any():
        raise SurfaceRejected("examples and stderr should not be negative, but negative values occur.")


def _check_quantities(surface: Surface) -> None:
    hole = surface.state == NOT_COMPUTED
    for name, table in surface.quantities.items():
        if np.isinf(table).any():
            raise SurfaceRejected(f"{name} should be finite, and NaN where it is unknown, but infinite values occur.")
        if quantity(name).is_percentage and ((table < 0).any() or (table > 100 + 1e-6).any()):
            raise SurfaceRejected(f"{name} should be a percentage from 0 to 100, but other values occur.")
        if np.isfinite(table[hole]).any():
            raise SurfaceRejected(f"A cell that was not computed should have no {name}, but some have.")


def _check_grid(surface: Surface) -> None:
    if surface.request is None:
        return
    grid = surface.request.grid
    for name, axis, values in (("x", grid.x, surface.x), ("y", grid.y, surface.y)):
        if (axis is None) != (values is None):
            raise SurfaceRejected(f"The request and the file disagree about whether there is a second axis ({name}).")
        if axis is None or values is None:
            continue
        if axis.points != values.size or not np.allclose(axis.coordinates, values, rtol=1e-9, atol=1e-12):
            raise SurfaceRejected(f"The request asks for other {name} coordinates than the file holds.")


def request_from(text: str) -> SurfaceRequest | None:
    """The request in a file's JSON text; None for an empty text or `null`.

    Args:
        text: As read.

    Raises:
        SurfaceRejected: If it is not a request that this version knows.
    """
    if text in {"", "null"}:
        return None
    if len(text) > MAX_TEXT:
        raise SurfaceRejected(f"The request in the file has {len(text):,} characters; at most {MAX_TEXT:,} are read.")
    try:
        return SurfaceRequest.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "its JSON"
        reason = f"{where}: {first['msg']}"
        raise SurfaceRejected(f"The request in the file is not one that this version knows ({reason}).") from None


def provenance_from(text: str) -> dict[str, Any]:
    """The provenance in a file's JSON text; empty for an empty text or `null`.

    Args:
        text: As read.

    Raises:
        SurfaceRejected: If it is not a JSON object.
    """
    if text in {"", "null"}:
        return {}
    if len(text) > MAX_TEXT:
        raise SurfaceRejected(f"The provenance in the file has {len(text):,} characters; at most {MAX_TEXT:,} are read.")
    try:
        value = without_nan(json.loads(text))
    except (ValueError, RecursionError):
        raise SurfaceRejected("The provenance in the file is not valid JSON.") from None
    if not isinstance(value, dict):
        raise SurfaceRejected("The provenance in the file should be a JSON object, but is something else.")
    return value


def request_text(surface: Surface) -> str:
    """The request as canonical JSON, `null` if there is none. ASCII only."""
    return "null" if surface.request is None else surface.request.canonical_json()


def provenance_text(surface: Surface) -> str:
    """The provenance as JSON with sorted keys. ASCII only; NaN and infinities, which JSON does not have, become null."""
    return json.dumps(without_nan(surface.provenance), sort_keys=True, separators=(",", ":"), allow_nan=False)


def without_nan(value: Any) -> Any:
    """The same JSON-able value; floats that are not finite become null, and lone surrogates, which no text can hold, "?"."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {without_nan(str(key)): without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(item) for item in value]
    return value
