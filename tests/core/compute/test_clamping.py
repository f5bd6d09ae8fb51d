"""Batch norm and ReLU as a clamp: the same function for scales of either sign and of none, and for what is not finite."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from landscape_core.compute import build
from landscape_core.compute.clamping import ClampedNorm
from landscape_core.compute.folding import Folding
from landscape_core.compute.fusing import fused, packs
from landscape_core.compute.precision import computing_in
from landscape_core.requests import ArchitectureSpec

from .test_folding import unsettled
from .test_networks import shapes_of


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("bias", [True, False])
def test_a_convolution_takes_over_what_a_clamp_leaves(affine, bias):
    network = unsettled(nn.Sequential(nn.BatchNorm2d(9, affine=affine), nn.ReLU(), nn.Conv2d(9, 4, 1, bias=bias)))
    norm, _, layer = network
    if affine:
        norm.weight[:3] = torch.tensor([0.0, 1e-320, -2.0])
        norm.bias[:3] = torch.tensor([0.7, -0.3, 0.4])
    x = torch.randn(3, 9, 5, 4, dtype=torch.float64)
    clamped = ClampedNorm(norm)
    assert torch.equal(clamped(x), functional.relu(norm(x)))
    weight, shift = clamped.taken_over(layer.weight, layer.bias)
    torch.testing.assert_close(functional.conv2d(clamped(x), weight, shift), network(x), rtol=1e-12, atol=1e-12)
    clamped.leave()
    assert torch.equal(clamped(x), functional.relu(norm(x)))


def test_what_is_not_finite_is_as_without():
    network = unsettled(nn.Sequential(nn.BatchNorm2d(2), nn.ReLU(), nn.Conv2d(2, 1, 1)))
    norm, _, layer = network
    clamped, x = ClampedNorm(norm), torch.ones(1, 2, 3, 1, dtype=torch.float64)
    for broken in (norm.running_mean, norm.weight, norm.running_var, norm.bias, x):
        for value in (torch.nan, torch.inf, -torch.inf):
            kept = broken.clone()
            broken.view(-1)[0] = value
            weight, shift = clamped.taken_over(layer.weight, layer.bias)
            torch.testing.assert_close(functional.conv2d(clamped(x), weight, shift), network(x), equal_nan=True)
            broken.copy_(kept)


def test_a_densenet_clamps_in_front_of_every_convolution_of_one_place_and_stays_the_same_function():
    spec = ArchitectureSpec.parse("densenet121")
    network = unsettled(build(spec, shapes_of(spec)))
    images = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    with torch.inference_mode():
        exact = network(images)
    plain, images = network.float().to(memory_format=torch.channels_last), images.float().to(memory_format=torch.channels_last)
    folding = Folding(plain, images)
    folding.refold()
    fusion = fused(folding.module, images)
    assert fusion is not None
    assert sum(isinstance(module, ClampedNorm) for module in fusion.module.modules()) == 61
    with torch.inference_mode():
        error, usual = (float((net(images) - exact).abs().max() / exact.abs().max()) for net in (fusion.module, plain))
        assert error < max(3 * usual, 3e-6)
        if packs(torch.bfloat16):
            fusion.repack(torch.bfloat16)
            with computing_in("bfloat16", torch.device("cpu")):
                rounded = fusion.module(images).float()
            assert float((rounded - exact).abs().max() / exact.abs().max()) < 0.05
