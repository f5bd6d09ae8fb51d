"""Damaged files: cut short anywhere, a bit turned over, and thousands of random mutations. One exception type, quickly."""

from __future__ import annotations

import io
import random
import re
import tempfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save as save_safetensors

from landscape_core.errors import CheckpointRejected
from landscape_core.reading import Limits, inspect_in_child, read_checkpoint

from . import hostile
from .assembler import archive
from .torch_files import legitimate, network, saved, tar

MUTATIONS = 4_000
SECONDS_EACH = 20.0


def good_files() -> dict[str, bytes]:
    state = network().state_dict()
    return {
        "zip": saved({"state_dict": state, "epoch": 3}),
        "legacy": saved(state, _use_new_zipfile_serialization=False),
        "tar": tar(state),
        "safetensors": save_safetensors({name: tensor.contiguous() for name, tensor in state.items()}),
    }


GOOD = good_files()


@pytest.mark.parametrize("part", range(20))
@pytest.mark.parametrize("kind", GOOD)
def test_a_file_cut_short_is_refused(kind, part, tmp_path):
    path = tmp_path / "f"
    data = GOOD[kind]
    if kind == "tar":  # the last blocks of a tar file are padding
        data = data.rstrip(b"\0")
    path.write_bytes(data[: len(data) * part // 20])
    with pytest.raises(CheckpointRejected, match=r"cut short|empty|not a checkpoint|damaged|no whole one"):
        read_checkpoint(path)


@pytest.mark.parametrize("kind", GOOD)
def test_the_child_says_what_is_damaged_too(kind, tmp_path):
    """Cut short, and with a bit turned over in its first bytes: a sentence of the reader's, not of its end."""
    data = GOOD[kind]
    turned = bytearray(data)
    turned[9] ^= 64
    for damaged in (data[: len(data.rstrip(b"\0")) // 2], bytes(turned)):  # a tar file ends in padding
        (tmp_path / "f").write_bytes(damaged)
        try:
            inspect_in_child("checkpoint", tmp_path / "f", "f", tmp_path / "out")
        except CheckpointRejected as error:
            assert not re.search(r"not foreseen|makes the reader fail|contradicts itself|far longer", str(error))  # noqa: PT017
        else:
            assert damaged == turned  # a name in a pickle or a mark of the time may be another


def test_a_flipped_bit_in_a_zip_is_refused(tmp_path):
    data = bytearray(GOOD["zip"])
    numbers = network().state_dict()["2.1.weight"].numpy().tobytes()
    data[data.index(numbers)] ^= 1
    (tmp_path / "f").write_bytes(data)
    with pytest.raises(CheckpointRejected, match="CRC"):
        read_checkpoint(tmp_path / "f")


def seeds() -> list[bytes]:
    """Small files of every kind, honest and hostile."""
    kinds = legitimate()
    chosen = (
        "protocol 4",
        "legacy whole module",
        "whole module",
        "lightning",
        "beside namespace",
        "views",
        "torch.float8_e5m2",
    )
    small = [data for data in hostile.makers(Path("canary")).values() if isinstance(data, bytes) and 0 < len(data) < 5_000]
    return [*GOOD.values(), *(kinds[name][0] for name in chosen), *small]


def mutated(data: bytes, chance: random.Random) -> bytes:
    """The file with some bytes changed, cut out, doubled or put in; a zip file's entries rather than its checksums."""
    if data.startswith(b"PK\x03\x04") and chance.random() < 0.8:
        try:
            with zipfile.ZipFile(io.BytesIO(data)) as file:
                entries = {info.filename: file.read(info) for info in file.infolist()}
        except (zipfile.BadZipFile, RuntimeError, NotImplementedError, EOFError):
            return scrambled(data, chance)
        pickles = [name for name in entries if name.endswith(".pkl")] or list(entries)
        if pickles:
            name = chance.choice(pickles)
            entries[name] = scrambled(entries[name], chance)
        return archive(entries)
    return scrambled(data, chance)


def scrambled(data: bytes, chance: random.Random) -> bytes:
    out = bytearray(data)
    for _ in range(chance.choice([1, 1, 1, 2, 3, 6])):
        at, length = chance.randrange(len(out) + 1), chance.choice([1, 1, 2, 4, 8, 40])
        match chance.randrange(5):
            case 0:
                out[at : at + length] = chance.randbytes(length)
            case 1:
                del out[at : at + length]
            case 2:
                out[at:at] = out[at : at + length] * chance.choice([1, 2, 50])
            case 3:
                out[at : at + 1] = chance.choice(
                    b"\x85\x86\x87abcdeghijlpqrstuGIJKLMNQRTUX(]})0.2\x80\x81\x8a\x8b\x93\x94"
                ).to_bytes()
            case _:
                out[at : at + 4] = chance.choice([b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0\0\0\0"])
    return bytes(out)


def mutations() -> Iterator[bytes]:
    chance, files = random.Random(20), seeds()
    for _ in range(MUTATIONS):
        yield mutated(chance.choice(files), chance)


@pytest.fixture
def quick_path() -> Iterator[Path]:
    """Where a file can be written thousands of times: in memory, where the system has such a folder."""
    shared = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shared if shared.is_dir() else None) as folder:
        yield Path(folder) / "f"


def test_mutated_files_raise_one_exception_type_quickly(quick_path):
    """Anything else that is raised fails the test by itself. The limits keep an unlucky mutation small."""
    path, slowest = quick_path, 0.0
    sentences: list[str] = []
    for data in mutations():
        path.write_bytes(data)
        begin = time.process_time()
        try:
            read_checkpoint(path, Limits(operations=300_000))
        except CheckpointRejected as error:
            sentences.append(str(error))
        slowest = max(slowest, time.process_time() - begin)
    assert MUTATIONS // 2 < len(sentences) < MUTATIONS
    assert [text for text in sentences if "\n" in text] == []
    assert slowest < SECONDS_EACH


def test_tensors_of_mutated_files_stay_inside_the_file(tmp_path):
    """What is read of a file never holds more bytes than the limits say, and no memory that the file did not fill."""
    chance = random.Random(5)
    base = saved({"w": torch.arange(8.0), "v": torch.arange(8.0)[2:6]})
    known = {float(n) for n in range(8)}
    for _ in range(300):
        (tmp_path / "f").write_bytes(mutated(base, chance))
        try:
            contents = read_checkpoint(tmp_path / "f")
        except CheckpointRejected:
            continue
        assert sum(a.nbytes for a in contents.tensors.values()) <= Limits().total(len(base) * 200)
        if contents.dtypes.get("w") == "float32":
            assert {*contents.tensors["w"].ravel().tolist()} <= known
