"""The values that were last asked for, bounded by number and by memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Value = TypeVar("Value")


class Recent(Generic[Value]):
    """The values that were last asked for.

    Args:
        size: How many at most.
        most_bytes: How much memory those may hold that are more than `always`.
        weigh: Bytes of a value.
        always: How many are kept whatever they hold.
    """

    def __init__(
        self, size: int, most_bytes: int = 0, weigh: Callable[[Value], int] = lambda _value: 0, always: int = 1
    ) -> None:
        self._size, self._most_bytes, self._weigh, self._always = size, most_bytes, weigh, always
        self._values: OrderedDict[Hashable, Value] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], Value]) -> Value:
        """The value under `key`, made if it is not kept; the least recently used makes room before that."""
        if key in self._values:
            self._values.move_to_end(key)
            return self._values[key]
        while len(self._values) >= self._size:
            self._values.popitem(last=False)
        made = self._values.setdefault(key, make())
        while len(self._values) > self._always and sum(map(self._weigh, self._values.values())) > self._most_bytes:
            self._values.popitem(last=False)
        return made

    def clear(self) -> None:
        """Nothing is kept."""
        self._values.clear()
