"""CIFAR ResNets of three stages (He et al. 2016, section 4.2) and wide ones, as in the code of Li et al. 2018, with its names.

`resnet20` … `resnet110` and `resnet50_16` have 6 n + 2 layers in stages of 16, 32 and 64 channels, and the option
shortcut=conv|A. `wrn<depth>_<k>` has k times as many channels. Each with `_noshort` is without shortcuts (Li et al. 2018,
section 6).
"""

from __future__ import annotations

import re
from typing import NamedTuple

from landscape_core.catalogue.family import ArchitectureEntry, Candidate, Layout, NamedFamily, Options, Shapes
from landscape_core.catalogue.symmetry import FIXED, Channels, Symmetry
from landscape_core.requests import ArchitectureSpec

RESNET_BLOCKS = {20: 3, 32: 5, 44: 7, 50: 8, 56: 9, 110: 18}
"""Blocks in each of the three stages by depth: depth = 6 n + 2 (He et al. 2016, section 4.2)."""

RESNET_WIDTHS = (16, 32, 64)
WIDE_DEPTHS = (56, 110)
LISTED_WIDENINGS = (2, 4, 8)
MAX_WIDENING = 32


class ResNetForm(NamedTuple):
    """What a name says: depth, how many times wider than usual, and whether there are shortcuts."""

    depth: int
    widening: int
    has_shortcuts: bool


def resnet_form(name: str) -> ResNetForm | None:
    """What the name of a three-stage ResNet says; None if it is none."""
    wide = re.fullmatch(r"wrn([0-9]{2,3})_([1-9][0-9]?)(_noshort)?", name)
    if wide is not None:
        form = ResNetForm(int(wide[1]), int(wide[2]), wide[3] is None)
        return form if form.depth in WIDE_DEPTHS and 2 <= form.widening <= MAX_WIDENING else None
    stem = name.removesuffix("_noshort")
    depth = next((depth for depth in RESNET_BLOCKS if stem == _stem(depth)), None)
    return None if depth is None else ResNetForm(depth, 1, stem == name)


def _stem(depth: int) -> str:
    """`resnet50` is a network of four stages, so that the one of three is called after its first width."""
    return "resnet50_16" if depth == 50 else f"resnet{depth}"


def resnet_layout(depth: int, *, conv_shortcuts: bool, channels: int, classes: int, widening: int = 1) -> Layout:
    """The tensors of a three-stage ResNet, in `state_dict` order.

    Args:
        depth: 20, 32, 44, 50, 56 or 110.
        conv_shortcuts: Whether the two blocks that change the width have 1 x 1 convolutions in their shortcuts;
            option A and networks without shortcuts have none.
        channels: Channels of the input.
        classes: Outputs.
        widening: How many times as many channels as usual.
    """
    layout, before = Layout(), RESNET_WIDTHS[0] * widening
    layout.convolution("conv1", channels, before, 3, 0)
    layout.batch_norm("bn1", before)
    for stage in range(3):
        width = RESNET_WIDTHS[stage] * widening
        for index in range(RESNET_BLOCKS[depth]):
            block = f"layer{stage + 1}.{index}"
            layout.convolution(f"{block}.conv1", before, width, 3, stage)
            layout.batch_norm(f"{block}.bn1", width)
            layout.convolution(f"{block}.conv2", width, width, 3, stage)
            layout.batch_norm(f"{block}.bn2", width)
            if conv_shortcuts and before != width:
                layout.convolution(f"{block}.shortcut.0", before, width, 1, stage)
                layout.batch_norm(f"{block}.shortcut.1", width)
            before = width
    layout.affine("linear", before, classes)
    return layout


def resnet_symmetry(form: ResNetForm, shortcut: str | None) -> Symmetry:
    """Which channels of a three-stage ResNet may change places.

    Those inside a block, and those between blocks, where all blocks of a stage keep to one order unless there are no
    shortcuts. Option A carries the channels of a stage into the middle of the next one's: they keep their order there, and
    the new ones are exchanged among themselves.

    Args:
        form: What the network's name says.
        shortcut: `conv`, `A` or None.
    """
    made = Symmetry()
    before = RESNET_WIDTHS[0] * form.widening
    stream = made.units("conv1", before)
    made.convolution("conv1", FIXED, stream)
    made.batch_norm("bn1", stream)
    for stage, usual in enumerate(RESNET_WIDTHS, start=1):
        width = usual * form.widening
        for index in range(RESNET_BLOCKS[form.depth]):
            block = f"layer{stage}.{index}"
            inner = made.units(f"{block}.conv1", width)
            made.convolution(f"{block}.conv1", stream, inner)
            made.batch_norm(f"{block}.bn1", inner)
            left: Channels = stream
            if shortcut == "A" and before != width:
                left = made.widened(f"{block}.conv2", stream, before, width)
            elif shortcut is None or before != width:
                left = made.units(f"{block}.conv2", width)
            made.convolution(f"{block}.conv2", inner, left)
            made.batch_norm(f"{block}.bn2", left)
            if shortcut == "conv" and before != width:
                made.convolution(f"{block}.shortcut.0", stream, left)
                made.batch_norm(f"{block}.shortcut.1", left)
            stream, before = left, width
    made.affine("linear", stream, FIXED)
    return made


