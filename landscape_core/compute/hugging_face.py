"""Models that the library `transformers`, an optional extra, builds from their configuration. No code of a model's runs.

`trust_remote_code` is never true, the library reads no weights (our own reader has read them), and nothing is downloaded.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from landscape_core.catalogue import DatasetFacts
from landscape_core.catalogue.family import listed
from landscape_core.errors import InvalidRequest

_KINDS = (
    (re.compile(r"(ForCausalLM|LMHeadModel)$"), "AutoModelForCausalLM", "input_ids"),
    (re.compile(r"ForImageClassification$"), "AutoModelForImageClassification", "pixel_values"),
)
_PREFIXES = ("", "model.", "module.", "net.", "network.")
"""What our reader may have taken off every name."""


class Wrapped(nn.Module):
    """A model of the library whose output is its logits.

    Args:
        model: The model.
        takes: Name of its input.
    """

    def __init__(self, model: nn.Module, takes: str) -> None:
        super().__init__()
        self.model = model
        self._takes = takes

    def forward(self, x: Tensor) -> Tensor:
        """The logits of each example, or of each token of it."""
        extra = {"use_cache": False} if self._takes == "input_ids" else {}
        logits: Tensor = self.model(**{self._takes: x}, **extra).logits
        return logits


def load_transformers(folder: Path, tensors: Mapping[str, np.ndarray], facts: DatasetFacts) -> nn.Module:
    """The model that a folder's `config.json` describes with a checkpoint's tensors in it: float32, without gradients.

    Args:
        folder: With the `config.json`.
        tensors: The checkpoint's names and arrays; those of tied weights may be absent.
        facts: What is known of the data set that it will get.

    Raises:
        InvalidRequest: The library is not installed, does not know the model, the tensors do not fit it, or the data do not.
    """
    try:
        library = importlib.import_module("transformers")
    except ImportError:
        raise InvalidRequest(
            f"{folder.name} is built by the library transformers, which is not installed; install it with "
            "pip install 'loss-atlas[transformers]'.",
            field="architecture",
        ) from None
    try:
        config = library.AutoConfig.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
    except (ValueError, OSError, KeyError, TypeError) as error:
        raise InvalidRequest(
            f"transformers cannot read {folder / 'config.json'}: {_short(error)}.", field="architecture"
        ) from None
    maker, takes = _kind(config, folder)
    _check_tokens(config, takes, facts, folder)
    return Wrapped(_filled(getattr(library, maker), config, tensors, folder), takes).float().eval().requires_grad_(False)


def _kind(config: Any, folder: Path) -> tuple[str, str]:
    """What builds the model, and the name of its input."""
    if getattr(config, "quantization_config", None) is not None:
        raise InvalidRequest(f"{folder.name} is quantised, which is not read; give the model in floats.", field="architecture")
    names = list(config.architectures or [])
    for pattern, maker, takes in _KINDS:
        if any(pattern.search(str(name)) for name in names):
            return maker, takes
    raise InvalidRequest(
        f"{folder.name} is a {listed(names) or 'model of no named kind'}; expected a language model (…ForCausalLM) or a "
        "classifier of images (…ForImageClassification).",
        field="architecture",
    )


def _check_tokens(config: Any, takes: str, facts: DatasetFacts, folder: Path) -> None:
    if (takes == "input_ids") != facts.holds_tokens:
        wanted = "sequences of token ids" if takes == "input_ids" else "images"
        raise InvalidRequest(f"{folder.name} takes {wanted}, which {facts.title} does not hold.", field="data.dataset")
    if not facts.holds_tokens:
        return
    vocabulary, context = getattr(config, "vocab_size", None), getattr(config, "max_position_embeddings", None)
    if isinstance(vocabulary, int) and facts.classes > vocabulary:
        raise InvalidRequest(
            f"{facts.title} has tokens up to the id {facts.classes - 1:,}, but {folder.name} has a vocabulary of "
            f"{vocabulary:,}, with ids up to {vocabulary - 1:,}; choose tokens made with the model's own tokenizer.",
            field="data.dataset",
        )
    if isinstance(context, int) and facts.shape[0] > context:
        raise InvalidRequest(
            f"{facts.title} has sequences of {facts.shape[0]:,} tokens, but {folder.name} has a context of {context:,}; "
            "cut them shorter.",
            field="data.dataset",
        )


def _filled(maker: Any, config: Any, tensors: Mapping[str, np.ndarray], folder: Path) -> nn.Module:
    """The model with the tensors in it; the library renames those of older releases, and ties what the configuration ties.

    Raises:
        InvalidRequest: Something is left over, missing or of another shape.
    """
    field = "architecture"
    try:
        with torch.device("meta"):
            empty = maker.from_config(config, trust_remote_code=False)
        own = empty.state_dict()
        prefix = max(_PREFIXES, key=lambda start: sum(f"{start}{name}" in own for name in tensors))
        given = {f"{prefix}{name}": torch.from_numpy(np.array(array)) for name, array in tensors.items()}
        model, told = type(empty).from_pretrained(
            None, config=config, state_dict=given, dtype=torch.float32, output_loading_info=True, ignore_mismatched_sizes=True
        )
    except (ValueError, KeyError, TypeError, RuntimeError, ImportError, OSError) as error:
        raise InvalidRequest(f"transformers cannot build {folder.name}: {_short(error)}.", field=field) from None
    parts = (
        ("it lacks", told["missing_keys"]),
        ("it has too much:", told["unexpected_keys"]),
        ("of another shape:", [entry[0] for entry in told["mismatched_keys"]]),
    )
    words = [f"{what} {listed(sorted(names))}" for what, names in parts if names]
    if words:
        raise InvalidRequest(f"The checkpoint does not fit {folder.name}'s config.json: {'; '.join(words)}.", field=field)
    filled: nn.Module = model
    return filled


def _short(error: BaseException) -> str:
    return " ".join(str(error).split())[:200].rstrip(".") or type(error).__name__
