"""What a surface's cells may have values of, what follows from them, and how it colours the figure."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from landscape_core import quantities
from landscape_core.errors import InvalidRequest
from landscape_core.results import Surface

from .formats.surfaces import bowl


@pytest.fixture
def surface() -> Surface:
    low = np.array([[-2.0, 1.0, np.nan], [-1.0, 0.0, -3.0]])
    high = np.array([[4.0, 2.0, 5.0], [0.0, np.nan, -1.5]])
    class_2 = np.full((2, 3), 50.0)
    return replace(bowl(3, 2), quantities={"class_accuracy_2": class_2, "min_eig": low, "max_eig": high, "top5": class_2})


def test_every_name_is_described():
    stored = ["top5", "max_eig", "min_eig", "class_accuracy_0", "class_accuracy_99"]
    for name in ["loss", "accuracy", *stored, "perplexity", "negative_curvature"]:
        found = quantities.quantity(name)
        assert quantities.is_known(name)
        assert quantities.is_stored(name) == (name in stored)
        assert found.is_percentage == (name in {"accuracy", "top5"} or name.startswith("class_"))
        assert found.meaning.endswith(".")
        assert found.title
        assert found.axis_title


@pytest.mark.parametrize(
    "name", ["", "Loss", "top1", "class_accuracy_100", "class_accuracy_07", "class_accuracy_-1", "class_accuracy_1 "]
)
def test_other_names_are_unknown(name):
    assert not quantities.is_known(name)
    with pytest.raises(
        InvalidRequest, match=r"There is no quantity .*; known are loss, accuracy, perplexity, negative_curvature, top5"
    ):
        quantities.quantity(name)


def test_a_surface_lists_what_it_has(surface):
    stored = ["top5", "max_eig", "min_eig", "class_accuracy_2"]
    assert quantities.available(surface) == ["loss", "accuracy", *stored, "perplexity", "negative_curvature"]
    assert quantities.available(replace(surface, request=None))[-2:] == ["class_accuracy_2", "negative_curvature"]
    margin = surface.request.model_copy(update={"loss": "multi_margin"})
    unknown = np.full((2, 3), np.nan)
    assert quantities.available(replace(surface, request=margin, quantities={}, accuracy=unknown)) == ["loss"]
    with pytest.raises(InvalidRequest, match="The surface has no perplexity; it has loss"):
        quantities.values(replace(surface, request=margin), "perplexity")
    with pytest.raises(InvalidRequest, match="The surface has no class_accuracy_3; it has loss, accuracy, top5"):
        quantities.values(surface, "class_accuracy_3")


def test_what_is_derived_follows_its_formula(surface):
    np.testing.assert_allclose(quantities.values(surface, "perplexity"), np.e**surface.loss, rtol=1e-15)
    ratio = quantities.values(surface, "negative_curvature")
    np.testing.assert_array_equal(ratio, [[0.5, 0.0, np.nan], [np.nan, np.nan, 2.0]])
    huge = replace(surface, loss=np.full((2, 3), 1e4))
    assert np.isnan(quantities.values(huge, "perplexity")).all()  # beyond what a float64 holds


def test_the_figure_is_coloured_by_a_quantity_and_its_heights_stay_the_loss(surface):
    solid, grey = surface.figure(colour_by="min_eig").data
    known = np.isfinite(surface.quantities["min_eig"])
    np.testing.assert_array_equal(solid.z, np.where(known, surface.loss, np.nan))
    np.testing.assert_array_equal(solid.surfacecolor, surface.quantities["min_eig"])
    assert solid.colorbar.title.text == "smallest eigenvalue"
    np.testing.assert_array_equal(np.isfinite(grey.z), [[False, True, True], [False, True, True]])
    np.testing.assert_array_equal(grey.z[:, 1:], surface.loss[:, 1:])
    assert grey.colorscale[0][1] == grey.colorscale[1][1]
    (whole,) = surface.figure(colour_by="top5").data
    np.testing.assert_array_equal(whole.z, surface.loss)
    assert whole.colorbar.title.text == "top-5 accuracy (%)"
    with pytest.raises(InvalidRequest, match="There is no quantity 'beauty'"):
        surface.figure(colour_by="beauty")
