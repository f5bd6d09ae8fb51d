"""The CIFAR ResNets of three stages (He et al. 2016, section 4.2), also wide, as the code of Li et al. 2018 builds them."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from landscape_core.catalogue import Candidate
from landscape_core.catalogue.families.three_stage_resnets import RESNET_BLOCKS, RESNET_WIDTHS, resnet_form
from landscape_core.catalogue.family import Options, Shapes
from landscape_core.errors import InvalidRequest


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
        depth: 20, 32, 44, 50, 56 or 110.
        shortcut: `conv` (1 x 1 convolutions where the width changes), `A` (no parameters) or None (no shortcuts).
        channels: Channels of the input.
        classes: Outputs.
        widening: How many times as many channels as usual.

    Example:
        >>> network = CifarResNet(20, "A", channels=3, classes=10).eval()
        >>> network(torch.zeros(2, 3, 8, 8)).shape
        torch.Size([2, 10])
        >>> sum(p.numel() for p in network.parameters())
        269722
    """

    def __init__(self, depth: int, shortcut: str | None, channels: int, classes: int, widening: int = 1) -> None:
        super().__init__()
        before = RESNET_WIDTHS[0] * widening
        self.conv1 = nn.Conv2d(channels, before, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(before)
        for stage, width in enumerate(RESNET_WIDTHS, start=1):
            blocks = []
            for index in range(RESNET_BLOCKS[depth]):
                blocks.append(Block(before, width * widening, 2 if stage > 1 and index == 0 else 1, shortcut))
                before = width * widening
            self.add_module(f"layer{stage}", nn.Sequential(*blocks))
        self.linear = nn.Linear(before, classes)

    def forward(self, x: Float[Tensor, "n channels h w"]) -> Float[Tensor, "n classes"]:
        """The logits of each image."""
        out = functional.relu(self.bn1(self.conv1(x)))
        for stage in range(1, len(RESNET_WIDTHS) + 1):
            out = self.get_submodule(f"layer{stage}")(out)
        pooled = functional.avg_pool2d(out, (out.shape[2], out.shape[3]))
        return self.linear(torch.flatten(pooled, 1))


def build(candidate: Candidate, options: Options, shapes: Shapes) -> CifarResNet:
    """The network of the candidate's name.

    Raises:
        InvalidRequest: It is no three-stage ResNet.
    """
    del shapes
    name = candidate.architecture.name
    form = resnet_form(name)
    if form is None:
        raise InvalidRequest(f"{name} is no ResNet of three stages.", field="architecture.name")
    shortcut = options.get("shortcut", "conv") if form.has_shortcuts else None
    return CifarResNet(form.depth, shortcut, candidate.input_shape[0], candidate.classes, form.widening)
