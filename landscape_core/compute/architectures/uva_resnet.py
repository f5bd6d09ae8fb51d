"""ResNets under the names of the UvA Deep Learning tutorials (tutorial 5), with blocks of any number and width."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from landscape_core.catalogue import Candidate
from landscape_core.catalogue.families.uva_resnets import PREACT, uva_blocks, uva_first_width
from landscape_core.catalogue.family import Options, Shapes
from landscape_core.compute.architectures.activations import FUNCTIONS

Activation = Callable[[Tensor], Tensor]


class Activated(nn.Module):
    """An activation as a module, which takes a number in a sequence."""

    def __init__(self, activation: Activation) -> None:
        super().__init__()
        self.activation = activation

    def forward(self, x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Each entry's activation."""
        return self.activation(x)


def _convolution(before: int, after: int, *, halves: bool) -> nn.Conv2d:
    return nn.Conv2d(before, after, 3, stride=2 if halves else 1, padding=1, bias=False)


class UvaBlock(nn.Module):
    """Two 3 x 3 convolutions, each followed by batch norm; the input is added before the last activation."""

    def __init__(self, before: int, after: int, activation: Activation, *, halves: bool) -> None:
        super().__init__()
        self.net = nn.Sequential(
            _convolution(before, after, halves=halves),
            nn.BatchNorm2d(after),
            Activated(activation),
            _convolution(after, after, halves=False),
            nn.BatchNorm2d(after),
        )
        self.downsample = nn.Conv2d(before, after, 1, stride=2) if halves else nn.Identity()
        self.activation = activation

    def forward(self, x: Float[Tensor, "n before h w"]) -> Float[Tensor, "n after h2 w2"]:
        """The block's output."""
        return self.activation(self.net(x) + self.downsample(x))


class UvaPreactBlock(nn.Module):
    """Two 3 x 3 convolutions, each after batch norm and activation; the input is added to the last."""

    def __init__(self, before: int, after: int, activation: Activation, *, halves: bool) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.BatchNorm2d(before),
            Activated(activation),
            _convolution(before, after, halves=halves),
            nn.BatchNorm2d(after),
            Activated(activation),
            _convolution(after, after, halves=False),
        )
        shortcut = [nn.BatchNorm2d(before), Activated(activation), nn.Conv2d(before, after, 1, stride=2, bias=False)]
        self.downsample = nn.Sequential(*shortcut) if halves else nn.Identity()

    def forward(self, x: Float[Tensor, "n before h w"]) -> Float[Tensor, "n after h2 w2"]:
        """The block's output."""
        return self.net(x) + self.downsample(x)


class UvaResNet(nn.Module):
    """A ResNet for images of any height and width.

    Args:
        channels: Channels of the input.
        first: Channels that the first convolution gives.
        blocks: (width, whether it halves height and width) of each block.
        classes: Outputs.
        activation: One of the catalogue's names.
        preact: Whether batch norm and activation come before each convolution.
    """

    def __init__(
        self, channels: int, first: int, blocks: Sequence[tuple[int, bool]], classes: int, activation: str, *, preact: bool
    ) -> None:
        super().__init__()
        function = FUNCTIONS[activation]
        kind = UvaPreactBlock if preact else UvaBlock
        after = [] if preact else [nn.BatchNorm2d(first), Activated(function)]
        self.input_net = nn.Sequential(_convolution(channels, first, halves=False), *after)
        made, before = [], first
        for width, halves in blocks:
            made.append(kind(before, width, function, halves=halves))
            before = width
        self.blocks = nn.Sequential(*made)
        self.output_net = nn.Sequential(nn.Identity(), nn.Flatten(), nn.Linear(before, classes))

    def forward(self, x: Float[Tensor, "n channels h w"]) -> Float[Tensor, "n classes"]:
        """The logits of each image."""
        out = self.blocks(self.input_net(x))
        return self.output_net(functional.avg_pool2d(out, (out.shape[2], out.shape[3])))


def build(candidate: Candidate, options: Options, shapes: Shapes) -> UvaResNet:
    """The network with the blocks that the file has."""
    preact = candidate.architecture.name == PREACT
    blocks = uva_blocks(shapes, preact=preact)
    channels, classes = candidate.input_shape[0], candidate.classes
    return UvaResNet(channels, uva_first_width(shapes), blocks, classes, options["activation"], preact=preact)
