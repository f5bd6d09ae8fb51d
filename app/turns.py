"""Whose units go ahead, where several surfaces are computed.

Workers empty a queue in the order in which it was filled, and the queue of first stages before the other. So that a small
surface, and the first stages of any, need not wait for a large one, a surface's units go ahead until workers have spent
`SOON_S` seconds on it. So that none starves, one goes ahead whenever none came in for `PATIENCE_S` seconds.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field

SOON_S, PATIENCE_S = 5.0, 15.0
MOST_OVERTAKING = 8
"""Of a surface's units that go ahead because none came in: more help nobody, as no worker computes."""


@dataclass
class _Turn:
    computed_s: float = 0.0
    moved_at: float = field(default_factory=time.monotonic)
    overtaking: int = 0


class Turns:
    """What workers have done for each surface since this process takes care of it."""

    def __init__(self) -> None:
        self._turns: dict[str, _Turn] = {}

    def came(self, surface: str, seconds: float) -> None:
        """A unit of the surface came in, on which a worker has spent so many seconds."""
        turn = self._turns.setdefault(surface, _Turn())
        turn.computed_s, turn.moved_at, turn.overtaking = turn.computed_s + seconds, time.monotonic(), 0

    def order(self, surfaces: Iterable[str]) -> list[str]:
        """The surfaces, those first that have had least; all others are forgotten."""
        self._turns = {surface: self._turns.get(surface) or _Turn() for surface in surfaces}
        return sorted(self._turns, key=lambda surface: self._turns[surface].computed_s)

    def is_ahead(self, surface: str) -> bool:
        """Whether its next units go before those of other surfaces."""
        return len(self._turns) > 1 and self._turns[surface].computed_s < SOON_S

    def overtakes(self, surface: str) -> bool:
        """Whether one more unit is to go ahead, as those that were asked for stand behind others; then the wait begins anew."""
        turn = self._turns[surface]
        waited_s = time.monotonic() - turn.moved_at
        if len(self._turns) < 2 or waited_s <= PATIENCE_S or turn.overtaking >= MOST_OVERTAKING:
            return False
        turn.moved_at, turn.overtaking = time.monotonic(), turn.overtaking + 1
        return True
