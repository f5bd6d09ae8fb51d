"""`lossatlas flatness`, and `lossatlas compute --align`: the barrier between two files of the same network."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from landscape_core import formats
from landscape_core.flatness import Flatness
from landscape_core.results import ESTIMATED, ESTIMATION_ERROR

from .running import REFERENCE, lossatlas, measured, mlp_tensors, needs_reference, save_file

FASHION = REFERENCE / "fashion_mnist_checkpoints"


def refused(*words: object) -> str:
    run = lossatlas("flatness", *words, cold=True)
    assert (run.returncode, run.stdout) == (2, "")
    assert len(run.stderr.splitlines()) == 1, run.stderr
    return run.stderr


def test_the_numbers_are_those_of_the_core(tmp_path: Path) -> None:
    surface = measured(9, 9)
    surface = formats.load(_saved(surface, tmp_path))
    run = lossatlas("flatness", tmp_path / "a.npz", "--level", "0.5", "--epsilon", "0.5", "--json")
    assert Flatness.model_validate_json(run.stdout) == surface.flatness(0.5, 0.5)
    text = lossatlas("flatness", tmp_path / "a.npz", "--level", "0.5").stdout
    assert re.search(r"^Level +0\.5 \(as asked for\)$", text, re.MULTILINE)
    assert re.search(
        r"^Basin width along η +2\. It runs into the edge of the grid, so it is at least this\.$", text, re.MULTILINE
    )
    assert re.search(r"^ε-sharpness in the plane +6\.25 % \(ε = 0\.25\)$", text, re.MULTILINE)
    assert "Barrier" not in text


def test_estimates_are_told(tmp_path: Path) -> None:
    whole = measured(5, 5)
    state = whole.state.copy()
    state[1] = ESTIMATED
    file = _saved(replace(whole, state=state, quantities={ESTIMATION_ERROR: np.where(state == ESTIMATED, 0.5, 0.0)}), tmp_path)
    assert re.search(
        r"^Estimates +5 of 25 cells are estimated, not measured; .* by 0\.5 ", lossatlas("flatness", file).stdout, re.M
    )
    assert "Estimates" not in lossatlas("flatness", _saved(whole, tmp_path)).stdout


def test_what_cannot_be_measured_is_refused(tmp_path: Path) -> None:
    file = _saved(measured(5, 5), tmp_path)
    assert "The level should be above the loss at the centre, 0, but -1 came." in refused(file, "--level", "-1")
    assert "epsilon should be a positive number, but 0.0 came." in refused(file, "--epsilon", "0")
    assert "There is no file" in refused(tmp_path / "none.npz")
    (tmp_path / "text.npz").write_text("no surface")
    refused(tmp_path / "text.npz")


def test_a_permuted_copy_is_matched_on_the_command_line(tmp_path: Path) -> None:
    own = mlp_tensors(widths=(784, 16, 12, 10))
    one, two = np.random.default_rng(1).permutation(16), np.random.default_rng(2).permutation(12)
    other = {name: array.copy() for name, array in own.items()}
    for layer, order in ((0, one), (2, two)):
        other |= {name: other[name][order] for name in (f"layers.{layer}.weight", f"layers.{layer}.bias")}
        after = f"layers.{layer + 2}.weight"
        other[after] = np.ascontiguousarray(other[after][:, order])
    for name, tensors in (("one.safetensors", own), ("other.safetensors", other)):
        save_file(tensors, tmp_path / name)
    words = ["compute", tmp_path / "one.safetensors", "--dataset", "fashion-mnist-sample", "--examples", "50", "--curve"]
    words += ["--grid", "0:1:3", "--x", f"towards:{tmp_path / 'other.safetensors'}", "--out", tmp_path / "a.npz"]
    run = lossatlas(*words, "--align")
    assert run.returncode == 0, run.stderr
    assert "barrier 0 above the line of the ends" in run.stdout
    curve = formats.load(tmp_path / "a.npz")
    assert np.ptp(curve.loss) == 0
    assert curve.provenance["directions"]["x_aligned_distance"] == 0 < curve.provenance["directions"]["x_unaligned_distance"]
    text = lossatlas("flatness", tmp_path / "a.npz").stdout
    assert re.search(r"^Barrier along δ +ends [\d.]+ and [\d.]+, highest", text, re.MULTILINE)
    assert re.search(r"^  above the line of the ends +0$", text, re.MULTILINE)
    random = [word if not str(word).startswith("towards:") else "random:1" for word in words]
    run = lossatlas(*random, "--align")
    assert run.returncode == 2
    assert "--align is for directions towards another checkpoint" in run.stderr


class TestReference:
    """Two real networks of one kind, trained by SGD and by Adam."""

    pytestmark = needs_reference

    @pytest.mark.parametrize("align", [(), ("--align",)])
    def test_sgd_and_adam_ended_in_one_basin_with_their_units_in_one_order(
        self, tmp_path: Path, align: tuple[str, ...]
    ) -> None:
        words = ["compute", FASHION / "mlp_sgd.tar", "--dataset", "fashion-mnist-sample", "--split", "test", "--curve"]
        words += ["--x", f"towards:{FASHION / 'mlp_adam.tar'}", "--grid", "0:1:11", "--out", tmp_path / "a.npz"]
        run = lossatlas(*words, *align)
        assert run.returncode == 0, run.stderr
        curve = formats.load(tmp_path / "a.npz")
        barrier = curve.flatness().barriers[0]
        assert barrier.above_line == barrier.above_higher_end == 0
        assert curve.loss.min() < min(barrier.start_loss, barrier.end_loss) - 0.01
        about = curve.provenance["directions"]
        assert json.dumps(about).count("x_units") == (2 if align else 0)
        assert about.get("x_units_moved", 0) == 0


def _saved(surface, folder: Path) -> Path:
    surface.save(folder / "a.npz")
    return folder / "a.npz"
