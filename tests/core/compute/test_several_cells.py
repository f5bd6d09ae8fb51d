"""Several cells in one call: the values of one cell at a time, whatever the network, and whatever else is in the call."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from torch import nn

from landscape_core.compute import Evaluator, Examples, Plane, compute_surface, first_layer, reference_surface
from landscape_core.compute.calls import CPU_MACS, MOST_CELLS, MOVED_MACS, Calls
from landscape_core.compute.several_cells import SeveralCells
from landscape_core.errors import Cancelled, OutOfMemory
from landscape_core.estimate import chunk_bounds
from landscape_core.requests import Normalisation, SurfaceRequest

from .requested import axis, surface_request
from .test_convnets import lenet, padded_with_norms
from .transformer_files import vit_file

GRID = [(row, column) for row in range(5) for column in range(5)]


def pictures(size: int, classes: int) -> Examples:
    rng = np.random.default_rng(4)
    return Examples.from_arrays(rng.integers(0, 256, (60, size, size, 3), np.uint8), rng.integers(0, classes, 60))


def file_of(module: nn.Module) -> dict[str, np.ndarray]:
    return {name: tensor.numpy() for name, tensor in module.state_dict().items()}


@pytest.fixture(params=["mlp", "convnet", "convnet:activation=tanh,padding=half", "resnet20"])
def subject(request):
    """(architecture, tensors, examples)"""
    torch.manual_seed(2)
    if request.param.startswith("convnet"):
        module = lenet() if request.param == "convnet" else padded_with_norms()
        return request.param, file_of(module), pictures(32, 10 if request.param == "convnet" else 5)
    named = {"mlp": ("mlp_weights", "rows"), "resnet20": ("resnet_weights", "images")}[request.param]
    return request.param, *(request.getfixturevalue(name) for name in named)


def evaluators(request: SurfaceRequest, tensors, examples, cells: int = 8) -> tuple[Evaluator, Evaluator]:
    """One cell at a time, and so many."""
    one = Calls(batch=40)
    several = Calls(batch=40, example_macs=(1 << 29) // (cells * 40))
    assert (one.cells(60), several.cells(60)) == (1, cells)
    first, second = (Evaluator(request, tensors, examples, calls=calls) for calls in (one, several))
    assert (first._network.takes_several, second._network.takes_several) == (False, True)
    return first, second


def test_values_are_those_of_one_cell_at_a_time(subject):
    name, *material = subject
    metrics = ("top5", "class_accuracy") if name == "convnet" else ("class_accuracy",)  # the others have few classes
    body = surface_request(name, axis(5, 0.5), axis(5, 0.5), normalisation=Normalisation(ignore="none")).model_dump()
    one, several = evaluators(SurfaceRequest.model_validate(body | {"metrics": metrics}), *material)
    expected, got = (evaluator.tally(GRID, 0, 60) for evaluator in (one, several))
    np.testing.assert_allclose(got.loss_sum, expected.loss_sum, rtol=2e-6)
    np.testing.assert_allclose(got.loss_sq, expected.loss_sq, rtol=5e-6)
    np.testing.assert_array_equal(got.examples, expected.examples)
    assert np.abs(got.correct - expected.correct).max() <= 1  # an image on the boundary between two classes
    assert got.counts.keys() == expected.counts.keys()
    for counted in got.counts:
        assert got.counts[counted].shape == expected.counts[counted].shape
        assert np.abs(got.counts[counted] - expected.counts[counted]).max() <= 1
    np.testing.assert_allclose(several.loss_at((0.1, 0.2)).loss_sum, one.loss_at((0.1, 0.2)).loss_sum, rtol=2e-6)


def test_the_network_s_own_loss_is_that_of_its_cell(subject):
    name, *material = subject
    body = surface_request(name, axis(5, 0.5), axis(5, 0.5)).model_dump() | {"metrics": ("class_accuracy",)}
    one, several = evaluators(SurfaceRequest.model_validate(body), *material)
    plain, own = one.own_loss(), several.own_loss()
    np.testing.assert_allclose(own.loss_sum, plain.loss_sum, rtol=2e-6)
    assert own.counts.keys() == plain.counts.keys()
    np.testing.assert_array_equal(own.counts["class_examples"], plain.counts["class_examples"])
    assert np.abs(own.counts["class_correct"] - plain.counts["class_correct"]).max() <= 1
    centre = [several.tally([(2, 2)], *chunk) for chunk in chunk_bounds(several.examples)]
    for found in (own, several.loss_at((0.0, 0.0))):
        assert found.loss_sum[0] == sum(float(tally.loss_sum[0]) for tally in centre)
        assert found.correct[0] == sum(int(tally.correct[0]) for tally in centre)
    with pytest.raises(Cancelled):
        several.own_loss(lambda: True)


@pytest.mark.parametrize("loss", ["cross_entropy", "nll", "multi_margin", "mse", "mse_softmax"])
def test_every_loss_is_as_in_the_reference_engine(mlp_weights, rows, loss):
    request = surface_request("mlp", axis(5), axis(5), loss=loss)
    assert Evaluator(request, mlp_weights, rows).cells_a_call(64) == 16
    surface = compute_surface(request, mlp_weights, rows)
    loss, accuracy = reference_surface(request, mlp_weights, rows)
    np.testing.assert_allclose(surface.loss, loss, rtol=2e-6, atol=1e-7)
    np.testing.assert_allclose(surface.accuracy, accuracy, atol=100.1 / 300)


def test_a_value_does_not_depend_on_what_else_is_in_its_call(subject):
    name, *material = subject
    _, several = evaluators(surface_request(name, axis(5, 0.5), axis(5, 0.5)), *material)
    together = several.tally(GRID, 0, 60)
    for cells in (GRID[:1], GRID[3:14], GRID[::-1], [GRID[7], GRID[7]]):
        found = several.tally(cells, 0, 60)
        expected = together.at([GRID.index(cell) for cell in cells])
        np.testing.assert_array_equal(found.loss_sum, expected.loss_sum)
        np.testing.assert_array_equal(found.correct, expected.correct)


@pytest.mark.parametrize(("activation", "cells"), [("relu", 16), ("leaky_relu", 16), ("sigmoid", 1), ("elu", 1), ("silu", 1)])
@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(("scale", "hidden", "count"), [(1, 21, 7), (3, 13, 7), (3, 21, 201)])
def test_nor_on_its_place_in_the_call_whatever_the_activation(activation, cells, seed, scale, hidden, count):
    """PyTorch computes a tensor's last numbers one by one, and the exponential of them otherwise than of those before."""
    rng = np.random.default_rng(seed)
    shapes = {"fc0.weight": (hidden, 12), "fc0.bias": (hidden,), "fc1.weight": (5, hidden), "fc1.bias": (5,)}
    tensors = {name: (scale * rng.normal(size=shape)).astype(np.float32) for name, shape in shapes.items()}
    rows = Examples.from_arrays(rng.normal(size=(count, 12)).astype(np.float32), rng.integers(0, 5, count))
    usual = Evaluator(surface_request(f"mlp:activation={activation}", axis(5, 0.5), axis(5, 0.5)), tensors, rows)
    assert usual.cells_a_call(count) == cells
    together = usual.tally(GRID, 0, count).loss_sum
    np.testing.assert_array_equal(np.concatenate([usual.tally([cell], 0, count).loss_sum for cell in GRID]), together)


