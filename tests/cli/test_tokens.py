"""Language models on the command line."""

from __future__ import annotations

import json
import re

import numpy as np
from safetensors.numpy import save_file

from landscape_core import formats
from tests.app.test_tokens import gpt_bytes, rows
from tests.cli.running import lossatlas
from tests.core.compute.transformer_files import gpt_file


def test_a_language_model_is_inspected_and_computed_with_its_perplexity(tmp_path):
    (tmp_path / "mini.safetensors").write_bytes(gpt_bytes())
    np.savez(tmp_path / "text.npz", x=rows(20))
    told = lossatlas("inspect", "mini.safetensors", folder=tmp_path)
    assert "This is gpt:heads=1: up to 6 tokens, vocabulary of 11, " in told.stdout
    assert "--architecture gpt:heads=1 --dataset TOKENS.npz" in told.stdout
    words = ("compute", "mini.safetensors", "--dataset", "text.npz", "--grid", "-1:1:3", "--curve", "--out", "out.npz")
    done = lossatlas(*words, "--architecture", "gpt:heads=2", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    surface = formats.load(tmp_path / "out.npz")
    own, perplexity = re.search(r"own loss ([\d.]+) \(perplexity ([\d.]+)\)", done.stdout).groups()
    assert float(own) == np.float64(f"{surface.loss[0, 1]:.6g}")
    assert abs(float(perplexity) / np.exp(surface.loss[0, 1]) - 1) < 1e-5
    assert json.loads(json.dumps(surface.provenance))["tokens_per_example"] == 5


def test_heads_that_have_to_be_said_are_asked_for_in_a_sentence(tmp_path):
    (tmp_path / "mini.safetensors").write_bytes(gpt_bytes())
    np.savez(tmp_path / "text.npz", x=rows(20))
    words = ("compute", "mini.safetensors", "--dataset", "text.npz", "--architecture", "gpt", "--out", "out.npz")
    failed = lossatlas(*words, folder=tmp_path)
    assert failed.returncode == 2
    assert failed.stderr == (
        "lossatlas: How many heads this gpt has cannot be told, because the width 8 is no multiple of 64; give the option "
        "heads: one of 1, 2, 4, 8.\n"
    )


def test_the_shipped_text_needs_no_file(tmp_path):
    tensors = gpt_file(8, blocks=1, vocabulary=256, context=64, inner=16, biases=False, head="tied")
    save_file(tensors, tmp_path / "bytes.safetensors")
    told = lossatlas("inspect", "bytes.safetensors", folder=tmp_path)
    assert "--architecture gpt:heads=1 --dataset devils-dictionary" in told.stdout
    words = (
        "compute",
        "bytes.safetensors",
        "--architecture",
        "gpt:heads=2",
        "--dataset",
        "devils-dictionary",
        "--examples",
        "8",
    )
    done = lossatlas(*words, "--grid", "0:0:1", "--curve", "--out", "out.npz", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "(perplexity " in done.stdout
