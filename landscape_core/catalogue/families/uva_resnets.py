"""ResNets of the UvA Deep Learning tutorials (tutorial 5), as their Lightning checkpoints have them.

Number of blocks, their widths and where they halve the image are read off the file: `uva_resnet` has blocks of two 3 x 3
convolutions, each followed by batch norm; a block that halves has `downsample`, a 1 x 1 convolution with a bias, in its
shortcut. `uva_preact_resnet` has batch norm and activation before each convolution (He et al. 2016, identity mappings). A file
does not say the activation.
"""

from __future__ import annotations

import re

from landscape_core.catalogue.family import ACTIVATIONS, ArchitectureEntry, Layout, NamedFamily, Options, Shapes
from landscape_core.requests import ArchitectureSpec

USUAL_BLOCKS = ((16, False),) * 3 + ((32, True),) + ((32, False),) * 2 + ((64, True),) + ((64, False),) * 2
PREACT = "uva_preact_resnet"


def uva_blocks(shapes: Shapes, *, preact: bool) -> tuple[tuple[int, bool], ...]:
    """(width, whether it halves height and width) of each block, as the file has them; the tutorial's where it says nothing."""
    second = re.compile(rf"blocks\.(\d{{1,4}})\.net\.{5 if preact else 3}\.weight")
    widths = {
        int(found[1]): shape[0] for name, shape in shapes.items() if (found := second.fullmatch(name)) and len(shape) == 4
    }
    if not widths or max(widths) >= len(shapes):
        return USUAL_BLOCKS
    inner = ".2" if preact else ""
    blocks, width = [], next(iter(widths.values()))
    for index in range(max(widths) + 1):
        width = widths.get(index, width)
        blocks.append((width, f"blocks.{index}.downsample{inner}.weight" in shapes))
    return tuple(blocks)


def uva_first_width(shapes: Shapes) -> int:
    """Channels that the first convolution gives."""
    first = shapes.get("input_net.0.weight", ())
    return first[0] if len(first) == 4 else 16


class UvaResNets(NamedFamily):
    """ResNets of any number and width of blocks under the names of the UvA tutorials."""

    key = "uva_resnets"
    summary = "uva_resnet, uva_preact_resnet"
    first, last = "input_net.0.weight", "output_net.2.weight"

    def entries(self) -> list[ArchitectureEntry]:
        """Blocks with batch norm after the convolutions, and before."""
        options = {"activation": list(ACTIVATIONS)}
        return [
            ArchitectureEntry(name="uva_resnet", title="ResNet of the UvA tutorials", options=options),
            ArchitectureEntry(name=PREACT, title="Pre-activation ResNet of the UvA tutorials", options=options),
        ]

    def specs(self, shapes: Shapes) -> list[ArchitectureSpec]:
        """Both."""
        del shapes
        return [ArchitectureSpec(name=entry.name) for entry in self.entries()]

    def note(self, spec: ArchitectureSpec, shapes: Shapes) -> str:
        """What is said of a file that fits: how many blocks of which width, and what the file does not say."""
        blocks = uva_blocks(shapes, preact=spec.name == PREACT)
        widths = list(dict.fromkeys(width for width, _ in blocks))
        each = ", ".join(f"{sum(w == width for w, _ in blocks)} of {width} channels" for width in widths)
        return (
            f"All {len(shapes)} tensors have the names and shapes of {spec.name} with {len(blocks)} blocks: {each}. "
            "The file does not say the activation; relu is assumed."
        )

    def layout(self, spec: ArchitectureSpec, options: Options, shapes: Shapes) -> Layout:
        """The network's tensors, with the file's channels, blocks and classes."""
        del options
        preact = spec.name == PREACT
        channels, classes = self.ends(shapes)
        layout, before, halvings = Layout(), uva_first_width(shapes), 0
        layout.convolution("input_net.0", channels, before, 3, 0)
        if not preact:
            layout.batch_norm("input_net.1", before)
        for index, (width, halves) in enumerate(uva_blocks(shapes, preact=preact)):
            halvings += halves
            after = width if halves else before
            _uva_block(layout, f"blocks.{index}", (before, after), halvings, preact=preact, halves=halves)
            before = after
        layout.affine("output_net.2", before, classes)
        return layout


def _uva_block(layout: Layout, block: str, widths: tuple[int, int], halvings: int, *, preact: bool, halves: bool) -> None:
    before, after = widths
    if preact:
        layout.batch_norm(f"{block}.net.0", before)
        layout.convolution(f"{block}.net.2", before, after, 3, halvings)
        layout.batch_norm(f"{block}.net.3", after)
        layout.convolution(f"{block}.net.5", after, after, 3, halvings)
    else:
        layout.convolution(f"{block}.net.0", before, after, 3, halvings)
        layout.batch_norm(f"{block}.net.1", after)
        layout.convolution(f"{block}.net.3", after, after, 3, halvings)
        layout.batch_norm(f"{block}.net.4", after)
    if halves and preact:
        layout.batch_norm(f"{block}.downsample.0", before)
        layout.convolution(f"{block}.downsample.2", before, after, 1, halvings)
    elif halves:
        layout.convolution(f"{block}.downsample", before, after, 1, halvings, bias=True)
