"""`vgg9`: seven convolutions with batch norm and two affine layers, as in the code of Li et al. 2018, with its names."""

from __future__ import annotations

import math

from landscape_core.catalogue.family import ArchitectureEntry, Layout, NamedFamily, Options, Shapes
from landscape_core.catalogue.symmetry import FIXED, Symmetry
from landscape_core.requests import ArchitectureSpec

VGG9_STAGES = ((64, 64), (128, 128), (256, 256, 256))
"""Channels of the convolutions of each stage; after each stage, height and width are halved by pooling, rounding up."""

VGG9_WIDTH = VGG9_STAGES[-1][-1]


def vgg9_places(shapes: Shapes) -> int:
    """How many places of the last feature map the first affine layer takes; 4 x 4 if the file does not say."""
    weight = shapes.get("fc.0.weight", ())
    if len(weight) != 2 or weight[1] % VGG9_WIDTH or weight[1] == 0:
        return 16
    return weight[1] // VGG9_WIDTH


class Vgg(NamedFamily):
    """The small VGG of Li et al. 2018."""

    key = "vgg"
    summary = "vgg9"
    first, last = "features.0.weight", "classifier.weight"

    def entries(self) -> list[ArchitectureEntry]:
        """The one there is."""
        return [ArchitectureEntry(name="vgg9", title="VGG-9 for CIFAR, with batch norm", options={})]

    def specs(self, shapes: Shapes) -> list[ArchitectureSpec]:
        """The one there is."""
        del shapes
        return [ArchitectureSpec(name="vgg9")]

    def layout(self, spec: ArchitectureSpec, options: Options, shapes: Shapes) -> Layout:
        """The network's tensors, with the file's input channels, size of images and classes."""
        del spec, options
        layout, index = Layout(), 0
        before, classes = self.ends(shapes)
        for halvings, widths in enumerate(VGG9_STAGES):
            for width in widths:
                layout.convolution(f"features.{index}", before, width, 3, halvings, bias=True)
                layout.batch_norm(f"features.{index + 1}", width)
                before, index = width, index + 3
            index += 1
        layout.affine("fc.0", before * vgg9_places(shapes), before)
        layout.batch_norm("fc.1", before)
        layout.affine("classifier", before, classes)
        return layout

    def symmetry(self, spec: ArchitectureSpec, options: Options, shapes: Shapes) -> Symmetry:
        """The channels of every convolution and the units of the first affine layer may change places."""
        del spec, options
        made, reads, index = Symmetry(), FIXED, 0
        for widths in VGG9_STAGES:
            for width in widths:
                writes = made.units(f"features.{index}", width)
                made.convolution(f"features.{index}", reads, writes, bias=True)
                made.batch_norm(f"features.{index + 1}", writes)
                reads, index = writes, index + 3
            index += 1
        hidden = made.units("fc.0", VGG9_WIDTH)
        made.affine("fc.0", reads, hidden, span=vgg9_places(shapes))
        made.batch_norm("fc.1", hidden)
        made.affine("classifier", hidden, FIXED)
        return made

    def image_size(self, shapes: Shapes) -> tuple[int, int]:
        """(height, width) of the images that the network was made for: square if it can be."""
        places = vgg9_places(shapes)
        height = next(side for side in range(math.isqrt(places), 0, -1) if places % side == 0)
        scale = 2 ** len(VGG9_STAGES)
        return height * scale, places // height * scale

    def size_problem(self, spec: ArchitectureSpec, options: Options, shapes: Shapes, height: int, width: int) -> str | None:
        """Images that give another number of places than the first affine layer takes."""
        del options
        scale = 2 ** len(VGG9_STAGES)
        rows, columns = math.ceil(height / scale), math.ceil(width / scale)
        if rows * columns == vgg9_places(shapes):
            return None
        made_for = " x ".join(str(size) for size in self.image_size(shapes))
        return (
            f"which {spec.name} turns into {rows} x {columns} places, but this one takes {vgg9_places(shapes)}, as from "
            f"{made_for}; choose the data set that the network was trained on"
        )
