"""How flat a surface is around the network: barrier, basin, sharpness. numpy only.

All of it is of the plane that was measured, in the units of its directions, and says nothing of what lies beside it. Between
cells the surface is interpolated linearly. A number that runs into the edge of the grid or into a hole is a lower bound and
says so; one that cannot be had is None and says why. Numbers of different networks compare where directions are scaled to
each network, as filter-normalised ones are (Li et al. 2018, section 4).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from jaxtyping import Float64

from landscape_core.basin import EDGE, HOLE, SAME, Extent, area, stations, value_along, width
from landscape_core.errors import InvalidRequest
from landscape_core.message import Message
from landscape_core.plane import TowardsDirection
from landscape_core.requests import NATS
from landscape_core.results import NOT_FINITE, Surface

EPSILON = 0.25
"""Half the side of the box of ε-sharpness if none is given: a quarter of each filter's length, if directions are so scaled."""


TOO_LARGE = "The losses are too large to reckon with."


class Measure(Message):
    """One number, with what is known of it.

    Attributes:
        value: The number; None if it cannot be had.
        is_bound: Whether the true number is this or larger.
        note: Why it is a bound, or None; else empty.

    Example:
        >>> Measure(value=0.5, is_bound=True, note="the basin reaches the edge").value
        0.5
    """

    value: float | None
    is_bound: bool = False
    note: str = ""


class Barrier(Message):
    """What stands between two networks on the straight line from one (t = 0) to the other (t = 1).

    Attributes:
        axis: Along which direction of the plane the line runs.
        start_loss: L(0).
        end_loss: L(1).
        peak_loss: The highest loss on the line.
        peak_at: t there.
        above_line: max over t of L(t) − ((1−t) L(0) + t L(1)) (Entezari et al. 2022, definition of the barrier).
        above_mean: max L − (L(0) + L(1)) / 2 (Frankle et al. 2020, linear interpolation instability, there of the
            error; Ainsworth et al. 2023, definition 2.1).
        above_higher_end: max L − max(L(0), L(1)): 0 if no point of the line is higher than its higher end.
        is_bound: Whether there are holes on the line, so that each is this or larger.
        note: Why they are bounds, or None.

    Example:
        >>> barrier = barrier_between(np.array([0.0, 0.5, 1.0]), np.array([1.0, 4.0, 2.0]))
        >>> barrier.above_line, barrier.above_mean, barrier.above_higher_end, barrier.peak_at
        (2.5, 2.5, 2.0, 0.5)
    """

    axis: str = "x"
    start_loss: float | None = None
    end_loss: float | None = None
    peak_loss: float | None = None
    peak_at: float | None = None
    above_line: float | None = None
    above_mean: float | None = None
    above_higher_end: float | None = None
    is_bound: bool = False
    note: str = ""


class Flatness(Message):
    """How flat a surface is around its centre, α = β = 0.

    Attributes:
        centre_loss: The loss there; None where the grid does not have it.
        level: The loss up to which the basin reaches; None without a centre.
        level_is: What the level is, in words.
        epsilon: Half the side of the box of `sharpness`, in units of the directions.
        width_x: How far the loss stays at the level or below along the first direction, to both sides of the centre together.
        width_y: Along the second; None for a curve.
        area: Of the connected region of the plane around the centre in which it does, in units of δ times η; None for a curve.
        sharpness: 100 · (max over |α|, |β| ≤ ε of L − L(0)) / (1 + L(0)), in percent: ε-sharpness (Keskar et al. 2017,
            metric 2.1) of the measured plane instead of the whole space.
        barriers: One for each direction that leads to another checkpoint.
        estimated_cells: How many cells the `fast` budget estimated, of the whole grid: the numbers rest on them too.
        note: That they do, and how far these cells may be off; empty where every cell is measured.

    Example:
        >>> from landscape_core import Surface
        >>> x = np.linspace(-2, 2, 9)
        >>> loss = 1 + x[None, :] ** 2
        >>> n = np.full(loss.shape, 10)
        >>> curve = Surface(x, None, loss, np.ones(loss.shape, np.uint8), 0 * loss, n, 0 * loss)
        >>> flat = flatness_of(curve)
        >>> flat.centre_loss, flat.level, flat.width_x.value  # 1 + α² ≤ 2, the loss twice the centre's
        (1.0, 2.0, 2.0)
    """

    centre_loss: float | None
    level: float | None
    level_is: str
    epsilon: float
    width_x: Measure
    width_y: Measure | None
    area: Measure | None
    sharpness: Measure
    barriers: tuple[Barrier, ...] = ()
    estimated_cells: int = 0
    note: str = ""


