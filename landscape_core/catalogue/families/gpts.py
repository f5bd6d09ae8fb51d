"""GPT-style language models under the names of nanoGPT and of GPT-2 in Hugging Face's transformers (Radford et al. 2019).

Both call their tensors alike. nanoGPT has affine layers as (outputs, inputs), GPT-2 as (inputs, outputs) (`Conv1D`), which is
seen at `attn.c_attn.weight`; the network here has (outputs, inputs), so that a filter is a neuron. Files of the bare model lack
`transformer.`. Causal masks (`attn.bias` of four dimensions, `attn.masked_bias`) are no parameters and are left out.

Options: `heads`; `gelu`, exact as in nanoGPT or by tanh as in GPT-2 (Hendrycks and Gimpel 2016), which is the default by the
layout; `head`, whether the outputs have a matrix of their own or share the tokens' embedding, as both usually do. A file that
has both matrices must have them equal for the latter.
"""

from __future__ import annotations

from landscape_core.catalogue.families.transformers import (
    HEADS,
    USUAL,
    Form,
    TransformerFamily,
    attention_macs,
    numbered,
)
from landscape_core.catalogue.family import ArchitectureEntry, Options, Shapes
from landscape_core.requests import ArchitectureSpec

MATRICES = ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")
PREFIX = "transformer."
HEAD = "lm_head.weight"


class Gpts(TransformerFamily):
    """Language models of GPT-2's form, of any size."""

    key = "gpts"
    summary = "gpt"
    name = "gpt"
    takes_tokens = True

    def entries(self) -> list[ArchitectureEntry]:
        """The one there is."""
        heads = [USUAL, *(str(heads) for heads in HEADS)]
        options = {"heads": heads, "gelu": [USUAL, "exact", "tanh"], "head": ["tied", "own"]}
        return [ArchitectureEntry(name="gpt", title="GPT-style language model (nanoGPT, GPT-2)", options=options)]

    def form(self, options: Options, shapes: Shapes) -> Form | None:
        """What the file's tensors say; None if embeddings or the first block are missing."""
        prefix = PREFIX if f"{PREFIX}wte.weight" in shapes else ""
        block = f"{prefix}h.0."
        embedding, positions = (shapes.get(f"{prefix}{name}.weight", ()) for name in ("wte", "wpe"))
        joint, hidden = (shapes.get(f"{block}{name}.weight", ()) for name in ("attn.c_attn", "mlp.c_fc"))
        if not all(len(shape) == 2 for shape in (embedding, positions, joint, hidden)):
            return None
        (vocabulary, width), blocks = embedding, numbered(shapes, f"{prefix}h.", ".ln_1.weight")
        swapped = joint == (width, 3 * width)
        inner, biases = hidden[1 if swapped else 0], f"{block}attn.c_attn.bias" in shapes
        own = _tensors((vocabulary, positions[0], width, inner), blocks, biases=biases)
        transposed = tuple(name for name in own if swapped and name.endswith(tuple(f"{part}.weight" for part in MATRICES)))
        renames = {} if prefix else {name: name.removeprefix(PREFIX) for name in own}
        has_head, is_tied = HEAD in shapes, options["head"] == "tied"
        if has_head or not is_tied:
            own[HEAD] = (vocabulary, width)
        tensors = {renames.get(n, n): shape[::-1] if n in transposed else shape for n, shape in own.items()}
        return Form(
            tensors,
            width,
            blocks,
            inner,
            input_shape=(positions[0],),
            classes=vocabulary,
            layout="GPT-2 in transformers" if swapped else "nanoGPT",
            renames=renames,
            transposed=transposed,
            copies={HEAD: f"{prefix}wte.weight"} if has_head and is_tied else {},
            unused=tuple(name for name, shape in shapes.items() if _is_mask(name, shape)),
            biases=biases,
        )

    def macs(self, spec: ArchitectureSpec, options: Options, shapes: Shapes, input_shape: tuple[int, ...]) -> int:
        """Multiply-accumulates of one forward pass of one sequence."""
        del spec
        form = self.form(options, shapes)
        if form is None:
            return 0
        tokens = input_shape[0] if len(input_shape) == 1 else form.input_shape[0]
        return attention_macs(tokens, form) + tokens * form.width * form.classes

    def _alternatives(self, form: Form) -> list[dict[str, str]]:
        return [{"head": "own"}] if form.copies else []


def _tensors(sizes: tuple[int, int, int, int], blocks: int, *, biases: bool) -> dict[str, tuple[int, ...]]:
    """The network's own tensors in `state_dict` order, affine layers as (outputs, inputs), without a head of its own."""
    vocabulary, context, width, inner = sizes
    tensors: dict[str, tuple[int, ...]] = {f"{PREFIX}wte.weight": (vocabulary, width), f"{PREFIX}wpe.weight": (context, width)}

    def layer(name: str, shape: tuple[int, ...]) -> None:
        tensors[f"{name}.weight"] = shape
        if biases:
            tensors[f"{name}.bias"] = shape[:1]

    for index in range(blocks):
        block = f"{PREFIX}h.{index}"
        layer(f"{block}.ln_1", (width,))
        layer(f"{block}.attn.c_attn", (3 * width, width))
        layer(f"{block}.attn.c_proj", (width, width))
        layer(f"{block}.ln_2", (width,))
        layer(f"{block}.mlp.c_fc", (inner, width))
        layer(f"{block}.mlp.c_proj", (width, inner))
    layer(f"{PREFIX}ln_f", (width,))
    return tensors


def _is_mask(name: str, shape: tuple[int, ...]) -> bool:
    square = len(shape) == 4 and shape[:2] == (1, 1) and shape[2] == shape[3]
    return (name.endswith(".attn.bias") and square) or (name.endswith(".attn.masked_bias") and shape == ())
