"""DenseNets for small images (Huang et al. 2017) as the code of Li et al. 2018 builds them, with its names."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from landscape_core.catalogue import Candidate
from landscape_core.catalogue.families.densenets import DENSENET_BLOCKS, GROWTH, densenet_depth
from landscape_core.catalogue.family import Options, Shapes


class DenseLayer(nn.Module):
    """Adds channels to its input, before those that are there."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(width)
        self.conv1 = nn.Conv2d(width, 4 * GROWTH, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(4 * GROWTH)
        self.conv2 = nn.Conv2d(4 * GROWTH, GROWTH, 3, padding=1, bias=False)

    def forward(self, x: Float[Tensor, "n width h w"]) -> Float[Tensor, "n more h w"]:
        """The new channels, then the input's."""
        out = self.conv1(functional.relu(self.bn1(x)))
        out = self.conv2(functional.relu(self.bn2(out)))
        return torch.cat([out, x], dim=1)


class Transition(nn.Module):
    """Halves the number of channels, and height and width, rounding down."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(width)
        self.conv = nn.Conv2d(width, width // 2, 1, bias=False)

    def forward(self, x: Float[Tensor, "n width h w"]) -> Float[Tensor, "n half h2 w2"]:
        """The pooled feature map."""
        return functional.avg_pool2d(self.conv(functional.relu(self.bn(x))), 2)


class DenseNet(nn.Module):
    """A DenseNet of four dense blocks for images of at least 8 x 8.

    Args:
        depth: 121.
        channels: Channels of the input.
        classes: Outputs.
    """

    def __init__(self, depth: int, channels: int, classes: int) -> None:
        super().__init__()
        width, blocks = 2 * GROWTH, DENSENET_BLOCKS[depth]
        self.stages = len(blocks)
        self.conv1 = nn.Conv2d(channels, width, 3, padding=1, bias=False)
        for stage, layers in enumerate(blocks, start=1):
            self.add_module(f"dense{stage}", nn.Sequential(*(DenseLayer(width + GROWTH * index) for index in range(layers))))
            width += GROWTH * layers
            if stage < self.stages:
                self.add_module(f"trans{stage}", Transition(width))
                width //= 2
        self.bn = nn.BatchNorm2d(width)
        self.linear = nn.Linear(width, classes)

    def forward(self, x: Float[Tensor, "n channels h w"]) -> Float[Tensor, "n classes"]:
        """The logits of each image."""
        out = self.conv1(x)
        for stage in range(1, self.stages + 1):
            out = self.get_submodule(f"dense{stage}")(out)
            if stage < self.stages:
                out = self.get_submodule(f"trans{stage}")(out)
        out = functional.relu(self.bn(out))
        pooled = functional.avg_pool2d(out, (out.shape[2], out.shape[3]))
        return self.linear(torch.flatten(pooled, 1))


def build(candidate: Candidate, options: Options, shapes: Shapes) -> DenseNet:
    """The network of the candidate's name."""
    del options, shapes
    return DenseNet(densenet_depth(candidate.architecture.name), candidate.input_shape[0], candidate.classes)
