"""Top-5 and per-class accuracies against a plain count in float64; what cannot be asked; what tallies do with counts."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from landscape_core.catalogue import DatasetFacts
from landscape_core.catalogue.checks import check_data
from landscape_core.compute import Evaluator, Examples, compute_surface
from landscape_core.compute.metrics import among_largest
from landscape_core.errors import InvalidRequest
from landscape_core.estimate import surface_over
from landscape_core.requests import SurfaceRequest
from landscape_core.results import Surface, Tally

from .requested import axis, surface_request

CLASSES = 9
BOTH = ("class_accuracy", "top5")


def asked(nx: int = 3, ny: int = 2, metrics: tuple[str, ...] = BOTH) -> SurfaceRequest:
    plain = surface_request("mlp", axis(nx), axis(ny, 0.5), examples=200)
    return SurfaceRequest.model_validate(plain.model_dump() | {"metrics": metrics})


@pytest.fixture(scope="module")
def network() -> dict[str, np.ndarray]:
    """12-7-9 with random weights."""
    rng = np.random.default_rng(5)
    sizes = [(7, 12), (CLASSES, 7)]
    weights = {f"fc{i}.weight": rng.normal(size=size).astype(np.float32) for i, size in enumerate(sizes)}
    return weights | {f"fc{i}.bias": rng.normal(size=size[0]).astype(np.float32) for i, size in enumerate(sizes)}


@pytest.fixture(scope="module")
def examples() -> Examples:
    """250 rows of 12 numbers; no label is 4, and the last class is rare."""
    rng = np.random.default_rng(0)
    labels = rng.choice([0, 1, 2, 3, 5, 6, 7, 8], size=250, p=[0.2, 0.2, 0.2, 0.1, 0.1, 0.1, 0.09, 0.01])
    labels[3] = CLASSES - 1
    return Examples.from_arrays(rng.normal(size=(250, 12)).astype(np.float32), labels)


def counted(
    network: dict[str, np.ndarray], examples: Examples, evaluator: Evaluator, alpha: float, beta: float
) -> dict[str, float]:
    """Percentages at one cell, in float64 and without torch."""
    x, y = evaluator.directions()
    names = [f"fc{layer}.{part}" for layer in (0, 1) for part in ("weight", "bias")]
    moved = {n: network[n].astype(np.float64) + alpha * d + beta * e for n, d, e in zip(names, x, y or [], strict=True)}
    rows, labels = np.asarray(examples.x)[:200].astype(np.float64), np.asarray(examples.y)[:200]
    outputs = np.maximum(rows @ moved["fc0.weight"].T + moved["fc0.bias"], 0) @ moved["fc1.weight"].T + moved["fc1.bias"]
    ranks = (outputs > outputs[np.arange(200), labels][:, None]).sum(axis=1)
    found = {"top5": 100 * (ranks < 5).mean()}
    return found | {f"class_accuracy_{c}": 100 * (ranks[labels == c] == 0).mean() for c in np.unique(labels)}


def test_metrics_are_those_of_a_plain_count(network, examples):
    request = asked()
    surface = compute_surface(request, network, examples)
    evaluator = Evaluator(request, network, examples)
    assert list(surface.quantities) == ["top5", *(f"class_accuracy_{c}" for c in (0, 1, 2, 3, 5, 6, 7, 8))]
    for row, beta in enumerate(request.grid.y.coordinates):
        for column, alpha in enumerate(request.grid.x.coordinates):
            expected = counted(network, examples, evaluator, alpha, beta)
            assert {name: table[row, column] for name, table in surface.quantities.items()} == pytest.approx(expected, abs=1e-9)
    own = counted(network, examples, evaluator, 0.0, 0.0)
    assert surface.provenance["own_top5"] == pytest.approx(own.pop("top5"), abs=1e-9)
    found = {f"class_accuracy_{c}": value for c, value in surface.provenance["own_class_accuracy"].items()}
    assert found == pytest.approx(own, abs=1e-9)


def test_nothing_else_changes_where_metrics_are_counted_and_nothing_is_counted_unasked(network, examples):
    plain, more = (compute_surface(asked(metrics=m), network, examples) for m in ((), ("top5",)))
    assert plain.quantities == {}
    assert "own_top5" not in plain.provenance
    assert list(more.quantities) == ["top5"]
    for name in ("loss", "accuracy", "stderr", "examples"):
        np.testing.assert_array_equal(getattr(plain, name), getattr(more, name))
    shares = compute_surface(asked(metrics=("class_accuracy",)), network, examples)
    counts = np.bincount(np.asarray(examples.y)[:200], minlength=CLASSES)
    mean = sum(shares.quantities[f"class_accuracy_{c}"] * counts[c] for c in np.flatnonzero(counts)) / 200
    np.testing.assert_allclose(mean, plain.accuracy, atol=1e-9)  # classes weighted by their examples give the accuracy


def test_a_shared_fifth_place_counts_and_nan_does_not():
    outputs = torch.tensor([[5.0, 4, 3, 2, 1, 1, 0], [5, 4, 3, 2, 1.5, 1, 0], [5, 4, 3, 2, 1, float("nan"), 0], [1] * 7])
    labels = torch.tensor([5, 5, 0, 6])
    assert among_largest(outputs, labels).tolist() == [True, False, False, True]


def test_the_order_of_metrics_is_no_other_question_and_none_is_the_old_one():
    assert asked(metrics=("top5", "class_accuracy", "top5")).metrics == BOTH
    assert asked(metrics=("top5", "class_accuracy")).digest == asked().digest
    assert "metrics" not in asked(metrics=()).canonical_json()
    with pytest.raises(ValidationError):
        asked(metrics=("top3",))


@pytest.mark.parametrize(
    ("classes", "points", "metrics", "sentence"),
    [
        (5, 3, ("top5",), "five are nearly all; top5 needs at least 6"),
        (101, 3, ("class_accuracy",), "has 101 classes; class_accuracy is for at most 100"),
        (100, 201, ("class_accuracy",), "20,301 cells of 100 classes are 2,030,100 accuracies"),
    ],
)
def test_what_cannot_be_counted_is_refused(classes, points, metrics, sentence):
    facts = DatasetFacts(id="d", title="d.npz", splits={"train": 300}, shape=(12,), dtype="float32", classes=classes)
    with pytest.raises(InvalidRequest, match=sentence) as refusal:
        check_data(asked(points, 101 if points > 3 else 2, metrics), facts)
    assert refusal.value.field == "metrics"
    check_data(asked(3, 2, BOTH), facts.model_copy(update={"classes": 6}))


def test_tallies_with_counts_add_and_a_cell_without_examples_is_unknown():
    one = Tally(np.array([2, 2]), np.ones(2), np.ones(2), np.ones(2, int), {"top5": np.array([1, 2])})
    total = Tally.zeros(2) + one + one
    np.testing.assert_array_equal(total.counts["top5"], [2, 4])
    grid = total.reshaped(1, 2).within(np.array([[True, False]]))
    surface: Surface = surface_over(np.array([0.0, 1.0]), None, grid)
    np.testing.assert_array_equal(surface.quantities["top5"], [[50.0, np.nan]])
