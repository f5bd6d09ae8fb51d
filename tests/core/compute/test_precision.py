"""Precision on request: rounded to bfloat16, held against float32, and refused where a device cannot."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

from landscape_core.compute import Evaluator, compute_surface, landscape
from landscape_core.compute.devices import compute_exactly
from landscape_core.compute.precision import check_precision, checked_cells, computing_in, precision_check
from landscape_core.errors import InvalidRequest
from landscape_core.requests import SurfaceRequest

from .requested import axis, surface_request


def asked(architecture: str, precision: str) -> SurfaceRequest:
    body = surface_request(architecture, axis(3, 0.5), axis(3, 0.5)).model_dump()
    return SurfaceRequest.model_validate({**body, "precision": precision})


@pytest.fixture(params=["mlp", "resnet20"])
def subject(request):
    named = {"mlp": ("mlp_weights", "rows"), "resnet20": ("resnet_weights", "images")}[request.param]
    return request.param, *(request.getfixturevalue(name) for name in named)


def test_bfloat16_is_near_float32_and_says_how_near(subject):
    name, *material = subject
    exact, rounded = (compute_surface(asked(name, precision), *material) for precision in ("float32", "bfloat16"))
    assert "precision_check" not in exact.provenance
    check = json.loads(json.dumps(rounded.provenance))["precision_check"]
    assert check["cells"] == [[1, 1], [0, 0], [0, 2], [2, 0], [2, 2]]
    assert check["examples"] == int(exact.examples[0, 0])
    differences = np.abs(rounded.loss / exact.loss - 1)
    corners = [differences[row, column] for row, column in check["cells"]]
    assert check["largest_relative_difference"] == pytest.approx(max(corners), rel=1e-6)
    assert 1e-6 < differences.max() < 0.05
    again = compute_surface(asked(name, "bfloat16"), *material)
    assert np.array_equal(again.loss, rounded.loss)
    assert np.array_equal(compute_surface(asked(name, "float32"), *material).loss, exact.loss)


def test_a_value_does_not_depend_on_whether_cells_were_checked_in_between(subject):
    name, *material = subject
    first, second = (Evaluator(asked(name, "bfloat16"), *material) for _ in range(2))
    cells = [(0, 0), (1, 2), (2, 1)]
    second.tally(cells[:1], 0, 64)
    second.provenance()
    assert np.array_equal(first.tally(cells, 0, 64).loss_sum, second.tally(cells, 0, 64).loss_sum)


def test_tf32_is_refused_without_cuda(subject):
    name, *material = subject
    with pytest.raises(InvalidRequest, match="TF32 is of CUDA devices, but the network is evaluated on cpu; choose precision"):
        Evaluator(asked(name, "tf32"), *material)


@pytest.mark.parametrize("before", ["nothing", "a setting of one operation"])
def test_tf32_is_switched_on_for_the_forward_pass_alone(before):
    if before != "nothing":
        with torch.backends.cudnn.flags(enabled=True):  # sets the precision of convolutions by itself, on leaving
            pass
    backends = torch.backends
    for _ in range(2):
        with computing_in("tf32", torch.device("cuda")):
            assert {op.fp32_precision for op in (backends.cudnn.conv, backends.cudnn.rnn, backends.cuda.matmul)} == {"tf32"}
            assert backends.cudnn.allow_tf32
            assert backends.cuda.matmul.allow_tf32
        assert {op.fp32_precision for op in (backends.cudnn.conv, backends.cudnn.rnn, backends.cuda.matmul)} == {"ieee"}
        assert not (backends.cudnn.allow_tf32)
        assert not (backends.cuda.matmul.allow_tf32)


@pytest.mark.parametrize("before", ["highest", "high", "medium"])
def test_whoever_lets_pytorch_round_products_gets_float32_on_cpus_all_the_same(before):
    torch.set_float32_matmul_precision(before)
    compute_exactly(None)
    assert {
        op.fp32_precision for op in (torch.backends.mkldnn.matmul, torch.backends.mkldnn.conv, torch.backends.mkldnn.rnn)
    } == {"ieee"}
    assert torch.get_float32_matmul_precision() == "highest"
    x = torch.randn(256, 256)
    assert (x @ x - (x.double() @ x.double())).abs().max() < 1e-3


def test_a_cell_that_is_finite_in_one_precision_alone_has_no_difference():
    losses = {(0, 0): (1.0, 1.0), (0, 1): (float("inf"), 2.0)}
    found = precision_check([(0, 0), (0, 1)], 7, lambda cell, how: losses[cell][how == "float32"], "bfloat16")
    assert found == {"cells": [[0, 0], [0, 1]], "examples": 7, "largest_relative_difference": None}
    found = precision_check([(0, 1)], 7, lambda _cell, _how: float("nan"), "bfloat16")
    assert found["largest_relative_difference"] == 0.0


def test_a_curve_and_a_single_cell_are_checked_once_each():
    assert checked_cells(surface_request("mlp", axis(5)).grid) == [(0, 2), (0, 0), (0, 4)]
    assert checked_cells(surface_request("mlp", axis(1, 0.5)).grid) == [(0, 0)]


def test_a_network_of_ones_own_is_rounded_and_given_back():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 32), nn.Tanh(), nn.Linear(32, 3))
    before = [p.detach().clone() for p in model.parameters()]
    batches = [(torch.randn(40, 6), torch.randint(0, 3, (40,))) for _ in range(2)]
    loss = nn.CrossEntropyLoss(reduction="none")
    exact, rounded = (landscape(model, loss, batches, grid="-1:1:3x-1:1:3", precision=how) for how in ("float32", "bfloat16"))
    difference = np.abs(rounded.loss / exact.loss - 1)
    assert rounded.provenance["precision"] == "bfloat16"
    assert rounded.provenance["precision_check"]["examples"] == 80
    assert rounded.provenance["precision_check"]["largest_relative_difference"] == pytest.approx(difference[::2, ::2].max())
    assert 0 < difference.max() < 0.02
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    with pytest.raises(InvalidRequest, match="TF32 is of CUDA devices"):
        landscape(model, loss, batches, grid="-1:1:3", precision="tf32")
    with pytest.raises(InvalidRequest, match="Eigenvalues are measured in float32"):
        landscape(model, loss, batches, grid="-1:1:3", precision="bfloat16", curvature=8)
    with pytest.raises(InvalidRequest, match="should be float32, tf32 or bfloat16, but 'half' came"):
        check_precision("half", torch.device("cpu"))


@pytest.mark.parametrize("before", ["PyTorch's own", "high", "medium", "tf32 of all", "tf32 of one operation"])
def test_a_network_of_ones_own_is_measured_in_float32_and_what_was_set_before_comes_back(before):
    script = f"""
