"""What is typed, as parts of a request. Each refusal is one sentence that says what was expected and what came."""

from __future__ import annotations

import math
from pathlib import Path

from landscape_core import notation
from landscape_core.errors import InvalidRequest
from landscape_core.requests import Grid, RandomDirection, Standardisation

DIRECTION_KINDS = "random:SEED or file:DIRECTIONS.h5"


def parse_grid(text: str, *, curve: bool) -> Grid:
    """The grid of `-1:1:51x-1:1:51`, or of `-1:1:51` for a curve.

    Args:
        text: start:stop:points, twice for a surface, with an x between.
        curve: Whether one axis is wanted.

    Raises:
        InvalidRequest: If it cannot be read so.
    """
    if len(notation.written_axes(text)) != (1 if curve else 2):
        wanted = "one axis for a curve, as in -1:1:51" if curve else "two axes, as in -1:1:51x-1:1:51 (or add --curve for one)"
        raise InvalidRequest(f"--grid takes {wanted}, but {text!r} came.", field="grid")
    return notation.parse_grid(text)


def parse_direction(text: str, option: str) -> RandomDirection | Path:
    """A random direction, or the path of a direction file.

    Args:
        text: `random:SEED` or `file:PATH`.
        option: `--x` or `--y`, for the message.

    Raises:
        InvalidRequest: If it is of another kind.
    """
    kind, colon, rest = text.partition(":")
    if kind == "file" and rest:
        return Path(rest)
    if kind != "random" or not colon:
        raise InvalidRequest(f"{option} takes {DIRECTION_KINDS}, but {text!r} came.", field=f"plane.{option[2:]}")
    try:
        seed = int(rest)
    except ValueError:
        seed = -1
    if not 0 <= seed < 2**63:
        raise InvalidRequest(
            f"{option} random:SEED needs a whole number from 0 to 2^63-1, but {rest!r} came.", field=f"plane.{option[2:]}.seed"
        )
    return RandomDirection(seed=seed)


def parse_standardisation(mean: str | None, std: str | None) -> Standardisation | None:
    """Mean and standard deviation by channel from comma lists; None if neither was given.

    Args:
        mean: As in `0.49,0.48,0.45`, in units of pixel values scaled to [0, 1].
        std: The same, positive.

    Raises:
        InvalidRequest: If only one is given, their lengths differ, or they hold anything but numbers.
    """
    if mean is None and std is None:
        return None
    if mean is None or std is None:
        raise InvalidRequest("--mean and --std belong together: give both, one number per channel.", field="data.preprocessing")
    means, stds = _numbers(mean, "--mean"), _numbers(std, "--std")
    if len(means) != len(stds):
        raise InvalidRequest(
            f"--mean has {len(means)} numbers and --std {len(stds)}; give one of each per channel.", field="data.preprocessing"
        )
    if min(stds) <= 0:
        raise InvalidRequest(f"--std should be positive, but {min(stds):g} came.", field="data.preprocessing")
    return Standardisation(mean=means, std=stds)


def _numbers(text: str, option: str) -> tuple[float, ...]:
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        raise InvalidRequest(
            f"{option} takes numbers separated by commas, but {text!r} came.", field="data.preprocessing"
        ) from None
    if len(values) > 64 or not all(math.isfinite(value) and abs(value) <= 1e6 for value in values):
        raise InvalidRequest(f"{option} takes up to 64 finite numbers, but {text!r} came.", field="data.preprocessing")
    return values
