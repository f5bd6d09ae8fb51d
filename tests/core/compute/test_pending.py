"""Reading cells one behind: in their order, each once, and never more than one that waits."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from landscape_core.compute.pending import one_behind, pending


@pytest.mark.parametrize("cells", [0, 1, 2, 5])
def test_a_cell_is_read_once_the_next_has_been_started(cells):
    said = []

    def started():
        for cell in range(cells):
            said.append(("start", cell))

            def read(cell=cell):
                said.append(("read", cell))
                return pending([torch.tensor([float(cell)])], [torch.tensor([True])], [{}])()

            yield read

    assert [tally.loss_sum[0] for tally in one_behind(started())] == list(range(cells))
    expected = [("start", cell) for cell in range(cells)] + [("read", cell) for cell in range(cells)]
    assert sorted(said) == sorted(expected)
    for cell in range(cells - 1):
        assert said.index(("start", cell + 1)) < said.index(("read", cell))
        assert cell + 2 >= cells or said.index(("read", cell)) < said.index(("start", cell + 2))


def test_sums_are_of_all_batches_in_float64():
    losses = [torch.tensor([1e8, 1.0]), torch.tensor([0.5])]
    counts = [{"top5": torch.tensor(2)}, {"top5": torch.tensor(1)}]
    tally = pending(losses, [torch.tensor([True, False]), torch.tensor([True])], counts)()
    assert (tally.examples[0], tally.loss_sum[0], tally.correct[0], int(tally.counts["top5"])) == (3, 1e8 + 1.5, 2, 3)
    assert np.isclose(tally.loss_sq[0], 1e16 + 1.25, rtol=1e-15)
