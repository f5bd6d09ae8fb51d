"""Ending a command early without leaving anything behind."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn


@contextmanager
def stopped_by_sigterm() -> Iterator[None]:
    """SIGTERM unwinds as Ctrl-C does, so that temporary files are removed.

    It raises KeyboardInterrupt, which no library takes for an error of its own; `click.Abort` is a RuntimeError.
    """

    def leave(_number: int, _frame: FrameType | None) -> NoReturn:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