def flatness_of(surface: Surface, level: float | None = None, epsilon: float | None = None) -> Flatness:
    """How flat a surface is around the network.

    Args:
        surface: Whole or with holes.
        level: The loss up to which the basin reaches. If none is given, for losses in nats ln 2 above the centre's: there
            the network gives the right answer half of the probability that it gave it, in the geometric mean. For other
            losses, and where the loss is not known, twice the centre's.
        epsilon: Half the side of the box of ε-sharpness, in units of the directions; `EPSILON` if none is given.

    Raises:
        InvalidRequest: The level is not above the centre's loss, or a number is not finite, or epsilon not positive.

    Example:
        >>> from landscape_core import Surface
        >>> x = np.linspace(-2, 2, 9)
        >>> loss = 1 + x[None, :] ** 2
        >>> n = np.full(loss.shape, 10)
        >>> curve = Surface(x, None, loss, np.ones(loss.shape, np.uint8), 0 * loss, n, 0 * loss)
        >>> flatness_of(curve, level=3.25).width_x.value  # 1 + α² ≤ 3.25
        3.0
        >>> flatness_of(curve, epsilon=0.5).sharpness.value  # 100 · 0.5² / (1 + 1)
        12.5
    """
    centre = _finite(_at(surface, 0.0, 0.0))
    level, level_is = _level(surface, centre, level)
    epsilon = EPSILON if epsilon is None else float(epsilon)
    if not (math.isfinite(epsilon) and epsilon > 0):
        raise InvalidRequest(f"epsilon should be a positive number, but {epsilon} came.", field="epsilon")
    y = surface.y
    spread = None
    if y is not None:
        spread = _measure(centre, level, lambda wanted: area(surface.x, y, surface.loss, wanted), min(surface.loss.shape))
    return Flatness(
        centre_loss=centre,
        level=level,
        level_is=level_is,
        epsilon=epsilon,
        width_x=_measure(centre, level, lambda wanted: width(surface.x, _line(surface, "x"), wanted), surface.x.size),
        width_y=None if y is None else _measure(centre, level, lambda wanted: width(y, _line(surface, "y"), wanted), y.size),
        area=spread,
        sharpness=_sharpness(surface, centre, epsilon),
        barriers=_barriers(surface),
        estimated_cells=surface.estimated,
        note=surface.said_of_estimates,
    )


def barrier_between(
    t: Float64[np.ndarray, " n"], losses: Float64[np.ndarray, " n"], start: float = 0.0, stop: float = 1.0
) -> Barrier:
    """The barrier on a line between two networks.

    Args:
        t: Ascending coordinates along the line.
        losses: There; NaN is a hole.
        start: Where one network stands.
        stop: Where the other does; beyond `start`.

    Example:
        >>> barrier_between(np.array([0.0, 0.5, 1.0]), np.array([1.0, 3.0, 2.0])).above_line
        1.5
    """
    ends = [_finite(value_along(t, losses, at)) for at in (start, stop)]
    first, last = ends
    if first is None or last is None:
        return Barrier(start_loss=first, end_loss=last, note="The line is not measured at both of its ends.")
    tiny = SAME * np.ptp(t)
    between = (t > start + tiny) & (t < stop - tiny)
    at = np.concatenate([[0.0], (t[between] - start) / (stop - start), [1.0]])
    loss = np.concatenate([[first], losses[between], [last]])
    known = np.isfinite(loss)
    peak = int(np.nanargmax(np.where(known, loss, np.nan)))
    with np.errstate(over="ignore"):
        above = float((loss - ((1 - at) * first + at * last))[known].max())
    return Barrier(
        start_loss=first,
        end_loss=last,
        peak_loss=float(loss[peak]),
        peak_at=float(at[peak]),
        above_line=_finite(above),
        above_mean=_finite(float(loss[peak]) - (first / 2 + last / 2)),
        above_higher_end=_finite(float(loss[peak]) - max(first, last)),
        is_bound=not bool(known.all()),
        note="" if known.all() else f"The line has {int((~known).sum())} holes, so these are lower bounds.",
    )


