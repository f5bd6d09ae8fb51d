"""Tensors of small transformers, under the names of the programs that write them."""

from __future__ import annotations

import numpy as np

Arrays = dict[str, np.ndarray]


def values(shapes: dict[str, tuple[int, ...]], seed: int = 0) -> Arrays:
    """Numbers that keep the size of what goes through them."""
    rng = np.random.default_rng(seed)
    tensors = {}
    for name, shape in shapes.items():
        wide = max(1, int(np.prod(shape[1:])))
        norm = name.rpartition(".")[0].rpartition(".")[2].startswith(("ln", "norm")) and name.endswith("weight")
        tensors[name] = (rng.normal(size=shape) / np.sqrt(wide if len(shape) > 1 else 9) + (1 if norm else 0)).astype(
            np.float32
        )
    return tensors


def gpt_file(
    width: int = 12, *, blocks: int = 2, vocabulary: int = 23, context: int = 9, inner: int | None = None, biases: bool = True,
    swapped: bool = False, head: str = "absent", prefix: str = "transformer.", seed: int = 0,
) -> Arrays:  # fmt: skip
    """nanoGPT's tensors; `swapped` has matrices as (inputs, outputs), as GPT-2 has. `head` is absent, tied or own."""
    hidden = 4 * width if inner is None else inner
    shapes: dict[str, tuple[int, ...]] = {"wte.weight": (vocabulary, width), "wpe.weight": (context, width)}
    for index in range(blocks):
        layers = {
            "ln_1": (width,),
            "attn.c_attn": (3 * width, width),
            "attn.c_proj": (width, width),
            "ln_2": (width,),
            "mlp.c_fc": (hidden, width),
            "mlp.c_proj": (width, hidden),
        }
        for name, shape in layers.items():
            shapes |= {f"h.{index}.{name}.weight": shape} | ({f"h.{index}.{name}.bias": shape[:1]} if biases else {})
    shapes |= {"ln_f.weight": (width,)} | ({"ln_f.bias": (width,)} if biases else {})
    arrays = {f"{prefix}{name}": array for name, array in values(shapes, seed).items()}
    if swapped:
        arrays = {name: a.T.copy() if ".attn.c" in name or ".mlp.c" in name else a for name, a in arrays.items()}
    if head != "absent":
        arrays["lm_head.weight"] = arrays[f"{prefix}wte.weight"] * (1 if head == "tied" else 2)
    return arrays


def vit_file(
    width: int = 12, *, blocks: int = 2, channels: int = 2, patch: int = 3, side: int = 4, classes: int = 7,
    biases: bool = True, torchvision: bool = False,
) -> Arrays:  # fmt: skip
    """A vision transformer's tensors under timm's names, or torchvision's, in the order of their `state_dict`."""
    positions = (1, side**2 + 1, width)
    shapes: dict[str, tuple[int, ...]] = {"class_token": (1, 1, width)} if torchvision else {"cls_token": (1, 1, width)}

    def layer(name: str, *shape: int, bias: bool = True, marks: tuple[str, str] = (".weight", ".bias")) -> None:
        shapes[f"{name}{marks[0]}"] = shape
        if bias:
            shapes[f"{name}{marks[1]}"] = shape[:1]

    if not torchvision:
        shapes["pos_embed"] = positions
    layer("conv_proj" if torchvision else "patch_embed.proj", width, channels, patch, patch)
    if torchvision:
        shapes["encoder.pos_embedding"] = positions
    for index in range(blocks):
        block = f"encoder.layers.encoder_layer_{index}" if torchvision else f"blocks.{index}"
        names = ("ln_1", "self_attention.in_proj", "self_attention.out_proj", "ln_2", "mlp.0", "mlp.3")
        names = names if torchvision else ("norm1", "attn.qkv", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2")
        marks = ("_weight", "_bias") if torchvision else (".weight", ".bias")
        layer(f"{block}.{names[0]}", width)
        layer(f"{block}.{names[1]}", 3 * width, width, bias=biases, marks=marks)
        layer(f"{block}.{names[2]}", width, width)
        layer(f"{block}.{names[3]}", width)
        layer(f"{block}.{names[4]}", 2 * width, width)
        layer(f"{block}.{names[5]}", width, 2 * width)
    layer("encoder.ln" if torchvision else "norm", width)
    layer("heads.head" if torchvision else "head", classes, width)
    return values(shapes)
