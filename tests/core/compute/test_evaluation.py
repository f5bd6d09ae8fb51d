"""Measured surfaces: right against the reference engine, and the same values whoever computes them in whatever order."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from landscape_core.compute import (
    Evaluator,
    batch_sizes,
    compute_surface,
    first_layer,
    load,
    prepare,
    reference_surface,
)
from landscape_core.compute.datasets import preparation
from landscape_core.errors import Cancelled, InvalidRequest, OutOfMemory
from landscape_core.estimate import chunk_bounds
from landscape_core.requests import ArchitectureSpec, Axis, Normalisation, Standardisation
from landscape_core.results import MEASURED, NOT_FINITE, Tally

from .requested import axis, surface_request


@pytest.fixture(params=["mlp", "resnet20"])
def subject(request, mlp_weights, resnet_weights, rows, images):
    """A name, its tensors, its examples."""
    return ("mlp", mlp_weights, rows) if request.param == "mlp" else ("resnet20", resnet_weights, images)


def same(a, b) -> bool:
    return all(np.array_equal(getattr(a, name), getattr(b, name), equal_nan=True) for name in ("loss", "accuracy", "stderr"))


@pytest.mark.parametrize("loss", ["cross_entropy", "mse_softmax", "mse", "multi_margin", "nll"])
@pytest.mark.parametrize("activation", ["relu", "tanh", "sigmoid", "gelu", "elu", "leaky_relu", "silu", "identity"])
def test_an_mlp_is_as_in_the_reference_engine(mlp_weights, rows, activation, loss):
    x = Axis(start=-1.5, stop=1, points=3)
    request = surface_request(f"mlp:activation={activation}", x, axis(2), loss=loss, seed=3, examples=200)
    surface = compute_surface(request, mlp_weights, rows)
    expected_loss, expected_accuracy = reference_surface(request, mlp_weights, rows)
    np.testing.assert_allclose(surface.loss, expected_loss, rtol=2e-6, atol=2e-6)
    np.testing.assert_allclose(surface.accuracy, expected_accuracy, atol=1e-9)


@pytest.mark.parametrize(
    "how",
    [
        Normalisation(),
        Normalisation(norm="layer", ignore="none"),
        Normalisation(of="states", ignore="none"),
        Normalisation(norm="weight"),
    ],
    ids=lambda how: f"{how.norm}-{how.ignore}-{how.of}",
)
def test_a_resnet_is_as_in_the_reference_engine(resnet_weights, images, how):
    request = surface_request("resnet20", axis(3, 0.4), axis(2, 0.4), examples=40, preprocessing="cifar10", normalisation=how)
    surface = compute_surface(request, resnet_weights, images)
    expected_loss, expected_accuracy = reference_surface(request, resnet_weights, images)
    np.testing.assert_allclose(surface.loss, expected_loss, rtol=1e-5)
    np.testing.assert_allclose(surface.accuracy, expected_accuracy, atol=1e-9)


def test_mean_and_standard_error_are_those_of_the_examples(mlp_weights, rows):
    request = surface_request("mlp", Axis(start=0, stop=0, points=1))
    surface = compute_surface(request, mlp_weights, rows)
    out = rows.x
    for index in (1, 2, 3):
        out = out @ mlp_weights[f"fc{index}.weight"].T + mlp_weights[f"fc{index}.bias"]
        out = np.maximum(out, 0) if index < 3 else out
    losses = np.log(np.exp(out).sum(axis=1)) - out[np.arange(300), rows.y]
    np.testing.assert_allclose(surface.loss[0, 0], losses.mean(), rtol=1e-5)
    np.testing.assert_allclose(surface.stderr[0, 0], losses.std(ddof=1) / np.sqrt(300), rtol=1e-4)
    assert surface.accuracy[0, 0] == 100 * (out.argmax(axis=1) == rows.y).mean()
    assert surface.is_curve
    assert surface.examples[0, 0] == 300


def test_the_centre_is_the_checkpoint_itself_bit_for_bit(subject):
    name, tensors, examples = subject
    request = surface_request(name, axis(3, 0.5), axis(3, 0.5), seed=0)
    surface = compute_surface(request, tensors, examples)
    own = Evaluator(request, tensors, examples).own_loss()
    assert surface.loss[1, 1] == own.loss_sum[0] / own.examples[0] == surface.provenance["own_loss"]
    assert surface.accuracy[1, 1] == surface.provenance["own_accuracy"]
    evaluator = Evaluator(request, tensors, examples)
    evaluator.tally([(0, 0), (2, 1), (1, 1)], 0, evaluator.examples)
    untouched = load(request.architecture, tensors).state_dict()
    assert all(torch.equal(tensor, untouched[name]) for name, tensor in evaluator._network.module.state_dict().items())
    images, labels = prepare(examples, request.data)
    with torch.inference_mode():
        outputs = load(request.architecture, tensors)(images)
    assert own.correct[0] == (outputs.argmax(dim=1) == labels).sum()


def test_a_finer_grid_contains_the_coarser_one_and_reaches_as_far(subject):
    name, tensors, examples = subject
    fine = compute_surface(surface_request(name, axis(9, 0.7), axis(5, 0.3)), tensors, examples)
    coarse = compute_surface(surface_request(name, axis(5, 0.7), axis(3, 0.3)), tensors, examples)
    ends = compute_surface(surface_request(name, axis(2, 0.7), axis(2, 0.3)), tensors, examples)
    assert np.array_equal(fine.loss[::2, ::2], coarse.loss)
    assert np.array_equal(fine.accuracy[::2, ::2], coarse.accuracy)
    assert np.array_equal(fine.loss[::4, ::8], ends.loss)


def test_values_do_not_depend_on_who_computes_which_cells_when(subject):
    name, tensors, examples = subject
    request = surface_request(name, axis(3, 0.7), axis(2, 0.3), seed=5)
    surface = compute_surface(request, tensors, examples)
    cells = [(row, column) for row in range(2) for column in range(3)]
    total = Tally.zeros(2, 3)
    one, other = (Evaluator(request, tensors, examples) for _ in range(2))
    for start, stop in chunk_bounds(one.examples):
        part = Tally.zeros(2, 3)
        for worker, order in ((one, cells[4:0:-1]), (other, [cells[5], cells[0]])):
            tally = worker.tally(order, start, stop)
            for index, cell in enumerate(order):
                for field in ("examples", "loss_sum", "loss_sq", "correct"):
                    getattr(part, field)[cell] = getattr(tally, field)[index]
        total += part
    assert np.array_equal(total.loss_sum / total.examples, surface.loss)
    assert np.array_equal(100.0 * total.correct / total.examples, surface.accuracy)


def test_chunks_add_up_to_the_whole(subject):
    name, tensors, examples = subject
    evaluator = Evaluator(surface_request(name, axis(2, 0.5), seed=1), tensors, examples)
    cells = [(0, 0), (0, 1)]
    parts = evaluator.tally(cells, 0, 64) + evaluator.tally(cells, 64, 128)
    whole = evaluator.tally(cells, 0, 128)
    np.testing.assert_allclose(parts.loss_sum, whole.loss_sum, rtol=1e-6)
    assert np.array_equal(parts.correct, whole.correct)
    assert np.array_equal(parts.examples, [128, 128])


def test_a_slice_too_large_to_keep_gives_the_same_values(subject, monkeypatch):
    name, tensors, examples = subject
    request = surface_request(name, axis(2, 0.5), seed=1, preprocessing=Standardisation(mean=(0.4,) * 3, std=(0.3,) * 3))
    request = request if name == "resnet20" else surface_request(name, axis(2, 0.5), seed=1)
    kept = compute_surface(request, tensors, examples)
    monkeypatch.setattr(preparation, "RESIDENT_BYTES", 0)
    assert same(compute_surface(request, tensors, examples), kept)


def test_without_stored_products_an_mlp_gives_the_same_surface(mlp_weights, rows, monkeypatch):
    request = surface_request("mlp", axis(3), axis(3), normalisation=Normalisation(ignore="none"))
    kept = compute_surface(request, mlp_weights, rows)
    monkeypatch.setattr(first_layer, "FIRST_LAYER_BYTES", 0)
    plain = compute_surface(request, mlp_weights, rows)
    np.testing.assert_allclose(kept.loss, plain.loss, rtol=2e-6)
    assert kept.loss[1, 1] == plain.loss[1, 1]


def test_a_batch_with_an_undecided_image_comes_from_the_plain_product(mlp_weights, rows, monkeypatch):
    request = surface_request("mlp", axis(3), axis(3), normalisation=Normalisation(ignore="none"))
    stored = compute_surface(request, mlp_weights, rows)
    monkeypatch.setattr(first_layer, "UNDECIDED", np.inf)
    plain = compute_surface(request, mlp_weights, rows)
    assert not same(stored, plain)
    monkeypatch.setattr(first_layer, "FIRST_LAYER_BYTES", 0)
    assert same(compute_surface(request, mlp_weights, rows), plain)


def test_a_network_that_is_not_finite_gives_holes_that_are_counted(mlp_weights, rows):
    mlp_weights["fc2.weight"][0, 0] = np.nan
    surface = compute_surface(surface_request("mlp", axis(3), axis(3)), mlp_weights, rows)
    assert surface.not_finite == 9
    assert np.isnan(surface.loss).all()
    assert (surface.accuracy == 0).all()
    json.dumps(surface.provenance, allow_nan=False)


def test_a_place_that_overflows_is_a_hole_and_its_neighbours_are_not(mlp_weights, rows):
    tensors = {name: array * np.float32(1e4) for name, array in mlp_weights.items()}
    request = surface_request("mlp", Axis(start=0, stop=1e6, points=2), loss="mse")
    surface = compute_surface(request, tensors, rows)
    assert surface.state.tolist() == [[MEASURED, NOT_FINITE]]


def test_directions_that_are_not_finite_leave_the_centre_alone(mlp_weights, rows):
    x = [np.full(array.shape, np.inf, np.float32) for array in mlp_weights.values()]
    surface = compute_surface(surface_request("mlp", axis(3), from_file=True), mlp_weights, rows, SimpleNamespace(x=x, y=None))
    assert surface.state.tolist() == [[NOT_FINITE, MEASURED, NOT_FINITE]]


def test_a_cancelled_computation_stops_before_the_next_batch(subject):
    name, tensors, examples = subject
    evaluator = Evaluator(surface_request(name, axis(50, 0.5)), tensors, examples)
    asked = []

    def should_stop() -> bool:
        asked.append(1)
        return len(asked) > 2

    with pytest.raises(Cancelled):
        evaluator.tally([(0, column) for column in range(50)], 0, 64, should_stop)
    assert len(asked) == 3


def test_progress_grows_to_one(mlp_weights, rows):
    told = []
    compute_surface(surface_request("mlp", axis(3), axis(2)), mlp_weights, rows, progress=told.append)
    assert told == sorted(told)
    assert told[-1] == 1.0


def test_out_of_memory_halves_the_batch_and_goes_on(resnet_weights, images):
    """The network itself refuses batches above a size, as a device does."""
    request = surface_request("resnet20", axis(2, 0.5))
    expected = Evaluator(request, resnet_weights, images).tally([(0, 0)], 0, 150)
    evaluator = Evaluator(request, resnet_weights, images)
    sizes = []

    def limited(_, inputs) -> None:
        sizes.append(len(inputs[0]))
        if sizes[-1] > most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")

    evaluator._network.running.register_forward_pre_hook(limited)
    evaluator._batch, most = 64, 20
    tally = evaluator.tally([(0, 0)], 0, 150)
    assert sizes[:3] == [64, 32, 16]
    assert set(sizes[2:]) == {16, 6}
    np.testing.assert_allclose(tally.loss_sum, expected.loss_sum, rtol=1e-5)
    assert np.array_equal(tally.correct, expected.correct)
    most = 0
    with pytest.raises(OutOfMemory, match=r"one example of \(3, 9, 8\) through resnet20 \(27[0-9],"):
        evaluator.tally([(0, 0)], 0, 150)


def test_a_short_last_batch_that_fails_once_costs_little(resnet_weights, images):
    evaluator = Evaluator(surface_request("resnet20", axis(2, 0.5)), resnet_weights, images)
    evaluator._batch = 74
    sizes = []

    def fails_once(_, inputs) -> None:
        sizes.append(len(inputs[0]))
        if sizes.count(2) == 1 and sizes[-1] == 2:
            raise torch.OutOfMemoryError("CUDA out of memory.")

    evaluator._network.running.register_forward_pre_hook(fails_once)
    assert evaluator.tally([(0, 0)], 0, 150).examples[0] == 150
    assert sizes == [74, 74, 2, 2]
    assert evaluator._batch == 18


@pytest.mark.parametrize(
    ("largest", "macs", "size"),
    [
        (262_144, 888_000_000, 16),  # a DenseNet-121
        (16_384, 125_747_840, 32),  # a ResNet-56
        (16_384, (1 << 29) - 1, 32),
        (6_272, 290_000, 64),
        (4_096, 10_200_000, 128),
        (2_048, 1, 256),
        (1, 1, 256),
        (0, 0, 256),
    ],
)
def test_the_smaller_feature_maps_are_the_larger_the_batches(largest, macs, size):
    assert batch_sizes.images(largest, macs) == size


def test_the_largest_feature_map_is_found_by_looking(resnet_weights):
    module = load(ArchitectureSpec(name="resnet20"), resnet_weights)
    assert batch_sizes.largest_map(module, (3, 9, 8)) == 16 * 9 * 8


def test_another_error_of_the_network_is_not_taken_for_lack_of_memory(resnet_weights, images):
    evaluator = Evaluator(surface_request("resnet20", axis(2, 0.5)), resnet_weights, images)

    def broken(*_) -> None:
        raise RuntimeError("something else")

    evaluator._network.running.register_forward_pre_hook(broken)
    with pytest.raises(RuntimeError, match="something else"):
        evaluator.tally([(0, 0)], 0, 1)


def test_a_request_that_does_not_go_with_the_checkpoint_is_refused(mlp_weights, images):
    with pytest.raises(InvalidRequest, match="takes 12 numbers per example, but arrays has 216"):
        Evaluator(surface_request("mlp", axis(2)), mlp_weights, images)


def test_no_device_may_round_float32_to_less(subject):
    name, tensors, examples = subject
    Evaluator(surface_request(name, axis(2, 0.5)), tensors, examples)
    assert torch.backends.cudnn.conv.fp32_precision == "ieee"
    assert torch.backends.cuda.matmul.fp32_precision == "ieee"


def test_provenance_says_how_it_was_made(subject):
    name, tensors, examples = subject
    surface = compute_surface(surface_request(name, axis(2, 0.5), axis(2, 0.5), seed=4), tensors, examples)
    about = json.loads(json.dumps(surface.provenance, allow_nan=False))
    assert about["torch"] == torch.__version__
    assert about["device"] == "cpu"
    assert about["batch"] == (256 if name == "resnet20" else 1024)  # a ResNet-20 on images of 9 x 8 is small
    assert len(about["data_sha256"]) == 64
    assert abs(about["directions"]["cosine"]) < 0.7
    assert about["seconds"] > 0
