"""VGG-9 with batch norm as the code of Li et al. 2018 builds it, with its names."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from landscape_core.catalogue import Candidate
from landscape_core.catalogue.families.vgg import VGG9_STAGES, VGG9_WIDTH, vgg9_places
from landscape_core.catalogue.family import Options, Shapes


class Vgg9(nn.Module):
    """Three stages of 3 x 3 convolutions, each followed by pooling that halves height and width, rounding up.

    Args:
        channels: Channels of the input.
        places: Places of the last feature map, rows times columns: 16 for images of 32 x 32.
        classes: Outputs.
    """

    def __init__(self, channels: int, places: int, classes: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = channels
        for widths in VGG9_STAGES:
            for width in widths:
                layers += [nn.Conv2d(before, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
                before = width
            layers.append(nn.MaxPool2d(2, ceil_mode=True))
        self.features = nn.Sequential(*layers)
        self.fc = nn.Sequential(nn.Linear(before * places, VGG9_WIDTH), nn.BatchNorm1d(VGG9_WIDTH), nn.ReLU(inplace=True))
        self.classifier = nn.Linear(VGG9_WIDTH, classes)

    def forward(self, x: Float[Tensor, "n channels h w"]) -> Float[Tensor, "n classes"]:
        """The logits of each image."""
        return self.classifier(self.fc(torch.flatten(self.features(x), 1)))


def build(candidate: Candidate, options: Options, shapes: Shapes) -> Vgg9:
    """The network for images of the size that the file's first affine layer takes."""
    del options
    return Vgg9(candidate.input_shape[0], vgg9_places(shapes), candidate.classes)
