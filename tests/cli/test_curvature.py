"""`lossatlas curvature`, as its user runs it."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from torch.nn import functional

from landscape_core import formats
from landscape_core.quantities import values
from landscape_core.requests import CurvatureSpec
from tests.cli.running import REFERENCE, lossatlas, mlp_tensors, needs_reference, save_mlp

SMALL = (784, 3, 10)
CHEAP = ("--trace-probes", 8, "--density-probes", 1, "--steps", 8)


def test_a_report_of_a_small_network(tmp_path):
    """Against autograd's full Hessian by the last layer's weights and the first's, of the images that were taken."""
    rng = np.random.default_rng(0)
    x, y = rng.random((60, 5), np.float32), rng.integers(0, 3, 60)
    np.savez(tmp_path / "rows.npz", x=x, y=y)
    checkpoint, out = save_mlp(tmp_path / "net.safetensors", widths=(5, 6, 3)), tmp_path / "report.json"
    words = ("--dataset", tmp_path / "rows.npz", "--in-order", "--examples", 50, "--architecture", "mlp:activation=tanh")
    run = lossatlas("curvature", checkpoint, *words, "--top", 2, "--trace-probes", 40, "--out", out, cold=True)
    assert (run.returncode, run.stderr.count("\n")) == (0, 1)  # one line says which preprocessing was taken
    told = json.loads(out.read_text())
    tensors = {name: torch.from_numpy(array) for name, array in mlp_tensors(widths=(5, 6, 3)).items()}

    def loss(flat):
        first, last = flat[:30].view(6, 5), flat[30:].view(3, 6)
        hidden = torch.tanh(functional.linear(torch.from_numpy(x[:50]), first, tensors["layers.0.bias"]))
        outputs = functional.linear(hidden, last, tensors["layers.2.bias"])
        return functional.cross_entropy(outputs, torch.from_numpy(y[:50]))

    start = torch.cat([tensors["layers.0.weight"].flatten(), tensors["layers.2.weight"].flatten()])
    values = np.linalg.eigvalsh(torch.autograd.functional.hessian(loss, start).numpy().astype(float))
    scale = np.abs(values).max()
    np.testing.assert_allclose(told["largest"], values[::-1][:2], atol=2e-4 * scale)
    np.testing.assert_allclose(told["smallest"], values[:2], atol=2e-4 * scale)
    assert abs(told["trace"]["value"] - values.sum()) < 4 * told["trace"]["stderr"]
    assert told["loss"] == pytest.approx(loss(start).item(), rel=1e-5)
    assert (told["parameters"], told["examples"]) == (48, 50)
    assert told["provenance"]["architecture"] == {"name": "mlp", "options": {"activation": "tanh"}}
    for line in ("Loss", "Parameters", "Largest eigenvalues", "|λmin/λmax|", "Trace", "Density", f"Wrote {out}."):
        assert line in run.stdout


def test_code_of_ones_own_and_a_picture(tmp_path):
    save_mlp(tmp_path / "net.safetensors", widths=SMALL)
    (tmp_path / "net.py").write_text(
        "from torch import nn\n\n\nclass Net(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        "        self.layers = nn.Sequential(nn.Linear(784, 3), nn.Tanh(), nn.Linear(3, 10))\n\n"
        "    def forward(self, x):\n        return self.layers(x.flatten(1))\n"
    )
    words = ("net.safetensors", "--dataset", "fashion-mnist-sample", "--examples", 40, "--top", 1, *CHEAP)
    own = lossatlas("curvature", *words, "--architecture", "net.py:Net", "--out", "own.json", folder=tmp_path)
    known = lossatlas("curvature", *words, "--architecture", "mlp:activation=tanh", "--out", "known.png", folder=tmp_path)
    assert (own.returncode, known.returncode) == (0, 0), own.stderr + known.stderr
    assert (tmp_path / "known.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads((tmp_path / "own.json").read_text())["provenance"]["code"] == "net.py:Net"
    said = [[line for line in run.stdout.splitlines() if line.startswith(("Loss", "Param"))] for run in (own, known)]
    assert said[0] == said[1]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--out", "a.npz"), "--out takes a file that ends in .json or .png, not '.npz'."),
        (("--out", "nowhere/a.json"), "Nothing can be written to nowhere/a.json"),
        (("--out", "net.json"), "would overwrite net.json"),
        (("--examples", 10**7), "10,000,000 examples were asked for"),
        (("--top", 21), "21 is not in the range 1<=x<=20"),
        (("--seed", 1, "--in-order"), "--in-order takes no permutation"),
        (("--architecture", "resnet20"), "does not fit resnet20"),
    ],
)
def test_refusals(tmp_path, words, says):
    save_mlp(tmp_path / "net.json", widths=SMALL)
    run = lossatlas("curvature", "net.json", "--dataset", "fashion-mnist-sample", *words, folder=tmp_path)
    assert run.returncode == 2
    assert run.stderr.startswith("lossatlas: ")
    assert run.stderr.count("\n") == 1
    assert says in run.stderr
    assert not (tmp_path / "a.npz").exists()


