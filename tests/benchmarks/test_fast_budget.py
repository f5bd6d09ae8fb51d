"""The table of the `fast` budget, on the network that comes with Loss Atlas."""

from __future__ import annotations

import json

import numpy as np
import pytest

from benchmarks import fast_budget
from benchmarks.comparison import Comparison
from benchmarks.fast_budget import TOLERANCES, Trained
from benchmarks.table import Section, Spread
from benchmarks.truth import Truth
from landscape_core.requests import TOLERANCE


@pytest.fixture(scope="module")
def gallery() -> Trained:
    """Its network, on a small grid."""
    return next(fast_budget._gallery(quick=True))


def test_a_finer_tolerance_costs_more_and_errs_less_and_all_measured_is_exact(tmp_path):
    found, goals = fast_budget.run(Comparison(tmp_path, quick=True))
    rows = found[: len(TOLERANCES)]
    assert goals == []  # they are those of the usual size
    assert [row["tolerance, %"] for row in rows] == [100 * tolerance for tolerance in TOLERANCES]
    costs, errors = [row["cost, %"] for row in rows], [row["error of the loss, %"] for row in rows]
    assert 0 < costs[0] <= costs[1] < costs[2] <= 100
    assert errors[0] >= errors[1] > errors[2] >= 0
    assert errors[1] < 0.5
    for row in rows:
        assert row["examples"] == 500
        assert row["error of the loss, %"] <= row["at most, %"] <= 100
        assert row["error of its log, %"] <= row["log at most, %"] <= 100
        assert 0 < row["within twice the estimate, % of cells"] <= 100
        if row["cost, %"] == 100:
            assert row["at most, %"] == row["log at most, %"] == 0


def test_all_forms_are_held_against_the_same_and_that_which_is_taken_is_among_them(tmp_path):
    found, _ = fast_budget.run(Comparison(tmp_path, quick=True))
    usual, forms = found[TOLERANCES.index(TOLERANCE)], found[len(TOLERANCES) :]
    assert [row["error of"] for row in forms] == ["the loss", "its log"]
    for row, error in zip(forms, ("error of the loss, %", "error of its log, %"), strict=True):
        assert row["taken"] == usual["form"]
        assert row[f"{usual['form']}, %"] == pytest.approx(usual[error])
        assert row["first examples alone, %"] > 5 * usual[error]


def test_what_takes_long_is_held_against_some_cells(tmp_path, gallery, monkeypatch):
    whole = fast_budget._whole(gallery)[0][TOLERANCES.index(TOLERANCE)]
    monkeypatch.setattr(fast_budget, "AFFORDABLE_MACS", 0)
    monkeypatch.setattr(fast_budget, "QUICK", ())
    monkeypatch.setattr(fast_budget, "SAMPLED_QUICK", 60)
    (row, *forms), _ = fast_budget.run(Comparison(tmp_path, quick=True, trained=[gallery]))
    assert (row["held against"], row["form"], row["cost, %"]) == ("60 cells", whole["form"], whole["cost, %"])
    assert row["time, %"] > 0
    for name in ("error of the loss, %", "error of its log, %"):
        assert row[name].least < whole[name] < row[name].most
    assert len(forms) == 2


def test_an_error_is_a_share_of_the_range_with_the_truth_put_in():
    truth = Truth(np.array([0, 1]), np.array([1, 0]), np.array([3.0, 8.0]), np.array([50.0, 60.0]), 10)
    surface = np.array([[1.0, 5.0], [7.0, np.nan]])
    assert truth.errors(surface).tolist() == pytest.approx([100 * 2 / 7, -100 / 7])
    assert truth.errors(surface, np.log).tolist() == pytest.approx(
        [100 * np.log(5 / 3) / np.log(8), 100 * np.log(7 / 8) / np.log(8)]
    )
    assert truth.at(surface).tolist() == [5.0, 7.0]


def test_goals_are_those_of_the_usual_size_and_tolerance():
    row = {
        "cells": "51 x 51",
        "tolerance, %": 100 * TOLERANCE,
        "cost, %": 4.0,
        "error of the loss, %": 0.2,
        "estimated": 0.3,
        "error of its log, %": Spread(1.0, 0.5, 2.0, 9),
        "estimated log": 0.4,
    }
    worse = row | {"cost, %": 11.0, "estimated": 0.5}
    others = [row | {"cells": "25 x 25", "cost, %": 99.0}, row | {"tolerance, %": 0.1, "cost, %": 99.0}]
    goals = fast_budget._goals([row, worse, *others])
    assert [(goal.measured, goal.reached) for goal in goals] == [
        (11.0, False),
        (0.2, True),
        (1.0, True),
        (pytest.approx(2.5), False),
        (pytest.approx(0.4), False),
    ]


def test_what_is_not_known_or_not_finite_does_not_count_as_reached():
    known = {
        "cells": "51 x 51",
        "tolerance, %": 100 * TOLERANCE,
        "cost, %": 100.0,
        "error of the loss, %": 0.0,
        "estimated": 0.0,
        "error of its log, %": 0.1,
        "estimated log": 0.0,
    }
    unknown = known | {"error of the loss, %": float("nan"), "estimated": float("nan")}
    for rows in ([known, unknown], [unknown, known]):
        assert not any(goal.reached for goal in fast_budget._goals(rows)[1:2])
    assert [goal.reached for goal in fast_budget._goals([known])] == [False, True, True, True, False]


def test_a_surface_of_one_chunk_is_measured_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(fast_budget, "QUICK", ((7, 64),))
    rows, _ = fast_budget.run(Comparison(tmp_path, quick=True))
    assert [row["cost, %"] for row in rows[:3]] == [100.0] * 3
    assert [row["error of the loss, %"] for row in rows[:3]] == [0.0] * 3


def test_losses_of_zero_have_no_estimate_of_the_logarithm_and_no_number_in_json(tmp_path, gallery, monkeypatch):
    *_, weight, bias = gallery.tensors
    tensors = dict(gallery.tensors) | {name: gallery.tensors[name] * np.float32(1e4) for name in (weight, bias)}
    certain = Trained("certain", tensors, gallery.examples, gallery.request)
    monkeypatch.setattr(fast_budget, "QUICK", ())
    rows, goals = fast_budget.run(Comparison(tmp_path, quick=True, trained=[certain]))
    section = Section("c", "", "", rows, goals)
    assert "certain" in section.markdown()
    json.dumps(section.as_json(), allow_nan=False)
