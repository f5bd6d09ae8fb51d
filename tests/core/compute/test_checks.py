"""Questions that cannot be asked are refused with a sentence that names the part at fault and what to do."""

from __future__ import annotations

import pytest

from landscape_core.catalogue import DatasetFacts, check_request
from landscape_core.catalogue.families.three_stage_resnets import resnet_tensors
from landscape_core.errors import InvalidRequest
from landscape_core.requests import (
    DataSlice,
    HessianDirection,
    PlaneSpec,
    PrincipalDirection,
    RandomDirection,
    Standardisation,
    TowardsDirection,
)

from .requested import axis, surface_request

RESNET = resnet_tensors(20, conv_shortcuts=True, channels=3, classes=10)
MLP = {"a.weight": (20, 784), "b.weight": (10, 20)}
CIFAR = DatasetFacts(
    id="cifar10", title="CIFAR-10", splits={"train": 50_000}, shape=(3, 32, 32), classes=10, preprocessing="cifar10"
)
FASHION = DatasetFacts(
    id="fashion-mnist", title="Fashion-MNIST", splits={"train": 60_000, "test": 10_000}, shape=(1, 28, 28), classes=10
)
RUN = tuple(f"{index:064x}" for index in range(1, 50))
ROWS = DatasetFacts(id="rows", title="rows.npz", splits={"train": 5}, shape=(784,), dtype="float32", classes=12)


def test_what_can_be_asked_passes():
    check_request(surface_request("resnet20", axis(3), axis(3), preprocessing="cifar10"), RESNET, CIFAR)
    check_request(surface_request("mlp", axis(3), preprocessing="mnist", examples=60_000), MLP, FASHION)
    rows = ROWS.model_copy(update={"classes": 10})
    check_request(surface_request("mlp", axis(3), preprocessing="mnist"), MLP, rows)


@pytest.mark.parametrize(
    ("architecture", "shapes", "facts", "data", "words", "field"),
    [
        ("resnet20", RESNET, FASHION, {}, "resnet20 takes images of 3 channels, but Fashion-MNIST has 1;", "data.dataset"),
        ("resnet20", RESNET, ROWS, {}, "an example of rows.npz has the shape (784)", "data.dataset"),
        ("mlp", MLP, CIFAR, {}, "takes 784 numbers per example, but CIFAR-10 has 3,072 (3 x 32 x 32)", "data.dataset"),
        ("mlp", MLP, ROWS, {}, "rows.npz has 12 classes, but this mlp has 10 outputs", "data.dataset"),
        ("resnet20", RESNET, CIFAR, {"split": "test"}, "CIFAR-10 has no test examples, only a train split", "data.split"),
        (
            "resnet20",
            RESNET,
            CIFAR,
            {"examples": 50_001},
            "50,001 examples were asked for, but CIFAR-10 has 50,000",
            "data.examples",
        ),
        (
            "resnet20",
            RESNET,
            CIFAR,
            {"preprocessing": "mnist"},
            "Preprocessing 'mnist' is for 1 channel, but CIFAR-10 has 3",
            None,
        ),
        (
            "resnet20",
            RESNET,
            CIFAR,
            {"preprocessing": "cifra"},
            "There is no preprocessing 'cifra'; choose one of none, mnist",
            None,
        ),
        (
            "mlp",
            MLP,
            FASHION,
            {"preprocessing": Standardisation(mean=(0.5, 0.5), std=(1, 1))},
            "mean and std are for 2 channels, but Fashion-MNIST has 1",
            None,
        ),
        ("resnet56", RESNET, CIFAR, {}, "The checkpoint does not fit resnet56: the file lacks layer1.3", "architecture"),
        ("vgg7", RESNET, CIFAR, {}, "There is no architecture 'vgg7'", "architecture.name"),
    ],
)
def test_what_does_not_go_together_is_refused(architecture, shapes, facts, data, words, field):
    request = surface_request(architecture, axis(3), axis(3))
    request = request.model_copy(update={"data": DataSlice(dataset=facts.id, **data)})
    with pytest.raises(InvalidRequest) as caught:
        check_request(request, shapes, facts)
    assert words in str(caught.value)
    assert caught.value.field == (field or "data.preprocessing")


def test_one_seed_for_both_directions_is_refused():
    request = surface_request("resnet20", axis(3), axis(3))
    plane = PlaneSpec(x=RandomDirection(seed=4), y=RandomDirection(seed=4))
    with pytest.raises(InvalidRequest, match="Both directions have seed 4") as caught:
        check_request(request.model_copy(update={"plane": plane}), RESNET, CIFAR)
    assert caught.value.field == "plane.y.seed"


@pytest.mark.parametrize(
    ("plane", "words", "field"),
    [
        ({"x": RandomDirection(seed=1), "trajectory": RUN}, "checkpoints hold 3,000,", "plane.trajectory"),
        ({"x": PrincipalDirection(index=1, checkpoints=RUN)}, "name fewer of them", "plane.x.checkpoints"),
        ({"x": HessianDirection(index=-1)}, "at most 50,000,000 parameters, but this one has 60,000,010;", "plane.x.index"),
    ],
)
def test_what_does_not_fit_into_memory_is_refused_before_it_is_read(plane, words, field):
    wide = {"a.weight": (600_000, 90), "b.weight": (10, 600_000), "b.bias": (10,)}
    rows = ROWS.model_copy(update={"classes": 10, "shape": (90,)})
    request = surface_request("mlp", axis(3)).model_copy(update={"plane": PlaneSpec(**plane)})
    with pytest.raises(InvalidRequest, match=words) as caught:
        check_request(request, wide, rows)
    assert caught.value.field == field


def test_directions_that_span_a_line_are_refused():
    for spec, field in (
        (TowardsDirection(checkpoint=RUN[0]), "plane.y.checkpoint"),
        (PrincipalDirection(index=1, checkpoints=RUN), "plane.y.index"),
        (HessianDirection(index=2), "plane.y.index"),
    ):
        request = surface_request("resnet20", axis(3), axis(3))
        with pytest.raises(InvalidRequest, match="Both directions are the same") as caught:
            check_request(request.model_copy(update={"plane": PlaneSpec(x=spec, y=spec)}), RESNET, CIFAR)
        assert caught.value.field == field
