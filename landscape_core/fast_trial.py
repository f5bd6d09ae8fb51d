"""One form of the `fast` budget's interpolation tried on what has been seen: its surface, and how far that is off. numpy only.

See `landscape_core.fast_budget` for the formula.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float64

from landscape_core.interpolation import enclosing, interpolated, local_mean
from landscape_core.ladder import Depths, Ladder
from landscape_core.telescoping import Form, Means, telescoped

LOG_FACTOR = 3.0
"""The error of the logarithm may be so many times larger a share of the logarithm's range."""

MARGIN = 0.75
"""An estimated error counts as small enough below this share of the tolerance, because it is itself uncertain."""

SURPRISE = 2.0
"""A chunk whose means differ so many times more than its number of examples lets expect raises the estimated error."""


@dataclass(frozen=True)
class Estimate:
    """A surface made of what has been seen, and how sure it is.

    Attributes:
        depths: What has been seen.
        form: How it was interpolated.
        loss: (ny, nx); NaN where the first chunk's is not finite, and beside cells of a coarse grid where another's is not.
        error: (ny, nx) estimated root mean square difference of `loss` from the mean over all examples; 0 where that was
            measured, NaN where `loss` is.
        measured: (ny, nx) where all examples have been seen.
        linear: Root mean square of `error` over the grid, as a share of the losses' range; NaN if they have none.
        log: Alike of the logarithm; NaN if a measured loss is not positive, infinite if only an estimated one is not.
    """

    depths: Depths
    form: Form
    loss: Float64[np.ndarray, "rows nx"]
    error: Float64[np.ndarray, "rows nx"]
    measured: Bool[np.ndarray, "rows nx"]
    linear: float
    log: float

    @property
    def mean_square(self) -> float:
        """The mean of `error` squared over the grid; 0 where nothing is known."""
        known = np.isfinite(self.error)
        return float(np.mean(np.square(self.error[known]))) if known.any() else 0.0

    def excess(self, tolerance: float) -> float:
        """By how many times the error is larger than is asked for, in the picture or its logarithm, whichever is worse.

        Args:
            tolerance: Root mean square error as a share of the range.
        """
        found = [self.linear / tolerance, self.log / tolerance / LOG_FACTOR]
        return max((value for value in found if not np.isnan(value)), default=0.0)

    def meets(self, tolerance: float) -> bool:
        """Whether the error is known to be as small as is asked for; of losses without a range, whether there is none.

        Args:
            tolerance: Root mean square error as a share of the range.
        """
        error = self.error[np.isfinite(self.loss)]
        if not error.size or np.isnan(self.linear):
            return bool(error.size and not error.any())
        return self.excess(tolerance) <= 1


