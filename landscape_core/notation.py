"""Grids as they are written, on the command line and in Python: `-1:1:51x-1:1:51`."""

from __future__ import annotations

import math

from pydantic import ValidationError

from landscape_core.errors import InvalidRequest
from landscape_core.requests import MAX_POINTS, Axis, Grid


def written_axes(text: str) -> list[str]:
    """The axes of a written grid, not yet read: what stands between its `x` or `×`."""
    return text.replace("×", "x").split("x")


def parse_grid(text: str) -> Grid:
    """The grid of `-1:1:51x-1:1:51`, or of `-1:1:51` for a curve.

    Args:
        text: start:stop:points, twice for a surface, with an x between.

    Raises:
        InvalidRequest: If it cannot be read so.

    Example:
        >>> parse_grid("-1:1:51x0:2:5").shape
        (5, 51)
    """
    parts = written_axes(text)
    if len(parts) > 2:
        raise InvalidRequest(
            f"A grid has one axis, as in -1:1:51, or two, as in -1:1:51x-1:1:51, but {text!r} came.", field="grid"
        )
    x, *rest = (_axis(part, name) for part, name in zip(parts, "xy", strict=False))
    return Grid(x=x, y=rest[0] if rest else None)


def _axis(text: str, name: str) -> Axis:
    numbers = text.split(":")
    if len(numbers) != 3:
        raise InvalidRequest(
            f"An axis is start:stop:points, as in -1:1:51, but {text!r} came for {name}.", field=f"grid.{name}"
        )
    start, stop = (_coordinate(number, name) for number in numbers[:2])
    try:
        points = int(numbers[2])
    except ValueError:
        raise InvalidRequest(
            f"The number of points along {name} should be a whole number from 1 to {MAX_POINTS}, but {numbers[2]!r} came.",
            field=f"grid.{name}.points",
        ) from None
    if not 1 <= points <= MAX_POINTS:
        raise InvalidRequest(
            f"The number of points along {name} should be from 1 to {MAX_POINTS}, but {points:,} came.",
            field=f"grid.{name}.points",
        )
    if points > 1 and not start < stop:
        raise InvalidRequest(
            f"The {name} axis should start below where it stops, but {start:g} is not below {stop:g}.", field=f"grid.{name}"
        )
    try:
        return Axis(start=start, stop=stop, points=points)
    except ValidationError as error:
        reason = error.errors(include_url=False)[0]["msg"].removeprefix("Value error, ")
        raise InvalidRequest(f"The {name} axis cannot be used: {reason}.", field=f"grid.{name}") from None


def _coordinate(text: str, name: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise InvalidRequest(f"The {name} axis needs numbers, but {text!r} came.", field=f"grid.{name}") from None
    if not math.isfinite(value) or abs(value) > 1e6:
        raise InvalidRequest(f"The {name} axis needs numbers between -1e6 and 1e6, but {text} came.", field=f"grid.{name}")
    return value
