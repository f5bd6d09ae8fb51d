"""Plain convolutional networks: what is read off their shapes, what is guessed, what is computed."""

from __future__ import annotations

from collections import OrderedDict
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional

from landscape_core.catalogue import canonical, check_request, explain_no_match, fit, macs_per_example, match
from landscape_core.catalogue.convolution_chains import convolution_chain
from landscape_core.catalogue.convolution_geometry import OPTIONS, feature_map, geometry
from landscape_core.catalogue.data import DatasetFacts
from landscape_core.catalogue.families.three_stage_resnets import resnet_tensors
from landscape_core.compute import Evaluator, Examples, build, compute_surface, load
from landscape_core.errors import InvalidRequest
from landscape_core.reading import read_checkpoint
from landscape_core.requests import ArchitectureSpec, Standardisation

from .requested import axis, surface_request

GOLDEN = "golden_surfaces/mnist_cnn_margin"
HALF = Standardisation(mean=(0.5,), std=(0.5,))


def shapes_of(module: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}


def arrays_of(module: nn.Module) -> dict[str, np.ndarray]:
    return {name: tensor.numpy() for name, tensor in module.state_dict().items()}


def fresh(*layers: nn.Module) -> nn.Sequential:
    """A network in evaluation mode whose batch norm is not that of a fresh one."""
    torch.manual_seed(0)
    module = nn.Sequential(*layers).requires_grad_(False).eval()
    for part in module.modules():
        if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
            part.running_mean.normal_(0, 0.3)
            part.running_var.uniform_(0.5, 1.5)
            if part.affine:
                part.weight.uniform_(0.5, 1.5)
                part.bias.normal_(0, 0.3)
    return module


def lenet() -> nn.Sequential:
    return fresh(
        *(nn.Conv2d(3, 6, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()),
        *(nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10)),
    )


def padded_with_norms() -> nn.Sequential:
    layers: list[nn.Module] = []
    for before, width in ((3, 8), (8, 8), (8, 12)):
        layers += [nn.Conv2d(before, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.Tanh(), nn.MaxPool2d(2)]
    return fresh(*layers, nn.Flatten(), nn.Linear(12 * 16, 20), nn.BatchNorm1d(20), nn.Tanh(), nn.Linear(20, 5))


def pooled_at_the_end() -> nn.Sequential:
    return fresh(
        *(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 6, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()),
        *(nn.Linear(6 * 144, 16), nn.ReLU(), nn.Linear(16, 10)),
    )


def strided() -> nn.Sequential:
    return fresh(
        *(nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.ELU(), nn.Conv2d(4, 7, 3, stride=2, padding=1), nn.ELU()),
        *(nn.Flatten(), nn.Linear(7 * 64, 10)),
    )


def averaged() -> nn.Sequential:
    return fresh(
        *(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 9, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(9, 10)),
    )


def overlapping_average() -> nn.Sequential:
    norm = nn.BatchNorm2d(5, affine=False)
    return fresh(
        *(nn.Conv2d(1, 5, (5, 3), padding=(2, 1)), nn.SiLU(), norm, nn.AvgPool2d(3, 2), nn.Conv2d(5, 6, 3), nn.SiLU()),
        *(nn.AvgPool2d(3, 2), nn.Flatten(), nn.Linear(6 * 25, 10, bias=False)),
    )


def pooled_where_it_widens() -> nn.Sequential:
    layers: list[nn.Module] = []
    for before, width, pooled in ((3, 4, False), (4, 4, True), (4, 6, False), (6, 6, True)):
        layers += [nn.Conv2d(before, width, 3, padding=1), nn.LeakyReLU(), *([nn.MaxPool2d(2)] if pooled else [])]
    return fresh(*layers, nn.Flatten(), nn.Linear(6 * 64, 10))


def vgg11(*, norms: bool = True) -> nn.Module:
    """Poolings after the convolutions 1, 2, 4, 6 and 8, where widths alone do not tell of them."""
    layers: list[nn.Module] = []
    widths = (3, 4, 8, 12, 12, 16, 16, 16, 16)
    for index, (before, width) in enumerate(pairwise(widths), start=1):
        norm = [nn.BatchNorm2d(width)] if norms else []
        layers += [
            nn.Conv2d(before, width, 3, padding=1),
            *norm,
            nn.ReLU(),
            *([nn.MaxPool2d(2)] if index in {1, 2, 4, 6, 8} else []),
        ]
    return Named(fresh(*layers), fresh(nn.Linear(16, 10)))


class Named(nn.Module):
    def __init__(self, features: nn.Module, classifier: nn.Module) -> None:
        super().__init__()
        self.features, self.classifier = features, classifier
        self.eval()

    def __getitem__(self, index: int) -> nn.Module:
        return self.features[index]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.features(x).flatten(1))