class Trial:
    """A form tried.

    Args:
        ladder: The surface's.
        depths: What has been seen.
        form: The form.
        losses: Mean losses, not linked.
    """

    def __init__(self, ladder: Ladder, depths: Depths, form: Form, losses: Means) -> None:
        self._ladder, self._depths, self._form = ladder, depths, form
        size = losses.size if form.link == "additive" else 1.0
        self._linked, self._positive = losses.linked(form.link).divided(size), losses.are_positive
        values = telescoped(ladder, depths, self._linked, form.kernel)
        with np.errstate(over="ignore"):
            loss = values * size if form.link == "additive" else np.exp(values)
        self._measured = ladder.inside(min(depths))
        loss = np.where(self._measured, losses.sums[-1], loss)
        unknown = ~np.isfinite(loss) | ~np.isfinite(losses.sums[0])
        for level, mean in zip(depths[1:], losses.sums[1:], strict=True):
            unknown |= enclosing(~np.isfinite(mean), *ladder.levels[level])
        self._loss = np.where(unknown, np.nan, loss)
        self._scale = np.full(ladder.shape, size) if form.link == "additive" else np.abs(self._loss)
        self._residuals: dict[int, np.ndarray] = {}

    @cached_property
    def estimate(self) -> Estimate:
        """The surface with its errors."""
        squares = np.zeros(self._ladder.shape)
        for chunk in range(1, len(self._depths)):
            squares += self._weights[chunk] * self._residual(self._depths[chunk])
        error = np.where(self._measured, 0.0, np.sqrt(squares)) * self._scale
        error = np.where(np.isnan(self._loss), np.nan, error)
        linear, log = self._shares(error)
        return Estimate(self._depths, self._form, self._loss, error, self._measured, linear, log)

    def deeper(self) -> Depths:
        """The levels for which the error is expected to be small enough; at least one is higher than now.

        One step after the other is taken, each that which lowers the squared error most for its cost.
        """
        ladder, depths = self._ladder, self._depths
        while not ladder.is_exact(depths) and (depths == self._depths or self._expected(depths) > MARGIN**2):
            now, cost = self._expected(depths), ladder.share(depths)
            steps = [
                (*(max(level, one) for one in depths[: chunk + 1]), *depths[chunk + 1 :])
                for chunk in range(1, len(depths))
                for level in range(depths[chunk] + 1, ladder.finest + 1)
            ]
            depths = max(steps, key=lambda step: (now - self._expected(step)) / (ladder.share(step) - cost))
        return depths

    def _expected(self, depths: Sequence[int]) -> float:
        """The squared excess once the chunks are seen at these levels."""
        pairs = list(zip(self._weights[1:], depths[1:], strict=True))
        return max(sum(weight * part[level] for weight, level in pairs) for part in self._squares)

    @cached_property
    def _squares(self) -> tuple[list[float], list[float]]:
        """By how much a chunk of weight 1 seen at each level adds to the squared excess of the picture and of its logarithm."""
        tolerance = self._ladder.tolerance
        linear, log = [], []
        for level in range(len(self._ladder.levels)):
            shares = self._shares(np.sqrt(self._residual(level)) * self._scale)
            linear.append((shares[0] / tolerance) ** 2 if np.isfinite(shares[0]) else 0.0)
            log.append((shares[1] / tolerance / LOG_FACTOR) ** 2 if np.isfinite(shares[1]) else 0.0)
        return linear, log

    def _shares(self, error: np.ndarray) -> tuple[float, float]:
        """Root mean square of an error as a share of the losses' range, and of their logarithms'."""
        known = np.isfinite(self._loss)
        loss, error = self._loss[known], error[known]
        if not loss.size or loss.max() == loss.min():
            return float("nan"), float("nan")
        with np.errstate(over="ignore", invalid="ignore"):
            reach = float(loss.max()) / 2 - float(loss.min()) / 2
            linear = float(np.sqrt(np.mean((error / reach / 2) ** 2)))
            if not self._positive:
                return linear, float("nan")
            if loss.min() <= 0:
                return linear, float("inf")
            return linear, float(np.sqrt(np.mean((error / loss) ** 2)) / (np.log(loss.max()) - np.log(loss.min())))

    @cached_property
    def _weights(self) -> list[float]:
        """For each chunk the variance of what it changes, where that of a single example's loss is 1.

        Chunks that are unlike those before (examples in an order that is not random) change more than that lets expect.
        """
        found, usual = [0.0], self._differences[1] if len(self._depths) > 1 else np.zeros(self._ladder.shape)
        for chunk in range(1, len(self._depths)):
            start, stop = self._ladder.bounds[chunk]
            there = np.isfinite(self._differences[chunk]) & np.isfinite(usual)
            own, others = (float(np.sum(np.square(d[there]))) for d in (self._differences[chunk], usual))
            surprise = own / others / SURPRISE**2 if others > 0 else 1.0
            found.append((1 / start - 1 / stop) * max(1.0, surprise))
        return found

    @cached_property
    def _differences(self) -> dict[int, np.ndarray]:
        """For each chunk but the first, how its mean differs from that of those before, made of a single example's variance."""
        found = {}
        for chunk in range(1, len(self._depths)):
            start, stop = self._ladder.bounds[chunk]
            difference = self._linked.chunks[chunk] - self._linked.sums[chunk - 1]
            found[chunk] = difference / np.sqrt(1 / (stop - start) + 1 / start)
        return found

    def _residual(self, level: int) -> np.ndarray:
        """What interpolation from a level loses of a difference of variance 1: squared, averaged near each cell."""
        if level not in self._residuals:
            self._residuals[level] = self._found_residual(level)
        return self._residuals[level]

    def _found_residual(self, level: int) -> np.ndarray:
        ladder, own = self._ladder, self._ladder.inside(level)
        squares, known = np.zeros(ladder.shape), np.zeros(ladder.shape)
        for chunk, difference in self._differences.items():
            if self._depths[chunk] > level:
                lost = difference - interpolated(difference, *ladder.levels[level], self._form.kernel)
                there = ladder.inside(self._depths[chunk]) & ~own & np.isfinite(lost)
                squares[there] += lost[there] ** 2
                known += there
        if not known.any():
            return self._unseen_residual(level)
        rows, columns = (-(-n // (2 * len(lines))) for n, lines in zip(ladder.shape, ladder.levels[level], strict=True))
        mean = local_mean(squares / np.maximum(known, 1), known > 0, (rows, columns))
        return np.where(own, 0.0, mean)

    def _unseen_residual(self, level: int) -> np.ndarray:
        """The same of a level beyond which only the first chunk is seen.

        It is that of a coarser level, times how much smoother the first chunk looks from this one; where there is none, or
        nothing finite was seen beyond it, all that the differences vary.
        """
        ladder, first, below = self._ladder, self._linked.sums[0], max(self._depths[1:], default=0) - 1
        if below < 0 or level <= below or not np.isfinite(first).any():
            spread = [float(np.nanvar(one)) for one in self._differences.values() if np.isfinite(one).any()]
            return np.where(ladder.inside(level), 0.0, max(spread, default=0.0))
        coarse, fine = (
            float(np.nanmean(np.square(first - interpolated(first, *ladder.levels[at], self._form.kernel))))
            for at in (below, level)
        )
        ratio = min(1.0, fine / coarse) if coarse > 0 else 1.0
        return np.where(ladder.inside(level), 0.0, self._residual(below) * ratio)
