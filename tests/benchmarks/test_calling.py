"""How networks are called, beside other ways: every row has what it should, and goals follow from the rows."""

from __future__ import annotations

import torch

from benchmarks import calling
from benchmarks.comparison import Comparison


def test_a_quick_run_tries_other_ways_and_more_cells_a_call(tmp_path):
    before = torch.get_num_threads()
    rows, goals = calling.run(Comparison(tmp_path, quick=True))
    batches, together = rows[:1], rows[1:]
    assert batches[0]["network"] == "resnet20"
    assert batches[0]["batch of the table"] == 32
    assert [way.split(":")[0] for way in batches[0]["tried"].split("; ")] == ["8", "16", "64", "32, channels first"]
    assert [(row["examples"], row["cells a call"]) for row in together] == [(64, 16), (256, 16), (1024, 8)]
    assert all(row["largest difference of a loss, relative"] < 1e-6 for row in together)
    share, gain = batches[0]["share of the fastest"].median, min(row["times as fast as one"].median for row in together)
    assert [(goal.measured, goal.reached) for goal in goals] == [(share, share >= 0.95), (gain, gain >= 1)]
    assert torch.get_num_threads() == before
