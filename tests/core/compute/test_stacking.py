"""Small convolutional networks side by side: the values of one cell at a time, whatever the network, and whatever else is there."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from landscape_core.compute import Evaluator, Examples, compute_surface, reference_surface, stacking
from landscape_core.compute.calls import Calls
from landscape_core.compute.stacking import STACKED_BATCH, STACKED_WORK, Stack
from landscape_core.errors import OutOfMemory
from landscape_core.estimate import chunk_bounds
from landscape_core.requests import Normalisation, SurfaceRequest

from .requested import axis, surface_request
from .test_convnets import arrays_of, averaged, fresh, lenet, padded_with_norms, pooled_at_the_end, strided

GRID = [(row, column) for row in range(5) for column in range(5)]


def without_biases() -> nn.Sequential:
    return fresh(
        *(nn.Conv2d(3, 7, 3, bias=False), nn.LeakyReLU(), nn.MaxPool2d(2), nn.Conv2d(7, 17, 3, bias=False), nn.LeakyReLU()),
        *(nn.MaxPool2d(2), nn.Flatten(), nn.Linear(17 * 36, 10, bias=False)),
    )


def single() -> nn.Sequential:
    return fresh(nn.Conv2d(1, 5, (3, 5)), nn.Identity(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(5 * 13 * 12, 10))


NETWORKS = {
    "convnet:activation=identity": (single, (28, 1), 8),
    "convnet": (lenet, (32, 3), 8),
    "convnet:pool_after=last": (pooled_at_the_end, (28, 1), 8),
    "convnet:padding=half,pool=none,stride=2": (strided, (32, 3), 8),
    "convnet:activation=leaky_relu": (without_biases, (32, 3), 4),
}
"""Architecture -> network, (side, channels) of an image, cells of a call."""


def pictures(side: int, channels: int, count: int = 70, classes: int = 10) -> Examples:
    rng = np.random.default_rng(4)
    shape = (count, side, side, channels) if channels > 1 else (count, side, side)
    return Examples.from_arrays(rng.integers(0, 256, shape, np.uint8), rng.integers(0, classes, count))


def evaluators(
    name: str, network: nn.Module, size: tuple[int, int], classes: int = 10, **changes: object
) -> tuple[Evaluator, Evaluator]:
    """One cell at a time, and as usual."""
    body = surface_request(name, axis(5, 0.5), axis(5, 0.5), normalisation=Normalisation(ignore="none")).model_dump() | changes
    asked, given = SurfaceRequest.model_validate(body), (arrays_of(network), pictures(*size, classes=classes))
    return Evaluator(asked, *given, calls=Calls(batch=40)), Evaluator(asked, *given)


@pytest.mark.parametrize("name", NETWORKS)
def test_values_are_those_of_one_cell_at_a_time(name):
    build, size, cells = NETWORKS[name]
    one, several = evaluators(name, build(), size, metrics=("top5", "class_accuracy"))
    assert (one.cells_a_call(64), several.cells_a_call(64)) == (1, cells)
    expected, got = (evaluator.tally(GRID, 0, 70) for evaluator in (one, several))
    np.testing.assert_allclose(got.loss_sum, expected.loss_sum, rtol=2e-6)
    np.testing.assert_allclose(got.loss_sq, expected.loss_sq, rtol=5e-6)
    np.testing.assert_array_equal(got.examples, expected.examples)
    assert len(np.unique(got.loss_sum)) == len(GRID)
    assert np.abs(got.correct - expected.correct).max() <= 1  # an image on the boundary between two classes
    for counted in expected.counts:
        assert np.abs(got.counts[counted] - expected.counts[counted]).max() <= 1
    np.testing.assert_allclose(several.loss_at((0.1, 0.2)).loss_sum, one.loss_at((0.1, 0.2)).loss_sum, rtol=2e-6)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_value_does_not_depend_on_what_else_is_in_its_call_and_the_network_s_own_loss_is_its_cell(name):
    build, size, _ = NETWORKS[name]
    _, several = evaluators(name, build(), size)
    together = several.tally(GRID, 0, 70)
    for cells in (GRID[3:14], GRID[::-1], [GRID[7], GRID[7]], *([cell] for cell in GRID)):
        found, expected = several.tally(cells, 0, 70), together.at([GRID.index(cell) for cell in cells])
        np.testing.assert_array_equal(found.loss_sum, expected.loss_sum)
        np.testing.assert_array_equal(found.correct, expected.correct)
    centre = [several.tally([(2, 2)], *chunk) for chunk in chunk_bounds(several.examples)]
    assert several.own_loss().loss_sum[0] == sum(float(tally.loss_sum[0]) for tally in centre)


def test_a_curve_is_measured_side_by_side_too():
    asked, given = surface_request("convnet", axis(5, 0.5)), (arrays_of(lenet()), pictures(32, 3))
    one, several = Evaluator(asked, *given, calls=Calls(batch=40)), Evaluator(asked, *given)
    assert several.cells_a_call(70) == 8
    expected, got = (evaluator.tally(GRID[:5], 0, 70).loss_sum for evaluator in (one, several))
    np.testing.assert_allclose(got, expected, rtol=2e-6)


def test_cells_that_take_long_are_measured_one_at_a_time_because_a_unit_has_few_of_them():
    _, several = evaluators("convnet", lenet(), (32, 3))
    most = STACKED_WORK // several.calls.largest_map
    assert several.calls.largest_map == 6 * 28 * 28
    assert [several.cells_a_call(examples) for examples in (1, most, most + 1, 60_000)] == [8, 8, 1, 1]


def test_making_it_leaves_random_numbers_and_no_tensors_behind():
    before = torch.get_rng_state()
    _, several = evaluators("convnet", lenet(), (32, 3))
    assert several.cells_a_call(70) == 8
    assert torch.equal(torch.get_rng_state(), before)
    several.tally(GRID, 0, 70)
    assert several._network._several._stack._taken is None


@pytest.mark.parametrize("loss", ["cross_entropy", "multi_margin", "mse"])
def test_surfaces_are_those_of_the_reference_engine(loss):
    request = surface_request("convnet", axis(5), axis(5), loss=loss)
    weights, images = arrays_of(lenet()), pictures(32, 3)
    surface = compute_surface(request, weights, images)
    loss, accuracy = reference_surface(request, weights, images)
    np.testing.assert_allclose(surface.loss, loss, rtol=2e-6, atol=1e-7)
    np.testing.assert_allclose(surface.accuracy, accuracy, atol=100.1 / 70)


def test_what_is_not_finite_is_a_hole_of_its_own():
    network = lenet()
    for parameter in network.parameters():
        parameter.mul_(1e3)
    one, several = evaluators("convnet", network, (32, 3), loss="mse", grid={"x": axis(5, 1e3), "y": axis(5, 1e3)})
    expected, got = (evaluator.tally(GRID, 0, 70).loss_sum for evaluator in (one, several))
    np.testing.assert_array_equal(np.isfinite(got), np.isfinite(expected))
    assert 0 < np.isfinite(got).sum() < len(GRID)


@pytest.mark.parametrize(
    ("name", "build", "size", "changes"),
    [
        ("convnet:padding=half", padded_with_norms, (32, 3), {}),
        ("convnet:head=average,padding=half", averaged, (32, 3), {}),
        ("convnet:pool=average", lenet, (32, 3), {}),
        ("convnet:activation=tanh", lenet, (32, 3), {}),
        (
            "convnet",
            lambda: fresh(nn.Conv2d(3, 33, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(33 * 225, 10)),
            (32, 3),
            {},
        ),
        (
            "convnet",
            lambda: fresh(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(8 * 225, 99)),
            (32, 3),
            {},
        ),
        (
            "convnet",
            lambda: fresh(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(16 * 961, 5)),
            (64, 3),
            {},
        ),
        ("convnet", lenet, (32, 3), {"precision": "bfloat16"}),
    ],
    ids=["batch norm", "averaged", "averages", "tanh", "33 channels", "many parameters", "large images", "rounded"],
)
def test_other_networks_are_called_for_one_cell_at_a_time(name, build, size, changes):
    _, several = evaluators(name, build(), size, classes=5, **changes)
    assert several.cells_a_call(64) == 1


def test_lack_of_memory_halves_the_batch_and_is_told_at_one_example(monkeypatch):
    most, outputs, tried = 12, Stack.outputs, list[int]()

    def limited(self: Stack, tensors, x: torch.Tensor) -> torch.Tensor:
        tried.append(len(x))
        if len(x) > most:
            raise RuntimeError("out of memory")
        return outputs(self, tensors, x)

    one, several = evaluators("convnet:pool_after=last", pooled_at_the_end(), (28, 1))
    assert several.calls.batch > 2 * STACKED_BATCH
    monkeypatch.setattr(Stack, "outputs", limited)
    expected, got = (evaluator.tally(GRID[:9], 0, 60) for evaluator in (one, several))
    np.testing.assert_allclose(got.loss_sum, expected.loss_sum, rtol=2e-6)
    assert tried[:4] == [STACKED_BATCH, STACKED_BATCH // 2, STACKED_BATCH // 4, STACKED_BATCH // 4]
    most = 0
    with pytest.raises(OutOfMemory, match="does not suffice for one example"):
        several.tally(GRID[:9], 0, 60)


def test_without_onednn_cells_are_measured_one_at_a_time(monkeypatch):
    monkeypatch.setattr(stacking, "fused", lambda *_: None)
    one, several = evaluators("convnet", lenet(), (32, 3))
    assert several.cells_a_call(64) == 1
    np.testing.assert_allclose(several.tally(GRID, 0, 70).loss_sum, one.tally(GRID, 0, 70).loss_sum, rtol=2e-6)
