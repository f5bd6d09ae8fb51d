"""Batch norm folded into the layers before it: the same function, at every place that the network is moved to."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from landscape_core.compute import build
from landscape_core.compute.folding import Folding
from landscape_core.requests import ArchitectureSpec

from .test_networks import shapes_of


def unsettled(network: nn.Module) -> nn.Module:
    """In evaluation mode, float64, with batch norms unlike those of a fresh network."""
    generator = torch.Generator().manual_seed(0)
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            for tensor, low, high in (
                *((layer.running_mean, -0.4, 0.4), (layer.running_var, 0.3, 2.0)),
                *(((layer.weight, -1.5, 1.5), (layer.bias, -0.4, 0.4)) if layer.affine else ()),
            ):
                tensor.data.uniform_(low, high, generator=generator)
    return network.eval().requires_grad_(False).double()


def agree(network: nn.Module, folding: Folding, shape: tuple[int, ...]) -> None:
    x = torch.randn(3, *shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    with torch.inference_mode():
        kept = x.clone()
        expected, got = network(x), folding.module(x)
    assert expected.std() > 0
    assert torch.equal(x, kept)
    torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-10 * float(expected.abs().max()))


@pytest.mark.parametrize(
    ("text", "norms"),
    [
        *(("resnet20", 21), ("resnet20:shortcut=A", 19), ("resnet20_noshort", 19), ("wrn56_2", 57), ("resnet18", 20)),
        *(("resnet50_noshort", 49), ("vgg9", 8), ("uva_resnet", 19), ("uva_preact_resnet", 9)),
    ],
)
def test_a_folded_network_is_the_same_function_wherever_it_is_moved(text, norms):
    spec = ArchitectureSpec.parse(text)
    network = unsettled(build(spec, shapes_of(spec)))
    folding = Folding(network, torch.zeros(1, 3, 32, 32, dtype=torch.float64))
    assert len(folding) == norms
    folding.refold()
    agree(network, folding, (3, 32, 32))
    for tensor in network.state_dict().values():
        if tensor.is_floating_point():
            tensor.mul_(1.1).add_(0.01)
    folding.refold()
    agree(network, folding, (3, 32, 32))


class Odd(nn.Module):
    """Layers of which few can be folded, and places where working in place would change what is still needed."""

    def __init__(self) -> None:
        super().__init__()
        self.twice, self.shared = nn.Conv1d(2, 2, 3, padding=1), nn.BatchNorm1d(2)
        self.same, self.plain = nn.Identity(), nn.BatchNorm1d(2, affine=False)
        self.branching, self.after = nn.Conv1d(2, 2, 1), nn.BatchNorm1d(2)
        self.foldable, self.norm = nn.Linear(10, 4), nn.BatchNorm1d(4, affine=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.shared(self.twice(x)) + self.shared(self.twice(x))
        branch = self.branching(x)
        x = self.same(branch) + functional.relu(self.same(x))
        x = functional.relu(self.plain(x)) + self.after(branch) + x
        return functional.relu(self.norm(self.foldable(torch.flatten(x, 1)))) + 1


def test_what_is_used_twice_or_has_no_scale_of_its_own_is_handled():
    network = unsettled(Odd())
    folding = Folding(network, torch.zeros(1, 2, 5, dtype=torch.float64))
    assert len(folding) == 1
    folding.refold()
    agree(network, folding, (2, 5))