def test_a_network_that_is_not_finite(tmp_path):
    tensors = mlp_tensors(widths=SMALL)
    tensors["layers.2.bias"] = np.full(10, np.nan, np.float32)
    save_file(tensors, tmp_path / "nan.safetensors")
    words = ("--dataset", "fashion-mnist-sample", "--examples", 40, "--out", "a.json")
    run = lossatlas("curvature", "nan.safetensors", *words, folder=tmp_path)
    assert run.returncode == 2
    assert "not finite at this checkpoint, so its Hessian has no eigenvalues" in run.stderr
    assert not (tmp_path / "a.json").exists()


def test_eigenvalues_at_every_cell(tmp_path):
    """The page's own command on a smaller grid; the cell θ* has the eigenvalues of `lossatlas curvature` there."""
    page = (Path(__file__).parents[2] / "docs" / "curvature.md").read_text()
    (line,) = re.findall(r"^```sh\n(.*?)\n```$", page, re.DOTALL | re.MULTILINE)
    words = shlex.split(line.replace("5x-1:1:5", "3x0:0:1").replace("500", "40").replace("64", "30"))[1:]
    save_mlp(tmp_path / "net.safetensors", widths=SMALL)
    run = lossatlas(*words, folder=tmp_path)
    assert run.returncode == 0, run.stderr
    surface = formats.load(tmp_path / "curved.npz")
    assert surface.request is not None
    assert surface.request.curvature == CurvatureSpec(examples=30)
    assert (surface.examples == 40).all()
    words = ("net.safetensors", "--dataset", "fashion-mnist-sample", "--examples", 30, "--top", 1, *CHEAP, "--out", "a.json")
    assert lossatlas("curvature", *words, folder=tmp_path).returncode == 0
    told = json.loads((tmp_path / "a.json").read_text())
    assert surface.quantities["max_eig"][0, 1] == pytest.approx(told["largest"][0], rel=1e-3)
    assert surface.quantities["min_eig"][0, 1] == pytest.approx(told["smallest"][0], rel=2e-2)
    assert lossatlas("convert", "curved.npz", "curved.h5", folder=tmp_path).returncode == 0
    with h5py.File(tmp_path / "curved.h5") as file:
        assert file["max_eig"][:].ravel().tolist() == surface.quantities["max_eig"].ravel().tolist()


@pytest.mark.slow
@needs_reference[0]
@needs_reference[1]
def test_the_papers_networks_are_convex_with_shortcuts_and_chaotic_without(tmp_path):
    """Li et al. 2018, figure 7, away from the minimum: |λmin/λmax| stays small with shortcuts, and is near one without."""
    shares = {}
    for name in ("resnet56", "resnet56_noshort"):
        words = ("--dataset", REFERENCE / "cifar10/train_20000.npz", "--preprocessing", "cifar10-li2018", "--examples", 8)
        words = ("--architecture", name, *words, "--curve", "--grid", "0.8:0.8:1", "--curvature", 8, "--out", f"{name}.npz")
        run = lossatlas("compute", REFERENCE / f"paper_checkpoints/{name}.t7", *words, folder=tmp_path)
        assert run.returncode == 0, run.stderr
        shares[name] = values(formats.load(tmp_path / f"{name}.npz"), "negative_curvature").item()
    assert 0 < shares["resnet56"] < 0.3 < shares["resnet56_noshort"]
