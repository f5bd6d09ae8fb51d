"""Programs of `torch.export.save` (.pt2): their weights are read, the program is not looked at, and nothing in them runs."""

from __future__ import annotations

import io
import json
import pickle
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from landscape_core.errors import CheckpointRejected
from landscape_core.reading import inspect_in_child, read_checkpoint


class Bomb:
    """Fails the test if it is unpickled."""

    def __reduce__(self) -> tuple[object, ...]:
        return (pytest.fail, ("it was unpickled",))


class Net(nn.Module):
    """Tied weights, a buffer that is not saved, a constant, a transposed parameter, several element types."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Linear(3, 2))
        self.tied = nn.Linear(3, 2, bias=False)
        self.tied.weight = self.layers[2].weight
        self.turned = nn.Parameter(torch.randn(3, 4).t())
        self.register_buffer("rough", torch.randn(3).to(torch.bfloat16))
        self.register_buffer("unsaved", torch.ones(3), persistent=False)
        self.constant = torch.ones(3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self.layers[1](self.layers[0](x)) + x @ self.turned + self.unsaved + self.constant + self.rough.float()
        return self.layers[2](hidden) + self.tied(hidden)


def exported(module: nn.Module, *inputs: torch.Tensor) -> torch.export.ExportedProgram:
    return torch.export.export(module.eval(), inputs)


def save(program: torch.export.ExportedProgram, path: Path) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a transposed parameter: that there is no complete tensor
        torch.export.save(program, path)
    return path


def old_form(program: torch.export.ExportedProgram, path: Path) -> Path:
    """As PyTorch 2.1 to 2.7 wrote it: files of `torch.save` in the root of a zip file."""
    from torch._export.serde.serialize import serialize

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = serialize(program)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("serialized_exported_program.json", made.exported_program)
        archive.writestr("serialized_state_dict.pt", _saved(program.state_dict))
        archive.writestr("serialized_constants.pt", _saved(program.constants))
        archive.writestr("version", "8.0")
    return path


def form_of_2_8(program: torch.export.ExportedProgram, path: Path) -> Path:
    """As PyTorch 2.8 wrote it: one file of `torch.save` in the folder of weights."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("net/archive_format", b"pt2")
        archive.writestr("net/models/model.json", b"{}")
        archive.writestr("net/data/weights/model.pt", _saved(program.state_dict))
    return path


def _saved(values: object) -> bytes:
    out = io.BytesIO()
    torch.save(values, out)
    return out.getvalue()


@pytest.fixture(scope="module")
def program() -> torch.export.ExportedProgram:
    torch.manual_seed(0)
    return exported(Net(), torch.randn(5, 4))


@pytest.mark.parametrize("write", [save, old_form, form_of_2_8])
def test_the_weights_are_those_of_the_program(tmp_path, program, write: Callable[..., Path]):
    contents = read_checkpoint(write(program, tmp_path / "net.pt2"))
    assert contents.format == "torch export"
    assert set(contents.tensors) == set(program.state_dict)
    for name, tensor in program.state_dict.items():
        np.testing.assert_array_equal(
            contents.tensors[name], tensor.detach().float().numpy() if tensor.is_floating_point() else tensor
        )
    assert contents.dtypes["rough"] == "bfloat16"
    assert contents.shapes["turned"] == (4, 3)


def test_a_catalogued_network_is_recognised_in_it_as_in_any_other_file(tmp_path):
    module = nn.Sequential(nn.Linear(8, 5), nn.ReLU(), nn.Linear(5, 3))
    path = save(exported(module, torch.randn(2, 8)), tmp_path / "net.pt2")
    report = inspect_in_child("checkpoint", path, "net.pt2", tmp_path / "out.safetensors")
    assert (report["format"], report["candidates"][0]["architecture"]["name"]) == ("torch export", "mlp")
    assert report["warnings"] == []


def _changed(path: Path, change: Callable[[dict[str, bytes]], None]) -> Path:
    """The same archive with other entries."""
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    change(entries)
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return path


def _table(entries: dict[str, bytes]) -> str:
    return next(name for name in entries if name.endswith("weights_config.json"))


def _edit(field: str, value: object) -> Callable[[dict[str, bytes]], None]:
    """Writes another value into what the table says of the first tensor, which has (3, 4) numbers."""

    def change(entries: dict[str, bytes]) -> None:
        table = json.loads(entries[_table(entries)])
        entry = table["config"]["layers.0.weight"]
        (entry if field in entry else entry["tensor_meta"])[field] = value
        entries[_table(entries)] = json.dumps(table).encode()

    return change


HOSTILE: dict[str, tuple[Callable[[dict[str, bytes]], object], str]] = {
    "more than there is": (_edit("sizes", [{"as_int": 3}, {"as_int": 1 << 40}]), "reaches|declared|outside|more|large"),
    "a size that is none": (_edit("sizes", [{"as_expr": "s0"}, {"as_int": 4}]), "no number from 0 up"),
    "no list": (_edit("strides", 7), "no list of at most"),
    "too few strides": (_edit("strides", [{"as_int": 1}]), "another number of sizes"),
    "an offset": (_edit("storage_offset", {"as_int": 9}), "reaches|outside"),
    "another type": (_edit("dtype", 8), "6 stored numbers as 12"),
    "another folder": (_edit("path_name", "../../models/model.json"), "numbers are missing"),
    "pickled": (_edit("use_pickle", True), "unusual exported tensors are not supported"),
    "no table": (lambda e: e.__setitem__(_table(e), b"[]"), "has no 'config'"),
    "deep": (lambda e: e.__setitem__(_table(e), b"[" * 100_000), "more memory|makes? no sense"),
    "two programs": (lambda e: e.__setitem__("x/data/weights/b_weights_config.json", b"{}"), "weights of 2 programs"),
    "compiled": (lambda e: e.pop(_table(e)), "no weights that can be read without running it"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_tables_that_lie_are_refused_with_a_sentence(tmp_path, program, name):
    change, words = HOSTILE[name]
    with pytest.raises(CheckpointRejected, match=words):
        read_checkpoint(_changed(save(program, tmp_path / "net.pt2"), lambda entries: change(entries) and None))


def test_nothing_in_it_is_unpickled(tmp_path, program):
    bomb = pickle.dumps(Bomb())

    def change(entries: dict[str, bytes]) -> None:
        for name in [name for name in entries if name.endswith("model.pt")]:
            entries[name] = bomb

    path = _changed(save(program, tmp_path / "net.pt2"), change)
    assert set(read_checkpoint(path).tensors) == set(program.state_dict)
    with zipfile.ZipFile(tmp_path / "old.pt2", "w") as archive:
        archive.writestr("serialized_exported_program.json", "{}")
        archive.writestr("serialized_state_dict.pt", bomb)
    with pytest.raises(CheckpointRejected):
        read_checkpoint(tmp_path / "old.pt2")
