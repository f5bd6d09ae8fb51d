"""A model's folder in the form of Hugging Face: `config.json` beside `model.safetensors`, in one file or in shards.

model.safetensors.index.json   its shards are joined by our own reader
model.safetensors              taken as it is; likewise pytorch_model.bin, or the only .safetensors there is
config.json                    of a GPT-2: the options of `gpt`; of any other model: built by the extra `transformers`
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cli.own_code import MAX_NAME, OwnCode
from landscape_core.errors import NotFound
from landscape_core.reading.shards import INDEX_SUFFIX, join_shards
from landscape_core.requests import ArchitectureSpec

if TYPE_CHECKING:
    import numpy as np

    from landscape_core.catalogue import DatasetFacts

CONFIG = "config.json"
MOST_CONFIG_BYTES = 4 << 20


def holds_checkpoint(path: Path) -> bool:
    """Whether a path is a folder with a checkpoint that can be told from all else in it."""
    return path.is_dir() and _inside(path) is not None


def checkpoint_file(path: Path, folder: Path) -> Path:
    """The one file that holds a checkpoint: the path itself, or what its folder holds, shards joined.

    Args:
        path: A file, or a folder of which `holds_checkpoint` is true.
        folder: Where joined shards go.

    Raises:
        NotFound: There is no checkpoint.
        CheckpointRejected: Its shards cannot be joined.
    """
    if not path.is_dir():
        return path
    found = _inside(path)
    if found is None:
        raise NotFound(f"{path} is a folder; name the file in it.")
    if not found.name.endswith(INDEX_SUFFIX):
        return found
    joined = folder / "shards" / found.name.removesuffix(".index.json")
    joined.parent.mkdir()
    join_shards(found, joined)
    return joined


def _inside(folder: Path) -> Path | None:
    for name in (f"model{INDEX_SUFFIX}", "model.safetensors", "pytorch_model.bin"):
        if (folder / name).is_file():
            return folder / name
    only = [*folder.glob(f"*{INDEX_SUFFIX}")] or [*folder.glob("*.safetensors")]
    return only[0] if len(only) == 1 else None


def told_architecture(folder: Path) -> ArchitectureSpec | OwnCode | None:
    """The network that a folder's `config.json` tells of: a catalogued one, or one that the library builds; None if of none.

    Args:
        folder: The model's.
    """
    path = folder / CONFIG
    try:
        text = path.read_bytes() if path.stat().st_size <= MOST_CONFIG_BYTES else b""
        config = json.loads(text)
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(config, dict) or not isinstance(config.get("model_type"), str):
        return None
    return _gpt2(config) or TransformersModel(folder, "transformers", hashlib.sha256(text).hexdigest())


def _gpt2(config: dict[str, Any]) -> ArchitectureSpec | None:
    """The catalogue's `gpt` for a configuration of GPT-2 that asks for nothing else than it does."""
    heads, width = config.get("n_head", 12), config.get("n_embd", 768)
    gelu = {"gelu_new": "tanh", "gelu_pytorch_tanh": "tanh", "gelu": "exact"}.get(config.get("activation_function", "gelu_new"))
    usual = config.get("layer_norm_epsilon", 1e-5) == 1e-5 and config.get("scale_attn_weights", True) is True
    usual = (
        usual and not config.get("scale_attn_by_inverse_layer_idx") and "GPT2LMHeadModel" in (config.get("architectures") or ())
    )
    if config["model_type"] != "gpt2" or gelu is None or not usual or type(heads) is not int:
        return None
    options: dict[str, Any] = {} if width == 64 * heads else {"heads": heads}
    options |= {} if gelu == "tanh" else {"gelu": gelu}
    return ArchitectureSpec(
        name="gpt", options=options if config.get("tie_word_embeddings", True) else options | {"head": "own"}
    )


@dataclass(frozen=True)
class TransformersModel(OwnCode):
    """A model that the library `transformers` builds; like the user's own code, it is for this machine alone.

    Attributes:
        path: Its folder.
        factory: "transformers".
        sha256: Of its `config.json`.
    """

    @property
    def name(self) -> str:
        """As in `transformers:FOLDER`."""
        return f"{self.factory}:{self.path.resolve().name}"[:MAX_NAME]

    def loaded(self, tensors: dict[str, np.ndarray], facts: DatasetFacts) -> Any:
        """The network with a checkpoint's tensors in it.

        Raises:
            InvalidRequest: See `compute.hugging_face.load_transformers`.
        """
        from landscape_core.compute.hugging_face import load_transformers  # noqa: PLC0415  torch takes a second or two

        network: Any = None
        with self.blamed():
            network = load_transformers(self.path.resolve(), tensors, facts)
        return network  # noqa: RET504  a return in the block may not be reached, as the type checker sees it

    def _line(self, error: BaseException) -> int | None:
        """None: it is the library's code, and not the user's, that an exception passed."""
        del error
        return None
