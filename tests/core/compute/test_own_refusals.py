"""What `lc.landscape` cannot use: one sentence that says what was expected, what came, what to do."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

import landscape_core as lc
from landscape_core.compute import borrowing
from landscape_core.errors import DirectionsRejected, InvalidRequest, OutOfMemory
from landscape_core.requests import FileDirection, PlaneSpec, RandomDirection

cross_entropy = nn.CrossEntropyLoss(reduction="none")


def pair(n: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.ones(n, 4), torch.arange(n) % 3


def refusal(model: nn.Module, loss_fn: Callable, batches: object, **rest: object) -> str:
    with pytest.raises((InvalidRequest, DirectionsRejected)) as refused:
        lc.landscape(model, loss_fn, batches, grid=rest.pop("grid", "-1:1:2x-1:1:2"), **rest)
    text = str(refused.value)
    assert "\n" not in text
    assert text.endswith((".", ")"))
    return text


@pytest.mark.parametrize(
    ("batches", "sentence"),
    [
        ([], "hold no examples"),
        (iter([]), "hold no examples"),
        ([(torch.ones(0, 4), torch.ones(0))], "hold no examples"),
        (torch.ones(5, 4), "should be a pair (inputs, targets), but something of type Tensor came"),
        ([{"x": torch.ones(5, 4), "labels": torch.ones(5)}], "but something of type dict came; write ((b['x'], b['y'])"),
        ([(*pair(), 3)], "but 3 things came"),
        ([(1.0, 2.0)], "should hold tensors"),
    ],
)
def test_batches(batches, sentence):
    assert sentence in refusal(nn.Linear(4, 3), cross_entropy, batches)


@pytest.mark.parametrize(
    ("loss_fn", "sentence"),
    [
        (nn.CrossEntropyLoss(reduction="sum"), 'give it reduction="none"'),
        (lambda out, _: out, "the loss of each of the batch's 5 examples, but gave torch.float32 of shape (5, 3)"),
        (lambda out, _: out.sum(dim=0), "of shape (3,)"),
        (lambda out, _: None, "loss_fn should give a tensor, but gave something of type NoneType"),
        (lambda out, _: out.sum().to(torch.complex64), "but gave torch.complex64 of shape ()"),
    ],
)
def test_losses(loss_fn, sentence):
    assert sentence in refusal(nn.Linear(4, 3), loss_fn, [pair()])


@pytest.mark.parametrize(
    ("plane", "grid", "sentence"),
    [
        ({"x": {"kind": "random"}}, "-1:1:3", "plane.x.random.seed cannot be read: Field required"),
        ({"x": {"kind": "random", "seed": 1}}, "-1:1:3x-1:1:3", "The grid has two axes but the plane one direction"),
        (PlaneSpec(x=RandomDirection(seed=1), y=RandomDirection(seed=2)), "-1:1:3", "one axis but the plane two directions"),
        (PlaneSpec(x=RandomDirection(seed=1), y=RandomDirection(seed=1)), None, "give them different seeds"),
        (PlaneSpec(x=FileDirection(file="0" * 64)), "-1:1:3", "plane.x is of the kind 'file'"),
        ([torch.ones(3, 4), torch.ones(3)], None, "each a list of tensors in the order of model.parameters()"),
        (([torch.ones(3, 4)], None), "-1:1:3", "The direction has 1 tensors, but the network has 2 weights"),
        (([torch.ones(3, 4), torch.ones(4)], None), "-1:1:3", "Tensor 1 of the direction has shape (4,), but the network's bias has (3,)"),
        (None, "-1:1", "An axis is start:stop:points"),
        (None, "-1:1:3x-1:1:3x-1:1:3", "A grid has one axis, as in -1:1:51, or two"),
        (None, "1:-1:3", "1 is not below -1"),
        (None, {"x": {"start": 0, "stop": 1, "points": 0}}, "grid.x.points cannot be read"),
    ],
)  # fmt: skip
def test_planes_and_grids(plane, grid, sentence):
    assert sentence in refusal(nn.Linear(4, 3), cross_entropy, [pair()], plane=plane, grid=grid)


class Complex(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.zeros(2, dtype=torch.complex64))


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        (nn.ReLU(), "has no parameters"),
        (nn.LazyLinear(3), "weight has no values yet"),
        (nn.Linear(4, 3, device="meta"), "weight has no values yet"),
        (Complex(), "w is torch.complex64; only real floating tensors move"),
    ],
)
@pytest.mark.filterwarnings("ignore:Lazy modules:UserWarning")
def test_models(model, sentence):
    assert sentence in refusal(model, cross_entropy, [pair()])


def test_a_device_that_is_not_there():
    assert "There is no device 'cuda:99'" in refusal(nn.Linear(4, 3), cross_entropy, [pair()], device="cuda:99")


def test_a_loss_that_is_not_the_same_twice():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 64), nn.Dropout(), nn.Linear(64, 3)).train()
    said = refusal(model, cross_entropy, [pair()], eval_mode=False)
    assert "not deterministic" in said
    assert "dropout or batch norm in training mode, sampling" in said
    lc.landscape(model, cross_entropy, [pair()], eval_mode=False, check_deterministic=False, grid="-1:1:2")
    lc.landscape(model, cross_entropy, [pair()], grid="-1:1:2")
    assert model.training


def test_inputs_that_are_changed_in_place_are_noticed():
    model = nn.Sequential(nn.Linear(4, 3))

    class Shrinks(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = model

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.inner(x.mul_(0.5))

    assert "inputs that are changed in place" in refusal(Shrinks(), cross_entropy, [pair()])


def test_memory_that_does_not_suffice_is_one_sentence():
    def loss_fn(_outputs: torch.Tensor, _targets: torch.Tensor) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(OutOfMemory, match="for a batch of 5; give smaller ones"):
        lc.landscape(nn.Linear(4, 3), loss_fn, [pair()])


def test_things_of_another_type(tmp_path):
    """In a process of its own, where nothing but our checks looks at types."""
    code = """
