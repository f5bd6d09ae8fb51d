"""Transformers as plainly as they can be said, by their tensors' names: one head and one token at a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

Tensors = Mapping[str, Tensor]


def gelu(x: Tensor) -> Tensor:
    """x Φ(x)."""
    return x * (1 + torch.erf(x / math.sqrt(2))) / 2


def gelu_tanh(x: Tensor) -> Tensor:
    """The approximation of Hendrycks and Gimpel 2016."""
    return x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2


def layer_norm(t: Tensors, name: str, x: Tensor, epsilon: float) -> Tensor:
    centred = x - x.mean(dim=-1, keepdim=True)
    x = centred / torch.sqrt((centred**2).mean(dim=-1, keepdim=True) + epsilon)
    return x * t[f"{name}.weight"] + t.get(f"{name}.bias", 0)


def affine(t: Tensors, weight: str, bias: str, x: Tensor, *, swapped: bool = False) -> Tensor:
    return x @ (t[weight] if swapped else t[weight].T) + t.get(bias, 0)


def attention(joint: Tensor, heads: int, *, causal: bool) -> Tensor:
    n, tokens, width = joint.shape[0], joint.shape[1], joint.shape[2] // 3
    q, k, v = joint[..., :width], joint[..., width : 2 * width], joint[..., 2 * width :]
    out, size = torch.zeros(n, tokens, width, dtype=joint.dtype), width // heads
    for head in range(heads):
        part = slice(head * size, (head + 1) * size)
        for token in range(tokens):
            seen = slice(0, token + 1) if causal else slice(None)
            scores = (k[:, seen, part] * q[:, token : token + 1, part]).sum(dim=-1) / math.sqrt(size)
            share = torch.exp(scores) / torch.exp(scores).sum(dim=1, keepdim=True)
            out[:, token, part] = (share[..., None] * v[:, seen, part]).sum(dim=1)
    return out


def gpt(t: Tensors, ids: Tensor, heads: int, *, swapped: bool, activation: Callable[[Tensor], Tensor] = gelu) -> Tensor:
    """Logits of a language model with the names of nanoGPT, or of GPT-2, whose matrices are (inputs, outputs)."""
    start = "transformer." if "transformer.wte.weight" in t else ""

    def layer(name: str, x: Tensor) -> Tensor:
        return affine(t, f"{name}.weight", f"{name}.bias", x, swapped=swapped)

    x = t[f"{start}wte.weight"][ids] + t[f"{start}wpe.weight"][: ids.shape[1]]
    index = 0
    while (block := f"{start}h.{index}") and f"{block}.ln_1.weight" in t:
        joint = layer(f"{block}.attn.c_attn", layer_norm(t, f"{block}.ln_1", x, 1e-5))
        x = x + layer(f"{block}.attn.c_proj", attention(joint, heads, causal=True))
        hidden = activation(layer(f"{block}.mlp.c_fc", layer_norm(t, f"{block}.ln_2", x, 1e-5)))
        x, index = x + layer(f"{block}.mlp.c_proj", hidden), index + 1
    return layer_norm(t, f"{start}ln_f", x, 1e-5) @ t.get("lm_head.weight", t[f"{start}wte.weight"]).T


TIMM = {
    "class": "cls_token", "positions": "pos_embed", "patches": "patch_embed.proj", "block": "blocks.{}", "norm": "norm",
    "head": "head", "norm1": "norm1", "joint": ("attn.qkv.weight", "attn.qkv.bias"), "out": "attn.proj", "norm2": "norm2",
    "first": "mlp.fc1", "second": "mlp.fc2",
}  # fmt: skip
TORCHVISION = {
    "class": "class_token", "positions": "encoder.pos_embedding", "patches": "conv_proj",
    "block": "encoder.layers.encoder_layer_{}", "norm": "encoder.ln", "head": "heads.head", "norm1": "ln_1",
    "joint": ("self_attention.in_proj_weight", "self_attention.in_proj_bias"), "out": "self_attention.out_proj",
    "norm2": "ln_2", "first": "mlp.0", "second": "mlp.3",
}  # fmt: skip


def vit(t: Tensors, images: Tensor, heads: int, names: Mapping[str, str | tuple[str, str]]) -> Tensor:
    """Logits of a vision transformer under timm's or torchvision's names."""
    said = {key: name for key, name in names.items() if isinstance(name, str)}

    def layer(name: str, x: Tensor) -> Tensor:
        return affine(t, f"{name}.weight", f"{name}.bias", x)

    kernel, tokens = t[f"{said['patches']}.weight"], [t[said["class"]].expand(len(images), -1, -1)]
    size = kernel.shape[-1]
    for row in range(0, images.shape[2], size):
        for column in range(0, images.shape[3], size):
            patch = images[:, None, :, row : row + size, column : column + size]
            tokens.append((patch * kernel).sum(dim=(2, 3, 4))[:, None] + t[f"{said['patches']}.bias"])
    x, index = torch.cat(tokens, dim=1) + t[said["positions"]], 0
    while (block := said["block"].format(index)) and f"{block}.{said['norm1']}.weight" in t:
        weight, bias = (f"{block}.{part}" for part in names["joint"])
        joint = affine(t, weight, bias, layer_norm(t, f"{block}.{said['norm1']}", x, 1e-6))
        x = x + layer(f"{block}.{said['out']}", attention(joint, heads, causal=False))
        hidden = gelu(layer(f"{block}.{said['first']}", layer_norm(t, f"{block}.{said['norm2']}", x, 1e-6)))
        x, index = x + layer(f"{block}.{said['second']}", hidden), index + 1
    return layer(said["head"], layer_norm(t, said["norm"], x, 1e-6)[:, 0])
