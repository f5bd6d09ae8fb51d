"""`lossatlas compute --architecture file.py:factory`: the user's own network, on the user's own machine and nowhere else."""

from __future__ import annotations

import hashlib
import json
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from cli.main import main
from cli.own_code import OwnCode
from landscape_core import formats
from landscape_core.catalogue import resolve
from landscape_core.errors import InvalidRequest
from landscape_core.requests import SurfaceRequest
from tests.cli.running import save_mlp

SAMPLE = (
    "--dataset",
    "fashion-mnist-sample",
    "--examples",
    "50",
    "--grid",
    "-1:1:3x-1:1:2",
    "--preprocessing",
    "fashion-mnist",
)

PERCEPTRON = """
from torch import nn

from neighbour import WIDTHS


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        first, hidden, last = WIDTHS
        self.layers = nn.ModuleList([nn.Linear(first, hidden), nn.ReLU(), nn.Linear(hidden, last)])

    def forward(self, x):
        x = x.view(x.size(0), -1)
        for layer in self.layers:
            x = layer(x)
        return x


def build():
    return Net()
"""

CONVOLUTIONAL = """
import torch
from torch import nn


def build():
    return nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.MaxPool2d(4), Flat(), nn.Linear(108, 10))


class Flat(nn.Module):
    def forward(self, x):
        return x.view(x.size(0), -1)  # as most code does; it needs images that are laid out channels first
"""


@pytest.fixture(autouse=True)
def _path_and_modules_as_before(monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    for name in [name for name in sys.modules if name == "neighbour" or name.startswith("lossatlas_own_")]:
        del sys.modules[name]


def _compute(*words: object) -> None:
    assert main(["compute", *map(str, words)]) == 0


@pytest.fixture
def net(tmp_path) -> Path:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "neighbour.py").write_text("WIDTHS = (784, 16, 10)\n")
    (tmp_path / "code" / "net.py").write_text(PERCEPTRON)
    return tmp_path / "code" / "net.py"


@pytest.mark.parametrize("factory", ["build", "Net"])
def test_the_same_network_in_one_s_own_code_gives_the_same_surface(tmp_path, net, factory):
    checkpoint = save_mlp(tmp_path / "net.safetensors")
    _compute(checkpoint, *SAMPLE, "--architecture", "mlp", "--out", tmp_path / "theirs.npz")
    _compute(checkpoint, *SAMPLE, "--architecture", f"{net}:{factory}", "--out", tmp_path / "own.npz")
    theirs, ours = formats.load(tmp_path / "theirs.npz"), formats.load(tmp_path / "own.npz")
    # the catalogue's names are layers.0 and layers.1, this network's layers.0 and layers.2: other directions, the same network
    assert ours.provenance["own_loss"] == pytest.approx(theirs.provenance["own_loss"], rel=1e-6)
    assert ours.provenance["own_accuracy"] == theirs.provenance["own_accuracy"]
    digest = hashlib.sha256(net.read_bytes()).hexdigest()
    assert ours.request is not None
    assert ours.request.architecture.name == f"net.py:{factory}"
    assert ours.request.architecture.options == {"code": digest[:16]}
    assert (ours.provenance["code"], ours.provenance["code_sha256"]) == (f"net.py:{factory}", digest)
    assert ours.request.checkpoint == hashlib.sha256(checkpoint.read_bytes()).hexdigest()


def test_the_same_names_and_directions_give_the_same_surface(tmp_path):
    """A ResNet-20 from a file of one's own, with the catalogue's names."""
    from landscape_core.catalogue.families.three_stage_resnets import resnet_tensors

    rng = np.random.default_rng(0)
    tensors = {}
    for name, shape in resnet_tensors(20, conv_shortcuts=True, channels=3, classes=4).items():
        if not name.endswith("num_batches_tracked"):
            scale = 1.0 if len(shape) == 1 else np.sqrt(2 / np.prod(shape[1:]))
            tensors[name] = (np.abs(rng.normal(1, 0.1, shape)) if len(shape) == 1 else scale * rng.normal(size=shape)).astype(
                np.float32
            )
    save_file(tensors, tmp_path / "net.safetensors")
    np.savez(tmp_path / "data.npz", x=rng.integers(0, 256, (40, 12, 12, 3), np.uint8), y=rng.integers(0, 4, 40))
    (tmp_path / "own.py").write_text(
        "from landscape_core.compute import CifarResNet\n\n\ndef build():\n    return CifarResNet(20, 'conv', 3, 4)\n"
    )
    words = (tmp_path / "net.safetensors", "--dataset", tmp_path / "data.npz", "--grid", "-.5:.5:3x-.5:.5:2")
    for name, out in (("resnet20", "theirs.npz"), (f"{tmp_path / 'own.py'}:build", "own.npz")):
        _compute(*words, "--preprocessing", "cifar10", "--architecture", name, "--out", tmp_path / out)
    theirs, ours = formats.load(tmp_path / "theirs.npz"), formats.load(tmp_path / "own.npz")
    np.testing.assert_allclose(ours.loss, theirs.loss, rtol=1e-5)
    np.testing.assert_array_equal(ours.accuracy, theirs.accuracy)
    assert theirs.request is not None
    assert ours.request is not None
    assert theirs.request.digest != ours.request.digest


def test_code_that_needs_channels_first_images(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "conv.py").write_text(CONVOLUTIONAL)
    shapes = {"0.weight": (3, 1, 3, 3), "0.bias": (3,), "4.weight": (10, 108), "4.bias": (10,)}
    shapes |= {f"1.{name}": (3,) for name in ("weight", "bias", "running_mean", "running_var")}
    tensors = {name: np.abs(rng.normal(size=shape)).astype(np.float32) for name, shape in shapes.items()}
    save_file(tensors, tmp_path / "net.safetensors")
    words = (tmp_path / "net.safetensors", *SAMPLE, "--architecture", f"{tmp_path / 'conv.py'}:build")
    _compute(*words, "--out", tmp_path / "a.json")
    assert np.isfinite(formats.load(tmp_path / "a.json").loss).all()


