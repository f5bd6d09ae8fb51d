"""The gallery's surfaces of the paper's two networks: recomputed here and there, and of the published ones' kind."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cli.main import main
from landscape_core import formats
from landscape_core.plane_curvature import negative_curvature
from landscape_core.results import Surface

GALLERY = Path(__file__).parents[3] / "app" / "gallery"


def kept(name: str) -> Surface:
    file = GALLERY / name / "surface.npz"
    if not file.exists():
        pytest.skip(f"the gallery has no {name} yet: recipes/paper_pair.py --gallery app/gallery makes it")
    return formats.load(file)


@pytest.mark.slow
@pytest.mark.reference
@pytest.mark.parametrize("name", ["resnet56", "resnet56_noshort"])
def test_cells_of_the_gallery_s_surfaces_are_the_networks(reference, tmp_path, name):
    surface = kept(name)
    row, column = (size // 3 for size in surface.loss.shape)
    x, y = surface.x[column], surface.y[row]
    words = [
        "compute",
        str(reference / f"paper_checkpoints/{name}.t7"),
        "--dataset",
        str(reference / "cifar10/train_20000.npz"),
    ]
    words += ["--preprocessing", "cifar10-li2018", "--examples", str(surface.request.data.examples)]
    assert main([*words, f"--grid={x}:{x}:1x{y}:{y}:1", "--out", str(tmp_path / "cell.npz")]) == 0
    again = formats.load(tmp_path / "cell.npz")
    assert again.loss[0, 0] == pytest.approx(surface.loss[row, column], rel=1e-4)
    centre = surface.loss[np.abs(surface.y).argmin(), np.abs(surface.x).argmin()]
    assert again.provenance["own_loss"] == pytest.approx(centre, rel=1e-4)


def test_the_gallery_s_surfaces_are_of_the_published_kind():
    skip, no_skip = kept("resnet56"), kept("resnet56_noshort")
    assert 10 < np.nanmax(skip.loss) < 100 < np.nanmax(no_skip.loss) < 1500
    assert negative_curvature(skip, radius=0.3).share < 0.05
    assert negative_curvature(no_skip, radius=0.3).share > 0.3
