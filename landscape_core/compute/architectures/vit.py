"""Vision transformers (Dosovitskiy et al. 2021) with timm's names; parameters are in the order of the file's own code."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from landscape_core.catalogue import Candidate
from landscape_core.catalogue.families.transformers import Form, heads_of
from landscape_core.catalogue.families.vits import TORCHVISION, Vits
from landscape_core.catalogue.family import Options, Shapes
from landscape_core.compute.architectures.attention import attended

EPSILON = 1e-6
"""What layer norms add to the variance, in timm and torchvision."""


class Attention(nn.Module):
    """Self-attention among all tokens."""

    def __init__(self, form: Form, heads: int) -> None:
        super().__init__()
        self.qkv = nn.Linear(form.width, 3 * form.width, bias=form.biases)
        self.proj = nn.Linear(form.width, form.width)
        self._heads = heads

    def forward(self, x: Float[Tensor, "n tokens width"]) -> Float[Tensor, "n tokens width"]:
        """What each token gathers from all."""
        return self.proj(attended(self.qkv(x), self._heads, causal=False))


class Mlp(nn.Module):
    """Two affine layers with a GELU between them."""

    def __init__(self, form: Form) -> None:
        super().__init__()
        self.fc1 = nn.Linear(form.width, form.inner)
        self.fc2 = nn.Linear(form.inner, form.width)

    def forward(self, x: Float[Tensor, "*n width"]) -> Float[Tensor, "*n width"]:
        """The outputs of the second layer."""
        return self.fc2(functional.gelu(self.fc1(x)))


class Block(nn.Module):
    """Attention and affine layers, each after a layer norm, and each added to its input."""

    def __init__(self, form: Form, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(form.width, eps=EPSILON)
        self.attn = Attention(form, heads)
        self.norm2 = nn.LayerNorm(form.width, eps=EPSILON)
        self.mlp = Mlp(form)

    def forward(self, x: Float[Tensor, "n tokens width"]) -> Float[Tensor, "n tokens width"]:
        """The block's output."""
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class Patches(nn.Module):
    """A vector for each patch of an image, row by row."""

    def __init__(self, channels: int, width: int, size: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(channels, width, size, stride=size)

    def forward(self, x: Float[Tensor, "n channels h w"]) -> Float[Tensor, "n patches width"]:
        """The vectors."""
        return self.proj(x).flatten(2).transpose(1, 2)


class Encoder(nn.Module):
    """The positions, where torchvision has them."""

    def __init__(self, tokens: int, width: int) -> None:
        super().__init__()
        self.pos_embedding = nn.Parameter(torch.zeros(1, tokens, width))


class VisionTransformer(nn.Module):
    """A classifier of images of one size.

    Args:
        form: What the file's tensors say.
        heads: How many each block has.
    """

    def __init__(self, form: Form, heads: int) -> None:
        super().__init__()
        channels, side = form.input_shape[:2]
        size = next(shape[-1] for shape in form.tensors.values() if len(shape) == 4)
        tokens = (side // size) ** 2 + 1
        self.cls_token = nn.Parameter(torch.zeros(1, 1, form.width))
        self._behind = form.layout == TORCHVISION
        if not self._behind:
            self.pos_embed = nn.Parameter(torch.zeros(1, tokens, form.width))
        self.patch_embed = Patches(channels, form.width, size)
        if self._behind:
            self.encoder = Encoder(tokens, form.width)
        self.blocks = nn.Sequential(*(Block(form, heads) for _ in range(form.blocks)))
        self.norm = nn.LayerNorm(form.width, eps=EPSILON)
        self.head = nn.Linear(form.width, form.classes)

    def forward(self, x: Float[Tensor, "n channels h w"]) -> Float[Tensor, "n classes"]:
        """The logits of each image, from its class token."""
        positions = self.encoder.pos_embedding if self._behind else self.pos_embed
        tokens = torch.cat([self.cls_token.expand(len(x), -1, -1), self.patch_embed(x)], dim=1) + positions
        return self.head(self.norm(self.blocks(tokens)[:, 0]))


def build(candidate: Candidate, options: Options, shapes: Shapes) -> VisionTransformer:
    """The network with the sizes that the file has."""
    del candidate
    form = Vits().form(options, shapes)
    heads = None if form is None else heads_of(options, form.width)
    if form is None or heads is None:
        raise AssertionError("built before it was fitted")
    return VisionTransformer(form, heads)
