"""The engine beside matrix products: the products are right, and every network has a row for every number of threads."""

from __future__ import annotations

import torch

from benchmarks import limits
from benchmarks.comparison import Comparison
from benchmarks.engine import CASES


def test_both_libraries_multiply():
    made = {name: once() for name, once in limits.products(64).items()}
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(64, 64, generator=generator) for _ in range(2))
    torch.testing.assert_close(made.pop("@"), a @ b)
    for other in made.values():  # of a linear layer, whose weight is transposed
        torch.testing.assert_close(other, a @ b.T, rtol=1e-4, atol=1e-4)


def test_a_quick_run_has_a_row_and_a_goal_for_every_network(monkeypatch, tmp_path):
    monkeypatch.setattr(limits, "CORES", 1)
    before = torch.get_num_threads()
    rows, goals = limits.run(Comparison(tmp_path, quick=True))
    assert [row["network"] for row in rows] == list(CASES)
    assert all(row["engine, GFLOP/s"] > 0 and row["share of the faster product"].median > 0 for row in rows)
    assert [(goal.measured, goal.reached) for goal in goals] == [
        (row["share of the faster product"].median, row["share of the faster product"].median >= 0.7) for row in rows
    ]
    assert torch.get_num_threads() == before
