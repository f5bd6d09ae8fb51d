"""ResNets of four stages with a first convolution for small images, as in the code of Li et al. 2018, with its names.

`resnet18` and `resnet34` have blocks of two 3 x 3 convolutions, `resnet50`, `resnet101` and `resnet152` bottlenecks (He et al.
2016, table 1). Each with `_noshort` is without shortcuts. Their files have the names of those of kuangliu/pytorch-cifar.
"""

from __future__ import annotations

from typing import NamedTuple

from landscape_core.catalogue.family import ArchitectureEntry, Layout, NamedFamily, Options, Shapes
from landscape_core.catalogue.symmetry import FIXED, Channels, Symmetry
from landscape_core.requests import ArchitectureSpec

FOUR_STAGE_BLOCKS = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}
"""Blocks in each of the four stages by depth."""

FOUR_STAGE_WIDTHS = (64, 128, 256, 512)
EXPANSION = 4
"""A bottleneck puts out four times as many channels as its 3 x 3 convolution has."""


class FourStageForm(NamedTuple):
    """What a name says: depth, whether its blocks are bottlenecks, and whether there are shortcuts."""

    depth: int
    bottleneck: bool
    has_shortcuts: bool


def four_stage_form(name: str) -> FourStageForm | None:
    """What the name of a four-stage ResNet says; None if it is none."""
    stem = name.removesuffix("_noshort")
    depth = next((depth for depth in FOUR_STAGE_BLOCKS if stem == f"resnet{depth}"), None)
    return None if depth is None else FourStageForm(depth, depth >= 50, stem == name)


def _four_stage_layout(form: FourStageForm, channels: int, classes: int) -> Layout:
    layout, before = Layout(), FOUR_STAGE_WIDTHS[0]
    layout.convolution("conv1", channels, before, 3, 0)
    layout.batch_norm("bn1", before)
    for stage, blocks in enumerate(FOUR_STAGE_BLOCKS[form.depth]):
        for index in range(blocks):
            entered = stage - 1 if index == 0 and stage > 0 else stage
            before = _block(layout, f"layer{stage + 1}.{index}", form, before, (entered, stage))
    layout.affine("linear", before, classes)
    return layout


def _block(layout: Layout, block: str, form: FourStageForm, before: int, halvings: tuple[int, int]) -> int:
    """Writes down one block, whose input and output have height and width halved so many times; gives its width."""
    entered, left = halvings
    width = FOUR_STAGE_WIDTHS[left]
    after = width * EXPANSION if form.bottleneck else width
    if form.bottleneck:
        kernels = [(before, width, 1, entered), (width, width, 3, left), (width, after, 1, left)]
    else:
        kernels = [(before, width, 3, left), (width, width, 3, left)]
    for number, kernel in enumerate(kernels, start=1):
        layout.convolution(f"{block}.conv{number}", *kernel)
        layout.batch_norm(f"{block}.bn{number}", kernel[1])
    if form.has_shortcuts and (before != after or entered != left):
        layout.convolution(f"{block}.shortcut.0", before, after, 1, left)
        layout.batch_norm(f"{block}.shortcut.1", after)
    return after


def _four_stage_symmetry(form: FourStageForm) -> Symmetry:
    """The channels inside a block may change places, and those between blocks, all of a stage in one order."""
    made, before = Symmetry(), FOUR_STAGE_WIDTHS[0]
    stream = made.units("conv1", before)
    made.convolution("conv1", FIXED, stream)
    made.batch_norm("bn1", stream)
    for stage, blocks in enumerate(FOUR_STAGE_BLOCKS[form.depth]):
        for index in range(blocks):
            enlarged = index == 0 and (stage > 0 or form.bottleneck)
            stream = _block_symmetry(made, f"layer{stage + 1}.{index}", form, stream, (FOUR_STAGE_WIDTHS[stage], enlarged))
    made.affine("linear", stream, FIXED)
    return made


def _block_symmetry(made: Symmetry, block: str, form: FourStageForm, stream: Channels, shape: tuple[int, bool]) -> Channels:
    """Writes down one block of a width, which perhaps enlarges the stream; gives what leaves it."""
    width, enlarged = shape
    reads, last = stream, 3 if form.bottleneck else 2
    for number in range(1, last + 1):
        name = f"{block}.conv{number}"
        if number < last:
            writes = made.units(name, width)
        elif form.has_shortcuts and not enlarged:
            writes = stream
        else:
            writes = made.units(name, width * EXPANSION if form.bottleneck else width)
        made.convolution(name, reads, writes)
        made.batch_norm(f"{block}.bn{number}", writes)
        reads = writes
    if form.has_shortcuts and enlarged:
        made.convolution(f"{block}.shortcut.0", stream, reads)
        made.batch_norm(f"{block}.shortcut.1", reads)
    return reads


class FourStageResNets(NamedFamily):
    """ResNets 18 to 152 in their form for small images, with and without shortcuts."""

    key = "four_stage_resnets"
    summary = "resnet18|34|50|101|152[_noshort]"
    first, last = "conv1.weight", "linear.weight"

    def entries(self) -> list[ArchitectureEntry]:
        """Every depth, with shortcuts and without."""
        found = []
        for kind, words in (("", ""), ("_noshort", ", without shortcuts")):
            for depth in FOUR_STAGE_BLOCKS:
                title = f"ResNet-{depth} of four stages, for small images{words}"
                found.append(ArchitectureEntry(name=f"resnet{depth}{kind}", title=title, options={}))
        return found

    def specs(self, shapes: Shapes) -> list[ArchitectureSpec]:
        """All of them."""
        del shapes
        return [ArchitectureSpec(name=entry.name) for entry in self.entries()]

    def layout(self, spec: ArchitectureSpec, options: Options, shapes: Shapes) -> Layout:
        """The network's tensors, with the file's input channels and classes."""
        del options
        form = four_stage_form(spec.name) or FourStageForm(18, bottleneck=False, has_shortcuts=True)
        return _four_stage_layout(form, *self.ends(shapes))

    def symmetry(self, spec: ArchitectureSpec, options: Options, shapes: Shapes) -> Symmetry:
        """The channels inside a block may change places, and those between blocks, all of a stage in one order."""
        del options, shapes
        return _four_stage_symmetry(four_stage_form(spec.name) or FourStageForm(18, bottleneck=False, has_shortcuts=True))
