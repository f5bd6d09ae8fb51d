"""Convolutions that take ReLU and sum along: the same function bit for bit, whatever the graph around them."""

from __future__ import annotations

import operator

import pytest
import torch
from torch import nn
from torch.nn import functional

from landscape_core.compute import build
from landscape_core.compute.folding import Folding
from landscape_core.compute.fusing import FusedConvolution, fused
from landscape_core.requests import ArchitectureSpec

from .test_folding import unsettled
from .test_networks import shapes_of

IMAGES = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(1)).to(memory_format=torch.channels_last)


def folded(text: str) -> tuple[nn.Module, Folding]:
    spec = ArchitectureSpec.parse(text)
    network = unsettled(build(spec, shapes_of(spec))).float().to(memory_format=torch.channels_last)
    folding = Folding(network, IMAGES[:1])
    folding.refold()
    return network, folding


@pytest.mark.parametrize(
    ("text", "relus", "sums"),
    [
        *(("resnet20", 10, 9), ("resnet20:shortcut=A", 10, 9), ("resnet20_noshort", 19, 0), ("resnet18", 9, 8)),
        *(("resnet50_noshort", 33, 0), ("vgg9", 7, 0), ("uva_resnet", 10, 9)),
    ],
)
def test_a_fused_network_is_the_same_function_wherever_it_is_moved(text, relus, sums):
    network, folding = folded(text)
    fusion = fused(folding.module, IMAGES[:1])
    assert fusion is not None
    left = [node.target for node in fusion.module.graph.nodes if node.target in {functional.relu, operator.add}]
    taken = [len(node.args) for node in fusion.module.graph.nodes if node.op == "call_module"]
    assert (left, taken.count(2)) == ([], sums)
    assert [layer._then for layer in fusion.layers].count("relu") == relus
    for _ in range(2):
        with torch.inference_mode():
            kept = IMAGES.clone()
            assert torch.equal(fusion.module(IMAGES), folding.module(IMAGES))
            assert torch.equal(kept, IMAGES)
        for tensor in network.state_dict().values():
            if tensor.is_floating_point():
                tensor.mul_(1.1).add_(0.01)
        folding.refold()
        fusion.repack()


class Odd(nn.Module):
    """Sums and ReLUs that no convolution may take along."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.third = (nn.Conv2d(3, 3, 1) for _ in range(3))
        self.last = nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first = self.first(x)
        seen = first[:, :1]  # a view, which is read once its source could have been overwritten
        y = functional.relu(self.second(functional.relu(first)) + first)
        z = functional.relu(self.third(y) + x)  # the input itself
        later = functional.relu(self.last(z) + 1.0)
        return later.mean((2, 3)) + seen.mean((2, 3)) + y.mean((1, 2, 3))[:, None]


def test_nothing_is_overwritten_that_is_needed():
    network = Odd().eval().requires_grad_(False).to(memory_format=torch.channels_last)
    fusion = fused(network, IMAGES)
    assert fusion is not None
    assert all(isinstance(layer, FusedConvolution) for layer in fusion.layers)
    with torch.inference_mode():
        kept = IMAGES.clone()
        assert torch.equal(fusion.module(IMAGES), network(IMAGES))
    assert torch.equal(kept, IMAGES)


class Deciding(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x) if x.sum() > 0 else x


def test_what_cannot_be_fused_is_left_as_it_is():
    strange = nn.Sequential(nn.Conv2d(3, 4, 3, padding="same"))
    reflecting = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect"))
    doubled = nn.Sequential(nn.Conv2d(3, 4, 1)).double()
    for network, images in ((Deciding(), IMAGES), (strange, IMAGES), (reflecting, IMAGES), (doubled, IMAGES.double())):
        assert fused(network.eval().requires_grad_(False), images) is None
