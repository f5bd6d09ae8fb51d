"""Means over chunks of examples that are seen on grids of different levels, joined into means over all of them. numpy only.

See `landscape_core.fast_budget` for the formula.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float64

from landscape_core.interpolation import Kernel, filled, interpolated
from landscape_core.ladder import Depths, Ladder

KERNELS = (Kernel(7, 1.0), Kernel(5, 0.5), Kernel(3, 0.3))
"""From smooth to rough."""

Link = Literal["additive", "multiplicative"]


@dataclass(frozen=True)
class Form:
    """How differences between means are interpolated: as they are or as logarithms, and how smooth they are taken to be."""

    link: Link
    kernel: Kernel

    def __str__(self) -> str:
        return f"{self.link}, {self.kernel}"


@dataclass(frozen=True)
class Means:
    """Of one kind of value (loss, accuracy, …) its means, (ny, nx) each; NaN where not seen.

    Attributes:
        chunks: The mean over each chunk alone.
        sums: The mean over each chunk and all before it.
    """

    chunks: tuple[Float64[np.ndarray, "rows nx"], ...]
    sums: tuple[Float64[np.ndarray, "rows nx"], ...]

    @classmethod
    def of(cls, ladder: Ladder, depths: Depths, totals: Sequence[np.ndarray]) -> Means:
        """The means of totals.

        Args:
            ladder: The surface's.
            depths: What has been seen; nothing else is read.
            totals: Σ over each chunk's examples, (ny, nx) each.
        """
        chunks, sums, total = [], [], np.zeros(ladder.shape)
        with np.errstate(over="ignore", invalid="ignore"):
            for (start, stop), level, part in zip(ladder.bounds, depths, totals, strict=True):
                seen = np.where(ladder.inside(level), part, np.nan)
                total = total + seen
                chunks.append(seen / (stop - start))
                sums.append(total / stop)
        return cls(tuple(chunks), tuple(sums))

    @property
    def are_positive(self) -> bool:
        """Whether every finite mean is above zero."""
        return all(bool((mean[np.isfinite(mean)] > 0).all()) for mean in self.chunks)

    @property
    def size(self) -> float:
        """A power of two near the largest finite mean where squares would overflow or vanish, else 1."""
        largest = max((float(np.abs(mean[np.isfinite(mean)]).max(initial=0.0)) for mean in self.sums), default=0.0)
        return 1.0 if largest == 0 or 1e-100 < largest < 1e100 else 2.0 ** (math.frexp(largest)[1] - 1)

    def divided(self, size: float) -> Means:
        """The same, each divided by a number, from `size`."""
        return self if size == 1 else Means(tuple(one / size for one in self.chunks), tuple(one / size for one in self.sums))

    def linked(self, link: Link) -> Means:
        """The same, or their natural logarithms; NaN where that is not finite."""
        with np.errstate(divide="ignore", invalid="ignore"):
            chunks, sums = (
                tuple(_finite(mean if link == "additive" else np.log(mean)) for mean in means)
                for means in (self.chunks, self.sums)
            )
        return Means(chunks, sums)


def telescoped(ladder: Ladder, depths: Depths, means: Means, kernel: Kernel) -> Float64[np.ndarray, "rows nx"]:
    """The mean over all examples at all cells: the first chunk's, and what each further one changes, interpolated.

    Args:
        ladder: The surface's.
        depths: What has been seen.
        means: Perhaps linked.
        kernel: How smooth changes are.
    """
    total, chunk = filled(means.sums[0]), 1
    while chunk < len(depths):
        last = chunk + depths[chunk:].count(depths[chunk]) - 1  # chunks seen at one level change it together
        change = means.sums[last] - means.sums[chunk - 1]
        total = total + interpolated(change, *ladder.levels[depths[chunk]], kernel)
        chunk = last + 1
    return np.asarray(total)


def _finite(values: np.ndarray) -> np.ndarray:
    return np.where(np.isfinite(values), values, np.nan)
