"""The CIFAR ResNets (He et al. 2016, section 4.2) as the code of Li et al. 2018 builds them, with its names."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from landscape_core.catalogue.networks import RESNET_BLOCKS, RESNET_WIDTHS


class SubsampledShortcut(nn.Module):
    """Option A of He et al. 2016: every second place, new channels filled with zeros, half before and half after.

    The placing of the zeros is that of akamaster/pytorch_resnet_cifar10, whose trained files rely on it.
    """

    def __init__(self, before: int, width: int) -> None:
        super().__init__()
        extra = width - before
        self.padding = (0, 0, 0, 0, extra // 2, extra - extra // 2)

    def forward(self, x: Float[Tensor, "n before h w"]) -> Float[Tensor, "n width h2 w2"]:
        """The input at half the height and width, with as many channels as the block puts out."""
        return functional.pad(x[:, :, ::2, ::2], self.padding)


class Block(nn.Module):
    """Two 3 x 3 convolutions with batch norm, and (unless `shortcut` is None) the input added before the last ReLU."""

    def __init__(self, before: int, width: int, stride: int, shortcut: str | None) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, width, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.shortcut: nn.Module | None = None
        if shortcut is not None and before == width and stride == 1:
            self.shortcut = nn.Identity()
        elif shortcut == "conv":
            self.shortcut = nn.Sequential(nn.Conv2d(before, width, 1, stride=stride, bias=False), nn.BatchNorm2d(width))
        elif shortcut == "A":
            self.shortcut = SubsampledShortcut(before, width)

    def forward(self, x: Float[Tensor, "n before h w"]) -> Float[Tensor, "n width h2 w2"]:
        """The block's output; height and width are divided by the stride, rounding up."""
        out = self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(x)))))
        if self.shortcut is not None:
            out = out + self.shortcut(x)
        return functional.relu(out)


class CifarResNet(nn.Module):
    """A ResNet of 6 n + 2 layers for small images of any height and width.

    Args:
        depth: 20, 32, 44, 56 or 110.
        shortcut: `conv` (1 x 1 convolutions where the width changes), `A` (no parameters) or None (no shortcuts).
        channels: Channels of the input.
        classes: Outputs.
    """

    def __init__(self, depth: int, shortcut: str | None, channels: int, classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, RESNET_WIDTHS[0], 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(RESNET_WIDTHS[0])
        before = RESNET_WIDTHS[0]
        for stage, width in enumerate(RESNET_WIDTHS, start=1):
            blocks = []
            for index in range(RESNET_BLOCKS[depth]):
                blocks.append(Block(before, width, 2 if stage > 1 and index == 0 else 1, shortcut))
                before = width
            self.add_module(f"layer{stage}", nn.Sequential(*blocks))
        self.linear = nn.Linear(before, classes)

    def forward(self, x: Float[Tensor, "n channels h w"]) -> Float[Tensor, "n classes"]:
        """The logits of each image."""
        out = functional.relu(self.bn1(self.conv1(x)))
        for stage in range(1, len(RESNET_WIDTHS) + 1):
            out = self.get_submodule(f"layer{stage}")(out)
        pooled = functional.avg_pool2d(out, (out.shape[2], out.shape[3]))
        return self.linear(torch.flatten(pooled, 1))
