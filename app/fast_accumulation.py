"""The tallies of a surface of the `fast` budget: which units it asks for follows from what came back.

First come all stages of the first chunk, as of any surface; then, once all that was asked for is there,
`landscape_core.fast_budget` says whether the estimate is sure enough, or what shall be seen next. Each time there is a whole
surface. Units that nobody asked for (an exact surface with the same units had them) are taken in, but read only once they are
asked for: so values are those of `landscape_core.compute.compute_surface`, whoever computed what.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from app.accumulation import Accumulation
from landscape_core.fast_budget import next_depths
from landscape_core.fast_surface import fast_surface
from landscape_core.ladder import Depths, Ladder
from landscape_core.results import Surface, Tally
from worker.job import SurfaceJob


class FastAccumulation(Accumulation):
    """What is known so far of one fast surface.

    Args:
        job: The surface's; its units are cut by level.
    """

    def __init__(self, job: SurfaceJob) -> None:
        super().__init__(job)
        self._ladder = Ladder.for_request(job.request, job.request.data.examples or 0)
        self._first = sum(start == 0 for start, _ in self.plan.chunks)
        """How many stages the first chunk has."""
        self._waves = 0
        self._depths, self._wanted = self._ladder.nothing, self._ladder.pilot()
        self._is_sure = False

    @property
    def stages(self) -> int:
        """How many stages there are, as far as is known: one more while it is not sure."""
        return self._first + self._waves + (0 if self._is_sure else 1)

    @property
    def is_complete(self) -> bool:
        """Whether the estimate is sure enough, or everything was measured."""
        return self._is_sure

    @property
    def total_macs(self) -> int:
        """Multiply-accumulates of what is asked for so far."""
        return self.job.macs_per_example * sum(self._passes(part) for part in self._parts(self._wanted))

    @property
    def done(self) -> float:
        """The share of what is asked for so far that is done, in 0 … 1."""
        parts = list(self._parts(self._wanted))
        shares = [self._done[slice(units.start, units.stop)].mean() for units in map(self.plan.part_units, parts) if units]
        costs = [self._passes(part) for part in parts if self.plan.part_units(part)]
        return 1.0 if self._is_sure else float(np.dot(shares, costs) / sum(costs))

    @property
    def examples(self) -> int:
        """How many examples the means of the latest whole surface are over, measured or estimated."""
        return self.plan.stages[-1].stop if self._waves else super().examples

    def missing(self) -> Iterator[int]:
        """The units that are asked for and not done, in the order in which they are wanted."""
        for part in self._parts(self._wanted):
            for unit in self.plan.part_units(part):
                if not self._done[unit]:
                    yield unit

    def surface(self, provenance: dict[str, Any]) -> Surface:
        """The latest whole surface; while it is not the last, its provenance says of which stage it is.

        Args:
            provenance: What else is to be said of how it was made.
        """
        if not self._waves:
            return super().surface(provenance)
        about = {} if self._is_sure else self._said_of_stage(range(self.plan.shape[0]), range(self.plan.shape[1]))
        return fast_surface(
            self.job.request, self._ladder, self._depths, self._tallies(), provenance | about, self.job.decisions
        )

    def _advance(self) -> None:
        """Counts the stages that are complete, and asks for more while it is not sure."""
        while self.stage < self._first and self._missing[self.stage] == 0:
            self.stage += 1
        while self.stage >= self._first and not self._is_sure and self._has_wanted():
            self._depths = self._wanted
            self._waves += 1
            self.stage += 1
            further = next_depths(self._ladder, self._depths, self._tallies())
            self._is_sure, self._wanted = further is None, further or self._wanted

    def _has_wanted(self) -> bool:
        return all(self._done[slice(u.start, u.stop)].all() for u in map(self.plan.part_units, self._parts(self._wanted)))

    def _tallies(self) -> list[Tally]:
        nothing = Tally.zeros(*self.plan.shape)
        return [self._chunks.get(start, nothing) for start, _ in self._ladder.bounds]

    def _parts(self, depths: Depths) -> Iterator[int]:
        """The plan's parts that are seen at these levels: all of the first chunk, of each further one the coarsest."""
        yield from range(self._first)
        levels = len(self._ladder.levels)
        for chunk, level in enumerate(depths[1:]):
            first = self._first + chunk * levels
            yield from range(first, first + level + 1)

    def _passes(self, part: int) -> int:
        """Forward passes of one example that a part takes."""
        about = self.plan.parts[part]
        return len(self.plan.new_cells[part]) * self.job.passes(about.start, about.stop)
