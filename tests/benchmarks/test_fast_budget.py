"""The table of the `fast` budget, on the network that comes with Loss Atlas."""

from __future__ import annotations

from benchmarks.fast_budget import TOLERANCES, run


def test_a_finer_tolerance_costs_more_and_errs_less():
    rows = run(quick=True)
    assert [row["tolerance, %"] for row in rows] == [100 * tolerance for tolerance in TOLERANCES]
    costs, errors = [row["cost, %"] for row in rows], [row["error of the loss, %"] for row in rows]
    assert 0 < costs[0] <= costs[1] < costs[2] <= 100
    assert errors[0] >= errors[1] > errors[2] >= 0
    assert errors[1] < 0.5
    assert rows[0]["examples"] == 500
