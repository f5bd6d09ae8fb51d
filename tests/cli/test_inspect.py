"""`lossatlas inspect`: what is in a checkpoint."""

from __future__ import annotations

import hashlib
import json
import shlex

import numpy as np
import pytest
from safetensors.numpy import save_file

from app.schemas import CheckpointInfo
from cli.inspecting import printable
from tests.cli.running import REFERENCE, lossatlas, mlp_tensors, needs_reference, save_mlp


class TestReferenceCheckpoints:
    pytestmark = needs_reference

    @pytest.mark.parametrize(
        ("name", "first", "tensors"),
        [
            ("paper_checkpoints/resnet56.t7", "resnet56", 287),
            ("paper_checkpoints/resnet56_noshort.t7", "resnet56_noshort", 277),
            ("checkpoints/resnet20-12fca82f.th", "resnet20:shortcut=A", 97),
            ("checkpoints/uva_resnet_lightning.ckpt", "uva_resnet", 120),
            ("golden_surfaces/mnist_mlp_784_128_10_ce.pt", "mlp", 4),
        ],
    )
    def test_are_recognised(self, name, first, tensors):
        file = REFERENCE / name
        run = lossatlas("inspect", file, "--json")
        assert (run.returncode, run.stderr) == (0, "")
        info = CheckpointInfo.model_validate_json(run.stdout)
        assert info.id == hashlib.sha256(file.read_bytes()).hexdigest()
        assert (info.state, info.filename, info.size_bytes) == ("ready", file.name, file.stat().st_size)
        assert info.tensors == tensors
        assert info.candidates[0].text == first
        assert info.candidates[0].macs_per_example > 10_000
        assert info.parameters is not None
        assert info.parameters > 10_000

    def test_the_paper_s_network_is_described_in_words(self):
        run = lossatlas("inspect", REFERENCE / "paper_checkpoints/resnet56.t7")
        assert (run.returncode, run.stderr) == (0, "")
        assert "This is resnet56: input 3 x 32 x 32, 10 classes" in run.stdout
        assert "acc 93.66" in run.stdout
        assert "torch legacy" in run.stdout
        assert max(map(len, run.stdout.splitlines()[:-1])) <= 100

    def test_a_lightning_file_is_read_though_nothing_fits(self):
        file = REFERENCE / "refuse/lightning_attributedict.ckpt"
        run = lossatlas("inspect", file, "--json")
        assert run.returncode == 0
        info = CheckpointInfo.model_validate_json(run.stdout)
        assert (info.state, info.candidates) == ("ready", ())
        assert any("No catalogued architecture" in warning for warning in info.warnings)
        described = lossatlas("inspect", file)
        assert described.returncode == 0
        assert "No catalogued architecture" in " ".join(described.stdout.split())

    @pytest.mark.parametrize("name", ["git_lfs_pointer.pt", "torchscript.jit"])
    def test_a_rejected_file_is_said_in_both_ways(self, name):
        file = REFERENCE / "refuse" / name
        run = lossatlas("inspect", file, "--json")
        assert run.returncode == 2
        info = CheckpointInfo.model_validate_json(run.stdout)
        assert info.state == "rejected"
        assert run.stderr == f"lossatlas: {info.problem}\n"
        plain = lossatlas("inspect", file)
        assert (plain.returncode, plain.stdout, plain.stderr) == (2, "", run.stderr)


def test_the_command_it_gives_can_be_run(tmp_path):
    save_mlp(tmp_path / "my net's.safetensors")
    run = lossatlas("inspect", "my net's.safetensors", folder=tmp_path, cold=True)
    assert run.returncode == 0, run.stderr
    words = shlex.split(run.stdout.splitlines()[-1])
    assert words[:3] == ["lossatlas", "compute", "my net's.safetensors"]
    assert words[words.index("--dataset") + 1] == "fashion-mnist-sample"
    words[words.index("--grid") + 1] = "-1:1:3x-1:1:3"
    computed = lossatlas(*words[1:], folder=tmp_path)
    assert computed.returncode == 0, computed.stderr
    assert (tmp_path / "my net's.surface.npz").is_file()


def test_numbers_that_are_not_finite_are_said(tmp_path):
    tensors = mlp_tensors()
    tensors["layers.0.bias"][3] = np.nan
    save_file(tensors, tmp_path / "net.safetensors")
    run = lossatlas("inspect", tmp_path / "net.safetensors", "--json")
    assert run.returncode == 0
    assert len(json.loads(run.stdout)["warnings"]) == 1


def test_what_a_terminal_might_obey_is_not_printed(tmp_path):
    name = "net\x1b]0;owned\x07.safetensors"
    save_mlp(tmp_path / name)
    run = lossatlas("inspect", tmp_path / name)
    assert run.returncode == 0
    assert "\x1b" not in run.stdout.splitlines()[0]
    assert printable("a\x1b[31mb\u202ec") == "a\ufffd[31mb\ufffdc"
