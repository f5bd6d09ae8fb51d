"""How many examples a network gets at a time: one number per network and size of example, measured fastest on CPUs.

Convolutional networks get 16 to 256 images, the more the smaller their feature maps, which should stay in the processor's
cache; with few numbers in them, the cost is in the calls. Perceptrons get 1,024 examples, language models as many sequences
as have `SEQUENCES_TOKENS` tokens and `LOGITS_BYTES` of logits, but at least one. On CUDA, convolutional networks get 512
images (not measured: there was no GPU).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import nn

from landscape_core.catalogue import fit, macs_per_example
from landscape_core.compute.datasets import Examples
from landscape_core.requests import SurfaceRequest

LEAST_BATCH, MOST_BATCH, LARGE_BATCH, UNKNOWN_BATCH = 32, 256, 16, 64
CUDA_BATCH = 512
PERCEPTRON_BATCH = 1024
SEQUENCES_TOKENS, LOGITS_BYTES = 8192, 128 << 20
"""Most tokens of a language model's batch, and most bytes of its outputs: a float32 for each token of the vocabulary."""

MAP_NUMBERS = 1 << 19
"""Most numbers in the largest feature map of a batch: 2 MiB of float32."""

LARGE_MACS = 1 << 29
"""Convolutional networks of so many get `LARGE_BATCH`: a DenseNet-121 takes 0.6 of the time for it that it takes with 64."""


def first_batch(
    request: SurfaceRequest,
    tensors: Mapping[str, np.ndarray],
    examples: Examples,
    module: nn.Module,
    device: torch.device,
    *,
    ours: bool,
) -> int:
    """How many examples are taken at a time, while memory suffices.

    Args:
        request: The question.
        tensors: The checkpoint's names and arrays, in the file's order.
        examples: The split that the request names.
        module: The network.
        device: Where it is evaluated.
        ours: Whether it is catalogued, so that its cost is known.
    """
    shapes = {name: tuple(array.shape) for name, array in tensors.items()}
    if examples.facts.holds_tokens:
        vocabulary = fit(request.architecture, shapes).classes if ours else examples.facts.classes
        return sequences(examples.facts.shape[0], vocabulary)
    if not any(p.dim() == 4 for p in module.parameters()):
        return PERCEPTRON_BATCH
    if device.type == "cuda":
        return CUDA_BATCH
    if not ours:
        return UNKNOWN_BATCH
    return images(
        largest_map(module, examples.facts.shape), macs_per_example(request.architecture, shapes, examples.facts.shape)
    )


def sequences(tokens: int, vocabulary: int) -> int:
    """How many sequences of so many tokens a language model gets at a time."""
    return max(1, min(SEQUENCES_TOKENS // tokens, LOGITS_BYTES // (4 * tokens * vocabulary)))


def images(largest: int, macs: int) -> int:
    """Of a convolutional network: a power of two, as many as `MAP_NUMBERS` allow, from 32 to 256; from `LARGE_MACS` on 16.

    Args:
        largest: Numbers in its largest feature map, of one image.
        macs: Its multiply-accumulates for one image.
    """
    if macs >= LARGE_MACS:
        return LARGE_BATCH
    fitting = max(1, MAP_NUMBERS // max(1, largest))
    return min(MOST_BATCH, max(LEAST_BATCH, 1 << (fitting.bit_length() - 1)))


def largest_map(module: nn.Module, shape: tuple[int, ...]) -> int:
    """How many numbers the largest output of a convolution has, for one image.

    Args:
        module: The network, in evaluation mode.
        shape: (channels, height, width).
    """
    sizes = [0]
    layers = [layer for layer in module.modules() if isinstance(layer, nn.Conv2d)]
    hooks = [layer.register_forward_hook(lambda _layer, _given, output: sizes.append(output.numel())) for layer in layers]
    try:
        with torch.inference_mode():
            module(torch.zeros(1, *shape))
    finally:
        for hook in hooks:
            hook.remove()
    return max(sizes)
