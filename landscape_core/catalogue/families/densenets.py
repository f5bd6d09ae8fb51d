"""`densenet121` in its form for small images (Huang et al. 2017), as in the code of Li et al. 2018, with its names."""

from __future__ import annotations

import math

from landscape_core.catalogue.family import ArchitectureEntry, Layout, NamedFamily, Options, Shapes
from landscape_core.requests import ArchitectureSpec

DENSENET_BLOCKS = {121: (6, 12, 24, 16)}
"""Layers in each of the four dense blocks by depth."""

GROWTH = 32
"""Channels that each layer adds."""

DENSENET_HALVINGS = 3


class DenseNets(NamedFamily):
    """DenseNets with bottlenecks and a growth of 32, whose transitions halve the number of channels."""

    key = "densenets"
    summary = "densenet121"
    first, last = "conv1.weight", "linear.weight"

    def entries(self) -> list[ArchitectureEntry]:
        """Every depth."""
        return [
            ArchitectureEntry(name=f"densenet{depth}", title=f"DenseNet-{depth} for small images", options={})
            for depth in DENSENET_BLOCKS
        ]

    def specs(self, shapes: Shapes) -> list[ArchitectureSpec]:
        """Every depth."""
        del shapes
        return [ArchitectureSpec(name=entry.name) for entry in self.entries()]

    def layout(self, spec: ArchitectureSpec, options: Options, shapes: Shapes) -> Layout:
        """The network's tensors, with the file's input channels and classes."""
        del options
        channels, classes = self.ends(shapes)
        layout, width = Layout(math.floor), 2 * GROWTH
        blocks = DENSENET_BLOCKS[densenet_depth(spec.name)]
        layout.convolution("conv1", channels, width, 3, 0)
        for stage, layers in enumerate(blocks):
            for index in range(layers):
                _dense_layer(layout, f"dense{stage + 1}.{index}", width, stage)
                width += GROWTH
            if stage < DENSENET_HALVINGS:
                layout.batch_norm(f"trans{stage + 1}.bn", width)
                layout.convolution(f"trans{stage + 1}.conv", width, width // 2, 1, stage)
                width //= 2
        layout.batch_norm("bn", width)
        layout.affine("linear", width, classes)
        return layout

    def size_problem(self, spec: ArchitectureSpec, options: Options, shapes: Shapes, height: int, width: int) -> str | None:
        """Images that its three poolings leave nothing of."""
        del options, shapes
        least = 2**DENSENET_HALVINGS
        if min(height, width) >= least:
            return None
        return f"but {spec.name} halves height and width {DENSENET_HALVINGS} times and takes at least {least} x {least}"


def densenet_depth(name: str) -> int:
    """The depth that a DenseNet's name says."""
    return int(name.removeprefix("densenet"))


def _dense_layer(layout: Layout, name: str, width: int, stage: int) -> None:
    layout.batch_norm(f"{name}.bn1", width)
    layout.convolution(f"{name}.conv1", width, 4 * GROWTH, 1, stage)
    layout.batch_norm(f"{name}.bn2", 4 * GROWTH)
    layout.convolution(f"{name}.conv2", 4 * GROWTH, GROWTH, 3, stage)
