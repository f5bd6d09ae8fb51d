"""Every listed network: its tensors' names and shapes, its files, its cost, what is said of a damaged one; and its outputs, held
against a plain implementation in float64."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from landscape_core.catalogue import architectures, check_request, explain_no_match, fit, macs_per_example, match, resolve
from landscape_core.catalogue.data import DatasetFacts
from landscape_core.catalogue.families import FAMILIES
from landscape_core.catalogue.family import NamedFamily, Shapes
from landscape_core.catalogue.networks import family_of
from landscape_core.compute import Evaluator, Examples, build, load
from landscape_core.compute.architectures import BUILDERS
from landscape_core.errors import InvalidRequest
from landscape_core.reading import read_checkpoint
from landscape_core.requests import ArchitectureSpec

from . import plain_networks as plain
from .requested import axis, surface_request

NAMES = [entry.name for family in FAMILIES if isinstance(family, NamedFamily) for entry in family.entries()]

ORIGINAL = {
    *("vgg9", "densenet121", "resnet20", "resnet56", "resnet110", "wrn56_2", "wrn56_4", "wrn56_8"),
    *("resnet18", "resnet34", "resnet50", "resnet101", "resnet152"),
    *(f"resnet{kind}_noshort" for kind in ("18", "34", "50", "101", "152", "20", "32", "44", "50_16", "56", "110")),
    *(f"wrn{kind}_noshort" for kind in ("56_2", "56_4", "56_8", "110_2", "110_4")),
}
"""All names that the code of Li et al. 2018 knows (cifar10/model_loader.py)."""


def shapes_of(spec: ArchitectureSpec, ends: Shapes | None = None) -> dict[str, tuple[int, ...]]:
    family = family_of(spec.name)
    assert isinstance(family, NamedFamily)
    return dict(family.layout(spec, resolve(spec), ends or {}).tensors)


def random_tensors(shapes: Shapes, seed: int = 0) -> dict[str, np.ndarray]:
    """Weights that keep the size of what goes through them, and batch norm that is not that of a fresh network."""
    rng = np.random.default_rng(seed)
    tensors = {}
    for name, shape in shapes.items():
        if name.endswith("num_batches_tracked"):
            tensors[name] = np.array(7)
        elif len(shape) > 1:
            tensors[name] = (rng.standard_normal(shape, np.float32) * np.sqrt(2 / np.prod(shape[1:]))).astype(np.float32)
        else:
            low, high = (0.5, 1.5) if name.endswith(("running_var", "weight")) else (-0.3, 0.3)
            tensors[name] = rng.uniform(low, high, shape).astype(np.float32)
    return tensors


def test_every_name_of_the_original_code_is_known():
    assert {entry.name for entry in architectures()} >= ORIGINAL
    assert set(BUILDERS) == {family.key for family in FAMILIES}


def test_the_readme_lists_every_network_and_option():
    text = (Path(__file__).parents[3] / "README.md").read_text()
    rows = text[text.index("## What it knows") : text.index("| data set |")]
    for entry in architectures():
        assert f"`{entry.name}`" in rows
        assert [option for option in entry.options if f"`{option}" not in rows] == []
        if entry.name in {"convnet", "mlp"}:
            listed = {value for values in entry.options.values() for value in values}
            assert {value for value in listed if f"`{value}`" not in rows and f"={value}`" not in rows} == set()


@pytest.mark.parametrize("name", NAMES)
def test_the_module_has_the_tensors_that_the_catalogue_says_and_costs_what_it_says(name):
    spec, counted = ArchitectureSpec(name=name), []
    shapes = shapes_of(spec)
    with torch.device("meta"):
        module = build(spec, shapes)
    assert [(key, tuple(tensor.shape)) for key, tensor in module.state_dict().items()] == list(shapes.items())
    assert not any(part.training for part in module.modules())
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.register_forward_hook(lambda layer, _, out: counted.append(out.numel() * layer.weight[0].numel()))
    height, width = (27, 31) if name == "vgg9" else (29, 36)
    assert module(torch.empty(1, 3, height, width, device="meta")).shape == (1, 10)
    assert macs_per_example(spec, shapes, (3, height, width)) == sum(counted)


@pytest.mark.parametrize("name", NAMES)
def test_a_file_is_recognised_and_one_with_a_tensor_missing_is_explained(name):
    spec = ArchitectureSpec(name=name)
    shapes = shapes_of(spec)
    found = match(shapes, f"{name}.t7")
    assert found[0].architecture == spec
    assert (found[0].input_shape, found[0].classes) == ((3, 32, 32), 10)
    assert match({key: shape for key, shape in shapes.items() if not key.endswith("num_batches_tracked")}, name) != ()
    missing = [key for key in shapes if key.endswith("weight")][len(shapes) // 12]
    del shapes[missing]
    assert match(shapes, f"{name}.t7") == ()
    text = explain_no_match(shapes)
    assert f"the file lacks {missing}" in text
    assert text.startswith("No catalogued architecture fits; the nearest is ")
    assert text.count(". ") == 0
    with pytest.raises(InvalidRequest, match=f"does not fit {name}: the file lacks {missing}"):
        fit(spec, shapes)


OUTPUTS = {
    "resnet20": lambda t, x: plain.resnet(t, x, shortcut="conv"),
    "resnet20:shortcut=A": lambda t, x: plain.resnet(t, x, shortcut="A"),
    "resnet20_noshort": lambda t, x: plain.resnet(t, x, shortcut=None),
    "wrn56_2": lambda t, x: plain.resnet(t, x, shortcut="conv"),
    "wrn56_3_noshort": lambda t, x: plain.resnet(t, x, shortcut=None),
    "resnet18": lambda t, x: plain.resnet(t, x, shortcut="conv"),
    "resnet34_noshort": lambda t, x: plain.resnet(t, x, shortcut=None),
    "resnet50": lambda t, x: plain.resnet(t, x, shortcut="conv"),
    "resnet50_noshort": lambda t, x: plain.resnet(t, x, shortcut=None),
    "vgg9": plain.vgg9,
    "densenet121": plain.densenet,
    "uva_resnet": plain.uva_resnet,
    "uva_resnet:activation=tanh": lambda t, x: plain.uva_resnet(t, x, torch.tanh),
    "uva_preact_resnet": plain.uva_preact_resnet,
    "uva_preact_resnet:activation=silu": lambda t, x: plain.uva_preact_resnet(t, x, nn.functional.silu),
}


@pytest.mark.parametrize("text", OUTPUTS)
def test_a_file_gives_the_outputs_of_a_plain_implementation(text, tmp_path):
    """Written by torch.save, read by our reader, recognised, loaded; float64 from there on."""
    spec = ArchitectureSpec.parse(text)
    family = family_of(spec.name)
    ends = {family.first: (family.layout(spec, resolve(spec), {}).tensors[family.first][0], 2, 3, 3), family.last: (7, 1)}
    tensors = random_tensors(shapes_of(spec, ends))
    torch.save({"state_dict": {name: torch.from_numpy(array) for name, array in tensors.items()}}, tmp_path / "net.pt")
    read = read_checkpoint(tmp_path / "net.pt")
    assert spec.name in {c.architecture.name for c in match(read.shapes)}
    module = load(spec, read.tensors)
    assert not module.training
    assert not any(parameter.requires_grad for parameter in module.parameters())
    size = (32, 30) if text == "vgg9" else (11, 14)
    x = torch.from_numpy(np.random.default_rng(1).normal(size=(2, 2, *size)))
    wide = {name: torch.from_numpy(array).double() for name, array in read.tensors.items()}
    with torch.inference_mode():
        expected = OUTPUTS[text](wide, x)
        got = module.double()(x)
    assert got.shape == (2, 7)
    assert expected.std() > 1e-3
    torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-9 * float(expected.abs().max()))


def test_uva_resnets_of_other_blocks_are_read_off_the_file():
    blocks = {
        "blocks.0.net.3.weight": (12, 12, 3, 3),
        "blocks.1.net.3.weight": (20, 20, 3, 3),
        "blocks.1.downsample.weight": (),
    }
    spec = ArchitectureSpec(name="uva_resnet")
    shapes = shapes_of(spec, {"input_net.0.weight": (12, 1, 3, 3), "output_net.2.weight": (4, 20), **blocks})
    (found,) = match(shapes)
    assert (found.architecture, found.input_shape, found.classes) == (spec, (1, 32, 32), 4)
    assert "with 2 blocks: 1 of 12 channels, 1 of 20 channels." in found.note
    assert load(spec, random_tensors(shapes))(torch.zeros(1, 1, 8, 8)).shape == (1, 4)


def test_wide_networks_of_any_widening_are_known_by_name_and_file():
    shapes = shapes_of(ArchitectureSpec(name="wrn110_5_noshort"))
    (found,) = match(shapes)
    assert str(found.architecture) == "wrn110_5_noshort"
    for name in ("wrn56_1", "wrn56_33", "wrn57_2", "wrn56_02", "wrn٥٦_2", "resnet50_16_16"):
        with pytest.raises(InvalidRequest, match="There is no architecture"):
            resolve(ArchitectureSpec(name=name))


def test_a_file_with_an_empty_tensor_fits_nothing():
    shapes = shapes_of(ArchitectureSpec(name="vgg9"), {"classifier.weight": (0, 256)})
    assert match(shapes) == ()
    with pytest.raises(InvalidRequest, match=r"does not fit vgg9: classifier.weight, classifier.bias has no elements"):
        fit(ArchitectureSpec(name="vgg9"), shapes)


@pytest.mark.parametrize(
    ("name", "shape", "words"),
    [
        (
            "vgg9",
            (3, 40, 32),
            r"Data has images of 40 x 32, which vgg9 turns into 5 x 4 places, but this one takes 16, as from 32 x 32",
        ),
        ("densenet121", (3, 7, 32), "Data has images of 7 x 32, but densenet121 halves .* at least 8 x 8"),
        ("vgg9", (3, 28, 31), None),
        ("densenet121", (3, 8, 9), None),
        ("resnet18", (3, 1, 1), None),
    ],
)
def test_images_of_another_size_are_refused_where_they_cannot_be_taken(name, shape, words):
    shapes = shapes_of(ArchitectureSpec(name=name))
    facts = DatasetFacts(id="data", title="Data", splits={"train": 5}, shape=shape, classes=10)
    request = surface_request(name, axis(1))
    if words is None:
        check_request(request, shapes, facts)
        assert load(ArchitectureSpec(name=name), random_tensors(shapes))(torch.zeros(1, *shape)).shape == (1, 10)
        return
    with pytest.raises(InvalidRequest, match=words) as caught:
        check_request(request, shapes, facts)
    assert caught.value.field == "data.dataset"


@pytest.mark.reference
def test_the_uva_network_reaches_its_recorded_accuracy(weights, arrays):
    tensors = weights("checkpoints/uva_resnet_lightning.ckpt")
    (found,) = match({name: array.shape for name, array in tensors.items()})
    assert str(found.architecture) == "uva_resnet"
    assert "with 9 blocks: 3 of 16 channels, 3 of 32 channels, 3 of 64 channels." in found.note
    request = surface_request("uva_resnet", axis(1), preprocessing="cifar10")
    own = Evaluator(request, tensors, Examples.from_arrays(*arrays("cifar10/test_1000.npz"))).own_loss()
    assert own.correct[0] == 906
