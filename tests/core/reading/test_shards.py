"""Shards of safetensors joined to one file, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from landscape_core.errors import CheckpointRejected
from landscape_core.reading import read_checkpoint
from landscape_core.reading.shards import join_shards

TENSORS = {
    "model.a.weight": torch.arange(12.0).reshape(3, 4),
    "model.a.bias": torch.tensor([1.5, -2.0, 3.0], dtype=torch.bfloat16),
    "model.b": torch.tensor(7),
    "head.weight": torch.ones(2, 3, dtype=torch.float16),
    "head.empty": torch.zeros(0, 3),
}
PLACED = {name: f"model-0000{1 + (index > 1)}-of-00002.safetensors" for index, name in enumerate(TENSORS)}


def shards(folder: Path, placed: dict[str, str] = PLACED) -> Path:
    for shard in set(PLACED.values()):
        save_file({name: tensor for name, tensor in TENSORS.items() if PLACED[name] == shard}, folder / shard)
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": placed}))
    return index


def test_shards_are_read_as_the_one_file_that_they_are_cut_from(tmp_path):
    join_shards(shards(tmp_path), tmp_path / "joined.safetensors")
    save_file(TENSORS, tmp_path / "whole.safetensors")
    joined, whole = (read_checkpoint(tmp_path / f"{name}.safetensors") for name in ("joined", "whole"))
    assert (joined.dtypes, joined.prefix) == (whole.dtypes, whole.prefix)
    assert joined.tensors.keys() == whole.tensors.keys()
    for name, array in whole.tensors.items():
        np.testing.assert_array_equal(joined.tensors[name], array)
    join_shards(tmp_path / "model.safetensors.index.json", tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == (tmp_path / "joined.safetensors").read_bytes()


SECOND = "model-00002-of-00002.safetensors"


@pytest.mark.parametrize(
    ("placed", "says"),
    [
        ({**PLACED, "more": SECOND}, f"says that 'more' is in {SECOND}, but it is not"),
        (
            {n: s for n, s in PLACED.items() if n != "head.weight"},
            f"{SECOND} holds 'head.weight', which .* does not place there",
        ),
        (
            {**PLACED, "head.weight": "../other.safetensors"},
            "names '../other.safetensors', which is no safetensors file beside it",
        ),
        ({**PLACED, "head.weight": "weights.bin"}, "names 'weights.bin', which is no safetensors file"),
        ({**PLACED, "head.weight": "model-00003-of-00002.safetensors"}, "model-00003-of-00002.safetensors, .* is not there"),
        ({"a": 3}, "has no weight_map"),
        ({}, "has no weight_map"),
    ],
)
def test_shards_that_do_not_agree_are_refused_with_one_sentence(placed, says, tmp_path):
    with pytest.raises(CheckpointRejected, match=says) as refused:
        join_shards(shards(tmp_path, placed), tmp_path / "joined.safetensors")
    assert str(refused.value).endswith("; download the whole folder again.")
    assert not (tmp_path / "joined.safetensors").exists()


@pytest.mark.parametrize("text", ["", "[", "[1]", "[" * 100_000, '{"weight_map": []}'])
def test_an_index_that_is_none_is_refused(text, tmp_path):
    index = shards(tmp_path)
    index.write_text(text)
    with pytest.raises(CheckpointRejected, match=r"no proper JSON|has no weight_map"):
        join_shards(index, tmp_path / "joined.safetensors")


def test_a_shard_that_is_cut_short_is_named(tmp_path):
    index = shards(tmp_path)
    (tmp_path / SECOND).write_bytes((tmp_path / SECOND).read_bytes()[:-1])
    with pytest.raises(CheckpointRejected, match=f"{SECOND}: The safetensors file is damaged: it is cut short"):
        join_shards(index, tmp_path / "joined.safetensors")
