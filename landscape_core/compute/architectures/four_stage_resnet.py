"""ResNets of four stages with a first convolution for small images, as the code of Li et al. 2018 builds them."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from landscape_core.catalogue import Candidate
from landscape_core.catalogue.families.four_stage_resnets import (
    EXPANSION,
    FOUR_STAGE_BLOCKS,
    FOUR_STAGE_WIDTHS,
    FourStageForm,
    four_stage_form,
)
from landscape_core.catalogue.family import Options, Shapes
from landscape_core.compute.architectures.resnet import Block
from landscape_core.errors import InvalidRequest


class Bottleneck(nn.Module):
    """Convolutions of 1 x 1, 3 x 3 and 1 x 1 with batch norm, and the input added before the last ReLU.

    Without a shortcut there is no last ReLU either: that is how the code of Li et al. 2018 has it.
    """

    def __init__(self, before: int, width: int, stride: int, *, has_shortcut: bool) -> None:
        super().__init__()
        after = EXPANSION * width
        self.conv1 = nn.Conv2d(before, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, after, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(after)
        self.shortcut: nn.Module | None = None
        if has_shortcut and before == after and stride == 1:
            self.shortcut = nn.Identity()
        elif has_shortcut:
            self.shortcut = nn.Sequential(nn.Conv2d(before, after, 1, stride=stride, bias=False), nn.BatchNorm2d(after))

    def forward(self, x: Float[Tensor, "n before h w"]) -> Float[Tensor, "n after h2 w2"]:
        """The block's output; height and width are divided by the stride, rounding up."""
        out = functional.relu(self.bn1(self.conv1(x)))
        out = functional.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        return out if self.shortcut is None else functional.relu(out + self.shortcut(x))


class FourStageResNet(nn.Module):
    """A ResNet of four stages for small images of any height and width.

    Args:
        form: Depth, kind of blocks, and whether there are shortcuts.
        channels: Channels of the input.
        classes: Outputs.
    """

    def __init__(self, form: FourStageForm, channels: int, classes: int) -> None:
        super().__init__()
        before = FOUR_STAGE_WIDTHS[0]
        self.conv1 = nn.Conv2d(channels, before, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(before)
        for stage, (width, count) in enumerate(zip(FOUR_STAGE_WIDTHS, FOUR_STAGE_BLOCKS[form.depth], strict=True)):
            blocks: list[nn.Module] = []
            for index in range(count):
                stride = 2 if stage > 0 and index == 0 else 1
                if form.bottleneck:
                    blocks.append(Bottleneck(before, width, stride, has_shortcut=form.has_shortcuts))
                    before = EXPANSION * width
                else:
                    blocks.append(Block(before, width, stride, "conv" if form.has_shortcuts else None))
                    before = width
            self.add_module(f"layer{stage + 1}", nn.Sequential(*blocks))
        self.linear = nn.Linear(before, classes)

    def forward(self, x: Float[Tensor, "n channels h w"]) -> Float[Tensor, "n classes"]:
        """The logits of each image."""
        out = functional.relu(self.bn1(self.conv1(x)))
        for stage in range(1, len(FOUR_STAGE_WIDTHS) + 1):
            out = self.get_submodule(f"layer{stage}")(out)
        pooled = functional.avg_pool2d(out, (out.shape[2], out.shape[3]))
        return self.linear(torch.flatten(pooled, 1))


def build(candidate: Candidate, options: Options, shapes: Shapes) -> FourStageResNet:
    """The network of the candidate's name.

    Raises:
        InvalidRequest: It is no four-stage ResNet.
    """
    del options, shapes
    name = candidate.architecture.name
    form = four_stage_form(name)
    if form is None:
        raise InvalidRequest(f"{name} is no ResNet of four stages.", field="architecture.name")
    return FourStageResNet(form, candidate.input_shape[0], candidate.classes)