NETWORKS = {
    "convnet:padding=half,pool_after=gaps": (vgg11, 32),
    "convnet": (lenet, 32),
    "convnet:activation=tanh,padding=half": (padded_with_norms, 32),
    "convnet:pool_after=last": (pooled_at_the_end, 28),
    "convnet:activation=elu,padding=half,pool=none,stride=2": (strided, 32),
    "convnet:head=average,padding=half": (averaged, 32),
    "convnet:activation=silu,norm=after,padding=first,pool=average,pool_size=3,pool_stride=2": (overlapping_average, 28),
    "convnet:activation=leaky_relu,padding=half,pool_after=wider": (pooled_where_it_widens, 32),
    "convnet:activation=leaky_relu,padding=half,pool_after=second": (pooled_where_it_widens, 32),
}


@pytest.mark.parametrize("text", NETWORKS)
def test_a_network_of_torch_s_own_modules_is_built_again(text, tmp_path):
    """Written by torch.save, read by our reader, loaded with options: the same outputs in float64, and the cost that hooks count."""
    make, size = NETWORKS[text]
    theirs, spec, counted = make(), ArchitectureSpec.parse(text), []
    torch.save(theirs.state_dict(), tmp_path / "net.pt")
    read = read_checkpoint(tmp_path / "net.pt")
    found = fit(spec, read.shapes)
    channels = theirs[0].in_channels
    assert found.input_shape == (channels, size, size)
    module = load(spec, read.tensors)
    assert not any(part.training for part in module.modules())
    assert not any(parameter.requires_grad for parameter in module.parameters())
    assert [tuple(p.shape) for p in module.parameters()] == [tuple(p.shape) for p in theirs.parameters()]
    assert [tuple(t.shape) for t in module.state_dict().values()] == [tuple(t.shape) for t in theirs.state_dict().values()]
    x = torch.randn(3, channels, size, size, dtype=torch.float64)
    expected = theirs.double()(x)
    assert expected.std() > 1e-3
    torch.testing.assert_close(module.double()(x), expected, rtol=1e-10, atol=1e-12)
    for layer in theirs.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.register_forward_hook(lambda layer, _, out: counted.append(out[0].numel() * layer.weight[0].numel()))
    theirs(x)
    assert macs_per_example(spec, read.shapes, (channels, size, size)) == sum(counted)
    assert macs_per_example(spec, read.shapes, (channels,)) == sum(counted)


@pytest.mark.parametrize(
    ("make", "guessed"),
    [
        (lenet, "convnet"),
        (padded_with_norms, "convnet:padding=half"),
        (pooled_at_the_end, "convnet:pool_after=last"),
        (averaged, "convnet:head=average"),
        (vgg11, "convnet:padding=half,pool_after=gaps"),
        (lambda: vgg11(norms=False), "convnet:padding=half,pool_after=gaps"),
    ],
)
def test_what_shapes_leave_open_is_guessed_from_the_usual_sizes_of_images(make, guessed):
    shapes = shapes_of(make())
    for order in (list(shapes), sorted(shapes)):  # as torch writes a file, and as safetensors does
        found = match({name: shapes[name] for name in order})
        assert str(found[0].architecture) == guessed
        assert all(canonical(ArchitectureSpec.parse(str(c.architecture))) == c.architecture for c in found)
        assert (
            f"The file does not say activation, pooling, strides and padding: {guessed} was put first because" in found[0].note
        )
        assert "pool=average" in str(found[-1].architecture)
        assert len({str(candidate.architecture) for candidate in found}) == len(found) <= 7


