"""What was measured, as a table: Markdown for people, JSON for programs, and the place in a document that it is written to."""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from landscape_core.errors import LandscapeError

Row = Mapping[str, Any]
"""Heading of a column -> a text, a number, or a `Spread`."""


class Skipped(Exception):
    """A part cannot be measured here; the text says why, and what to do about it."""


class NoMarkers(LandscapeError):
    """A document has no place for a part."""


@dataclass(frozen=True)
class Spread:
    """One quantity, measured several times.

    Attributes:
        median: Of all times.
        least: The smallest.
        most: The largest.
        repeats: How many times.
    """

    median: float
    least: float
    most: float
    repeats: int

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        """The spread of the values.

        Raises:
            ValueError: There is none.
        """
        found = list(values)
        if not found:
            raise ValueError("expected at least one measurement, got none")
        return cls(statistics.median(found), min(found), max(found), len(found))

    def __str__(self) -> str:
        if self.repeats == 1:
            return number(self.median)
        return f"{number(self.median)} ({number(self.least)} to {number(self.most)})"


@dataclass(frozen=True)
class Goal:
    """What a measurement was to reach.

    Attributes:
        text: In words, with the threshold.
        measured: What came.
        reached: Whether that is enough.
    """

    text: str
    measured: float
    reached: bool

    def __str__(self) -> str:
        return f"Goal: {self.text}. Measured: {number(self.measured)}, {'reached' if self.reached else 'not reached'}."


@dataclass(frozen=True)
class Section:
    """One part's outcome.

    Attributes:
        letter: The part's.
        title: Its heading.
        about: How it was measured.
        rows: Where the columns change, another table begins. None if it was skipped.
        goals: What it was to reach.
        skipped: Why there are no rows, in a sentence; None if there are.
        failed: Whether that is a fault.
        when: Time of day, machine load and duration, in words.
    """

    letter: str
    title: str
    about: str
    rows: Sequence[Row] = ()
    goals: Sequence[Goal] = ()
    skipped: str | None = None
    failed: bool = False
    when: str = ""

    def markdown(self) -> str:
        """The section, without an empty line at its ends."""
        lines = [f"### ({self.letter}) {self.title}", "", self.about, ""]
        if self.skipped is not None:
            return "\n".join([*lines, f"Not measured: {self.skipped}"])
        for _, rows in groupby(self.rows, tuple):
            lines += [*table(list(rows)), ""]
        lines += [str(goal) + "\n" for goal in self.goals]
        return "\n".join([*lines, f"*{self.when}*"])

    def as_json(self) -> dict[str, Any]:
        """The section with every number in full; null where it is not finite."""
        return {
            "part": self.letter,
            "title": self.title,
            "rows": [{name: _plain(value) for name, value in row.items()} for row in self.rows],
            "goals": [{"goal": goal.text, "measured": _plain(goal.measured), "reached": goal.reached} for goal in self.goals],
            "skipped": self.skipped,
            "failed": self.failed,
            "when": self.when,
        }


def table(rows: Sequence[Row]) -> list[str]:
    """The lines of a Markdown table; all rows have the columns of the first."""
    columns = list(rows[0])
    lines = [_line(columns), "|" + "---|" * len(columns)]
    return [*lines, *(_line([_text(row[name]) for name in columns]) for row in rows)]


def number(value: float) -> str:
    """A number with three digits that mean something, as in 0.00132, 1.03, 250 and 60,000."""
    if isinstance(value, int) or (float(value).is_integer() and abs(value) >= 100):
        return f"{int(value):,}"
    if value and (abs(value) < 1e-3 or abs(value) >= 1e9):
        return f"{value:.1e}"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:#.3g}".rstrip(".")


def begin(letter: str) -> str:
    """The marker before a part's section in a document."""
    return f"<!-- lossatlas bench {letter}: begin -->"


def end(letter: str) -> str:
    """The marker behind it."""
    return f"<!-- lossatlas bench {letter}: end -->"


def replaced(document: str, parts: Mapping[str, str]) -> str:
    """The document with new texts between the parts' markers; all else stays as it is.

    Args:
        document: It holds `begin(letter)` and `end(letter)`, each on a line of its own, once for each part.
        parts: Letter -> text.

    Raises:
        NoMarkers: It does not.
    """
    for letter, text in parts.items():
        place = re.compile(re.escape(begin(letter)) + "\n.*?" + re.escape(end(letter)), re.DOTALL)
        if len(place.findall(document)) != 1 or document.count(begin(letter)) != 1:
            raise NoMarkers(
                f"Expected one line {begin(letter)} and, below it, one line {end(letter)}; add them where the table belongs."
            )
        before, _, rest = document.partition(begin(letter))
        document = f"{before}{begin(letter)}\n{text}\n{end(letter)}{rest.partition(end(letter))[2]}"
    return document


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"


def _text(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return number(value)


def _plain(value: Any) -> Any:
    if isinstance(value, Spread):
        numbers = {"median": value.median, "least": value.least, "most": value.most, "repeats": value.repeats}
        return {name: _plain(one) for name, one in numbers.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, str | int | float | bool) or value is None else str(value)
