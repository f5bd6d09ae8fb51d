"""What a plain convolutional network does to the size of an image, as its options say. No torch.

Shapes say nothing of activation, pooling, strides and padding, so these are options, the default first:

* activation=relu|tanh|…: after every layer but the last.
* pool=max|average|none, pool_size=2|3|4|5, pool_stride=size|1|2|3: the pooling, without padding.
* pool_after=each|last|wider|second|gaps: after each convolution, after the last alone, after the last and those that the next
  one widens, after every second one, or after the last and those where the numbers in the names leave room for it.
* stride=1|2 of every convolution.
* padding=none|half|first: of every convolution none, or half its kernel on each side (rounded down), or the latter for the
  first convolution alone.
* norm=before|after: whether batch norm stands before or after the activation.
* head=flatten|average: whether the first affine layer takes all places of the last feature map, or their average over as many
  equal parts as it takes.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from itertools import pairwise
from typing import NamedTuple

from landscape_core.catalogue.convolution_chains import ConvolutionChain, followed_by_more
from landscape_core.catalogue.family import ACTIVATIONS, Options

OPTIONS = {
    "activation": list(ACTIVATIONS),
    "pool": ["max", "average", "none"],
    "pool_size": ["2", "3", "4", "5"],
    "pool_stride": ["size", "1", "2", "3"],
    "pool_after": ["each", "last", "wider", "second", "gaps"],
    "stride": ["1", "2"],
    "padding": ["none", "half", "first"],
    "norm": ["before", "after"],
    "head": ["flatten", "average"],
}
DEFAULTS = {name: values[0] for name, values in OPTIONS.items()}

USUAL_SIZES = {1: (28, 32, 64), 3: (32, 28, 64, 96, 128, 224, 256)}
"""Heights and widths of images that are tried, by channels: those of MNIST, CIFAR-10, Tiny ImageNet, STL-10, ImageNet …"""

MAX_SIZE = 1024


class Window(NamedTuple):
    """What a convolution or pooling sees: (height, width) of its window, its stride, and padding on each side."""

    size: tuple[int, int]
    stride: int
    padding: tuple[int, int] = (0, 0)

    def outputs(self, image: tuple[int, int]) -> tuple[int, int]:
        """(height, width) of what comes out; 0 or less if the window is larger than the image."""
        height, width = (
            (side + 2 * pad - size) // self.stride + 1 for side, size, pad in zip(image, self.size, self.padding, strict=True)
        )
        return height, width


class Step(NamedTuple):
    """One convolution, and the pooling after it; None if there is none."""

    convolution: Window
    pool: Window | None


def geometry(chain: ConvolutionChain, options: Options) -> tuple[Step, ...]:
    """What each convolution of a chain, and the pooling after it, see of an image with these options."""
    size = int(options["pool_size"])
    pool = Window((size, size), size if options["pool_stride"] == "size" else int(options["pool_stride"]))
    pooled, steps = _pooled(chain, options), []
    for index, layer in enumerate(chain.convolutions):
        padded = options["padding"] == "half" or (options["padding"] == "first" and index == 0)
        kernel = (layer.kernel[0], layer.kernel[1])
        padding = (kernel[0] // 2, kernel[1] // 2) if padded else (0, 0)
        steps.append(Step(Window(kernel, int(options["stride"]), padding), pool if index in pooled else None))
    return tuple(steps)


def _pooled(chain: ConvolutionChain, options: Options) -> set[int]:
    """Which convolutions have pooling after them."""
    last, after = len(chain.convolutions) - 1, options["pool_after"]
    if options["pool"] == "none":
        return set()
    if after == "wider":
        widened = {i for i, (a, b) in enumerate(pairwise(chain.convolutions)) if b.outputs > a.outputs}
        return {*widened, last}
    if after == "last":
        return {last}
    if after == "gaps":
        return {*followed_by_more(chain), last}
    return set(range(0 if after == "each" else 1, last + 1, 1 if after == "each" else 2))


def feature_map(steps: tuple[Step, ...], image: tuple[int, int]) -> tuple[int, int] | None:
    """(height, width) of the last feature map of an image of this size; None if it vanishes on the way."""
    for step in steps:
        for window in step:
            image = image if window is None else window.outputs(image)
            if min(image) < 1:
                return None
    return image


def takes(chain: ConvolutionChain, options: Options, image: tuple[int, int]) -> bool:
    """Whether an image of this size gives as many places as the first affine layer takes."""
    places = feature_map(geometry(chain, options), image)
    if places is None:
        return False
    if options["head"] == "average":
        side = math.isqrt(chain.places)
        return side * side == chain.places and min(places) >= side
    return math.prod(places) == chain.places


def usual_sizes(chain: ConvolutionChain) -> tuple[int, ...]:
    """Usual heights and widths of images with so many channels, the most usual first."""
    return USUAL_SIZES.get(chain.convolutions[0].inputs, USUAL_SIZES[3])


def usual_size(chain: ConvolutionChain, options: Options) -> int | None:
    """The first usual height and width of images that the chain takes with these options; None if there is none."""
    return next((size for size in usual_sizes(chain) if takes(chain, options, (size, size))), None)


def any_size(chain: ConvolutionChain, options: Options) -> int | None:
    """The least height and width of square images that the chain takes with these options; None if there is none.

    A larger image never gives fewer places, so that halving intervals finds it.
    """
    steps, sizes = geometry(chain, options), range(1, MAX_SIZE + 1)
    averages = options["head"] == "average"
    measure, wanted = (min, math.isqrt(chain.places)) if averages else (math.prod, chain.places)
    found = bisect_left(sizes, wanted, key=lambda size: measure(feature_map(steps, (size, size)) or (0,)))
    return next((size for size in sizes[found : found + 1] if takes(chain, options, (size, size))), None)