@pytest.mark.parametrize("hidden", [0, 1])
@pytest.mark.parametrize("curve", [False, True])
def test_a_single_layer_and_a_curve(rows, hidden, curve):
    rng, widths = np.random.default_rng(2), (12, *[5] * hidden, 4)
    pairs = enumerate(zip(widths[1:], widths[:-1], strict=True))
    tensors = {f"fc{index}.weight": rng.normal(size=shape).astype(np.float32) for index, shape in pairs}
    request = surface_request("mlp", axis(5), None if curve else axis(5))
    one, several = evaluators(request, tensors, rows)
    cells = GRID[:5] if curve else GRID
    expected, got = (evaluator.tally(cells, 0, 60) for evaluator in (one, several))
    np.testing.assert_allclose(got.loss_sum, expected.loss_sum, rtol=2e-6)


def test_images_on_the_boundary_are_decided_as_the_plain_product_does(mlp_weights, rows, monkeypatch):
    one, several = evaluators(surface_request("mlp", axis(5), axis(5)), mlp_weights, rows)
    stored = several.tally(GRID, 0, 40)
    monkeypatch.setattr(first_layer, "UNDECIDED", np.inf)
    expected, got = (evaluator.tally(GRID, 0, 40) for evaluator in (one, several))
    np.testing.assert_array_equal(got.loss_sum, expected.loss_sum)
    assert (got.loss_sum != stored.loss_sum).any()


def test_what_is_not_finite_is_a_hole_of_its_own(mlp_weights, rows):
    tensors = {name: array * np.float32(1e4) for name, array in mlp_weights.items()}
    one, several = evaluators(surface_request("mlp", axis(5, 1e6), axis(5, 1e6), loss="mse"), tensors, rows)
    expected, got = (evaluator.tally(GRID, 0, 60).loss_sum for evaluator in (one, several))
    np.testing.assert_array_equal(np.isfinite(got), np.isfinite(expected))
    assert 0 < np.isfinite(got).sum() < len(GRID)