# -- refusals --------------------------------------------------------------------------------------------------------


@pytest.fixture
def said(tmp_path, capfd):
    """Runs a computation with code of one's own that must be refused, and gives what stands on stderr."""

    def run(code: str, factory: str = "build", *before: str, status: int = 2) -> str:
        file = tmp_path / "mine.py"
        file.write_text(code)
        save_mlp(tmp_path / "net.safetensors")
        words = ["compute", tmp_path / "net.safetensors", *SAMPLE, "--architecture", f"{file}:{factory}"]
        assert main([*before, *map(str, words), "--out", str(tmp_path / "a.npz")]) == status
        out, err = capfd.readouterr()
        assert out == ""
        assert not (tmp_path / "a.npz").exists()
        return err

    return run


NET = "from torch import nn\ndef build():\n    return nn.Sequential(nn.Flatten(), nn.Linear(784, 16), nn.ReLU(), nn.Linear(16, 10))\n"


@pytest.mark.parametrize(
    ("code", "factory", "sentence"),
    [
        ("x = 1\ny = x / 0\n", "build", "mine.py, line 2: ZeroDivisionError: division by zero."),
        ("def build(:\n", "build", "mine.py, line 1: SyntaxError: "),
        ("\n\nimport nothing_of_this_name\n", "build", "mine.py, line 3: ModuleNotFoundError: No module named"),
        ("import sys\nsys.exit(3)\n", "build", "mine.py, line 2: SystemExit: 3."),
        ("def build():\n    raise ValueError('no\\nluck')\n", "build", "mine.py, line 2: ValueError: no luck."),
        ("def build(width):\n    return width\n", "build", "mine.py:build: TypeError: build() missing 1 required"),
        ("build = 3\n", "build", "build is no function in mine.py"),
        ("", "build", "build is not there in mine.py; name one that gives the network"),
        ("def build():\n    return 3\n", "build", "mine.py:build should give a torch.nn.Module, but gave something of type int."),
        (NET, "build", "The checkpoint does not fit mine.py:build: the file lacks 1.weight, 1.bias, 3.weight and 1 more; it has layers.0"),
        (NET, "other", "other is not there in mine.py"),
        (NET, "not-a-name", "Code of your own is named as path/to/file.py:factory"),
        (NET, "b" * 80, "is too long a name"),
    ],
)  # fmt: skip
def test_code_that_does_not_do(said, code, factory, sentence):
    err = said(code, factory)
    assert err.startswith("lossatlas: ")
    assert err.count("\n") == 1
    assert sentence in err


FORWARD = """
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(784, 16), nn.ReLU(), nn.Linear(16, 10)])

    def forward(self, x):
        return {result}
"""


@pytest.mark.parametrize(
    ("result", "status", "sentence"),
    [
        ("self.layers[0](x)", 1, "mine.py, line 11: RuntimeError: mat1 and mat2 shapes cannot be multiplied"),
        (
            "x.flatten(1)[:, :4]",
            2,
            "mine.py:Net should give outputs of shape (2, 10 or more) for inputs of shape (2, 1, 28, 28)",
        ),
        ("[x]", 2, "but gave something of type list"),
    ],
)
def test_networks_that_do_not_take_the_data(said, result, status, sentence):
    err = said(FORWARD.format(result=result), "Net", status=status)
    assert sentence in err
    assert err.count("\n") == 1


def test_the_traceback_is_shown_on_demand(said):
    err = said("def build():\n    return inner()\ndef inner():\n    raise KeyError('deep')\n", "build", "--traceback")
    assert "Traceback (most recent call last)" in err
    assert 'mine.py", line 2, in build' in err
    assert err.splitlines()[-1] == "lossatlas: mine.py, line 4: KeyError: 'deep'."


def test_inspect_says_how_to_bring_a_network(tmp_path, net, capfd):
    tensors = {"layers.0.weight": np.ones((3, 1, 3, 3), np.float32), "head.weight": np.ones((10, 27), np.float32)}
    save_file(tensors, tmp_path / "odd.safetensors")
    assert main(["inspect", str(tmp_path / "odd.safetensors")]) == 0
    words = shlex.split(capfd.readouterr().out.splitlines()[-1])
    assert words[:2] == ["lossatlas", "compute"]
    words[words.index("--architecture") + 1] = f"{net}:build"
    words[words.index("--dataset") + 1] = "fashion-mnist-sample"
    assert main(words[1:]) == 2
    assert "The checkpoint does not fit net.py:build: the file lacks" in capfd.readouterr().err


def test_code_is_not_overwritten_by_its_surface(tmp_path, net, capfd):
    linked = tmp_path / "out.npz"
    linked.symlink_to(net)
    words = ["compute", save_mlp(tmp_path / "net.safetensors"), *SAMPLE, "--architecture", f"{net}:build", "--out", linked]
    assert main([str(word) for word in words]) == 2
    assert "--out would overwrite" in capfd.readouterr().err
    assert net.read_text() == PERCEPTRON


def test_what_is_stored_names_no_catalogued_architecture(tmp_path, net):
    code = OwnCode.typed(f"{net}:build")
    with pytest.raises(InvalidRequest, match=r"There is no architecture 'net\.py:build'"):
        resolve(code.spec)
    stored = SurfaceRequest.model_fields["architecture"].annotation
    assert stored.model_validate(json.loads(code.spec.canonical_json())) == code.spec
