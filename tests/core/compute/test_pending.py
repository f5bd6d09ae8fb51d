"""Reading cells one behind: in their order, each once, and never more than one that waits."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from landscape_core.compute.measuring import Measured
from landscape_core.compute.pending import one_behind, pending


@pytest.mark.parametrize("cells", [0, 1, 2, 5])
def test_a_cell_is_read_once_the_next_has_been_started(cells):
    said = []

    def started():
        for cell in range(cells):
            said.append(("start", cell))

            def read(cell=cell):
                said.append(("read", cell))
                return pending([batch([float(cell)], [True])], 1)()

            yield read

    assert [tally.loss_sum[0] for tally in one_behind(started())] == list(range(cells))
    expected = [("start", cell) for cell in range(cells)] + [("read", cell) for cell in range(cells)]
    assert sorted(said) == sorted(expected)
    for cell in range(cells - 1):
        assert said.index(("start", cell + 1)) < said.index(("read", cell))
        assert cell + 2 >= cells or said.index(("read", cell)) < said.index(("start", cell + 2))


def test_sums_are_of_all_batches_in_float64():
    tally = pending([batch([1e8, 1.0], [True, False], top5=2), batch([0.5], [True], top5=1)], 1)()
    assert (tally.examples[0], tally.loss_sum[0], tally.correct[0], tally.counts["top5"].tolist()) == (3, 1e8 + 1.5, 2, [3])
    assert np.isclose(tally.loss_sq[0], 1e16 + 1.25, rtol=1e-15)


def test_cells_of_one_call_are_kept_apart_and_those_that_only_fill_it_left_out():
    losses, right = (
        torch.tensor([[1.0, 2.0], [3.0, 5.0], [9.0, 9.0]]),
        torch.tensor([[True, True], [False, True], [True, True]]),
    )
    call = Measured(losses, right, {"top5": torch.tensor([2, 1, 2])})
    tally = pending([call, call], 2)()
    assert tally.examples.tolist() == [4, 4]
    assert tally.loss_sum.tolist() == [6.0, 16.0]
    assert tally.loss_sq.tolist() == [10.0, 68.0]
    assert tally.correct.tolist() == [4, 2]
    assert tally.counts["top5"].tolist() == [4, 2]


def batch(losses: list[float], right: list[bool], **counts: int) -> Measured:
    """A batch at one cell."""
    return Measured(torch.tensor([losses]), torch.tensor([right]), {name: torch.tensor([n]) for name, n in counts.items()})
