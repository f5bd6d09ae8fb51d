"""GPT-style language models with the names of nanoGPT and GPT-2 (Radford et al. 2019)."""

from __future__ import annotations

from functools import partial
from typing import cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from landscape_core.catalogue import Candidate
from landscape_core.catalogue.families.gpts import Gpts
from landscape_core.catalogue.families.transformers import Form, heads_of
from landscape_core.catalogue.family import Options, Shapes
from landscape_core.compute.architectures.attention import attended


class Attention(nn.Module):
    """Causal self-attention."""

    def __init__(self, form: Form, heads: int) -> None:
        super().__init__()
        self.c_attn = nn.Linear(form.width, 3 * form.width, bias=form.biases)
        self.c_proj = nn.Linear(form.width, form.width, bias=form.biases)
        self._heads = heads

    def forward(self, x: Float[Tensor, "n tokens width"]) -> Float[Tensor, "n tokens width"]:
        """What each token gathers from itself and those before it."""
        return self.c_proj(attended(self.c_attn(x), self._heads, causal=True))


class Mlp(nn.Module):
    """Two affine layers with a GELU between them."""

    def __init__(self, form: Form, approximate: str) -> None:
        super().__init__()
        self.c_fc = nn.Linear(form.width, form.inner, bias=form.biases)
        self.c_proj = nn.Linear(form.inner, form.width, bias=form.biases)
        self._gelu = partial(functional.gelu, approximate=approximate)

    def forward(self, x: Float[Tensor, "*n width"]) -> Float[Tensor, "*n width"]:
        """The outputs of the second layer."""
        return self.c_proj(self._gelu(self.c_fc(x)))


class Block(nn.Module):
    """Attention and affine layers, each after a layer norm, and each added to its input."""

    def __init__(self, form: Form, heads: int, approximate: str) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(form.width, bias=form.biases)
        self.attn = Attention(form, heads)
        self.ln_2 = nn.LayerNorm(form.width, bias=form.biases)
        self.mlp = Mlp(form, approximate)

    def forward(self, x: Float[Tensor, "n tokens width"]) -> Float[Tensor, "n tokens width"]:
        """The block's output."""
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class Gpt(nn.Module):
    """A language model for sequences of token ids, of any length up to its context.

    Args:
        form: What the file's tensors say.
        heads: How many each block has.
        approximate: PyTorch's name of the GELU's form, `none` or `tanh`.
        own_head: Whether the outputs have a matrix of their own; else they share the tokens' embedding.
    """

    def __init__(self, form: Form, heads: int, approximate: str, *, own_head: bool) -> None:
        super().__init__()
        self.transformer = nn.ModuleDict(
            {
                "wte": nn.Embedding(form.classes, form.width),
                "wpe": nn.Embedding(form.input_shape[0], form.width),
                "h": nn.ModuleList(Block(form, heads, approximate) for _ in range(form.blocks)),
                "ln_f": nn.LayerNorm(form.width, bias=form.biases),
            }
        )
        self.lm_head: nn.Module | None = nn.Linear(form.width, form.classes, bias=False) if own_head else None

    def embedding_as_head(self) -> nn.Linear | None:
        """The head as a layer, where it has no matrix of its own; it shares the embedding's, and is no part of the model."""
        if self.lm_head is not None:
            return None
        embedding = cast("nn.Embedding", self.transformer["wte"])
        head = nn.Linear(embedding.embedding_dim, embedding.num_embeddings, bias=False, device="meta")
        head.weight = embedding.weight
        return head

    def forward(self, tokens: Int[Tensor, "n tokens"]) -> Float[Tensor, "n tokens vocabulary"]:
        """The logits of the token that follows, at each place."""
        parts = self.transformer
        x = parts["wte"](tokens) + parts["wpe"](torch.arange(tokens.shape[1], device=tokens.device))
        for block in parts["h"]:  # type: ignore[attr-defined]  # a ModuleList
            x = block(x)
        x = parts["ln_f"](x)
        return functional.linear(x, parts["wte"].weight) if self.lm_head is None else self.lm_head(x)  # type: ignore[arg-type]


def build(candidate: Candidate, options: Options, shapes: Shapes) -> Gpt:
    """The language model with the sizes that the file has."""
    del candidate
    form = Gpts().form(options, shapes)
    heads = None if form is None else heads_of(options, form.width)
    if form is None or heads is None:
        raise AssertionError("built before it was fitted")
    usual = "tanh" if form.transposed else "exact"
    approximate = {"usual": usual}.get(options["gelu"], options["gelu"])
    return Gpt(form, heads, "tanh" if approximate == "tanh" else "none", own_head=options["head"] == "own")