import torch
from torch import nn
from landscape_core.compute import landscape
backends = torch.backends
kinds = [backends, backends.cudnn, backends.mkldnn, backends.cudnn.conv, backends.cudnn.rnn, backends.cuda.matmul]
kinds += [backends.mkldnn.matmul, backends.mkldnn.conv, backends.mkldnn.rnn]
before = {before!r}
if before in ("high", "medium"):
    torch.set_float32_matmul_precision(before)
elif before == "tf32 of all":
    backends.fp32_precision = "tf32"
elif before == "tf32 of one operation":
    backends.mkldnn.matmul.fp32_precision = "tf32"
settings = [kind.fp32_precision for kind in kinds]
seen = set()
def loss(outputs, targets):
    seen.update(kind.fp32_precision for kind in kinds[3:])
    return (outputs - targets).square().mean(dim=1)
landscape(nn.Linear(3, 2), loss, [(torch.randn(4, 3), torch.randn(4, 2))], grid="-1:1:3")
assert seen == {{"ieee"}}, seen
assert [kind.fp32_precision for kind in kinds] == settings, ([kind.fp32_precision for kind in kinds], settings)
if before in ("high", "medium"):
    assert torch.get_float32_matmul_precision() == before
backends.fp32_precision = "ieee"
print(backends.cuda.matmul.fp32_precision, backends.mkldnn.conv.fp32_precision)
"""
    made = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    assert before != "tf32 of all" or made.stdout.split() == ["ieee", "ieee"], "they follow what is set for all, as before"


@pytest.mark.parametrize("part", ["all", "one layer"])
def test_a_model_in_float64_is_refused_because_nothing_of_it_would_be_rounded(part):
    model = nn.Sequential(nn.Linear(6, 32), nn.Tanh(), nn.Linear(32, 3))
    (model if part == "all" else model[2]).double()
    batches = [(torch.randn(40, 6, dtype=next(model.parameters()).dtype), torch.randint(0, 3, (40,)))]
    name = "0.weight" if part == "all" else "2.weight"
    with pytest.raises(InvalidRequest, match=rf"bfloat16 rounds what is float32, but {name} is float64; give model\.float\(\)"):
        landscape(model, nn.CrossEntropyLoss(reduction="none"), batches, grid="-1:1:3", precision="bfloat16")
