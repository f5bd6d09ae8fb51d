"""One job, by the bare core and by whole systems, in turn: what parts (d) to (g) are made of.

In each round everything that was asked for is measured once, with a surface that is new. Rounds are shared: what one part has
had measured, the next one finds.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
from redis.exceptions import RedisError

from benchmarks.announcements import unit_seconds
from benchmarks.bare_core import Alone, BareCore, bare_core
from benchmarks.repeating import TELL, rounds
from benchmarks.system import Atlas, Followed, Job, running
from benchmarks.table import Skipped
from landscape_core.errors import ComputationFailed, LandscapeError

if TYPE_CHECKING:
    from benchmarks.fast_budget import Trained

QUICK, FULL = Job(51, 200), Job(51, 3000)
COLD_EXAMPLES = 500
LARGE, LARGE_QUICK = Job(51, 5000, "resnet56"), Job(51, 300, "resnet20")
LARGE_TIMES, LARGE_STAGES = 3, 2
"""How many surfaces of a large network are begun with each system, and how many stages of each are waited for."""
UNITS_S, UNITS_QUICK_S = 60.0, 4.0
"""For how long another one is computed, to see how long its units are."""
LEAST, MOST, BUDGET_S = 3, 7, 300.0
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

AGAIN = " again"
KINDS = {
    "core1": "the bare core, one thread",
    "system1": "one worker, one thread",
    f"core1{AGAIN}": "the bare core, one thread, again",
    "cores2": "two bare cores, one thread each, half the cells each",
    "system2": "two workers, one thread each",
    "core": f"the bare core, {CORES} thread{'s' if CORES > 1 else ''}",
    "system": f"one worker, {CORES} thread{'s' if CORES > 1 else ''}",
    f"core{AGAIN}": f"the bare core, {CORES} thread{'s' if CORES > 1 else ''}, again",
}
"""What can be measured, in the order in which a round goes through it: a system stands between two runs of its core."""

BEGUN, BEGUN_BY = "surfaces of a large network, begun", ("system", "system2")
"""Asked for beside `KINDS`: what `Comparison.begun` holds, of these systems, which must be asked for too."""


@dataclass
class Comparison:
    """Measures what is asked for, once.

    Attributes:
        folder: For the data of the systems; made by whoever made this.
        quick: A small job, and one round.
        tell: Hears what is being measured.
        wanted: Kinds that are asked for sooner or later; the first to ask has all of them measured.
        trained: Networks that were given.
    """

    folder: Path
    quick: bool = False
    tell: Callable[[str], None] = TELL
    wanted: set[str] = field(default_factory=set)
    trained: Sequence[Trained] = ()
    cold: dict[str, Followed] = field(default_factory=dict)
    """By kind, the first surface of a system."""
    peaks: dict[str, dict[str, int]] = field(default_factory=dict)
    """By kind, the largest memory of a system's processes."""
    begun: dict[str, list[list[float]]] = field(default_factory=dict)
    """By kind, seconds to the first stages of each surface of a large network; not there where they did not come."""
    unit_s: dict[str, dict[Job, list[float]]] = field(default_factory=dict)
    """By kind and surface, how long each unit took, of the last one that was finished, and of a large one that was left."""
    _alone: dict[str, list[Alone]] = field(default_factory=dict)
    _followed: dict[str, list[Followed]] = field(default_factory=dict)
    _pairs: list[float] = field(default_factory=list)
    _done: bool = False
    _failed: LandscapeError | None = None

    @cached_property
    def job(self) -> Job:
        """The surface that is computed again and again."""
        return QUICK if self.quick else FULL

    @cached_property
    def large_job(self) -> Job:
        """What is begun, and left when its first stages are there."""
        return LARGE_QUICK if self.quick else LARGE

    @property
    def cold_job(self) -> Job:
        """The first that each system computes, with all that is made once."""
        return Job(self.job.points, min(COLD_EXAMPLES, self.job.examples))

    def alone(self, kind: str) -> list[Alone]:
        """What the bare core needed, by round."""
        self._measure()
        return self._alone[kind]

    def followed(self, kind: str) -> list[Followed]:
        """What a system needed, by round."""
        self._measure()
        return self._followed[kind]

    def seconds(self, kind: str) -> list[float]:
        """Seconds from the request to the end, by round."""
        self._measure()
        if kind == "cores2":
            return self._pairs
        return [run.seconds for run in self._alone.get(kind) or self._followed[kind]]

    def _measure(self) -> None:
        if self._failed is not None:
            raise self._failed
        if not self._done:
            try:
                self._rounds()
            except Exception as error:
                self._failed = ComputationFailed(f"The comparison ended with {type(error).__name__}: {error}")
                if isinstance(error, LandscapeError):
                    self._failed = error
                raise
            self._done = True

    def _rounds(self) -> None:
        kinds = [kind for kind in KINDS if kind in self.wanted]
        with ExitStack() as stack:
            cores, systems = self._start(stack, kinds)
            for index in rounds(1 if self.quick else LEAST, 1 if self.quick else MOST, BUDGET_S):
                for kind in kinds:
                    self.tell(f"round {index + 1}: {KINDS[kind]}")
                    self._once(kind, cores.get(kind, ()), systems.get(kind), seed=100 + 2 * index)
            self.peaks = {kind: atlas.peak_bytes() for kind, atlas in systems.items() if atlas.knows_processes}
            if BEGUN in self.wanted:
                self._begin(systems)

    def _begin(self, systems: dict[str, Atlas]) -> None:
        """Surfaces of a large network; what goes wrong there leaves the rounds as they are."""
        for kind in BEGUN_BY:
            self.tell(f"surfaces of {self.large_job.architecture} begun: {KINDS[kind]}")
            seeds = range(1, 2 if self.quick else 1 + LARGE_TIMES)
            try:
                self.unit_s[kind] = {self.job: unit_seconds(systems[kind].data, self._followed[kind][-1].surface)}
                self.begun[kind] = [systems[kind].first_stages(self.large_job, seed, LARGE_STAGES) for seed in seeds]
                left = systems[kind].begin(self.large_job, 1 + LARGE_TIMES, UNITS_QUICK_S if self.quick else UNITS_S)
                self.unit_s[kind][self.large_job] = unit_seconds(systems[kind].data, left)
            except (Skipped, LandscapeError, RedisError, httpx.HTTPError, OSError, KeyError, ValueError) as error:
                self.tell(f"not begun: {error}")
                return  # it may be computing still, beside what would come next

    def _start(self, stack: ExitStack, kinds: Sequence[str]) -> tuple[dict[str, list[BareCore]], dict[str, Atlas]]:
        cores: dict[str, list[BareCore]] = {}
        systems: dict[str, Atlas] = {}
        for kind in kinds:
            self.tell(f"starting {KINDS[kind]}")
            if kind.endswith(AGAIN):
                cores[kind] = cores[kind.removesuffix(AGAIN)]
                continue
            threads = CORES if kind in {"core", "system"} else 1
            number = 2 if kind in {"cores2", "system2"} else 1
            if kind.startswith("core"):
                cores[kind] = [stack.enter_context(bare_core(self.job, threads, i, number)) for i in range(number)]
            else:
                systems[kind] = stack.enter_context(running(self.folder / kind, number, threads))
        for kind, atlas in systems.items():
            self.cold[kind] = atlas.compute(self.cold_job, seed=1)
            atlas.body(self.job, seed=1)
        return cores, systems

    def _once(self, kind: str, cores: Sequence[BareCore], atlas: Atlas | None, seed: int) -> None:
        if atlas is not None:
            self._followed.setdefault(kind, []).append(atlas.compute(self.job, seed))
            return
        began = time.perf_counter()
        for core in cores:
            core.begin(seed)
        found = [core.result() for core in cores]
        if len(cores) == 1:
            self._alone.setdefault(kind, []).extend(found)
        else:
            self._pairs.append(time.perf_counter() - began)
