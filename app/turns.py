"""Whose units go ahead, where several surfaces are computed.

Workers empty a queue in the order in which it was filled, and the queue of first stages before the other. So that a small
surface, and the first stages of any, need not wait for a large one, a surface that comes to others is owed `SOON_S` seconds
of the workers. Units of those that have had less than others go ahead, until all have had alike: seconds count, and not
units, which may be small. So that none starves, one goes ahead whenever none came in for `PATIENCE_S` seconds.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field

SOON_S, PATIENCE_S = 5.0, 15.0
ALIKE_S = 2.0
"""What one surface may have had more than another without being held back: about a unit."""

MOST_OVERTAKING = 8
"""Of a surface's units that go ahead because none came in: more help nobody, as no worker computes."""


@dataclass
class _Turn:
    had_s: float = 0.0
    """Seconds of the workers, from what the others had had when it came."""
    moved_at: float = field(default_factory=time.monotonic)
    overtaking: int = 0


class Turns:
    """What workers have done for each surface since this process takes care of it."""

    def __init__(self) -> None:
        self._turns: dict[str, _Turn] = {}

    def came(self, surface: str, seconds: float) -> None:
        """A unit of the surface came in, on which a worker has spent so many seconds."""
        turn = self._turns.setdefault(surface, self._next())
        turn.had_s, turn.moved_at, turn.overtaking = turn.had_s + seconds, time.monotonic(), 0

    def order(self, surfaces: Iterable[str]) -> list[str]:
        """The surfaces, those first that have had least; all others are forgotten."""
        wanted = list(surfaces)
        self._turns = {surface: self._turns[surface] for surface in wanted if surface in self._turns}
        self._turns |= {surface: self._next() for surface in wanted if surface not in self._turns}
        return sorted(wanted, key=lambda surface: self._turns[surface].had_s)

    def is_ahead(self, surface: str) -> bool:
        """Whether its next units go before those of other surfaces."""
        return max(turn.had_s for turn in self._turns.values()) - self._turns[surface].had_s > ALIKE_S

    def overtakes(self, surface: str) -> bool:
        """Whether one more unit is to go ahead, as those that were asked for stand behind others; then the wait begins anew."""
        turn = self._turns[surface]
        waited_s = time.monotonic() - turn.moved_at
        if len(self._turns) < 2 or waited_s <= PATIENCE_S or turn.overtaking >= MOST_OVERTAKING:
            return False
        turn.moved_at, turn.overtaking = time.monotonic(), turn.overtaking + 1
        return True

    def _next(self) -> _Turn:
        """The turn of a surface that comes to those that are there."""
        return _Turn(min((turn.had_s for turn in self._turns.values()), default=SOON_S) - SOON_S)
