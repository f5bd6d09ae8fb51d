"""What is wrong with a request, in one sentence that names the field, what it must be, and what came."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from pydantic import ValidationError

from app.schemas import ShareWish
from app.sentences import explain
from landscape_core.requests import SurfaceRequest

GOOD = {
    "checkpoint": "ab" * 32,
    "architecture": {"name": "resnet56"},
    "data": {"dataset": "cifar10"},
    "plane": {"x": {"kind": "random", "seed": 1}, "y": {"kind": "random", "seed": 2}},
    "grid": {"x": {"start": -1, "stop": 1, "points": 51}, "y": {"start": -1, "stop": 1, "points": 51}},
}
GONE = object()


def changed(path: str, value: Any) -> dict[str, Any]:
    body = copy.deepcopy(GOOD)
    *parents, last = path.split(".")
    place: dict[str, Any] = body
    for name in parents:
        place = place[name]
    if value is GONE:
        del place[last]
    else:
        place[last] = value
    return body


@pytest.mark.parametrize(
    ("path", "value", "field", "sentence"),
    [
        ("grid.x.points", "abc", "", 'grid.x.points must be a whole number from 1 to 501, but "abc" came.'),
        ("grid.x.points", 0, "", "grid.x.points must be a whole number from 1 to 501, but 0 came."),
        ("grid.x.points", 10_000, "", "grid.x.points must be a whole number from 1 to 501, but 10000 came."),
        ("grid.x.points", 10**9, "", "grid.x.points must be a whole number from 1 to 501, but 1000000000 came."),
        ("grid.y.points", 1.5, "", "grid.y.points must be a whole number from 1 to 501, but 1.5 came."),
        ("grid.x.start", float("nan"), "", "grid.x.start must be a number from -1000000 to 1000000, but nan came."),
        ("grid.x.start", 3, "grid.x", "grid.x: start must be below stop, but 3 is not below 1."),
        ("grid", GONE, "", "grid is missing; it must be an object with x, y."),
        ("grid.y", None, None, "grid.y and plane.y must both be given (a surface) or both be null (a curve)."),
        ("plane.x.kind", "spiral", "", 'plane.x.kind must be one of "random", "file", "towards", "principal", "hessian", but "spiral" came.'),
        ("plane.x.kind", GONE, "", 'plane.x.kind must be one of "random", "file", "towards", "principal", "hessian", but it is missing.'),
        ("plane.x.seed", 2**70, "", f"plane.x.seed must be a whole number from 0 to {2**63 - 1}, but {2**70} came."),
        ("plane.y.seed", GONE, "", f"plane.y.seed is missing; it must be a whole number from 0 to {2**63 - 1}."),
        ("plane.x", {"kind": "file", "file": 3}, "plane.x.file", "plane.x.file must be an id of 64 hexadecimal digits, but 3 came."),
        ("plane.x", {"kind": "principal", "index": 0, "checkpoints": ["ab" * 32]}, "plane.x.index", "plane.x.index must be a whole number from 1 to 1000, but 0 came."),
        ("plane.y", {"kind": "hessian", "index": 21}, "plane.y.index", "plane.y.index must be a whole number from -20 to 20, but 21 came."),
        ("checkpoint", "zz", "", 'checkpoint must be an id of 64 hexadecimal digits, but "zz" came.'),
        ("loss", "x", "", 'loss must be one of "cross_entropy", "mse_softmax", "mse", "multi_margin", "nll", but "x" came.'),
        ("data.examples", 0, "", "data.examples must be a whole number from 1 to 100000000, but 0 came."),
        ("data.preprocessing", 5, "", "data.preprocessing must be text of 1 to 64 characters or an object with mean, std, but 5 came."),
        ("data.preprocessing", {"mean": [1]}, "data.preprocessing.std", "data.preprocessing.std is missing; it must be a list of 1 to 64 values."),
        ("data.preprocessing", {"mean": [1], "std": [1, 2]}, "", "data.preprocessing: mean has 1 channels but std has 2; give as many of each."),
        ("extra", 1, "", "There is no field extra; remove it, or correct its name."),
        ("architecture.options", {"a": [1]}, "architecture.options.a", "architecture.options.a must be text or a whole number or a number or true or false, but a list of 1 came."),
    ],
)  # fmt: skip
def test_a_sentence_names_the_field_and_what_it_must_be(path, value, field, sentence):
    body = changed(path, value)
    with pytest.raises(ValidationError) as caught:
        SurfaceRequest.model_validate(body)
    message, found = explain(caught.value.errors(), SurfaceRequest, body)
    assert message == sentence
    assert found == ("" if field is None else field or path)


def test_long_values_are_cut_and_the_first_field_is_named():
    body = changed("checkpoint", "x" * 10_000) | {"loss": "none"}
    with pytest.raises(ValidationError) as caught:
        SurfaceRequest.model_validate(body)
    message, field = explain(caught.value.errors(), SurfaceRequest, body)
    assert field == "checkpoint"
    assert len(message) < 200


def test_other_bodies_are_explained_too():
    body = {"view": {"camera": {"eye": {"x": 1, "y": "b", "z": 2}}}}
    with pytest.raises(ValidationError) as caught:
        ShareWish.model_validate(body)
    assert explain(caught.value.errors(), ShareWish, body) == (
        'view.camera.eye.y must be a number, but "b" came.',
        "view.camera.eye.y",
    )
