"""A surface as a Plotly figure: true axes, holes as holes, a mark at the network itself."""

from __future__ import annotations

import json

import numpy as np
import pytest

from landscape_core.estimate import surface_over
from landscape_core.results import NOT_COMPUTED, NOT_FINITE, Surface, Tally


def surface(nx: int, ny: int | None, low: float = 0.5) -> Surface:
    """½(α² + β²) + low over [-1, 1]², of four examples each."""
    x, y = np.linspace(-1, 1, nx), None if ny is None else np.linspace(-1, 1, ny)
    heights = 0.5 * (x[None, :] ** 2 + (np.zeros((1, 1)) if y is None else y[:, None] ** 2)) + low
    n = np.full(heights.shape, 4)
    return surface_over(x, y, Tally(n, 4 * heights, 4 * heights**2 + 3.0, np.full(heights.shape, 3)))


def test_a_surface_has_its_axes_and_the_network_marked():
    made = surface(5, 3).figure()
    picture, mark = made.data
    assert (picture.type, mark.type) == ("surface", "scatter3d")
    np.testing.assert_array_equal(picture.x, np.linspace(-1, 1, 5))
    np.testing.assert_array_equal(picture.y, [-1, 0, 1])
    np.testing.assert_array_equal(picture.z, surface(5, 3).loss)
    assert picture.connectgaps is False
    assert (mark.x[0], mark.y[0], mark.z[0]) == (0, 0, 0.5)
    scene = made.layout.scene
    assert (scene.xaxis.title.text, scene.yaxis.title.text) == ("α along δ", "β along η")
    assert scene.zaxis.title.text == "mean loss"


def test_holes_stay_holes_and_nothing_is_marked_in_them():
    whole = surface(3, 3)
    whole.loss[1, 1], whole.state[1, 1] = np.nan, NOT_FINITE
    whole.loss[0, 2], whole.state[0, 2] = np.nan, NOT_COMPUTED
    made = whole.figure()
    assert len(made.data) == 1
    assert json.loads(made.to_json())["data"][0]["type"] == "surface"
    np.testing.assert_array_equal(np.isnan(made.data[0].z), np.isnan(whole.loss))


def test_the_logarithm_of_what_is_not_positive_is_a_hole():
    made = surface(3, 3, low=0.0).figure(log=True)
    assert len(made.data) == 1  # the network's own loss is 0
    assert np.isnan(made.data[0].z[1][1])
    assert made.data[0].z[0][0] == pytest.approx(np.log10(1.0))
    assert made.layout.scene.zaxis.title.text == "log₁₀ loss"


def test_a_curve_has_its_band():
    curve = surface(5, None)
    band, line, mark = curve.figure().data
    np.testing.assert_array_equal(line.y, curve.loss[0])
    assert line.connectgaps is False
    np.testing.assert_allclose(band.y[:5], (curve.loss + 2 * curve.stderr)[0])
    assert (mark.x[0], mark.y[0]) == (0, 0.5)
    assert curve.figure().layout.xaxis.title.text == "α along δ"
    assert curve.figure(log=True).layout.yaxis.title.text == "log₁₀ loss"


@pytest.mark.parametrize(("nx", "ny", "title"), [(1, 5, "β along η"), (5, 1, "α along δ"), (1, 1, "α along δ")])
def test_a_grid_of_one_row_or_column_is_a_curve(nx, ny, title):
    made = surface(nx, ny).figure()
    assert {trace.type for trace in made.data} == {"scatter"}
    assert made.layout.xaxis.title.text == title
    assert not any(trace.mode == "markers" for trace in made.data)  # it keeps −1 along the other axis


def test_colours_may_be_chosen():
    assert surface(3, 3).figure(colour="Cividis").data[0].colorscale[0][1] == "#00224e"
