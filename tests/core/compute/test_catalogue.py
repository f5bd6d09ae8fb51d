"""What a file's names and shapes say about the network, and what is said where nothing fits."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from landscape_core.catalogue import (
    architectures,
    canonical,
    explain_no_match,
    fit,
    macs_per_example,
    match,
    nearest,
    preprocessings,
    resolve,
)
from landscape_core.catalogue.families.three_stage_resnets import RESNET_BLOCKS, ThreeStageResNets, resnet_tensors
from landscape_core.compute import CifarResNet, build
from landscape_core.errors import InvalidRequest
from landscape_core.requests import ArchitectureSpec

MLP = {"fc1.weight": (5, 4), "fc1.bias": (5,), "fc2.weight": (3, 5), "fc2.bias": (3,)}


def tensors_of(spec: ArchitectureSpec) -> dict[str, tuple[int, ...]]:
    conv = "noshort" not in spec.name and resolve(spec)["shortcut"] == "conv"
    depth = int(spec.name.removeprefix("resnet").removesuffix("_noshort").removesuffix("_16"))
    return resnet_tensors(depth, conv_shortcuts=conv, channels=1, classes=7)


@pytest.mark.parametrize("spec", ThreeStageResNets().specs({}), ids=str)
def test_every_resnet_is_found_and_built_with_the_tensors_that_the_catalogue_says(spec):
    shapes = tensors_of(spec)
    candidate = next(c for c in match(shapes) if c.architecture == spec)
    assert candidate.input_shape == (1, 32, 32)
    assert candidate.classes == 7
    with torch.device("meta"):
        module = build(spec, shapes)
    assert [(name, tuple(tensor.shape)) for name, tensor in module.state_dict().items()] == list(shapes.items())
    assert module(torch.empty(2, 1, 28, 31, device="meta")).shape == (2, 7)


@pytest.mark.parametrize("depth", RESNET_BLOCKS)
def test_files_without_counters_fit_too(depth):
    shapes = resnet_tensors(depth, conv_shortcuts=True, channels=3, classes=10)
    old = {name: shape for name, shape in shapes.items() if not name.endswith("num_batches_tracked")}
    (found,) = match(old)
    assert str(found.architecture) == ("resnet50_16" if depth == 50 else f"resnet{depth}")


def test_a_file_cannot_tell_option_a_from_no_shortcuts_and_is_told_so():
    shapes = resnet_tensors(20, conv_shortcuts=False, channels=3, classes=10)
    plain = match(shapes, "resnet20-12fca82f.th")
    assert [str(c.architecture) for c in plain] == ["resnet20:shortcut=A", "resnet20_noshort"]
    assert "cannot tell them apart; resnet20:shortcut=A was put first because the file's name does not" in plain[0].note
    for name in ("resnet20_noshort.t7", "ResNet20-no-short.pt", "a/NoShort/x.pt"):
        marked = match(shapes, name)
        assert [str(c.architecture) for c in marked] == ["resnet20_noshort", "resnet20:shortcut=A"]
        assert "resnet20_noshort was put first because the file's name contains" in marked[0].note


@pytest.mark.parametrize(
    ("shapes", "widths"),
    [
        (MLP, (4, 5, 3)),
        ({"0.weight": (5, 4), "2.weight": (6, 5), "4.weight": (3, 6), "4.bias": (3,)}, (4, 5, 6, 3)),
        ({"weight": (10, 784), "bias": (10,)}, (784, 10)),
        (
            {"layers.0.bias": (5,), "layers.0.weight": (5, 5), "layers.10.weight": (3, 5), "layers.2.weight": (5, 5)},
            (5, 5, 5, 3),
        ),
        ({"W1": (5, 4), "b1": (5,), "W2": (3, 5), "b2": (3,)}, (4, 5, 3)),
        ({"w1": (5, 4), "w2": (3, 5), "b1": (5,), "b2": (3,)}, (4, 5, 3)),
        ({"w1": (5, 4), "w2": (3, 5)}, (4, 5, 3)),
        ({"hidden.weight": (5, 4), "hidden.bias": (5,), "out.weight": (3, 5)}, (4, 5, 3)),
        ({"fc2.weight": (5, 4), "fc1.weight": (3, 5)}, (4, 5, 3)),
        ({"block1.fc2.weight": (5, 4), "block2.fc2.weight": (3, 5)}, (4, 5, 3)),
    ],
)
def test_chains_of_affine_layers_whatever_they_are_called(shapes, widths):
    (found,) = match(shapes)
    assert (found.input_shape, found.classes) == ((widths[0],), widths[-1])
    assert "-".join(map(str, widths)) in found.note
    with torch.device("meta"):
        module = build(found.architecture, shapes)
    own = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    assert {found.renames.get(name, name): shape for name, shape in own.items()} == shapes
    macs = sum(a * b for a, b in pairwise(widths))
    assert macs_per_example(found.architecture, shapes, (widths[0],)) == macs


@pytest.mark.parametrize(
    ("shapes", "words"),
    [
        ({}, "no tensors"),
        ({"a.weight": (5, 4), "b.weight": (3, 6)}, "a.weight gives 5 numbers, but b.weight takes 6"),
        ({"a.weight": (5, 4), "a.bias": (6,)}, "a.bias has shape (6,), but a.weight gives 5 numbers"),
        ({"a.weight": (5, 4), "scale": (5,)}, "scale belongs to no layer"),
        ({"a": (5,)}, "no weight of 2 dimensions"),
        ({"conv.weight": (8, 3, 3, 3, 3), "fc.weight": (10, 8)}, "conv.weight (8, 3, 3, 3, 3), fc.weight (10, 8)"),
        ({"a.weight": (0, 4)}, "no elements"),
        ({"": (5, 4), "weird": ()}, "there are resnet20|32|44|50_16|56|110[_noshort], wrn"),
    ],
)
def test_what_fits_nothing_is_explained(shapes, words):
    assert match(shapes) == ()
    text = explain_no_match(shapes)
    assert words in text
    assert "\n" not in text


def test_a_network_that_nearly_fits_is_named_with_what_differs():
    shapes = resnet_tensors(56, conv_shortcuts=True, channels=3, classes=10)
    shapes |= {"layer2.0.conv1.weight": (32, 16, 5, 5), "extra.weight": (2,)}
    del shapes["bn1.bias"]
    text = explain_no_match(shapes)
    assert "nearest is resnet56, with 342 of 344 tensors in common" in text
    assert "lacks bn1.bias; it has extra.weight" in text
    assert "layer2.0.conv1.weight has shape (32, 16, 5, 5) where the network has (32, 16, 3, 3)" in text


@pytest.mark.parametrize(
    ("text", "words", "field"),
    [
        ("resnet57", "no architecture 'resnet57'; choose one of resnet20", "architecture.name"),
        ("mlp:depth=3", "mlp has no option 'depth'; its options are: activation (relu|tanh", "architecture.options"),
        ("resnet20_noshort:shortcut=A", "its options are: none", "architecture.options"),
        ("resnet20:shortcut=B", "one of conv, A, but 'B'", "architecture.options"),
        ("resnet20", "does not fit resnet20: the file lacks conv1.weight", "architecture"),
    ],
)
def test_what_cannot_be_built_is_refused_in_a_sentence(text, words, field):
    with pytest.raises(InvalidRequest) as caught:
        fit(ArchitectureSpec.parse(text), MLP)
    assert words in str(caught.value)
    assert caught.value.field == field


def test_default_options_do_not_make_another_question():
    assert canonical(ArchitectureSpec.parse("resnet20:shortcut=conv")) == ArchitectureSpec(name="resnet20")
    assert str(canonical(ArchitectureSpec.parse("mlp:activation=tanh"))) == "mlp:activation=tanh"


def test_every_entry_can_be_resolved_and_has_a_name_of_its_own():
    names = [entry.name for entry in architectures()]
    assert len(names) == len(set(names))
    for entry in architectures():
        for option, values in entry.options.items():
            for value in values:
                assert resolve(ArchitectureSpec(name=entry.name, options={option: value}))[option] == value


def test_multiply_accumulates_are_those_that_pytorch_counts():
    """Counted in the forward pass itself, by hooks on every convolution and affine layer."""
    spec = ArchitectureSpec(name="resnet20")
    shapes = resnet_tensors(20, conv_shortcuts=True, channels=3, classes=10)
    counted = []

    def count(layer, _, output):
        counted.append(output.numel() * layer.weight[0].numel())

    with torch.device("meta"):
        module = build(spec, shapes)
    assert isinstance(module, CifarResNet)
    for layer in module.modules():
        if isinstance(layer, torch.nn.Conv2d | torch.nn.Linear):
            layer.register_forward_hook(count)
    module(torch.empty(1, 3, 29, 32, device="meta"))
    assert macs_per_example(spec, shapes, (3, 29, 32)) == sum(counted)


def test_preprocessings_have_as_many_means_as_deviations():
    named = preprocessings()
    assert named["none"] is None
    assert named["cifar10-li2018"].mean == pytest.approx((0.4914, 0.4824, 0.4467), abs=1e-4)
    assert {len(s.mean) for s in named.values() if s is not None} == {1, 3}


def test_a_file_that_nothing_fits_is_held_against_the_nearest_network_tensor_by_tensor():
    shapes = resnet_tensors(56, conv_shortcuts=True, channels=3, classes=10)
    count = len(shapes)
    shapes |= {"layer2.0.conv1.weight": (32, 16, 5, 5), "extra.weight": (2,)}
    del shapes["bn1.bias"], shapes["bn1.num_batches_tracked"]
    found = nearest(shapes)
    assert found is not None
    assert (str(found.architecture), found.tensors, found.same) == ("resnet56", count - 1, count - 3)
    assert (found.missing, found.unexpected, found.reshaped) == (1, 1, 1)
    assert [one.model_dump() for one in found.differences] == [
        {"name": "bn1.bias", "file": None, "network": (16,)},
        {"name": "extra.weight", "file": (2,), "network": None},
        {"name": "layer2.0.conv1.weight", "file": (32, 16, 5, 5), "network": (32, 16, 3, 3)},
    ]
    assert nearest({"a.weight": (3, 4)}) is None
    many = nearest({**resnet_tensors(20, conv_shortcuts=True, channels=3, classes=10), **{f"x{i}": (1,) for i in range(300)}})
    assert many is not None
    assert (many.unexpected, len(many.differences)) == (300, 200)