def resnet_tensors(
    depth: int, *, conv_shortcuts: bool, channels: int, classes: int, widening: int = 1
) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a three-stage ResNet's tensors, in `state_dict` order; see `resnet_layout`."""
    layout = resnet_layout(depth, conv_shortcuts=conv_shortcuts, channels=channels, classes=classes, widening=widening)
    return layout.tensors


class ThreeStageResNets(NamedFamily):
    """CIFAR ResNets of three stages, of usual width and wide, with and without shortcuts."""

    key = "three_stage_resnets"
    summary = "resnet20|32|44|50_16|56|110[_noshort], wrn56|110_<k>[_noshort]"
    first, last = "conv1.weight", "linear.weight"

    def entries(self) -> list[ArchitectureEntry]:
        """The usual depths and widenings."""
        usual = [_stem(depth) for depth in RESNET_BLOCKS]
        wide = [f"wrn{depth}_{widening}" for depth in WIDE_DEPTHS for widening in LISTED_WIDENINGS]
        names = [stem + kind for stems in (usual, wide) for kind in ("", "_noshort") for stem in stems]
        return [entry for name in names if (entry := self.entry(name)) is not None]

    def entry(self, name: str) -> ArchitectureEntry | None:
        """The network of this name, which may have any widening from 2 to 32."""
        form = resnet_form(name)
        if form is None:
            return None
        title = f"ResNet-{form.depth} for CIFAR"
        if form.widening > 1:
            title += f", {form.widening} times as wide"
        elif form.depth == 50:
            title += ", of three stages"
        if not form.has_shortcuts:
            return ArchitectureEntry(name=name, title=f"{title}, without shortcuts", options={})
        return ArchitectureEntry(name=name, title=title, options={} if form.widening > 1 else {"shortcut": ["conv", "A"]})

    def specs(self, shapes: Shapes) -> list[ArchitectureSpec]:
        """All of usual width, or all as wide as the file's first convolution is."""
        first = shapes.get(self.first, ())
        widening = first[0] // RESNET_WIDTHS[0] if len(first) == 4 else 1
        if 2 <= widening <= MAX_WIDENING:
            stems = [f"wrn{depth}_{widening}" for depth in WIDE_DEPTHS]
            return [ArchitectureSpec(name=f"{stem}{kind}") for stem in stems for kind in ("", "_noshort")]
        specs = []
        for depth in RESNET_BLOCKS:
            specs.append(ArchitectureSpec(name=_stem(depth)))
            specs.append(ArchitectureSpec(name=_stem(depth), options={"shortcut": "A"}))
            specs.append(ArchitectureSpec(name=f"{_stem(depth)}_noshort"))
        return specs

    def layout(self, spec: ArchitectureSpec, options: Options, shapes: Shapes) -> Layout:
        """The network's tensors, with the file's input channels and classes."""
        depth, widening, has_shortcuts = resnet_form(spec.name) or ResNetForm(20, 1, True)
        channels, classes = self.ends(shapes)
        conv = has_shortcuts and options.get("shortcut", "conv") == "conv"
        return resnet_layout(depth, conv_shortcuts=conv, channels=channels, classes=classes, widening=widening)

    def symmetry(self, spec: ArchitectureSpec, options: Options, shapes: Shapes) -> Symmetry:
        """See `resnet_symmetry`."""
        del shapes
        form = resnet_form(spec.name) or ResNetForm(20, 1, True)
        return resnet_symmetry(form, options.get("shortcut", "conv") if form.has_shortcuts else None)

    def match(self, shapes: Shapes, filename: str) -> tuple[Candidate, ...]:
        """The networks that a file's tensors fit; "noshort" in its name puts one without shortcuts before option A."""
        found = super().match(shapes, filename)
        return _rank_shortcut_free(found, filename) if len(found) == 2 else found


def _rank_shortcut_free(found: tuple[Candidate, ...], filename: str) -> tuple[Candidate, ...]:
    """Option A's shortcuts have no parameters, so a file cannot tell them from none: both, and in the note how they differ."""
    marked = "noshort" in re.sub(r"[^a-z]", "", filename.lower())
    option_a, noshort = sorted(found, key=lambda candidate: candidate.architecture.name.endswith("_noshort"))
    reason = "the file's name contains “noshort”" if marked else "the file's name does not contain “noshort”"
    note = (
        f"{option_a.architecture} and {noshort.architecture} have the same tensors: the first adds each block's input to its "
        "output (subsampled and padded with zeros where the width changes), the second has no shortcuts. The file cannot tell "
        f"them apart; {{}} was put first because {reason}. The right one shows the accuracy you know at the centre."
    )
    ranked = (noshort, option_a) if marked else (option_a, noshort)
    text = note.format(ranked[0].architecture)
    return tuple(candidate.model_copy(update={"note": text}) for candidate in ranked)
