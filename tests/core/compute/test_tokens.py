"""Language models over a plane: next-token loss, accuracy by token, batches, curvature, refusals."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from landscape_core.catalogue import check_request
from landscape_core.catalogue.data import DatasetFacts
from landscape_core.compute import Evaluator, Examples, compute_surface, load, reference_surface
from landscape_core.compute.curvature import Hessian
from landscape_core.compute.losses import per_example, twice_differentiable
from landscape_core.errors import DatasetRejected, InvalidRequest
from landscape_core.requests import ArchitectureSpec, Loss

from . import plain_transformers as plain
from .requested import axis, surface_request
from .transformer_files import gpt_file, vit_file

TEXT = "gpt:heads=3"


def sequences(count: int = 70, tokens: int = 6, vocabulary: int = 23, dtype: str = "uint16") -> Examples:
    """Random sequences, each token followed by the next of the row."""
    rows = np.random.default_rng(4).integers(0, vocabulary, (count, tokens + 1)).astype(dtype)
    return Examples.from_arrays(rows[:, :-1], rows[:, 1:])


@pytest.mark.parametrize("loss", ["cross_entropy", "mse_softmax", "multi_margin"])
def test_a_surface_is_that_of_the_reference_engine(loss: Loss):
    arrays, examples = gpt_file(), sequences()
    request = surface_request(TEXT, axis(3, 0.6), axis(2, 0.4), loss=loss, seed=3, examples=65)
    surface = compute_surface(request, arrays, examples)
    expected, accuracy = reference_surface(request, arrays, examples)
    np.testing.assert_allclose(surface.loss, expected, rtol=1e-5)
    np.testing.assert_allclose(surface.accuracy, accuracy, atol=1e-9)
    assert (surface.examples == 65).all()
    assert surface.provenance["tokens_per_example"] == 6


def test_the_loss_is_the_mean_over_all_tokens_and_its_error_is_over_sequences():
    arrays, examples = gpt_file(), sequences()
    surface = compute_surface(surface_request(TEXT, axis(3)), arrays, examples)
    tensors = {name: torch.from_numpy(array).double() for name, array in arrays.items()}
    ids, following = (torch.from_numpy(a.astype(np.int64)) for a in (examples.x, examples.y))
    logits = plain.gpt(tensors, ids, 3, swapped=False)
    each = -torch.log_softmax(logits, dim=-1).gather(2, following[..., None])[..., 0]
    assert surface.loss[0, 1] == pytest.approx(float(each.mean()), rel=1e-6)
    assert surface.stderr[0, 1] == pytest.approx(float(each.mean(dim=1).std() / math.sqrt(70)), rel=1e-5)
    right = (logits.argmax(dim=-1) == following).sum()
    assert surface.accuracy[0, 1] == pytest.approx(100 * int(right) / (70 * 6))
    assert surface.provenance["own_accuracy"] == surface.accuracy[0, 1]


@pytest.mark.parametrize("loss", ["cross_entropy", "nll", "mse", "mse_softmax", "multi_margin"])
def test_the_loss_of_a_sequence_is_the_mean_of_those_of_its_tokens(loss: Loss):
    outputs, labels = torch.randn(4, 5, 7, dtype=torch.float64), torch.randint(0, 7, (4, 5))
    rows = torch.stack([per_example(loss)(outputs[i], labels[i]).mean() for i in range(4)])
    torch.testing.assert_close(per_example(loss)(outputs, labels), rows)
    torch.testing.assert_close(twice_differentiable(loss)(outputs, labels), rows)


def test_batches_are_bounded_by_their_logits_and_change_nothing(monkeypatch):
    arrays, examples = gpt_file(), sequences(20)
    request = surface_request(TEXT, axis(2))
    assert Evaluator(request, arrays, examples).provenance()["batch"] == 8192 // 6
    monkeypatch.setattr("landscape_core.compute.batch_sizes.LOGITS_BYTES", 4 * 6 * 23 * 3)
    small = Evaluator(request, arrays, examples)
    assert small.provenance()["batch"] == 3
    monkeypatch.setattr("landscape_core.compute.batch_sizes.LOGITS_BYTES", 1)
    assert Evaluator(request, arrays, examples).provenance()["batch"] == 1
    whole = Evaluator(request, arrays, sequences(20, dtype="int64")).tally([(0, 0), (0, 1)], 0, 20)
    parts = small.tally([(0, 0), (0, 1)], 0, 20)
    np.testing.assert_allclose(parts.loss_sum, whole.loss_sum, rtol=1e-6)
    np.testing.assert_array_equal(parts.correct, whole.correct)


def test_the_hessian_of_a_language_model_is_that_of_autograd():
    arrays, examples = gpt_file(4, blocks=1, vocabulary=5, context=3, inner=4), sequences(9, 3, 5)
    request = surface_request("gpt:heads=2", axis(2), seed=None)
    module = load(request.architecture, arrays)
    hessian = Hessian(request, module, examples, 9)
    names = [name for name, parameter in module.named_parameters() if parameter.dim() > 1]
    own = dict(module.double().named_parameters())
    ids, following = (torch.from_numpy(a.astype(np.int64)) for a in (examples.x, examples.y))

    def loss(flat: torch.Tensor) -> torch.Tensor:
        pieces = flat.split([own[name].numel() for name in names])
        moved = {name: piece.view(own[name].shape) for name, piece in zip(names, pieces, strict=True)}
        logits = plain.gpt({**own, **moved}, ids, 2, swapped=False)
        return torch.nn.functional.cross_entropy(logits.flatten(0, 1), following.flatten())

    flat = torch.cat([own[name].flatten() for name in names])
    vector = torch.from_numpy(np.random.default_rng(0).normal(size=len(flat)))
    _, expected = torch.autograd.functional.hvp(loss, flat, vector)
    np.testing.assert_allclose(hessian.times(vector.numpy()), expected.numpy(), rtol=1e-3, atol=1e-5)


def facts(**other: object) -> DatasetFacts:
    known = {"id": "d", "title": "Text", "splits": {"train": 5}, "shape": (9,), "dtype": "int32", "classes": 23}
    return DatasetFacts.model_validate(known | other)


@pytest.mark.parametrize(
    ("known", "preprocessing", "words", "field"),
    [
        (
            {"classes": 24},
            "none",
            "Text has tokens up to the id 23, but this gpt has a vocabulary of 23, with ids",
            "data.dataset",
        ),
        (
            {"shape": (10,)},
            "none",
            "Text has sequences of 10 tokens, but this gpt has a context of 9; cut them",
            "data.dataset",
        ),
        ({"dtype": "float32"}, "none", "gpt takes sequences of token ids, but Text holds float32 examples", "data.dataset"),
        (
            {"dtype": "uint8", "shape": (1, 3, 3)},
            "none",
            "gpt takes sequences of token ids, but Text holds uint8",
            "data.dataset",
        ),
        ({}, "mnist", "Text holds tokens, which have no mean and standard deviation", "data.preprocessing"),
    ],
)
def test_what_does_not_go_with_a_language_model_is_refused(known, preprocessing, words, field):
    shapes = {name: array.shape for name, array in gpt_file().items()}
    check_request(surface_request(TEXT, axis(2)), shapes, facts())
    with pytest.raises(InvalidRequest) as caught:
        check_request(surface_request(TEXT, axis(2), preprocessing=preprocessing), shapes, facts(**known))
    assert str(caught.value).startswith(words)
    assert caught.value.field == field


def test_tokens_are_refused_where_images_or_numbers_are_taken():
    for text, shapes in {"vit:heads=3": vit_file(), "mlp": {"a.weight": np.zeros((3, 9))}}.items():
        with pytest.raises(InvalidRequest, match=r"Text holds sequences of token ids, which (vit|mlp) does not take"):
            check_request(surface_request(text, axis(2)), {n: a.shape for n, a in shapes.items()}, facts())
    vit = {name: array.shape for name, array in vit_file().items()}
    check_request(surface_request("vit:heads=3", axis(2)), vit, facts(dtype="uint8", shape=(2, 12, 12), classes=7))
    with pytest.raises(InvalidRequest, match="images of 8 x 12, but this vit has positions for 12 x 12"):
        check_request(surface_request("vit:heads=3", axis(2)), vit, facts(dtype="uint8", shape=(2, 8, 12), classes=7))


@pytest.mark.parametrize(
    ("x", "y", "words"),
    [
        (np.zeros((3, 4), np.int64), np.zeros(3, np.int64), "of tokens, as many as tokens"),
        (np.full((3, 4), -1), np.zeros((3, 4), np.int64), "x holds the token id -1"),
        (np.zeros((3, 4, 2), np.int16), np.zeros((3, 4, 2), np.int16), "has 3 dimensions; expected token ids"),
        (np.zeros((3, 4), bool), np.zeros(3, np.int64), "x is bool"),
    ],
)
def test_arrays_that_are_no_tokens_are_refused(x, y, words):
    with pytest.raises(DatasetRejected, match=words):
        Examples.from_arrays(x, y)


def test_a_language_model_cannot_be_built_from_what_is_none():
    with pytest.raises(InvalidRequest, match="does not fit gpt"):
        load(ArchitectureSpec(name="gpt"), {"transformer.wte.weight": np.zeros((3, 4), np.float32)})
