"""Convolutions that take ReLU and sum along: the same function, whatever the graph around them."""

from __future__ import annotations

import copy
import operator
import os
import platform
import subprocess
import sys

import pytest
import torch
from torch import nn
from torch.nn import functional

from landscape_core.catalogue import canonical
from landscape_core.compute import build, load
from landscape_core.compute.folding import Folding
from landscape_core.compute.fusing import FusedConvolution, fused, packs
from landscape_core.requests import ArchitectureSpec

from .test_folding import unsettled
from .test_networks import shapes_of
from .transformer_files import gpt_file, vit_file

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
    assert [getattr(layer, "_then", "") for layer in fusion.layers].count("relu") == relus
    for _ in range(2):
        with torch.inference_mode():
            kept = IMAGES.clone()
            exact = copy.deepcopy(network).double()(IMAGES.double())
            error, usual = (float((net(IMAGES) - exact).abs().max() / exact.abs().max()) for net in (fusion.module, network))
            assert error < max(3 * usual, 3e-6)
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
        torch.testing.assert_close(fusion.module(IMAGES), network(IMAGES), rtol=1e-5, atol=1e-6)
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


@pytest.mark.parametrize("bias", [True, False])
def test_affine_layers_of_a_network_without_convolutions_are_laid_out_anew_wherever_it_is_moved(bias):
    network = nn.Sequential(nn.Linear(12, 20, bias=bias), nn.GELU(), nn.Linear(20, 5, bias=bias))
    network = network.eval().requires_grad_(False)
    rows = torch.randn(4, 7, 12)
    fusion = fused(network, rows)
    assert fusion is not None
    assert len(fusion.layers) == 2
    for _ in range(2):
        with torch.inference_mode():
            torch.testing.assert_close(fusion.module(rows), network(rows), rtol=1e-5, atol=1e-6)
        for parameter in network.parameters():
            parameter.data.mul_(1.5).add_(0.1)
        fusion.repack()
    if packs(torch.bfloat16):
        fusion.repack(torch.bfloat16)
        with torch.inference_mode():
            rounded, exact = fusion.module(rows).float(), network(rows)
        assert 1e-5 < float((rounded - exact).abs().max() / exact.abs().max()) < 0.02


def test_a_vision_transformer_keeps_its_convolution_and_has_other_affine_layers():
    network = load(ArchitectureSpec.parse("vit:heads=3"), vit_file(12))
    images = torch.randn(2, 2, 12, 12)
    fusion = fused(network, images)
    assert fusion is not None
    assert type(fusion.module.patch_embed.proj) is nn.Conv2d
    assert len(fusion.layers) == sum(isinstance(layer, nn.Linear) for layer in network.modules())
    assert {id(p) for p in fusion.module.parameters()} == {id(p) for p in network.parameters()}


@pytest.mark.parametrize("own_head", [True, False])
def test_a_language_model_s_head_is_laid_out_anew_whether_or_not_it_is_the_embedding(own_head):
    arrays = gpt_file(12, head="own" if own_head else "absent")
    network = load(canonical(ArchitectureSpec.parse(f"gpt:heads=3,head={'own' if own_head else 'tied'}")), arrays)
    kept = list(network.state_dict())
    tokens = torch.randint(0, 5, (3, 4))
    fusion = fused(network, tokens)
    assert fusion is not None
    linear = sum(isinstance(layer, nn.Linear) for layer in network.modules())
    assert len(fusion.layers) == linear + (not own_head)
    assert list(network.state_dict()) == kept
    network.transformer["wte"].weight.data.mul_(2.0)
    fusion.repack()
    with torch.inference_mode():
        torch.testing.assert_close(fusion.module(tokens), network(tokens), rtol=1e-4, atol=1e-5)


SECOND_BATCH = """
import torch
from torch.backends import mkldnn
from benchmarks.material import images, request, tensors
from landscape_core.compute import Evaluator, Examples
examples = Examples.from_arrays(*images(16, (32, 32, 3)))
evaluator = Evaluator(request("resnet20", (2, 1)), tensors("resnet20"), examples, threads=1)
evaluator.tally([(0, 0)], 0, 16)
x, network = evaluator._batches.take(0, 16)[0], evaluator._network
network.move_to((0.1, 0.2))
with torch.inference_mode(), mkldnn.verbose(mkldnn.VERBOSE_ON):
    network.running(x)
"""


@pytest.mark.skipif(platform.machine() != "x86_64", reason="other processors have other kernels")
@pytest.mark.parametrize("processor", ["AVX2", "ALL"])
def test_weights_are_laid_out_once_a_cell_and_not_again_at_every_batch(processor):
    """oneDNN says what it does; with AVX2 alone it read other layouts than it was given."""
    environment = os.environ | {"ONEDNN_MAX_CPU_ISA": processor}
    command = [sys.executable, "-c", SECOND_BATCH]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=True)
    done = [line.split(",")[5] for line in run.stdout.splitlines() if ",exec,cpu," in line]
    assert done.count("convolution") == 21
    assert "reorder" not in done