import torch, landscape_core as lc
from torch import nn
pair = (torch.ones(5, 4), torch.zeros(5, dtype=torch.long))
for given in ((7, nn.CrossEntropyLoss(), [pair]), (nn.Linear(4, 3), "mse", [pair]), (nn.Linear(4, 3), nn.CrossEntropyLoss(), 7)):
    try:
        lc.landscape(*given)
    except lc.LandscapeError as error:
        print(error)
for grid in (7, ["-1:1:3"]):
    try:
        lc.landscape(nn.Linear(4, 3), nn.CrossEntropyLoss(), [pair], grid=grid)
    except lc.LandscapeError as error:
        print(error)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert run.stdout.splitlines() == [
        "The model should be a torch.nn.Module, but is of type int.",
        "loss_fn should be a function of outputs and targets, but is of type str.",
        "The batches should be an iterable of (inputs, targets), but are of type int.",
        "grid cannot be read: Input should be a valid dictionary or instance of Grid.",
        "grid cannot be read: Input should be a valid dictionary or instance of Grid.",
    ]


def test_accuracy_is_known_for_classes_only():
    x, labels = pair()
    given = {
        "regression": (nn.Linear(4, 3), lambda out, y: ((out - y) ** 2).mean(dim=1), torch.zeros(5, 3)),
        "one output": (nn.Linear(4, 1), lambda out, y: (out[:, 0] - y) ** 2, labels),
        "truth values": (nn.Linear(4, 2), lambda out, y: (out[:, 0] - y.float()) ** 2, labels > 1),
    }
    for name, (model, loss_fn, targets) in given.items():
        surface = lc.landscape(model, loss_fn, [(x, targets)], grid="-1:1:2")
        assert np.isnan(surface.accuracy).all(), name
        assert surface.provenance["own_accuracy"] is None, name


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_torchscript_module_is_sent_back():
    with pytest.raises(InvalidRequest, match="TorchScript"):
        borrowing.check_borrowable(torch.jit.script(nn.Linear(2, 2)))
