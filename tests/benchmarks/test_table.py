"""How what was measured is written down."""

from __future__ import annotations

import json

import pytest

from benchmarks.repeating import rounds
from benchmarks.table import Goal, NoMarkers, Section, Spread, begin, end, number, replaced, table

ROWS = [{"what": "one", "s": Spread.of([3.0, 1.0, 2.0])}, {"what": "two|three", "s": 4}, {"else": 0.5}]


def test_a_spread_is_the_median_with_the_least_and_the_most():
    assert Spread.of([3.0, 1.0, 2.5]) == Spread(2.5, 1.0, 3.0, 3)
    assert str(Spread.of([3.0, 1.0, 2.5])) == "2.50 (1.00 to 3.00)"
    assert str(Spread.of([0.25])) == "0.250"
    with pytest.raises(ValueError, match="at least one"):
        Spread.of([])


@pytest.mark.parametrize(
    ("value", "text"),
    [(1.0349, "1.03"), (0.00012, "1.2e-04"), (60_000, "60,000"), (3, "3"), (0.0, "0.00"), (123.4, "123"), (12.0, "12.0")],
)
def test_numbers_have_three_digits(value, text):
    assert number(value) == text


def test_a_table_has_a_line_for_each_row():
    assert table(ROWS[:2]) == ["| what | s |", "|---|---|", "| one | 2.00 (1.00 to 3.00) |", "| two/three | 4 |"]


def test_a_section_says_what_was_reached_and_json_has_every_number():
    goals = [Goal("at least 1.8", 1.75, reached=False)]
    section = Section("d", "Workers", "So it was done.", ROWS, goals, when="Taken then.")
    text = section.markdown()
    assert text.startswith("### (d) Workers\n\nSo it was done.\n\n| what | s |")
    assert "| two/three | 4 |\n\n| else |\n|---|\n| 0.500 |\n\n" in text
    assert "Goal: at least 1.8. Measured: 1.75, not reached." in text
    assert text.endswith("*Taken then.*")
    found = json.loads(json.dumps(section.as_json()))
    assert found["rows"][0] == {"what": "one", "s": {"median": 2.0, "least": 1.0, "most": 3.0, "repeats": 3}}
    assert found["goals"] == [{"goal": "at least 1.8", "measured": 1.75, "reached": False}]
    skipped = Section("h", "Browser", "So.", skipped="there is none.")
    assert skipped.markdown().endswith("Not measured: there is none.")


def test_only_what_stands_between_the_markers_is_replaced():
    document = f"Mine.\n\n{begin('a')}\nold a\n{end('a')}\n\nMine too.\n\n{begin('b')}\nold b\n{end('b')}\nEnd.\n"
    new = replaced(document, {"a": "new\\1 a"})
    assert new == document.replace("old a", "new\\1 a")
    assert replaced(replaced(document, {"a": "x", "b": "y"}), {"a": "old a", "b": "old b"}) == document


@pytest.mark.parametrize(
    "document",
    ["", f"{begin('a')}\n", f"{end('a')}\n{begin('a')}\n", f"{begin('a')}\n{end('a')}\n{begin('a')}\n{end('a')}\n"],
)
def test_a_document_without_a_place_is_refused(document):
    with pytest.raises(NoMarkers, match="Expected one line <!-- lossatlas bench a: begin -->"):
        replaced(document, {"a": "text"})


def test_rounds_end_when_the_time_is_used_up():
    assert list(rounds(2, 5, budget_s=0.0)) == [0, 1]
    assert list(rounds(1, 3, budget_s=60.0)) == [0, 1, 2]
