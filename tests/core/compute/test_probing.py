"""The probe for batch and layout, run on a CPU, where tables are used instead of it; and that values hold in either layout."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from landscape_core.compute import Evaluator, load, probing
from landscape_core.compute.calls import Calls
from landscape_core.compute.probing import SIZES, Way, fastest, probed
from landscape_core.requests import ArchitectureSpec

from .requested import axis, surface_request

CPU = torch.device("cpu")


def test_what_is_usual_stays_unless_another_way_is_clearly_faster_or_it_failed():
    usual, other, third = Way(512), Way(64, channels_last=False), Way(256)
    assert fastest({usual: 100.0, other: 104.9}, usual) == usual
    assert fastest({usual: 100.0, other: 105.1, third: 105.2}, usual) == third
    assert fastest({usual: 100.0, other: 90.0}, usual) == usual
    assert fastest({other: 1.0, third: 2.0}, usual) == third
    assert fastest({}, usual) == usual


def test_a_probe_tries_every_way_once_and_leaves_the_network_as_it_is(resnet_weights, monkeypatch):
    monkeypatch.setattr(probing, "PROBE_S", 1000)
    monkeypatch.setattr(probing, "_found", {})
    module, usual, tried = load(ArchitectureSpec.parse("resnet20"), resnet_weights), Way(8), []

    def noted(called: nn.Module, args: tuple[torch.Tensor]) -> None:
        last = args[0].is_contiguous(memory_format=torch.channels_last)
        assert next(p for p in called.parameters() if p.dim() == 4).is_contiguous(memory_format=torch.channels_last) == last
        tried.append(Way(len(args[0]), last))

    module.register_forward_pre_hook(noted)
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    found = probed(module, (3, 9, 8), CPU, "float32", usual)
    ways = [usual, *(Way(batch, last) for batch in SIZES for last in (True, False))]
    assert tried == [way for way in ways for _ in range(4)]
    assert found in ways
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())
    assert all(p.is_contiguous() for p in module.parameters())
    assert probed(module, (3, 9, 8), CPU, "float32", usual) == found
    assert len(tried) == 4 * len(ways)  # a process asks once
    monkeypatch.setattr(probing, "PROBE_S", -1)
    assert probed(module, (3, 9, 8), CPU, "bfloat16", usual) == usual
    assert tried[4 * len(ways) :] == [usual] * 4


def test_what_does_not_fit_into_memory_is_not_chosen():
    def limited(_module: nn.Module, args: tuple[torch.Tensor]) -> None:
        if len(args[0]) > 64:
            raise RuntimeError("out of memory")

    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten()).eval().requires_grad_(False)
    network.register_forward_pre_hook(limited)
    assert probed(network, (3, 9, 8), CPU, "float32", Way(512)).batch == 64


def test_images_can_be_laid_out_either_way(resnet_weights, images):
    request, cells = surface_request("resnet20", axis(3, 0.5)), [(0, 0), (0, 1), (0, 2)]
    usual, other = (
        Evaluator(request, resnet_weights, images, calls=Calls(batch=64, channels_last=last)) for last in (True, False)
    )
    assert not other._batches.take(0, 2)[0].is_contiguous(memory_format=torch.channels_last)
    np.testing.assert_allclose(other.tally(cells, 0, 150).loss_sum, usual.tally(cells, 0, 150).loss_sum, rtol=2e-6)
    module = load(request.architecture, resnet_weights)
    np.testing.assert_allclose(other.loss_of(module).loss_sum, usual.own_loss().loss_sum, rtol=2e-6)
    assert "layout" not in usual.provenance()
    known = Calls(batch=64, channels_last=False, probed=True)
    assert Evaluator(request, resnet_weights, images, calls=known).provenance()["layout"] == "channels first"
