"""`lossatlas convert`: what goes in comes out, in the form that is asked for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cli.asked import SUFFIXES
from cli.main import main
from landscape_core import formats
from landscape_core.formats import READABLE, WRITABLE
from tests.cli.running import REFERENCE, lossatlas, measured, needs_reference


def test_the_command_line_knows_every_form():
    assert SUFFIXES == WRITABLE


@pytest.mark.parametrize("source", READABLE)
def test_every_readable_form_becomes_every_writable_one(tmp_path, source, capfd):
    file = tmp_path / f"bowl{source}"
    formats.save(measured(4, 3), file)
    surface = formats.load(file)
    for suffix in WRITABLE:
        out = tmp_path / f"out{suffix}"
        assert main(["convert", str(file), str(out)]) == 0, capfd.readouterr()
        assert capfd.readouterr() == (f"Wrote {out}.\n", "")
        if suffix == ".h5":  # it holds the time at which it was made
            np.testing.assert_array_equal(formats.load(out).loss, surface.loss)
        else:
            assert out.read_bytes() == formats.to_bytes(surface, suffix)


def test_the_heights_are_those_that_are_asked_for(tmp_path):
    surface = measured(4, 3)
    surface.loss[:] += 1
    formats.save(surface, tmp_path / "a.npz")
    for suffix in (".vtp", ".stl", ".glb"):
        out = tmp_path / f"a{suffix}"
        run = lossatlas("convert", tmp_path / "a.npz", out, "--log", "--max-loss", "1.5", cold=True)
        assert (run.returncode, run.stderr) == (0, "")
        assert out.read_bytes() == formats.to_bytes(surface, suffix, log=True, max_loss=1.5)


class TestReference:
    pytestmark = needs_reference

    def test_the_original_s_export_is_one_command(self, tmp_path: Path):
        recorded = REFERENCE / "recorded_surfaces"
        out = tmp_path / "a.vtp"
        assert main(["convert", str(recorded / "zhenyu_31x31.h5"), str(out), "--log", "--max-loss", "10"]) == 0
        assert out.read_bytes() == formats.to_bytes(formats.load(recorded / "zhenyu_31x31.h5"), ".vtp", log=True, max_loss=10.0)

    def test_a_surface_with_holes_and_huge_values_has_every_shape(self, tmp_path: Path):
        file = REFERENCE / "recorded_surfaces/three_model_plane_with_nan_51x51.h5"
        for suffix in (".vtp", ".stl", ".glb"):
            assert main(["convert", str(file), str(tmp_path / f"a{suffix}"), "--log", "--max-loss", "10"]) == 0
            assert (tmp_path / f"a{suffix}").stat().st_size > 10_000


def test_either_split_of_a_file_that_holds_both(tmp_path, capfd):
    train = measured(4, 3)
    formats.save_splits(train, replace(train, loss=train.loss + 5), tmp_path / "both.h5")
    for options, lift in (((), 0), (("--split", "train"), 0), (("--split", "test"), 5)):
        assert main(["convert", str(tmp_path / "both.h5"), str(tmp_path / "one.npz"), *options]) == 0, capfd.readouterr()
        np.testing.assert_array_equal(formats.load(tmp_path / "one.npz").loss, train.loss + lift)
    formats.save(train, tmp_path / "train.h5")
    capfd.readouterr()
    assert main(["convert", str(tmp_path / "train.h5"), str(tmp_path / "two.npz"), "--split", "test"]) == 2
    assert capfd.readouterr().err == "lossatlas: The .h5 holds no test_loss, only train_loss.\n"
    assert not (tmp_path / "two.npz").exists()
