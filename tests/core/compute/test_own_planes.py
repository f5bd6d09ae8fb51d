"""The planes and grids that `lc.landscape` takes, what it takes where none is given, and where its surface goes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import landscape_core as lc
from landscape_core.requests import Axis, Grid, Normalisation, PlaneSpec, RandomDirection

from .requested import axis
from .small_models import GRID, classifier, cross_entropy, cut, points


@pytest.mark.parametrize(
    ("plane", "grid", "shape"),
    [
        (None, None, (25, 25)),
        (None, "-1:1:3", (1, 3)),
        (None, Grid(x=axis(3), y=axis(2)), (2, 3)),
        ({"x": {"kind": "random", "seed": 5}}, None, (1, 25)),
        ({"x": {"seed": 5, "kind": "random"}, "y": {"seed": 6, "kind": "random"}}, {"x": axis(2), "y": axis(4)}, (4, 2)),
        (PlaneSpec(x=RandomDirection(seed=1)), {"x": {"start": 0, "stop": 1, "points": 2}}, (1, 2)),
    ],
)
def test_planes_and_grids_in_every_form(plane, grid, shape):
    model, (x, y) = nn.Linear(6, 3), points(3)
    surface = lc.landscape(model, cross_entropy, [(x, y)], plane=plane, grid=grid)
    assert surface.loss.shape == shape
    assert surface.is_curve == (shape[0] == 1)
    assert Grid.model_validate(surface.provenance["grid"]).shape == shape


def test_the_defaults_are_those_that_are_promised():
    model, (x, y) = classifier(), points()
    found = lc.landscape(model, cross_entropy, cut(x, y))
    plane = PlaneSpec(
        x=RandomDirection(seed=1), y=RandomDirection(seed=2), normalisation=Normalisation(norm="filter", ignore="biasbn")
    )
    grid = Grid(x=Axis(start=-1, stop=1, points=25), y=Axis(start=-1, stop=1, points=25))
    expected = lc.landscape(model, cross_entropy, cut(x, y), plane=plane, grid=grid)
    np.testing.assert_array_equal(found.loss, expected.loss)
    assert PlaneSpec.model_validate(found.provenance["plane"]) == plane
    assert Grid.model_validate(found.provenance["grid"]) == grid
    assert found.provenance["parameters"] == sum(p.numel() for p in model.parameters())
    assert found.provenance["torch"] == torch.__version__


@pytest.mark.parametrize("suffix", [".npz", ".h5", ".csv", ".json", ".png"])
def test_a_surface_saves_itself(tmp_path, suffix):
    model, (x, y) = classifier(), points()
    surface = lc.landscape(model, nn.CrossEntropyLoss(), cut(x, y), grid=GRID)
    surface.save(str(tmp_path / f"a{suffix}"))
    if suffix not in {".csv", ".png"}:
        read = lc.load(str(tmp_path / f"a{suffix}"))
        np.testing.assert_array_equal(read.loss, surface.loss)
        np.testing.assert_array_equal(read.accuracy, surface.accuracy)
