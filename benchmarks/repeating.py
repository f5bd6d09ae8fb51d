"""Measuring in turn, often enough for a median and not longer than there is time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

TELL: Callable[[str], None] = lambda _text: None  # noqa: E731
"""Hears nothing."""


def rounds(least: int, most: int, budget_s: float) -> Iterator[int]:
    """0, 1, 2, …: at least `least` rounds, at most `most`, and none that would not end within the budget.

    What is compared is measured in each round once, one after the other, so that a machine that is busy for a while slows all
    of it down.
    """
    began = time.monotonic()
    for index in range(most):
        spent = time.monotonic() - began
        if index >= least and spent * (index + 1) / index > budget_s:
            return
        yield index


def seconds(work: Callable[[], object]) -> float:
    """How long the work takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
