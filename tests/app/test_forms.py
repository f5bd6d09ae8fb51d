"""The form of a request: values to request and back, what is wrong and where; and numbers in words."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from pydantic import ValidationError

from app import figures, forms
from app.pages import words
from landscape_core.errors import InvalidRequest
from landscape_core.figures import axis_titles
from landscape_core.requests import FileDirection, HessianDirection, RandomDirection, Standardisation, SurfaceRequest

CHECKPOINT = "ab" * 32
RUN = {"plane.trajectory": [CHECKPOINT]}
VALUES = {**forms.DEFAULTS, "checkpoint": CHECKPOINT, "architecture": "mlp:activation=tanh", "data.dataset": "mnist"}


def request(**changes) -> SurfaceRequest:
    return forms.read({**VALUES, **changes})


def wrong(**changes) -> dict[str, str]:
    with pytest.raises((ValidationError, InvalidRequest)) as caught:
        request(**changes)
    return forms.problems(caught.value)


def test_the_first_values_are_a_request():
    asked = request()
    assert asked.checkpoint == CHECKPOINT
    assert str(asked.architecture) == "mlp:activation=tanh"
    assert asked.plane.x == RandomDirection(seed=1)
    assert asked.plane.y == RandomDirection(seed=2)
    assert asked.grid.shape == (25, 25)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {forms.SHAPE: "curve"},
        {forms.ORDER: "own", "data.examples": ""},
        {forms.DIRECTIONS: "file", "plane.x.file": "cd" * 32},
        {forms.DIRECTIONS: "towards", "plane.x.checkpoint": "cd" * 32, "plane.y.checkpoint": "ef" * 32},
        {forms.DIRECTIONS: "towards", "plane.x.checkpoint": "cd" * 32, forms.SHAPE: "curve"},
        {
            forms.DIRECTIONS: "towards",
            "plane.x.checkpoint": "cd" * 32,
            "plane.y.checkpoint": "cd" * 32,
            "plane.y.aligned": forms.ALIGNED,
        },
        {forms.DIRECTIONS: "principal", "plane.trajectory": ["cd" * 32, "ef" * 32], "plane.y.index": 3},
        {forms.DIRECTIONS: "hessian", "plane.y.index": -1, "plane.x.examples": 99},
        {"data.preprocessing": "custom", "data.preprocessing.mean": "0.5, 0.25", "data.preprocessing.std": "1; 2"},
        {"plane.orthogonal": "true", "batch_norm": "reestimated"},
        {"plane.orthogonal": "true", forms.SHAPE: "curve"},
        {"metrics": ["top5", "class_accuracy"]},
        {"budget": "fast"},
        {"budget": "fast", "tolerance": 0.3},
        {forms.CURVATURE: "on", "curvature.examples": 32},
        {"curvature.examples": 32},
        {"loss": "mse", "plane.normalisation.of": "states", "grid.y.points": 7, "data.split": "test"},
    ],
)
def test_a_request_survives_the_form(changes):
    asked = request(**changes)
    assert forms.read(forms.values_of(asked)) == asked


def test_directions_of_two_kinds_begin_the_form_as_random_ones():
    mixed = request().plane.model_copy(update={"y": HessianDirection(index=1)})
    assert forms.values_of(request().model_copy(update={"plane": mixed}))[forms.DIRECTIONS] == "random"


def test_directions_in_words():
    towards = {forms.DIRECTIONS: "towards", "plane.x.checkpoint": "cd" * 32, "plane.y.checkpoint": "ef" * 32}
    plane = request(**towards).plane
    assert words.directions(plane) == "towards the checkpoint cdcdcdcd…; towards the checkpoint efefefef…"
    assert words.normalisation(plane) == "none"
    plane = request(**towards, **{"plane.x.aligned": forms.ALIGNED}).plane
    assert words.directions(plane).startswith("towards the checkpoint cdcdcdcd…, its hidden units matched; towards")
    plane = request(**{forms.DIRECTIONS: "principal", **RUN}).plane
    assert words.directions(plane) == "principal direction 1 of 1 checkpoint; principal direction 2 of 1 checkpoint"
    plane = request(**{forms.DIRECTIONS: "hessian", "plane.y.index": -2, "plane.x.examples": 9}).plane
    assert words.directions(plane) == (
        "Hessian eigenvector 1 from the largest eigenvalue, 9 examples; "
        "Hessian eigenvector 2 from the smallest eigenvalue, 9 examples"
    )
    assert words.normalisation(plane) == "to length one; biases and batch norm stay"
    assert words.directions(request().plane) == "random, seeds 1 and 2"
    plane = request(**{"plane.orthogonal": "true"}).plane
    assert words.normalisation(plane) == "filter by filter; biases and batch norm stay; η at a right angle to δ"
    plane = request(**{"plane.orthogonal": "true", forms.DIRECTIONS: "file", "plane.x.file": "cd" * 32}).plane
    assert words.normalisation(plane) == "as stored in the file; η at a right angle to δ"
    anew = request(**{"batch_norm": "reestimated", "data.examples": 100})
    assert words.batch_norm(anew) == "re-estimated at every cell over 100 examples"
    assert words.batch_norm(request()) is None


def test_each_kind_of_value_is_read():
    assert request(**{"data.examples": ""}).data.examples is None
    assert request(**{forms.ORDER: "own"}).data.seed is None
    assert request(**{forms.SHAPE: "curve"}).grid.y is None
    assert request(**{forms.SHAPE: "curve"}).plane.y is None
    file = request(**{forms.DIRECTIONS: "file", "plane.x.file": f" {'cd' * 32} "})
    assert file.plane.x == file.plane.y == FileDirection(file="cd" * 32)
    own = {"data.preprocessing": "custom", "data.preprocessing.mean": "0.5 0.25", "data.preprocessing.std": "1,2"}
    assert request(**own).data.preprocessing == Standardisation(mean=(0.5, 0.25), std=(1, 2))


@pytest.mark.parametrize(
    ("changes", "path", "sentence"),
    [
        ({"checkpoint": None}, "checkpoint", "Choose a checkpoint."),
        ({"architecture": ""}, "architecture", "Choose the architecture of the network."),
        ({"data.dataset": None}, "data.dataset", "Choose a data set."),
        ({"data.examples": 0}, "data.examples", "Give at least 1."),
        ({"data.examples": 1.5}, "data.examples", "Give a whole number."),
        ({"data.examples": "abc"}, "data.examples", "Give a whole number."),
        ({"grid.x.points": 0}, "grid.x.points", "Give at least 1."),
        ({"grid.y.points": 10_000}, "grid.y.points", "Give at most 501."),
        ({"grid.x.points": "abc"}, "grid.x.points", "Give a whole number."),
        ({"grid.x.start": ""}, "grid.x.start", "Give a number."),
        ({"grid.y.stop": float("nan")}, "grid.y.stop", "Give a finite number."),
        ({"grid.x.start": 1, "grid.x.stop": -1}, "grid.x.start", "Start must be below stop, but 1 is not below -1."),
        ({"plane.x.seed": -1}, "plane.x.seed", "Give at least 0."),
        ({"plane.y.seed": ""}, "plane.y.seed", "Give a whole number."),
        ({forms.DIRECTIONS: "file"}, "plane.x.file", "Upload a direction file, or give the id of one."),
        ({forms.DIRECTIONS: "towards", forms.SHAPE: "curve"}, "plane.x.checkpoint", "Choose the checkpoint that δ leads to."),
        (
            {forms.DIRECTIONS: "towards", "plane.x.checkpoint": CHECKPOINT},
            "plane.y.checkpoint",
            "Choose the checkpoint that η leads to.",
        ),
        ({forms.DIRECTIONS: "principal"}, "plane.trajectory", "Choose the checkpoints of a training run."),
        ({forms.DIRECTIONS: "principal", **RUN, "plane.x.index": -1}, "plane.x.index", "Give at least 1."),
        ({forms.DIRECTIONS: "hessian", "plane.y.index": 0}, "plane.y.index", "Eigenvectors are counted from 1"),
        ({forms.DIRECTIONS: "hessian", "plane.x.examples": ""}, "plane.x.examples", "Give a whole number."),
        (
            {"batch_norm": "reestimated", "plane.normalisation.of": "states"},
            "",
            "Re-estimated statistics take the place of moved",
        ),
        ({"data.preprocessing": "custom"}, "data.preprocessing.mean", "Give one number for each channel"),
        (
            {"data.preprocessing": "custom", "data.preprocessing.mean": "1", "data.preprocessing.std": "0"},
            "data.preprocessing.std",
            "Give more than 0.",
        ),
        (
            {"data.preprocessing": "custom", "data.preprocessing.mean": "1,2", "data.preprocessing.std": "1"},
            "data.preprocessing",
            "Mean has 2 channels but std has 1; give as many of each.",
        ),
    ],
)
def test_what_is_wrong_is_one_sentence_at_its_control(changes, path, sentence):
    found = wrong(**changes)
    assert list(found) == [path]
    assert found[path].startswith(sentence)


@pytest.mark.parametrize(
    ("field", "path"),
    [
        ("data.examples", "data.examples"),
        ("architecture.options", "architecture"),
        ("plane.y.seed", "plane.y.seed"),
        ("plane.y.file", "plane.x.file"),
        ("plane.x.file", "plane.x.file"),
        ("plane.x.checkpoint", "plane.x.checkpoint"),
        ("plane.y.aligned", "plane.y.aligned"),
        ("plane.y.checkpoints", "plane.trajectory"),
        ("plane.y.index", "plane.y.index"),
        ("checkpoint", "checkpoint"),
        ("nowhere", ""),
        (None, ""),
    ],
)
def test_a_refusal_stands_at_the_control_of_its_field(field, path):
    assert forms.problems(InvalidRequest("No.", field=field)) == {path: "No."}


def test_numbers_in_words():
    assert [words.duration(s) for s in (0.2, 3.4, 600, 9000, 400_000)] == [
        "under a second",
        "about 3 s",
        "about 10 min",
        "about 2.5 h",
        "about 5 days",
    ]
    assert [words.size(n) for n in (12, 3_450_000, 8e9)] == ["12 bytes", "3.45 MB", "8 GB"]
    assert [words.limit(n) for n in (8 << 30, 5 << 20, 1500)] == ["8 GiB", "5 MiB", "1.5 kB"]
    assert words.number(-0.25) == "−0.25"
    now = datetime(2026, 1, 20, tzinfo=UTC)
    assert [words.when(now - timedelta(seconds=s), now) for s in (5, 60, 7200, 86400 * 3, 86400 * 9)] == [
        "just now",
        "1 minute ago",
        "2 hours ago",
        "3 days ago",
        "11 January 2026",
    ]
    assert words.network("resnet56", {}) == "resnet56 (conv shortcuts)"
    assert words.network("resnet20_noshort", {}) == "resnet20_noshort (no shortcuts)"
    assert words.network("wrn56_8", {}) == "wrn56_8 (conv shortcuts)"
    assert words.network("wrn56_8_noshort", {}) == "wrn56_8_noshort (no shortcuts)"
    assert words.network("densenet121", {}) == "densenet121"
    assert words.network("mlp", {"activation": "tanh"}) == "mlp (tanh)"
    assert words.network("convnet", {"activation": "tanh", "pool_size": 3}) == "convnet (tanh, pool size 3)"


def test_titles_say_what_is_measured():
    assert axis_titles(request())["z"] == "mean loss (nats)"
    assert axis_titles(request(loss="mse"))["z"] == "mean loss"
    assert axis_titles(None)["z"] == "mean loss"


def test_colour_scales_go_from_nought_to_one():
    for name, scale in figures.colour_scales().items():
        assert (scale[0][0], scale[-1][0]) == (0, 1), name


def test_only_a_catalogued_resnet_is_said_to_have_shortcuts():
    assert words.network("resnet20", {}) == "resnet20 (conv shortcuts)"
    assert words.network("resnet20_noshort", {}) == "resnet20_noshort (no shortcuts)"
    assert words.network("resnet_mine.py:build", {"code": "0f" * 8}) == f"resnet_mine.py:build (code {'0f' * 8})"
