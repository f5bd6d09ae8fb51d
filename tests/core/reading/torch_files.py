"""Checkpoints as PyTorch itself writes them: every kind that people have, and kinds of tensors that are not read."""

from __future__ import annotations

import argparse
import collections
import datetime
import enum
import functools
import io
import pathlib
import pickle
import struct
import tarfile
import warnings
from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from .assembler import PROTOCOL, integer, pickled


class Colour(enum.Enum):
    """Something that `torch.load` would have to import."""

    RED = 1


class AttributeDict(dict):
    """As Lightning's, for hyper-parameters."""

    def __init__(self, **items: object) -> None:
        super().__init__(items)
        self.created = True


def network() -> nn.Module:
    """A small network with everything: convolution, batch norm, a nested and a shared part, a buffer that is not saved."""
    torch.manual_seed(3)
    module = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Sequential(nn.Flatten(), nn.Linear(8, 3)))
    module.register_buffer("passing", torch.zeros(2), persistent=False)
    return module


def saved(thing: object, **options: object) -> bytes:
    """The bytes of `torch.save`."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.save(thing, buffer, **options)
    return buffer.getvalue()


def legitimate() -> dict[str, tuple[bytes, dict[str, torch.Tensor], str, str]]:
    """Name -> (file, the tensors that were saved, container, prefix). Row 31."""
    module = network()
    state = module.state_dict()
    optimizer = torch.optim.Adam(module.parameters())
    sum(p.sum() for p in module.parameters()).backward()
    optimizer.step()
    state = {name: value.clone() for name, value in module.state_dict().items()}
    partial = functools.partial(torch.add, 1)
    beside: dict[str, object] = {
        "numpy scalar": np.float64(93.5),
        "numpy array": np.arange(6.0).reshape(2, 3),
        "namespace": argparse.Namespace(lr=0.1, layers=[1, 2]),
        "path": pathlib.PurePosixPath("runs/1"),
        "enum": Colour.RED,
        "defaultdict": collections.defaultdict(list, {"loss": [1.0, 2.0]}),
        "datetime": datetime.datetime(2020, 1, 2, tzinfo=datetime.UTC),
        "partial": partial,
        "optimizer": optimizer.state_dict(),
        "set": {"a", "b"},
        "module beside": nn.CrossEntropyLoss(weight=torch.ones(3)),
    }
    found = {
        f"beside {name}": (saved({"state_dict": state, "extra": value, "epoch": 3}), state, "state_dict", "")
        for name, value in beside.items()
    }
    lightning = {
        "epoch": 1,
        "state_dict": {f"model.{name}": value for name, value in state.items()},
        "optimizer_states": [optimizer.state_dict()],
        "hyper_parameters": AttributeDict(lr=0.1, loss=nn.CrossEntropyLoss()),
        "callbacks": {"ModelCheckpoint": {"best": torch.tensor(0.3)}},
    }
    whole = dict(module.state_dict())
    found |= {
        "plain": (saved(state), state, "", ""),
        "protocol 4": (saved({"state_dict": state, "n": 10**6}, pickle_protocol=4), state, "state_dict", ""),
        "protocol 5": (saved(state, pickle_protocol=5), state, "", ""),
        "legacy": (saved(state, _use_new_zipfile_serialization=False), state, "", ""),
        "legacy namespace": (
            saved({"model": state, "args": argparse.Namespace(a=1)}, _use_new_zipfile_serialization=False),
            state,
            "model",
            "",
        ),
        "lightning": (saved(lightning), state, "state_dict", "model."),
        "data parallel": (saved({f"module.{n}": v for n, v in state.items()}), state, "", "module."),
        "compiled": (saved({"net": {f"_orig_mod.module.{n}": v for n, v in state.items()}}), state, "net", "_orig_mod.module."),
        "some prefixed": (
            saved({"module.a": torch.ones(2), "b": torch.ones(2)}),
            {"module.a": torch.ones(2), "b": torch.ones(2)},
            "",
            "",
        ),
        "whole module": (saved(module), whole, "", ""),
        "whole module inside": (saved({"net": module, "acc": 93.6}), whole, "net", ""),
        "legacy whole module": (saved(module, _use_new_zipfile_serialization=False), whole, "", ""),
        "deeper": (saved({"model": {"state_dict": state}, "optimizer": optimizer.state_dict()}), state, "model.state_dict", ""),
        "in a list": (saved([state, optimizer.state_dict()]), state, "0", ""),
        "unknown key": (saved({"epoch": 1, "my_best": state, "optimizer": optimizer.state_dict()}), state, "my_best", ""),
        "parameters": (saved(dict(module.named_parameters())), dict(module.named_parameters()), "", ""),
        "tar of 0.1": (tar(state), state, "", ""),
    }
    return found | _wrapped(module, state, optimizer) | _element_types() | _views()


def _wrapped(
    module: nn.Module, state: dict[str, torch.Tensor], optimizer: torch.optim.Optimizer
) -> dict[str, tuple[bytes, dict[str, torch.Tensor], str, str]]:
    """The network beside tensors of what wraps it or was saved with it."""
    averaged = torch.optim.swa_utils.AveragedModel(module).state_dict()
    with_loss = {f"model.{name}": value for name, value in state.items()} | {"criterion.weight": torch.ones(3)}
    as_net = {f"net.{name}": value for name, value in state.items()}
    return {
        "averaged": (saved(averaged), dict(module.state_dict()), "", "module."),
        "lightning with a loss": (saved({"state_dict": with_loss}), state, "state_dict", "model."),
        "lightning net": (saved({"state_dict": as_net, "epoch": 1}), state, "state_dict", "net."),
        "beside a number": (saved({"resnet": state, "best_acc": torch.tensor(91.0)}), state, "resnet", ""),
        "with its optimizer": (saved({**state, "optimizer": optimizer.state_dict()}), state, "", ""),
        "fsdp": (saved({f"_fsdp_wrapped_module.{n}": v for n, v in state.items()}), state, "", "_fsdp_wrapped_module."),
        "a loss of its own": (
            saved({"criterion.weight": torch.ones(3), "b": torch.ones(2)}),
            {"criterion.weight": torch.ones(3), "b": torch.ones(2)},
            "",
            "",
        ),
        "numbers alone": (
            saved({"a": torch.tensor(1.0), "b": torch.ones(1)}),
            {"a": torch.tensor(1.0), "b": torch.ones(1)},
            "",
            "",
        ),
    }


def _element_types() -> dict[str, tuple[bytes, dict[str, torch.Tensor], str, str]]:
    base = torch.tensor([[1.5, -2.25, float("inf")], [6e-8, 448.0, float("nan")]])
    floats = (torch.float16, torch.bfloat16, torch.float64, torch.float32, torch.float8_e4m3fn, torch.float8_e5m2)
    integers = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.uint16, torch.uint32, torch.uint64)
    kinds = {str(t): {"w": base.to(t)} for t in floats} | {str(t): {"w": torch.arange(7).to(t)} for t in integers}
    kinds["torch.bool"] = {"w": torch.tensor([True, False, True])}
    kinds["0-d and empty"] = {"w": torch.tensor(3.25), "e": torch.empty(0, 3), "n": torch.tensor(7)}
    return {name: (saved(tensors), tensors, "", "") for name, tensors in kinds.items()}


def _views() -> dict[str, tuple[bytes, dict[str, torch.Tensor], str, str]]:
    flat = torch.arange(24.0)
    shared = {"a": flat[:6].view(2, 3), "b": flat[6:].view(3, 6).T, "c": flat[::5], "d": flat.view(2, 3, 4).permute(2, 0, 1)}
    tied = {"one": flat, "two": flat, "parameter": nn.Parameter(flat * 2)}
    return {
        "views": (saved(shared), shared, "", ""),
        "legacy views": (saved(shared, _use_new_zipfile_serialization=False), shared, "", ""),
        "tied": (saved(tied), tied, "", ""),
    }


def tar(state: dict[str, torch.Tensor]) -> bytes:
    """A file as PyTorch 0.1 wrote it, where the last tensor is a view of the first one's storage."""
    storages = [pickled(integer(len(state)))]
    tensors = [pickled(integer(len(state)))]
    for index, value in enumerate(state.values()):
        kind = {"float32": "Float", "int64": "Long"}[str(value.dtype).removeprefix("torch.")]
        key = integer(1000 + index)
        storages += [
            pickled(b"(" + key + b"X\x03\x00\x00\x00cpuctorch\n" + f"{kind}Storage\nt".encode()),
            struct.pack("<q", value.numel()) + value.contiguous().numpy().tobytes(),
        ]
        tensors += [
            pickled(b"(" + integer(index) + key + f"ctorch\n{kind}Tensor\nt".encode()),
            struct.pack(f"<ii{2 * value.ndim}qq", value.ndim, 0, *value.shape, *value.contiguous().stride(), 0),
        ]
    storages.append(pickled(b"]"))
    buffer = io.BytesIO()

    class Pickler(pickle.Pickler):
        def persistent_id(self, thing: object) -> object:
            return next((str(i) for i, v in enumerate(state.values()) if v is thing), None)

    pickler = Pickler(body := io.BytesIO(), protocol=2)
    pickler.dump(dict(state))
    system = pickled(b"}X\x10\x00\x00\x00protocol_version" + integer(PROTOCOL) + b"s")
    with tarfile.open(fileobj=buffer, mode="w:", format=tarfile.PAX_FORMAT) as file:
        members = {"sys_info": system, "pickle": body.getvalue(), "tensors": b"".join(tensors), "storages": b"".join(storages)}
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            file.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def unsupported() -> dict[str, bytes]:
    """Files with tensors of kinds that are not read. Rows 15 and 16, and a real TorchScript archive."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sparse = torch.sparse_coo_tensor(torch.tensor([[0, 2]]), torch.ones(2), (3,))
        outside = torch.sparse_coo_tensor(torch.tensor([[10**12]]), torch.ones(1), (10**12 + 1,), check_invariants=False)
        makers: dict[str, Callable[[], object]] = {
            "15-sparse": lambda: sparse,
            "15-sparse-outside": lambda: outside,
            "15-sparse-csr": lambda: torch.eye(3).to_sparse_csr(),
            "16-quantized": lambda: torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8),
            "16-nested": lambda: torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]),
            "16-meta": lambda: torch.empty(10**9, 10**9, device="meta"),
            "16-complex": lambda: torch.ones(3, dtype=torch.complex64),
            "16-negated": lambda: torch.ones(3, dtype=torch.complex64).conj().imag,
        }
        found = {name: saved({"w": make()}) for name, make in makers.items()}
        found["16-sparse-legacy"] = saved({"w": sparse}, _use_new_zipfile_serialization=False)
        buffer = io.BytesIO()
        torch.jit.save(torch.jit.script(nn.Linear(2, 2)), buffer)
        return found | {"30-torchscript-real": buffer.getvalue()}
