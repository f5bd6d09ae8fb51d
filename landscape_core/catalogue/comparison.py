"""A file's tensors held against those of a network that they do not fit: which match, which do not, and how. No torch."""

from __future__ import annotations

from collections.abc import Mapping

from landscape_core.requests import ArchitectureSpec, Message

MOST_NAMED = 200
"""Most tensors that are named of each kind of difference."""

COUNTER = "num_batches_tracked"
"""Batch norm's counter, which may be absent: files from before PyTorch 0.4.1 lack it, and evaluation does not use it."""

Shape = tuple[int, ...]


class DifferentTensor(Message):
    """A tensor that differs: `file` is its shape in the file, `network` in the network; None where it is not there."""

    name: str
    file: Shape | None
    network: Shape | None


class Comparison(Message):
    """A file against the network that is nearest to it.

    Attributes:
        architecture: The network, with its options.
        tensors: How many the file has.
        same: How many of them the network has too, with the same shape.
        missing: How many the network has and the file has not.
        unexpected: How many the file has and the network has not.
        reshaped: How many both have, with another shape.
        differences: The first of each kind, in that order and each in its own, `MOST_NAMED` at most.

    Example:
        >>> from landscape_core.catalogue import nearest
        >>> from landscape_core.catalogue.families.three_stage_resnets import resnet_tensors
        >>> shapes = dict(resnet_tensors(20, conv_shortcuts=True, channels=3, classes=10))
        >>> del shapes["conv1.weight"]
        >>> found = nearest(shapes)
        >>> str(found.architecture), found.missing, found.unexpected
        ('resnet20', 1, 0)
    """

    architecture: ArchitectureSpec
    tensors: int
    same: int
    missing: int
    unexpected: int
    reshaped: int
    differences: tuple[DifferentTensor, ...]


def compared(architecture: ArchitectureSpec, network: Mapping[str, Shape], file: Mapping[str, Shape]) -> Comparison:
    """A file's tensors against a network's.

    Args:
        architecture: The network.
        network: Its names and shapes.
        file: The file's.
    """
    lacking = [name for name in network if name not in file and not name.endswith(COUNTER)]
    missing = [DifferentTensor(name=name, file=None, network=network[name]) for name in lacking]
    unexpected = [DifferentTensor(name=n, file=tuple(s), network=None) for n, s in file.items() if n not in network]
    reshaped = [
        DifferentTensor(name=n, file=tuple(s), network=network[n])
        for n, s in file.items()
        if n in network and tuple(s) != tuple(network[n])
    ]
    kinds = (missing, unexpected, reshaped)
    return Comparison(
        architecture=architecture,
        tensors=len(file),
        same=len(file) - len(unexpected) - len(reshaped),
        missing=len(missing),
        unexpected=len(unexpected),
        reshaped=len(reshaped),
        differences=tuple(one for kind in kinds for one in kind[:MOST_NAMED]),
    )
