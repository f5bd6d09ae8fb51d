"""What surrounds a CUDA graph, with a recorder that runs on CPUs: which inputs are replayed, and that results are kept apart."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from landscape_core.compute import Evaluator
from landscape_core.compute.cuda_graphs import MOST_SHAPES, Replayed
from landscape_core.requests import SurfaceRequest

from .requested import axis, surface_request


class Recorder:
    """As a graph does, it computes from the recorded input into the recorded output."""

    def __init__(self, problem: Exception | None = None) -> None:
        self.replays, self.recordings, self.problem = 0, 0, problem

    def __call__(self, forward, x):
        if self.problem is not None:
            raise self.problem
        self.recordings += 1
        held = x.clone()
        made = forward(held)

        def replay() -> None:
            self.replays += 1
            made.copy_(forward(held))

        return held, made, replay


@torch.inference_mode()
def test_shapes_that_come_again_are_replayed_and_results_kept_apart():
    layer, recorder = nn.Linear(3, 2), Recorder()
    replayed = Replayed(layer, recorder)
    batches = [torch.randn(n, 3) for n in (4, 4, 1, 4, 4, 1)]
    results = [replayed(x) for x in batches]
    assert all(torch.equal(made, layer(x)) for made, x in zip(results, batches, strict=True))
    assert (recorder.recordings, recorder.replays) == (2, 4)


@torch.inference_mode()
def test_few_shapes_are_recorded():
    recorder = Recorder()
    replayed = Replayed(nn.Linear(3, 2), recorder)
    for _ in range(3):
        for rows in range(1, MOST_SHAPES + 4):
            replayed(torch.randn(rows, 3))
    assert (recorder.recordings, recorder.replays) == (MOST_SHAPES, 2 * MOST_SHAPES)


@torch.inference_mode()
def test_a_replay_sees_the_weights_that_were_moved_in_place():
    layer, recorder = nn.Linear(3, 2), Recorder()
    replayed, x = Replayed(layer, recorder), torch.randn(4, 3)
    replayed(x)
    before = replayed(x)
    layer.weight.add_(1.0)
    assert torch.equal(replayed(x), layer(x))
    assert not torch.equal(before, layer(x))
    assert recorder.replays == 2


@torch.inference_mode()
def test_what_cannot_be_recorded_runs_as_usual_until_it_is_forgotten():
    layer, recorder = nn.Linear(3, 2), Recorder(RuntimeError("operation not permitted when stream is capturing"))
    replayed, x = Replayed(layer, recorder), torch.randn(4, 3)
    assert all(torch.equal(replayed(x), layer(x)) for _ in range(2))
    recorder.problem = None
    replayed(x)
    assert recorder.recordings == 0
    replayed.forget()
    assert torch.equal(replayed(x), layer(x))
    assert (recorder.recordings, recorder.replays) == (1, 1)


@torch.inference_mode()
def test_lack_of_memory_while_recording_is_told():
    replayed = Replayed(nn.Linear(3, 2), Recorder(torch.OutOfMemoryError("CUDA out of memory.")))
    replayed(torch.randn(4, 3))
    with pytest.raises(torch.OutOfMemoryError):
        replayed(torch.randn(4, 3))


@torch.inference_mode()
def test_an_evaluator_s_forward_pass_goes_through_one_recording_a_precision(resnet_weights, images):
    """The evaluator as on CUDA, but for the recorder."""
    body = surface_request("resnet20", axis(3, 0.5)).model_dump() | {"precision": "bfloat16"}
    request, recorder = SurfaceRequest.model_validate(body), Recorder()
    plain, other = (Evaluator(request, resnet_weights, images) for _ in range(2))
    network = other._network
    network._replayed = {how: Replayed(network._run, recorder) for how in ("float32", "bfloat16")}
    cells = [(0, 0), (0, 1), (0, 2)]
    expected, got = (one.tally(cells, 0, 64) for one in (plain, other))
    assert np.array_equal(got.loss_sum, expected.loss_sum)
    assert other.provenance()["precision_check"] == plain.provenance()["precision_check"]
    assert recorder.replays > 2
