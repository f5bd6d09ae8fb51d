"""What is typed, as parts of a request. Each refusal is one sentence that says what was expected and what came."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from landscape_core import notation
from landscape_core.errors import InvalidRequest
from landscape_core.requests import (
    MAX_CHECKPOINTS,
    MAX_EIGENVECTORS,
    Grid,
    HessianDirection,
    RandomDirection,
    Standardisation,
)

DIRECTION_KINDS = "random:SEED, towards:CHECKPOINT, principal:NUMBER, hessian:NUMBER or file:DIRECTIONS.h5"


@dataclass(frozen=True)
class Towards:
    """The direction from the network to another one of its kind.

    Attributes:
        path: The other checkpoint.
    """

    path: Path


@dataclass(frozen=True)
class Principal:
    """A principal direction of the run that `--checkpoints` names.

    Attributes:
        index: 1 for that of most variance.
    """

    index: int


TypedDirection = RandomDirection | HessianDirection | Towards | Principal | Path
"""What can be typed for `--x` and `--y`; a path is that of a direction file."""


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


def parse_direction(text: str, option: str) -> TypedDirection:
    """The direction that was typed.

    Args:
        text: `random:SEED`, `towards:PATH`, `principal:NUMBER`, `hessian:NUMBER[:EXAMPLES]` or `file:PATH`.
        option: `--x` or `--y`, for the message.

    Raises:
        InvalidRequest: If it is of another kind.
    """
    kind, colon, rest = text.partition(":")
    if kind in {"file", "towards"} and rest:
        return Path(rest) if kind == "file" else Towards(Path(rest))
    if kind not in {"random", "principal", "hessian"} or not colon:
        raise InvalidRequest(f"{option} takes {DIRECTION_KINDS}, but {text!r} came.", field=f"plane.{option[2:]}")
    if kind == "principal":
        return Principal(_whole(rest, 1, MAX_CHECKPOINTS, f"{option} principal:NUMBER", f"plane.{option[2:]}.index"))
    if kind == "hessian":
        return _eigenvector(rest, option)
    return RandomDirection(seed=_whole(rest, 0, 2**63 - 1, f"{option} random:SEED", f"plane.{option[2:]}.seed"))


def _eigenvector(text: str, option: str) -> HessianDirection:
    """NUMBER, or NUMBER:EXAMPLES."""
    number, colon, examples = text.partition(":")
    field = f"plane.{option[2:]}"
    index = _whole(number, -MAX_EIGENVECTORS, MAX_EIGENVECTORS, f"{option} hessian:NUMBER", f"{field}.index")
    if index == 0:
        raise InvalidRequest(
            f"{option} hessian:NUMBER counts from 1 (the largest eigenvalue) or from -1 (the smallest), but {number} came.",
            field=f"{field}.index",
        )
    if not colon:
        return HessianDirection(index=index)
    count = _whole(examples, 1, 100_000_000, f"{option} hessian:NUMBER:EXAMPLES", f"{field}.examples")
    return HessianDirection(index=index, examples=count)


def _whole(text: str, least: int, most: int, what: str, field: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = least - 1
    if not least <= number <= most:
        limit = "2^63-1" if most == 2**63 - 1 else str(most)
        raise InvalidRequest(f"{what} needs a whole number from {least} to {limit}, but {text!r} came.", field=field)
    return number


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
