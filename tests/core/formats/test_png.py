from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from matplotlib import image
from matplotlib.figure import Figure

from landscape_core import formats
from landscape_core.formats import png
from landscape_core.results import MEASURED, NOT_COMPUTED, NOT_FINITE, Surface

from .surfaces import bowl

SMALL = [(1, 1), (5, 1), (1, 5), (2, 2), (3, None), (1, None)]


def _changed(surface: Surface, **parts: object) -> Surface:
    return Surface(**{**surface.__dict__, **parts})


def _pixels(content: bytes) -> np.ndarray:
    return image.imread(io.BytesIO(content), format="png")[..., :3]


def _colourful(pixels: np.ndarray) -> float:
    """Share of the pixels left of the colour bar that are neither white, grey nor ink."""
    return float((np.ptp(pixels[110:, :1000], axis=-1) > 0.2).mean())


@pytest.mark.parametrize("shape", [*SMALL, (51, 51), (7, 5), (31, None)])
def test_every_shape_gives_a_picture_of_the_right_size(shape):
    pixels = _pixels(png.render_png(bowl(*shape)))
    assert pixels.shape == (630, 1200, 3)
    assert pixels.min() < 0.3


def test_the_same_surface_gives_the_same_bytes_in_threads_too():
    surface = bowl(9, 9)
    with ThreadPoolExecutor(4) as threads:
        pictures = set(threads.map(png.render_png, [surface] * 6))
    assert pictures == {formats.to_bytes(surface, ".png")}


def test_holes_stay_holes():
    whole = bowl(21, 21)
    loss, state = whole.loss.copy(), whole.state.copy()
    loss[5:16, 5:16], state[5:16, 5:16] = np.nan, NOT_FINITE
    full, holed = (_colourful(_pixels(png.render_png(s))) for s in (whole, _changed(whole, loss=loss, state=state)))
    assert 0.1 < holed < 0.9 * full


def test_one_missing_corner_takes_its_four_facets_and_no_more():
    surface = bowl(5, 5)
    loss = surface.loss.copy()
    loss[2, 2] = np.nan
    facets = png._facets(surface.x, surface.y, loss, png._Scale.of(loss))
    assert len(facets._faces) == 16 - 4


@pytest.mark.parametrize(("low", "high", "log"), [(0.1, 9.9, False), (0.1, 10.1, True), (0.0, 1e9, False), (-1.0, 1e9, False)])
def test_two_decades_make_the_scale_logarithmic_and_the_axis_says_so(low, high, log):
    scale = png._Scale.of(np.array([[low, np.nan, high]]))
    assert scale.log is log
    assert ("log" in scale.title) is log


def test_nothing_measured_and_flat_and_huge_surfaces_are_drawn():
    surface = bowl(5, 5)
    nothing = {"loss": np.full((5, 5), np.nan), "state": np.full((5, 5), NOT_COMPUTED, np.uint8)}
    for parts in (nothing, {"loss": np.zeros((5, 5))}, {"loss": np.full((5, 5), 2.0)}, {"loss": surface.loss * 1e300}):
        assert _pixels(png.render_png(_changed(surface, **parts))).shape == (630, 1200, 3)


def test_a_lone_measurement_between_holes_is_drawn_as_holes():
    surface = bowl(3, 3)
    state = np.full((3, 3), NOT_COMPUTED, np.uint8)
    state[1, 1] = MEASURED
    loss = np.where(state == MEASURED, surface.loss, np.nan)
    assert _colourful(_pixels(png.render_png(_changed(surface, loss=loss, state=state)))) < 0.01


def test_titles_say_what_was_asked_and_what_is_missing():
    surface = bowl(3, 3)
    state = np.array([[0, 2, 1]] * 3, np.uint8)
    parts = {"state": state, "loss": np.where(state == 1, surface.loss, np.nan)}
    assert png._title(surface) == "mlp:activation=tanh  ·  fashion-mnist-sample train, 100 examples"
    assert png._subtitle(_changed(surface, **parts)) == (
        "filter-normalised directions: random 1, random 2  ·  3 × 3 points  ·  3 not computed  ·  3 not finite"
    )
    assert png._title(_changed(bowl(3, None), request=None)) == "Loss curve"


def test_a_dollar_in_a_title_is_not_mathematics():
    figure = Figure()
    assert figure.text(0, 0, "a$b$c$", parse_math=False).get_parse_math() is False
    surface = bowl(3, 3)
    data = surface.request.data.model_copy(update={"dataset": "a$b$c$^"})
    png.render_png(_changed(surface, request=surface.request.model_copy(update={"data": data})))


def test_a_fine_grid_is_drawn_by_every_kth_line_with_the_last():
    lines = png._lines(501)
    assert (lines[0], lines[-1]) == (0, 500)
    assert lines.size <= png.MAX_LINES + 1
    assert png._lines(121).tolist() == list(range(121))
