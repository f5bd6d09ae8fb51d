"""The parts of `lossatlas bench`, and how they are gone through."""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import machine
from benchmarks.comparison import Comparison
from benchmarks.table import Goal, Row, Section, Skipped
from landscape_core.errors import LandscapeError

if TYPE_CHECKING:
    from benchmarks.fast_budget import Trained

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Part:
    """One table.

    Attributes:
        letter: Its name on the command line.
        title: Its heading.
        about: How it is measured.
        module: It has `KINDS`, what is compared of `Comparison`, and `run(comparison) -> (rows, goals)`.
    """

    letter: str
    title: str
    about: str
    module: str


PARTS = (
    Part(
        "a",
        "The engine against a straightforward loop",
        "The loop does what the code of Li et al. 2018 does at each cell: it makes the moved weights, copies them into the "
        "network, goes through a DataLoader of 128 examples a batch and reads loss and right answers after each. Both measure "
        "the same cells in turn, with one thread. The images of the perceptron are as many as MNIST's.",
        "engine",
    ),
    Part(
        "b",
        "The engine against the machine's limit",
        "The engine's floating-point operations a second beside those of a large matrix product on the same threads.",
        "limits",
    ),
    Part(
        "c",
        "The `fast` budget against `exact`",
        "The same surface under both budgets: what `fast` costs in per cent of `exact`, and how far its values are off, "
        "as root mean square and at most, in per cent of the surface's range, of the loss and of its logarithm. Networks "
        "are trained, and data are images. A surface that would take long is held against exact means at cells drawn at "
        "random; brackets are 5 % and 95 % of bootstrap draws of them, and its time beside its cost is that of the fast "
        "surface in per cent of all cells' at their speed. The last table has what each form of interpolation makes of the "
        "same measurements, those of the usual tolerance: errors of all forms, and of the first examples without the others.",
        "fast_budget",
    ),
    Part(
        "d",
        "Two workers against one",
        "One thread each, the same job: {job}. Beside it, two processes of the bare core that share nothing, with half of the "
        "cells each: more than they gain the machine does not give.",
        "workers",
    ),
    Part(
        "e",
        "From the request to the surface",
        "{job}; measured by a client of the event stream, from sending the request. A browser's painting comes on top, see "
        "(h). Without a GPU `lossatlas up` starts a worker with one thread for each core, up to four.",
        "first_surface",
    ),
    Part(
        "f",
        "The whole system against the bare core",
        "{job}: as a job of a running Loss Atlas, from the request to the word that it is finished, between two runs of the "
        "core alone in a warm process, which it is compared with. How these two differ says what the machine lets be told. "
        "Processor time is that of all of Loss Atlas's processes.",
        "whole_system",
    ),
    Part("g", "Memory", "The largest resident memory of each process, after the jobs of (f): {job}.", "memory"),
    Part(
        "h",
        "In the browser",
        "Chromium without a window, drawing with the processor (SwiftShader) and not with a graphics card. The last "
        "rows are surfaces that are computed while the page shows them, by a worker that leaves the browser one core, "
        "as if it were on another machine: from a worker's last word on a stage to its event, to the browser, to the "
        "frame that shows it (as a draft, which is drawn finely once nothing has come for 2.5 seconds). In an open page "
        "its empty picture stands when the workers begin; in one that is still opening, Plotly is loaded, and the first "
        "stages come while the scene is built.",
        "browser",
    ),
    Part(
        "i",
        "How networks are called",
        "On CPUs a table says how many images a convolutional network gets at a time, and how many cells of a small "
        "network are measured in one call; here it is held, on one thread, against what a probe of other batches and "
        "of the other layout would choose, and against one cell a call. What was tried is in images a second, medians. "
        "The small convolutional networks have two convolutions, on images of 28 × 28 with one channel or as they say.",
        "calling",
    ),
)

LETTERS = "".join(part.letter for part in PARTS)


def measured(
    letters: Collection[str], quick: bool, tell: Callable[[str], None], trained: Sequence[Trained] = ()
) -> Iterator[Section]:
    """The parts with these letters, one after the other, each as soon as it is measured.

    Args:
        letters: Some of `LETTERS`.
        quick: Small jobs and single rounds: whether it works, rather than figures.
        tell: Hears what is going on.
        trained: Networks that (c) measures beside its own.
    """
    wanted = [part for part in PARTS if part.letter in letters]
    with tempfile.TemporaryDirectory(prefix="lossatlas-bench-") as folder:
        comparison = Comparison(Path(folder), quick, trained=trained)
        modules = {part.letter: _module(part) for part in wanted}
        comparison.wanted = {kind for module in modules.values() if module for kind in module.KINDS}
        for part in wanted:
            comparison.tell = lambda text, letter=part.letter: tell(f"({letter}) {text}")  # type: ignore[misc]
            yield _section(part, modules[part.letter], comparison)


def _section(part: Part, module: Any, comparison: Comparison) -> Section:
    comparison.tell(part.title)
    before, began, taken = machine.load(), time.monotonic(), machine.now()
    rows: Sequence[Row] = ()
    goals: Sequence[Goal] = ()
    reason, failed = None, False
    try:
        rows, goals = _run(module, comparison)
    except Skipped as error:
        reason = str(error)
    except LandscapeError as error:
        reason, failed = str(error), True
    except Exception as error:
        log.debug("part %s", part.letter, exc_info=True)
        reason, failed = f"an error, {type(error).__name__}: {' '.join(str(error).split())[:300]}", True
    if reason is not None:
        comparison.tell(f"not measured: {reason}")
    took = time.monotonic() - began
    when = f"Taken {taken} in {took:.0f} s{', quickly' if comparison.quick else ''}; load before it: {before}."
    return Section(part.letter, part.title, part.about.format(job=comparison.job), rows, goals, reason, failed, when)


def _run(module: Any, comparison: Comparison) -> tuple[Sequence[Row], Sequence[Goal]]:
    if module is None:
        raise Skipped("this release does not have it yet.")
    found: tuple[Sequence[Row], Sequence[Goal]] = module.run(comparison)
    return found


def _module(part: Part) -> Any:
    try:
        return import_module(f"benchmarks.{part.module}")
    except ModuleNotFoundError as error:
        if error.name == f"benchmarks.{part.module}":
            return None
        raise