@pytest.mark.parametrize("last", ["head", "fc", "classifier"])
def test_a_real_safetensors_file_is_the_same_network(tmp_path, last):
    """safetensors sorts by type first, so that the integer counters of batch norm stand before all else."""
    torch.manual_seed(0)
    blocks = [(nn.Conv2d(3 if n == 0 else 16, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU()) for n in range(5)]
    features = nn.Sequential(*[part for block in blocks for part in block])
    parts = {"features": features, "pool": nn.MaxPool2d(4), "flat": nn.Flatten(), last: nn.Linear(16 * 8 * 8, 10)}
    theirs = nn.Sequential(OrderedDict(parts)).eval()
    for norm in (part for part in theirs.modules() if isinstance(part, nn.BatchNorm2d)):
        nn.init.normal_(norm.running_mean)
        nn.init.uniform_(norm.weight, 0.5, 1.5)
    save_file(theirs.state_dict(), tmp_path / "net.safetensors")
    read = read_checkpoint(tmp_path / "net.safetensors")
    assert [name.rpartition(".")[2] for name in read.shapes][:5] == ["num_batches_tracked"] * 5
    spec = ArchitectureSpec.parse("convnet:padding=half,pool_after=last,pool_size=4")
    module, x = load(spec, read.tensors), torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(module(x), theirs(x), rtol=1e-5, atol=1e-5)
    assert [tuple(p.shape) for p in module.parameters()] == [tuple(p.shape) for p in theirs.parameters()]


def test_the_numbers_of_torchvision_s_vgg16_tell_where_it_pools():
    shapes, index, before = {}, 0, 3
    for width in (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0):
        if width:
            shapes |= {f"features.{index}.weight": (width, before, 3, 3), f"features.{index}.bias": (width,)}
            before, index = width, index + 1
        index += 1
    for index, (before, width) in zip((0, 3, 6), ((25088, 4096), (4096, 4096), (4096, 1000)), strict=True):
        shapes |= {f"classifier.{index}.weight": (width, before), f"classifier.{index}.bias": (width,)}
    first = match(shapes)[0]
    assert (str(first.architecture), first.input_shape) == ("convnet:padding=half,pool_after=gaps", (3, 224, 224))
    assert macs_per_example(first.architecture, shapes, (3, 224, 224)) == 15_470_264_320  # as published: 15.5 billion


def test_a_damaged_network_that_is_known_is_not_guessed_at():
    """Without one of its blocks, a network without shortcuts is still a chain of convolutions, but one that halves by strides."""
    shapes = resnet_tensors(20, conv_shortcuts=False, channels=3, classes=10)
    shapes = {name: shape for name, shape in shapes.items() if not name.startswith("layer2.2.")}
    assert match(shapes, "resnet20_noshort.t7") == ()
    assert "the file lacks layer2.2.conv1.weight" in explain_no_match(shapes)
    fit(ArchitectureSpec.parse("convnet:head=average,padding=half,pool=none"), shapes)


def test_layers_and_batch_norms_are_put_together_by_their_turn():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1, self.conv2 = nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 3)
            self.bn1, self.bn2 = nn.BatchNorm2d(4), nn.BatchNorm2d(4)
            self.conv10, self.bn10, self.fc = nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4), nn.Linear(64, 3)

    shapes = shapes_of(Net())
    expected = {"convolution1_norm": "bn1", "convolution2_norm": "bn2", "convolution3_norm": "bn10", "convolution3": "conv10"}
    for order in (list(shapes), sorted(shapes)):
        file = {name: shapes[name] for name in order}
        spec = ArchitectureSpec.parse("convnet:pool=none")
        renames = fit(spec, file).renames
        assert {own: renames[f"{own}.weight"].removesuffix(".weight") for own in expected} == expected
        with torch.device("meta"):
            module = build(spec, file)
        own = {renames.get(name, name): tuple(tensor.shape) for name, tensor in module.state_dict().items()}
        assert own == shapes
    assert [name for name, _ in module.named_parameters()][:3] == [
        "convolution1.weight",
        "convolution1.bias",
        "convolution1_norm.weight",
    ]