def test_lack_of_memory_halves_the_batch_and_is_told_at_one_example(resnet_weights, images, monkeypatch):
    """The network itself refuses batches above a size, as a device does."""
    most = 20

    def limited(_module: nn.Module, args: tuple[torch.Tensor]) -> None:
        if len(args[0]) > most:
            raise RuntimeError("out of memory")

    one, several = evaluators(surface_request("resnet20", axis(5, 0.5), axis(5, 0.5)), resnet_weights, images)
    several._network.module.register_forward_pre_hook(limited)
    at, failures = SeveralCells.at, [torch.OutOfMemoryError("no memory for the cells' tensors")]
    monkeypatch.setattr(SeveralCells, "at", lambda self, places: raise_(failures.pop()) if failures else at(self, places))
    expected, got = (evaluator.tally(GRID[:9], 0, 60) for evaluator in (one, several))
    np.testing.assert_allclose(got.loss_sum, expected.loss_sum, rtol=2e-6)
    assert several._batch == 20
    most = 0
    with pytest.raises(OutOfMemory, match="does not suffice for one example"):
        several.tally(GRID[:9], 0, 60)


def test_what_cannot_be_mapped_or_gives_something_else_is_called_for_one_cell_at_a_time():
    class Deciding(nn.Linear):
        def forward(self, x):
            return super().forward(x) if float(self.weight.sum()) > 0 else x

    class Counting(nn.Linear):
        calls = 0

        def forward(self, x):
            self.calls += 1
            return super().forward(x) * self.calls

    transformer = "vit:heads=3", vit_file(12, channels=3), pictures(12, 7)  # attention on CPUs is not mapped
    evaluator = Evaluator(surface_request(transformer[0], axis(3)), *transformer[1:], calls=Calls(batch=40, example_macs=1))
    assert not evaluator._network.takes_several
    assert evaluator.tally(GRID[:3], 0, 60).examples.tolist() == [60] * 3
    for network, agrees in ((nn.Linear(4, 4), True), (Deciding(4, 4), False), (Counting(4, 4), False)):
        network.eval().requires_grad_(False)
        plane = Plane(network, [torch.ones(4, 4), torch.ones(4)], None, Normalisation(), torch.device("cpu"))
        assert SeveralCells(plane, None, torch.device("cpu")).agrees(torch.ones(1, 4), "float32") == agrees


def test_rounded_to_bfloat16_the_first_layer_keeps_float32_as_for_one_cell(mlp_weights, rows):
    body = surface_request("mlp", axis(5, 0.5), axis(5, 0.5)).model_dump() | {"precision": "bfloat16"}
    one, several = evaluators(SurfaceRequest.model_validate(body), mlp_weights, rows)
    expected, got = (evaluator.tally(GRID, 0, 60).loss_sum for evaluator in (one, several))
    np.testing.assert_allclose(got, expected, rtol=1e-3)
    assert {product.dtype for products in several._network._first._products.values() for product in products} == {torch.float32}
    checks = [evaluator.provenance()["precision_check"] for evaluator in (one, several)]
    assert 0 < checks[1]["largest_relative_difference"] < 2 * checks[0]["largest_relative_difference"]


@pytest.mark.parametrize("category", [FutureWarning, UserWarning])
def test_a_warning_that_is_of_something_else_changes_nothing(category):
    class Telling(nn.Linear):
        def forward(self, x):
            warnings.warn("something else", category, stacklevel=1)
            return super().forward(x)

    network = Telling(4, 4).eval().requires_grad_(False)
    plane = Plane(network, [torch.ones(4, 4), torch.ones(4)], None, Normalisation(), torch.device("cpu"))
    with pytest.warns(category, match="something else"):
        assert SeveralCells(plane, None, torch.device("cpu")).agrees(torch.ones(1, 4), "float32")


def test_a_perceptron_whose_first_layer_is_not_stored_is_called_for_one_cell_at_a_time(mlp_weights, rows, monkeypatch):
    monkeypatch.setattr(first_layer, "FIRST_LAYER_BYTES", 0)
    assert Evaluator(surface_request("mlp", axis(3)), mlp_weights, rows).cells_a_call(64) == 1


def test_on_a_cpu_small_perceptrons_and_convolutional_networks_share_calls(subject):
    name, *material = subject
    evaluator = Evaluator(surface_request(name, axis(5, 0.5)), *material)
    expected = {"mlp": 16, "convnet": 8}.get(name, 1)
    assert evaluator._network.takes_several == (expected > 1)
    assert evaluator.calls.cells(64) == expected
    wide = Calls(batch=1024, example_macs=1 << 20, widest=512)
    assert [wide.cells(examples) for examples in (4, 16, 64)] == [16, 16, 1]
    assert wide.cells(17) == 1  # CPU_MACS
    assert CPU_MACS == 16 << 20
    narrow = Calls(batch=1024, example_macs=1280, widest=128)
    assert [narrow.cells(examples) for examples in (128, 129, 1024, 1025)] == [16, 8, 8, 1]  # of the range, not of a batch
    assert [Calls(batch=1024, example_macs=100).cells(n) for n in (1, 1 << 20, 1 << 30)] == [MOST_CELLS] * 3
    assert Calls(batch=1024, example_macs=MOVED_MACS // 4).cells(1) == 4  # whose moved tensors may have as many numbers


def raise_(error: Exception) -> None:
    raise error
