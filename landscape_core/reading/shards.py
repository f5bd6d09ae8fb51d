"""A checkpoint in several safetensors files (shards) with a `model.safetensors.index.json`, joined to one file.

The index is {"weight_map": {tensor: file}}, as Hugging Face's `save_pretrained` writes it. Headers are read by our own reader,
and numbers are copied as they are; nothing else is looked at. What comes out is read like any checkpoint.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from landscape_core.errors import CheckpointRejected
from landscape_core.reading.dtypes import SAFETENSORS
from landscape_core.reading.limits import Limits
from landscape_core.reading.safetensors_file import Header, read_header
from landscape_core.reading.sniff import printable

INDEX_SUFFIX = ".safetensors.index.json"
MOST_INDEX_BYTES = 64 << 20
MOST_SHARDS = 1_000


def join_shards(index: Path, out: Path, limits: Limits = Limits()) -> None:  # noqa: B008  frozen
    """Leaves at `out` one safetensors file with all tensors, shard after shard in the order of their names.

    The same shards give the same bytes.

    Args:
        index: The `.safetensors.index.json`; the shards lie beside it.
        out: An existing file is replaced.
        limits: Bounds of each shard's header.

    Raises:
        CheckpointRejected: The index cannot be read, a shard is missing or damaged, or they do not agree.
    """
    placed = _weight_map(index)
    shards = sorted(set(placed.values()))
    headers = {shard: _header(index.parent / shard, limits) for shard in shards}
    for name, shard in placed.items():
        if name not in headers[shard].tensors:
            raise _rejected(f"{index.name} says that {printable(name)[:80]!r} is in {shard}, but it is not")
    entries: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for shard, header in headers.items():
        for name, tensor in header.tensors.items():
            if placed.get(name) != shard:
                raise _rejected(f"{shard} holds {printable(name)[:80]!r}, which {index.name} does not place there")
            entries[name] = {"dtype": _KINDS[tensor.kind], "shape": tensor.shape, "data_offsets": (end, end + tensor.length)}
            end += tensor.length
    text = json.dumps(entries, ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    with out.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for shard, header in headers.items():
            first = min((tensor.start for tensor in header.tensors.values()), default=None)
            with (index.parent / shard).open("rb") as source:
                if first is not None:
                    source.seek(first)
                    shutil.copyfileobj(source, file, 1 << 20)


_KINDS = {kind: name for name, kind in SAFETENSORS.items()}


def _weight_map(index: Path) -> dict[str, str]:
    """Tensor -> the name of the file beside the index that holds it."""
    try:
        if index.stat().st_size > MOST_INDEX_BYTES:
            raise _rejected(f"{index.name} has over {MOST_INDEX_BYTES:,} bytes")
        found = json.loads(index.read_bytes())
    except (OSError, ValueError, RecursionError):
        raise _rejected(f"{index.name} is no proper JSON") from None
    placed = found.get("weight_map") if isinstance(found, dict) else None
    if not isinstance(placed, dict) or not placed or not all(isinstance(shard, str) for shard in placed.values()):
        raise _rejected(f"{index.name} has no weight_map of tensors to files")
    shards = set(placed.values())
    if len(shards) > MOST_SHARDS:
        raise _rejected(f"{index.name} names {len(shards):,} files, and at most {MOST_SHARDS:,} are read")
    for shard in shards:
        if Path(shard).name != shard or not shard.endswith(".safetensors"):
            raise _rejected(f"{index.name} names {printable(shard)[:80]!r}, which is no safetensors file beside it")
        if not (index.parent / shard).is_file():
            raise _rejected(f"{printable(shard)[:80]}, which {index.name} names, is not there")
    return placed


def _header(path: Path, limits: Limits) -> Header:
    try:
        with path.open("rb") as file:
            return read_header(file, path.stat().st_size, limits)
    except CheckpointRejected as error:
        raise CheckpointRejected(f"{path.name}: {error}") from None
    except OSError as error:
        raise _rejected(f"{path.name} cannot be read ({error.strerror or error})") from None


def _rejected(what: str) -> CheckpointRejected:
    return CheckpointRejected(f"The shards cannot be joined: {what}; download the whole folder again.")