@settings(max_examples=25, deadline=None)
@given(
    widths=st.lists(st.integers(1, 5), min_size=2, max_size=5),
    kernel=st.integers(1, 4),
    places=st.integers(1, 12),
    options=st.fixed_dictionaries({name: st.sampled_from(values) for name, values in OPTIONS.items()}),
)
def test_whatever_fits_can_be_computed_and_costs_what_it_says(widths, kernel, places, options):
    shapes = {f"c{i}.weight": (b, a, kernel, kernel) for i, (a, b) in enumerate(pairwise(widths))}
    shapes |= {"fc.weight": (7, widths[-1] * places)}
    spec, counted = ArchitectureSpec(name="convnet", options=options), []
    try:
        found = fit(spec, shapes)
    except InvalidRequest:
        sizes = [feature_map(geometry(convolution_chain(shapes), options), (size, size)) for size in range(1, 70)]
        assert options["head"] == "average" or all(size is None or size[0] * size[1] != places for size in sizes)
        return
    with torch.device("meta"):
        module = build(spec, shapes)
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.register_forward_hook(lambda layer, _, out: counted.append(out.numel() * layer.weight[0].numel()))
    assert module(torch.empty(1, *found.input_shape, device="meta")).shape == (1, 7)
    assert macs_per_example(spec, shapes, found.input_shape) == sum(counted)


CONV, FC = {"conv.weight": (4, 1, 3, 3)}, {"fc.weight": (10, 36)}


@pytest.mark.parametrize(
    ("shapes", "words"),
    [
        ({**CONV, "conv2.weight": (8, 5, 3, 3), **FC}, "conv.weight gives 4 channels, but conv2.weight takes 5"),
        (
            {**CONV, "fc.weight": (10, 37)},
            "fc.weight takes 37 numbers, which is no multiple of the 4 channels that conv.weight",
        ),
        ({**CONV, **FC, "fc2.weight": (5, 9)}, "fc.weight gives 10 numbers, but fc2.weight takes 9"),
        ({**CONV, **FC, "conv.bias": (5,)}, "conv.bias has shape (5,), but conv.weight gives 4 channels"),
        ({**CONV, **FC, "temperature": ()}, "temperature belongs to no convolution, affine layer or batch norm"),
        ({**CONV, **FC, "conv.weight_g": (4,)}, "conv.weight, conv.weight_g belongs to no convolution"),
        ({**CONV, **FC, "norm.weight": (4,), "norm.bias": (4,)}, "norm.weight has shape (4,), where a convolution has 4"),
        ({"a.weight": (0, 1, 3, 3), **FC}, "a.weight has no elements"),
        (
            {"n.running_mean": (1,), "n.running_var": (1,), **CONV, "conv2.weight": (4, 4, 3, 3), **FC, "fc2.weight": (4, 10)},
            "the names do not say which layers the 1 batch norms (n) belong to",
        ),
        (
            {**CONV, "n.running_mean": (5,), "n.running_var": (5,), **FC},
            "n.running_mean has shape (5,), but conv.weight gives 4 channels",
        ),
        (
            {"conv.weight": (4, 1, 3, 3), "fc.weight": (10, 4 * 3_000_000)},
            "takes 3000000 places of 4 channels, which no square image",
        ),
        ({f"c{i}.weight": (4, 4, 1, 1) for i in range(300)} | FC, "it has 301 layers and batch norms, more than 128"),
    ],
)
def test_what_is_no_chain_is_explained_in_a_sentence(shapes, words):
    assert match(shapes) == ()
    text = explain_no_match(shapes)
    assert words in text
    assert text.startswith("No catalogued architecture fits. The checkpoint ")
    with pytest.raises(InvalidRequest) as caught:
        fit(ArchitectureSpec(name="convnet"), shapes)
    assert words in str(caught.value)


