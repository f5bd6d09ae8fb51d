"""Vision transformers (Dosovitskiy et al. 2021) under the names of timm and of torchvision, with a class token.

Width, number of blocks, size of patches and images, and whether the joint projection has a bias are read off the file; images
are taken to be square. A file does not say the number of heads.
"""

from __future__ import annotations

import math

from landscape_core.catalogue.families.transformers import HEADS, USUAL, Form, TransformerFamily, attention_macs, numbered
from landscape_core.catalogue.family import ArchitectureEntry, Options, Shapes
from landscape_core.requests import ArchitectureSpec

TORCHVISION = "torchvision's ViT"
POSITIONS = "encoder.pos_embedding"
"""torchvision's name of the positions, which stand behind the patches there; in timm they are `pos_embed` and stand before."""

_ENDS = {
    "cls_token": "class_token",
    "patch_embed.proj": "conv_proj",
    "norm": "encoder.ln",
    "head": "heads.head",
}
_BLOCK = {"norm1": "ln_1", "attn.proj": "self_attention.out_proj", "norm2": "ln_2", "mlp.fc1": "mlp.0", "mlp.fc2": "mlp.3"}
_TIMM_BLOCKS, _TORCHVISION_BLOCKS = "blocks.", "encoder.layers.encoder_layer_"


class Vits(TransformerFamily):
    """Vision transformers of any size."""

    key = "vits"
    summary = "vit"
    name = "vit"

    def entries(self) -> list[ArchitectureEntry]:
        """The one there is."""
        heads = [USUAL, *(str(heads) for heads in HEADS)]
        return [ArchitectureEntry(name="vit", title="Vision transformer (timm, torchvision)", options={"heads": heads})]

    def form(self, options: Options, shapes: Shapes) -> Form | None:
        """What the file's tensors say; None if patches, positions, the first block or the head are missing."""
        del options
        foreign = "conv_proj.weight" in shapes
        first, start = ("conv_proj", _TORCHVISION_BLOCKS) if foreign else ("patch_embed.proj", _TIMM_BLOCKS)
        patches = shapes.get(f"{first}.weight", ())
        positions = shapes.get(POSITIONS if foreign else "pos_embed", ())
        hidden = shapes.get(f"{start}0.{'mlp.0' if foreign else 'mlp.fc1'}.weight", ())
        last = shapes.get("heads.head.weight" if foreign else "head.weight", ())
        if [len(patches), len(positions), len(hidden), len(last)] != [4, 3, 2, 2]:
            return None
        width, channels, patch, _ = patches
        side = math.isqrt(max(0, positions[1] - 1))
        biases = (f"{start}0.self_attention.in_proj_bias" if foreign else f"{start}0.attn.qkv.bias") in shapes
        blocks = numbered(shapes, start, f".{'ln_1' if foreign else 'norm1'}.weight")
        own = _tensors((width, channels, patch, side), blocks, (hidden[0], last[0]), foreign=foreign, biases=biases)
        renames = {name: theirs for name in own if (theirs := _torchvision_name(name)) != name} if foreign else {}
        return Form(
            {renames.get(name, name): shape for name, shape in own.items()},
            width,
            blocks,
            hidden[0],
            input_shape=(channels, side * patch, side * patch),
            classes=last[0],
            layout=TORCHVISION if foreign else "timm's ViT",
            renames=renames,
            biases=biases,
        )

    def macs(self, spec: ArchitectureSpec, options: Options, shapes: Shapes, input_shape: tuple[int, ...]) -> int:
        """Multiply-accumulates of one forward pass of one image, of the only size that the network takes."""
        del spec, input_shape
        form = self.form(options, shapes)
        if form is None:
            return 0
        tokens = next(shape[1] for name, shape in form.tensors.items() if name in {"pos_embed", POSITIONS})
        patches = next(math.prod(shape) for shape in form.tensors.values() if len(shape) == 4)
        return (tokens - 1) * patches + attention_macs(tokens, form) + form.width * form.classes

    def size_problem(self, spec: ArchitectureSpec, options: Options, shapes: Shapes, height: int, width: int) -> str | None:
        """Images of another size than the file's positions are for."""
        form = self.form(options, shapes)
        if form is None or form.input_shape[1:] == (height, width):
            return None
        own = " x ".join(str(length) for length in form.input_shape[1:])
        return f"but this {spec.name} has positions for {own}; choose the data set that the network was trained on"


# More than 40 lines would follow from one line a tensor; the layers are written down in pairs of weight and bias.
def _tensors(
    sizes: tuple[int, int, int, int], blocks: int, ends: tuple[int, int], *, foreign: bool, biases: bool
) -> dict[str, tuple[int, ...]]:
    """The network's own tensors in the order of the code that the file is from."""
    (width, channels, patch, side), (inner, classes) = sizes, ends
    positions: dict[str, tuple[int, ...]] = {POSITIONS if foreign else "pos_embed": (1, side**2 + 1, width)}
    tensors: dict[str, tuple[int, ...]] = {"cls_token": (1, 1, width)} | ({} if foreign else positions)

    def layer(name: str, *shape: int, bias: bool = True) -> None:
        tensors[f"{name}.weight"] = shape
        if bias:
            tensors[f"{name}.bias"] = shape[:1]

    layer("patch_embed.proj", width, channels, patch, patch)
    tensors |= positions
    for index in range(blocks):
        block = f"blocks.{index}"
        layer(f"{block}.norm1", width)
        layer(f"{block}.attn.qkv", 3 * width, width, bias=biases)
        layer(f"{block}.attn.proj", width, width)
        layer(f"{block}.norm2", width)
        layer(f"{block}.mlp.fc1", inner, width)
        layer(f"{block}.mlp.fc2", width, inner)
    layer("norm", width)
    layer("head", classes, width)
    return tensors


def _torchvision_name(name: str) -> str:
    """The name in torchvision of one of the network's tensors."""
    start, _, part = name.rpartition(".")
    if not start:
        return _ENDS.get(name, name)
    if not name.startswith(_TIMM_BLOCKS):
        return f"{_ENDS.get(start, start)}.{part}"
    _, index, layer = start.split(".", 2)
    block = f"{_TORCHVISION_BLOCKS}{index}"
    return f"{block}.self_attention.in_proj_{part}" if layer == "attn.qkv" else f"{block}.{_BLOCK[layer]}.{part}"
