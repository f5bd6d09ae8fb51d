"""What families of transformers have in common: sizes that are read off the file, and a number of heads that is in no tensor.

Heads split each token's vector into equal parts, so that a file fits any number of them that divides its width. Usual are
parts of 64 numbers (GPT-2, ViT), which is the default where 64 divides the width; else the number has to be said.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field

from landscape_core.catalogue.family import NEAR, Candidate, Family, Options, Shapes, differences, listed
from landscape_core.errors import InvalidRequest
from landscape_core.requests import ArchitectureSpec

USUAL = "usual"
"""The value of an option that stands for what the file's layout is usually trained with."""

HEAD_WIDTH = 64
HEADS = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 14, 15, 16, 18, 20, 24, 25, 28, 30, 32, 36, 40, 48, 64, 96, 128)
MOST_CANDIDATES = 6


@dataclass(frozen=True)
class Form:
    """What a file's tensors say of a transformer.

    Attributes:
        tensors: What the file should hold, by its own names, in the network's order.
        width: Numbers in a token's vector.
        blocks: How many.
        inner: Hidden units of each block's two affine layers.
        input_shape: (channels, height, width) of an image, or (tokens,).
        classes: Outputs: classes, or tokens of the vocabulary.
        renames: The network's name -> the file's, where they differ.
        transposed: Weights that the file has as (inputs, outputs), by the network's names.
        copies: A tensor of the file -> the one that it has to equal, because they are one in the network.
        unused: Tensors of the file that hold nothing learned.
        layout: Whose names and shapes these are, for people.
        biases: Whether affine layers and layer norms have biases.
    """

    tensors: dict[str, tuple[int, ...]]
    width: int
    blocks: int
    inner: int
    input_shape: tuple[int, ...]
    classes: int
    layout: str
    renames: dict[str, str] = field(default_factory=dict)
    transposed: tuple[str, ...] = ()
    copies: dict[str, str] = field(default_factory=dict)
    unused: tuple[str, ...] = ()
    biases: bool = True


class TransformerFamily(Family):
    """A family of one name, whose form is read off the file."""

    name: str
    takes_tokens: bool = False

    @abstractmethod
    def form(self, options: Options, shapes: Shapes) -> Form | None:
        """What the file's tensors say; None if it has not the tensors that tell the sizes."""

    def fit(self, spec: ArchitectureSpec, options: Options, shapes: Shapes) -> Candidate:
        """How the architecture fits a file's tensors.

        Raises:
            InvalidRequest: It does not; the text says what differs, or that the number of heads has to be said.
        """
        form = self.form(options, shapes)
        count, words = _differences(form, shapes)
        if form is None or count:
            raise InvalidRequest(f"The checkpoint does not fit {spec}: {words}.", field="architecture")
        heads = heads_of(options, form.width)
        if heads is None:
            raise InvalidRequest(_no_heads(spec, form.width, options["heads"]), field="architecture.options")
        return Candidate(
            architecture=spec,
            note=f"{self._described(form, shapes)} The file does not say the number of heads: {heads} assumed.",
            input_shape=form.input_shape,
            classes=form.classes,
            renames=form.renames,
            takes_tokens=self.takes_tokens,
            transposed=form.transposed,
            copies=form.copies,
        )

    def match(self, shapes: Shapes, filename: str) -> tuple[Candidate, ...]:
        """The architecture with each number of heads that is likely, the likeliest first; then with other options."""
        del filename
        form = self.form(self._defaults(), shapes)
        if form is None or _differences(form, shapes)[0]:
            return ()
        found = []
        choices = [{} if heads == USUAL else {"heads": heads} for heads in likely_heads(form.width)]
        for chosen in choices + [choices[0] | other for other in self._alternatives(form)]:
            try:
                found.append(self.fit(ArchitectureSpec(name=self.name, options={**chosen}), self._defaults() | chosen, shapes))
            except InvalidRequest:
                continue
        if len(found) < 2:
            return tuple(found)
        first = found[0]
        note = f"{first.note.rstrip('.')}. The right number shows the loss you know at the centre."
        return (first.model_copy(update={"note": note}), *found[1:])

    def near_miss(self, shapes: Shapes) -> tuple[float, str] | None:
        """What differs, if a quarter of the file's tensors are those of such a network."""
        form = self.form(self._defaults(), shapes)
        if form is None:
            return None
        same = sum(form.tensors.get(name) == tuple(shape) for name, shape in shapes.items())
        if same < NEAR * len(shapes):
            return None
        words = _differences(form, shapes)[1]
        return same / len(shapes), f"; the nearest is {self.name}, with {same} of {len(shapes)} tensors in common: {words}."

    def _alternatives(self, form: Form) -> list[dict[str, str]]:
        """Choices of other options that tensors cannot tell, to be offered last."""
        del form
        return []

    def _defaults(self) -> dict[str, str]:
        return {name: values[0] for entry in self.entries() for name, values in entry.options.items()}

    def _described(self, form: Form, shapes: Shapes) -> str:
        blocks = "1 block" if form.blocks == 1 else f"{form.blocks} blocks"
        return f"All {len(shapes)} tensors have the names and shapes of {form.layout} with {blocks} of width {form.width}."


def heads_of(options: Options, width: int) -> int | None:
    """The number of heads that the options say; None if they do not, or it does not divide the width."""
    said = options["heads"]
    heads = max(1, width // HEAD_WIDTH) if said == USUAL and width % HEAD_WIDTH == 0 else 0 if said == USUAL else int(said)
    return heads if heads and width % heads == 0 else None


def likely_heads(width: int) -> list[str]:
    """Values of the option `heads`, the likeliest first: those whose heads are nearest to the usual width."""
    usual = [USUAL] if width and width % HEAD_WIDTH == 0 else []
    taken = {width // HEAD_WIDTH} if usual else set()
    able = [heads for heads in HEADS if width % heads == 0 and heads not in taken and 4 <= width // heads <= 256]
    able.sort(key=lambda heads: abs(math.log2(width / heads / HEAD_WIDTH)))
    return [*usual, *(str(heads) for heads in able or ([] if usual else [1]))][:MOST_CANDIDATES]


def attention_macs(tokens: int, form: Form) -> int:
    """Multiply-accumulates of all blocks for so many tokens: affine layers, and every token's products with every other."""
    affine = 4 * form.width**2 + 2 * form.width * form.inner
    return form.blocks * (tokens * affine + 2 * tokens**2 * form.width)


def numbered(shapes: Shapes, start: str, end: str) -> int:
    """How many tensors `<start>0<end>`, `<start>1<end>`, … there are without a gap."""
    count = 0
    while f"{start}{count}{end}" in shapes:
        count += 1
    return count


def _differences(form: Form | None, shapes: Shapes) -> tuple[int, str]:
    if form is None:
        return 1, f"it has {listed(list(shapes))}, but not the tensors that tell the network's sizes"
    unused = set(form.unused)
    used: Mapping[str, tuple[int, ...]] = {name: shape for name, shape in shapes.items() if name not in unused}
    count, words = differences(form.tensors, used)
    if not count and (empty := [name for name, shape in used.items() if 0 in shape]):
        return len(empty), f"{listed(empty)} has no elements"
    return count, words


def _no_heads(spec: ArchitectureSpec, width: int, said: str) -> str:
    able = ", ".join(str(heads) for heads in HEADS if width % heads == 0)
    what = f"the width {width} is no multiple of {HEAD_WIDTH}" if said == USUAL else f"{said} does not divide the width {width}"
    return f"How many heads this {spec.name} has cannot be told, because {what}; give the option heads: one of {able}."