def test_names_may_have_any_character():
    shapes = {"²٣.weight": (4, 1, 3, 3), "é.0²..weight": (4, 4, 3, 3), "fc.weight": (10, 36)}
    for order in (list(shapes), sorted(shapes)):
        assert match({name: shapes[name] for name in order}) != ()


def test_convolutions_without_an_affine_layer_are_no_convnet():
    with pytest.raises(InvalidRequest, match="it has no affine layer"):
        fit(ArchitectureSpec(name="convnet"), CONV)
    with pytest.raises(InvalidRequest, match="it has no convolution"):
        fit(ArchitectureSpec(name="convnet"), FC)


@pytest.mark.parametrize(
    ("text", "shape", "words"),
    [
        (
            "convnet",
            (3, 28, 28),
            r"images of 28 x 28, which become 4 x 4 places in convnet, but 7.weight takes 25 places of 16",
        ),
        ("convnet", (3, 9, 32), r"images of 9 x 32, of which nothing is left in convnet, but 7.weight takes 25 places"),
        ("convnet", (1, 32, 32), r"convnet takes images of 3 channels"),
        ("convnet", (3, 32, 35), None),
    ],
)
def test_images_that_give_another_number_of_places_are_refused(text, shape, words):
    facts = DatasetFacts(id="data", title="Data", splits={"train": 5}, shape=shape, classes=10)
    module = lenet()
    if words is None:
        check_request(surface_request(text, axis(1)), shapes_of(module), facts)
        assert load(ArchitectureSpec.parse(text), arrays_of(module))(torch.zeros(1, *shape)).shape == (1, 10)
        return
    with pytest.raises(InvalidRequest, match=words) as caught:
        check_request(surface_request(text, axis(1)), shapes_of(module), facts)
    assert caught.value.field == "data.dataset"


def test_a_surface_of_a_convnet_is_that_of_torch_s_own_modules():
    theirs = averaged()
    rng = np.random.default_rng(3)
    examples = Examples.from_arrays(rng.integers(0, 256, (70, 16, 16, 3), dtype=np.uint8), rng.integers(0, 10, 70))
    request = surface_request("convnet:head=average,padding=half", axis(2, 0.5), axis(2, 0.5))
    evaluator = Evaluator(request, arrays_of(theirs), examples)
    x, y = evaluator.directions()
    surface = compute_surface(request, arrays_of(theirs), examples)
    images = torch.from_numpy(examples.x).permute(0, 3, 1, 2).double() / 255
    origin = [p.double() for p in theirs.parameters()]
    for row, beta in enumerate(surface.y):
        for column, alpha in enumerate(surface.x):
            for p, w, dx, dy in zip(theirs.parameters(), origin, x, y, strict=True):
                p.data = w + alpha * torch.from_numpy(dx).double() + beta * torch.from_numpy(dy).double()
            expected = functional.cross_entropy(theirs(images), torch.from_numpy(examples.y).long())
            assert surface.loss[row, column] == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.reference
def test_some_cells_of_the_mnist_convnet_on_all_images(weights, recorded, arrays):
    """The centre and two corners: the loss within 1e-5 relative, and the number of images classified rightly exact."""
    golden, examples = recorded(GOLDEN), Examples.from_arrays(*arrays("mnist/train_60000.npz"))
    request = surface_request(
        "convnet:pool_size=3", axis(15), axis(15), preprocessing=HALF, loss="multi_margin", from_file=True
    )
    evaluator, cells = Evaluator(request, weights(f"{GOLDEN}.pt"), examples, golden), [(7, 7), (0, 14), (14, 0)]
    tally = evaluator.tally(cells, 0, 60_000)
    np.testing.assert_allclose(tally.loss_sum / 60_000, [golden.loss[cell] for cell in cells], rtol=1e-5)
    np.testing.assert_array_equal(tally.correct, [round(golden.accuracy[cell] * 600) for cell in cells])
