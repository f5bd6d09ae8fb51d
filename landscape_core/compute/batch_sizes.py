"""How many examples a network gets at a time: one number per network and size of example, measured fastest on CPUs.

Convolutional networks get 16 to 256 images, the more the smaller they are: feature maps of large ones should stay in the
processor's cache. Perceptrons get 1,024 examples, language models as many sequences as have `SEQUENCES_TOKENS` tokens and
`LOGITS_BYTES` of logits, but at least one. On CUDA, convolutional networks get 512 images (not measured: there was no GPU).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import nn

from landscape_core.catalogue import fit, macs_per_example
from landscape_core.compute.datasets import Examples
from landscape_core.requests import SurfaceRequest

CONVOLUTION_BATCH, SMALL_BATCH, LARGE_BATCH = 64, 256, 16
CUDA_BATCH = 512
PERCEPTRON_BATCH = 1024
SEQUENCES_TOKENS, LOGITS_BYTES = 8192, 128 << 20
"""Most tokens of a language model's batch, and most bytes of its outputs: a float32 for each token of the vocabulary."""

SMALL_MACS = 1 << 25
"""Convolutional networks of fewer multiply-accumulates per example get larger batches: their cost is in the calls."""

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
    return images(macs_per_example(request.architecture, shapes, examples.facts.shape) if ours else SMALL_MACS)


def sequences(tokens: int, vocabulary: int) -> int:
    """How many sequences of so many tokens a language model gets at a time."""
    return max(1, min(SEQUENCES_TOKENS // tokens, LOGITS_BYTES // (4 * tokens * vocabulary)))


def images(macs: int) -> int:
    """Of a convolutional network: 64 examples, twice as many for each halving of its work below `SMALL_MACS`, at most 256.

    From `LARGE_MACS` on 16.
    """
    if macs >= LARGE_MACS:
        return LARGE_BATCH
    return min(SMALL_BATCH, CONVOLUTION_BATCH << max(0, (SMALL_MACS // max(1, macs)).bit_length() - 1))