def _finite(value: object) -> float | None:
    number = float(value)  # type: ignore[arg-type]
    return number if math.isfinite(number) else None


def _line(surface: Surface, axis: str) -> np.ndarray:
    """The losses along one direction through the centre."""
    if axis == "y" and surface.y is not None:
        return value_along(surface.x, surface.loss, 0.0)
    return surface.loss[0] if surface.y is None else value_along(surface.y, surface.loss.T, 0.0)


def _at(surface: Surface, alpha: float, beta: float) -> np.ndarray:
    row = surface.loss[0] if surface.y is None else value_along(surface.y, surface.loss.T, beta)
    return value_along(surface.x, row, alpha)


def _level(surface: Surface, centre: float | None, level: float | None) -> tuple[float | None, str]:
    if level is not None:
        if not math.isfinite(level):
            raise InvalidRequest(f"The level should be a finite loss, but {level} came.", field="level")
        if centre is not None and level <= centre:
            raise InvalidRequest(
                f"The level should be above the loss at the centre, {centre:.6g}, but {level:g} came.", field="level"
            )
        return float(level), "as asked for"
    if surface.request is not None and surface.request.loss in NATS:
        return None if centre is None else centre + math.log(2), "the loss at the centre + ln 2"
    return None if centre is None else _finite(2 * centre), "twice the loss at the centre"


def _measure(centre: float | None, level: float | None, find: Callable[[float], Extent | None], points: int) -> Measure:
    """A width or an area, or why there is none."""
    if points < 2:
        return Measure(value=None, note="The grid has a single point along it.")
    if centre is None or level is None:
        return Measure(value=None, note="The loss at the centre is not known.")
    if level <= centre:
        return Measure(value=None, note="The level is not above the loss at the centre.")
    extent = find(level)
    if extent is None:
        return Measure(value=None, note="The surface is not known around the centre.")
    if not math.isfinite(extent.value):
        return Measure(value=None, note=TOO_LARGE)
    ends = " and ".join(end for end in (EDGE, HOLE) if end in extent.ends_at)
    note = f"It runs into {ends}, so it is at least this." if ends else ""
    return Measure(value=extent.value, is_bound=bool(ends), note=note)


def _sharpness(surface: Surface, centre: float | None, epsilon: float) -> Measure:
    if centre is None:
        return Measure(value=None, note="The loss at the centre is not known.")
    if 1 + centre <= 0:
        return Measure(value=None, note="It is not defined where 1 + the loss at the centre is not positive.")
    axes = [surface.x] if surface.y is None else [surface.x, surface.y]
    inside = [np.abs(axis) <= epsilon * (1 + SAME) for axis in axes]
    cells = surface.state[np.ix_(inside[-1] if surface.y is not None else np.array([True]), inside[0])]
    if (cells == NOT_FINITE).any():
        return Measure(value=None, note="A loss in the box is not finite.")
    rows = surface.loss[:1] if surface.y is None else stations(surface.y, surface.loss.T, epsilon).T
    losses = stations(surface.x, rows, epsilon)
    short = any(axis[0] > -epsilon * (1 - SAME) or axis[-1] < epsilon * (1 - SAME) for axis in axes if axis.size > 1)
    known = np.isfinite(losses)
    reasons = [EDGE] * short + [HOLE] * (not known.all())
    note = f"The box runs into {' and '.join(reasons)}, so it is at least this." if reasons else ""
    rise = _finite(100 * ((float(np.append(losses[known], centre).max()) - centre) / (1 + centre)))
    if rise is None:
        return Measure(value=None, note=TOO_LARGE)
    return Measure(value=rise, is_bound=bool(reasons), note=note)


def _barriers(surface: Surface) -> tuple[Barrier, ...]:
    """One for each direction that leads to another checkpoint; not for one that was put at right angles to the first."""
    if surface.request is None:
        return ()
    found = []
    for axis, spec in surface.request.plane.specs.items():
        at = surface.x if axis == "x" or surface.y is None else surface.y
        turned = axis == "y" and surface.request.plane.orthogonal  # its end is no longer the other checkpoint
        if isinstance(spec, TowardsDirection) and not turned:
            found.append(barrier_between(at, _line(surface, axis)).model_copy(update={"axis": axis}))
    return tuple(found)
