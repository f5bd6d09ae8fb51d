"""`--architecture torchvision:NAME` and `timm:NAME`, with small stand-ins of the libraries' interface: the real ones are not run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from cli.library_networks import LibraryNetwork, classes
from landscape_core import formats
from landscape_core.catalogue import resolve
from landscape_core.errors import InvalidRequest

NETWORKS = """
from torch import nn


class Net(nn.Module):
    def __init__(self, num_classes, width):
        super().__init__()
        self.stem = nn.Linear(784, width)
        self.head = nn.Linear(width, num_classes)

    def forward(self, x):
        return self.head(self.stem(x.flatten(1)).relu())


def make(name, num_classes=1000, width=8):
    if name != "tiny.a1":
        raise ValueError(f"Unknown model {name}")
    return Net(num_classes, width)
"""

TORCHVISION = {
    "torchvision/__init__.py": '__version__ = "0.0"',
    "torchvision/networks.py": NETWORKS,
    "torchvision/models.py": """
from torchvision.networks import make

def get_model(name, *, weights="DEFAULT", **config):
    assert weights is None, "weights would be downloaded"
    return make(name, **config)
""",
}

TIMM = {
    "timm/__init__.py": """
from timm.networks import make
__version__ = "0.1"

def create_model(model_name, pretrained=True, **kwargs):
    assert pretrained is False, "weights would be downloaded"
    return make(model_name, **kwargs)
""",
    "timm/networks.py": NETWORKS,
}


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    shapes = {"stem.weight": (8, 784), "stem.bias": (8,), "head.weight": (10, 8), "head.bias": (10,)}
    tensors = {name: random.normal(0, 0.1, shape).astype(np.float32) for name, shape in shapes.items()}
    save_file(tensors, tmp_path / "net.safetensors")
    return tmp_path / "net.safetensors"


def _compute(checkpoint: Path, architecture: str, *installed: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """The command in a process that finds these packages."""
    packages = checkpoint.parent / "packages"
    for path, text in (item for package in installed for item in package.items()):
        (packages / path).parent.mkdir(parents=True, exist_ok=True)
        (packages / path).write_text(text)
    words = [checkpoint, "--architecture", architecture, "--dataset", "fashion-mnist-sample", "--examples", "20"]
    words += ["--grid", "-1:1:3", "--curve", "--out", checkpoint.parent / "out.npz"]
    return subprocess.run(
        [sys.executable, "-m", "cli.main", "compute", *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        timeout=250,
        env=os.environ | {"PYTHONPATH": f"{packages}{os.pathsep}{Path(__file__).parents[2]}"},
    )


@pytest.mark.slow
@pytest.mark.parametrize(("library", "package"), [("torchvision", TORCHVISION), ("timm", TIMM)])
def test_a_library_s_network_gets_the_checkpoint_s_classes_and_is_computed(checkpoint, library, package):
    run = _compute(checkpoint, f"{library}:tiny.a1,width=8", package)
    assert run.returncode == 0, run.stderr
    surface = formats.load(checkpoint.parent / "out.npz")
    assert np.isfinite(surface.loss).all()
    assert surface.request is not None
    assert json.loads(surface.request.architecture.model_dump_json()) == {"name": f"{library}:tiny.a1", "options": {"width": 8}}
    assert surface.provenance["library"] == f"{library} {'0.0' if library == 'torchvision' else '0.1'}"


@pytest.mark.slow
def test_what_is_missing_or_does_not_work_is_said_in_a_sentence(checkpoint):
    broken = {"torchvision/__init__.py": 'raise RuntimeError("operator torchvision::nms does not exist")'}
    cases = [
        ("timm:tiny", [], "timm is not installed here; install it, or name a network of your own as FILE.py:FACTORY."),
        (
            "torchvision:tiny",
            [broken],
            "torchvision is installed but cannot be imported (RuntimeError: operator torchvision::nms",
        ),
        ("timm:other", [TIMM], "timm:other: ValueError: Unknown model other."),
    ]
    for architecture, installed, sentence in cases:
        run = _compute(checkpoint, architecture, *installed)
        assert (run.returncode, run.stdout, run.stderr.count("\n")) == (2, "", 1), run.stderr
        assert sentence in run.stderr


@pytest.mark.parametrize("text", ["timm:", "timm:a b", "torchvision:../x", f"timm:{'a' * 80}", "timm:a:b"])
def test_names_that_are_none(text):
    with pytest.raises(InvalidRequest, match="named as torchvision:resnet18"):
        LibraryNetwork.typed(text)


def test_no_server_takes_such_a_name_and_classes_come_from_the_last_layer():
    with pytest.raises(InvalidRequest):
        resolve(LibraryNetwork.typed("timm:vit_tiny_patch16_224,img_size=32").spec)
    assert LibraryNetwork.typed("timm:vit_tiny_patch16_224,img_size=32").options == {"img_size": 32}
    network = {"stem.weight": (4, 3, 3, 3), "classifier.1.weight": (1000, 512, 1, 1), "classifier.1.bias": (1000,)}
    assert classes(network, {"classifier.1.weight": (5, 512, 1, 1), "stem.weight": (4, 3, 3, 3)}) == 5
    assert classes(network, {"classifier.1.weight": (1000, 512, 1, 1)}) is None
    assert classes(network, {"stem.weight": (4, 3, 3, 3)}) is None
    assert classes({"scale": (3,)}, {"scale": (3,)}) is None
