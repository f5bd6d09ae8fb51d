"""Ranges that hold a training run: those of the surface that will be computed, proposed and never forced on anybody."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save

from app.services.run_ranges import Reach
from landscape_core.compute import project
from landscape_core.errors import InvalidRequest
from landscape_core.requests import Axis, Grid, Normalisation, PlaneSpec, PrincipalDirection, SurfaceRequest
from landscape_core.training_run import range_around
from tests.core.compute.transformer_files import gpt_file

Arrays = dict[str, np.ndarray]


def resnet() -> Arrays:
    from landscape_core.catalogue.families.three_stage_resnets import resnet_tensors

    rng = np.random.default_rng(1)
    shapes = resnet_tensors(20, conv_shortcuts=True, channels=3, classes=4)
    return {
        name: np.array(7) if name.endswith("tracked") else rng.uniform(0.5, 1.5, shape).astype(np.float32)
        for name, shape in shapes.items()
    }


def perceptron() -> Arrays:
    rng = np.random.default_rng(2)
    shapes = {"0.weight": (9, 12), "0.bias": (9,), "2.weight": (4, 9), "2.bias": (4,)}
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def run_from(first: Arrays, steps: int = 4) -> list[Arrays]:
    """Checkpoints on a crooked way; what is one matrix stays one, and counters count."""
    rng, places = np.random.default_rng(3), [first]
    for _ in range(steps - 1):
        last = places[-1]
        place = {n: a + (1 if a.ndim == 0 else rng.normal(0.1, 0.3, a.shape).astype(np.float32)) for n, a in last.items()}
        if "lm_head.weight" in place:
            place["lm_head.weight"] = place["transformer.wte.weight"]
        places.append(place)
    return places


@pytest.mark.parametrize(
    ("architecture", "first", "how"),
    [
        ("mlp", perceptron, Normalisation()),
        ("mlp", perceptron, Normalisation(ignore="none")),
        ("resnet20", resnet, Normalisation()),
        ("resnet20", resnet, Normalisation(ignore="none")),
        ("resnet20", resnet, Normalisation(of="states", ignore="none")),
        ("gpt:heads=3", lambda: gpt_file(swapped=True, head="tied"), Normalisation(ignore="none")),
    ],
)
def test_a_run_reaches_as_far_as_its_surface_will_show(services, inspected, architecture, first, how):
    places = run_from(first())
    ids = [inspected(save({name: np.array(array, order="C") for name, array in place.items()})) for place in places]
    x, y = (PrincipalDirection(index=n, checkpoints=tuple(ids)) for n in (1, 2))
    plane = PlaneSpec(x=x, y=y, normalisation=how)
    axis = Axis(start=-1, stop=1, points=3)
    request = SurfaceRequest.model_validate(
        {"checkpoint": ids[-1], "architecture": {"name": "mlp"}, "data": {"dataset": "any"}, "plane": plane,
         "grid": Grid(x=axis, y=axis)}
    )  # fmt: skip
    spec = request.architecture.parse(architecture)
    request = request.model_copy(update={"architecture": spec})
    shown = project(request, places[-1], checkpoints=dict(zip(ids, places, strict=True)).__getitem__)
    coordinates = np.array(shown.about["trajectory"]["coordinates"])
    reach = services.run_reach(ids[-1], spec, plane)
    assert not reach.problem
    for column, name in enumerate("xy"):
        low, high = coordinates[:, column].min(), coordinates[:, column].max()
        assert reach.places[name] == pytest.approx((low, high), rel=1e-4, abs=1e-4)
        start, stop = range_around(reach.places[name], 25)
        assert start < low - 0.1 * (high - low)
        assert stop > high + 0.1 * (high - low)
        assert stop - start < 1.7 * (high - low)


def test_a_run_that_has_no_such_direction_is_told_in_a_sentence(services, inspected):
    places = run_from(perceptron(), 3)
    ends = [inspected(save(place)) for place in (places[0], places[2])]
    line = inspected(save({name: (places[0][name] + places[2][name]) / 2 for name in places[0]}))
    ids = (ends[0], line, ends[1])
    x, y = (PrincipalDirection(index=n, checkpoints=ids) for n in (1, 2))
    spec = SurfaceRequest.model_fields["architecture"].annotation.parse("mlp")
    reach = services.run_reach(ends[1], spec, PlaneSpec(x=x, y=y))
    assert reach.places == {}
    assert "The run of 3 checkpoints has 1 principal direction" in reach.problem


def test_a_run_of_several_networks_is_refused(services, inspected, mlp_bytes):
    ids = inspected(mlp_bytes(1)), inspected(mlp_bytes(2, (784, 8, 10)))
    spec = SurfaceRequest.model_fields["architecture"].annotation.parse("mlp")
    plane = PlaneSpec(x=PrincipalDirection(index=1, checkpoints=ids))
    with pytest.raises(InvalidRequest, match="different networks"):
        services.run_reach(ids[1], spec, plane)


def test_a_run_is_not_read_if_another_of_its_files_is_too_large(services, inspected, mlp_bytes, monkeypatch):
    from app.services import run_ranges

    ids = inspected(mlp_bytes(1, (784, 8, 10))), inspected(mlp_bytes(2, (784, 64, 10)))
    monkeypatch.setattr(run_ranges, "MOST_NUMBERS", 100_000)
    spec = SurfaceRequest.model_fields["architecture"].annotation.parse("mlp")
    assert "too large" in services.run_reach(ids[0], spec, PlaneSpec(x=PrincipalDirection(index=1, checkpoints=ids))).problem


def test_looks_at_runs_leave_the_threads_of_everything_else_free(services, inspected):
    from app import forms
    from app.pages.new_surface.run_range import LOOKED_AT, reach

    run = [inspected(save(place)) for place in run_from(perceptron())]
    values = {path: forms.DEFAULTS.get(path) for path in LOOKED_AT}
    values |= {"checkpoint": run[-1], "architecture": "mlp", "plane.trajectory": run, forms.DIRECTIONS: "principal"}

    async def look() -> Any:
        found = await reach(services, values)
        return found, [thread.name for thread in threading.enumerate() if thread.name.startswith("asyncio")]

    found, shared = asyncio.run(look())
    assert found["places"]["x"]
    assert not shared


@given(st.lists(st.floats(-1e5, 1e5), min_size=1, max_size=5), st.integers(5, 501))
def test_ranges_hold_what_they_are_around_with_a_margin_and_the_network_on_the_grid(places, points):
    low, high = min([0.0, *places]), max([0.0, *places])
    if high - low < 1e-9:
        return
    start, stop = range_around(places, points)
    assert start <= low - 0.14 * (high - low)
    assert stop >= high + 0.14 * (high - low)
    assert stop - start < (1.31 + 8 / points) * 1.1 * (high - low)
    cells = Axis(start=start, stop=stop, points=points).coordinates
    assert np.abs(cells).min() < 1e-12 * (stop - start)


def proposed(
    reach: Any, now: tuple[float | None, ...], fitted: Any, *, asked: bool = False, points: Any = 25
) -> tuple[Any, ...]:
    from app.pages.new_surface.run_range import propose, wanted_ranges

    found = reach and reach.model_dump(mode="json")
    return propose(found, wanted_ranges(found, {"x": points, "y": points}), now, fitted, asked=asked)


REACH = Reach(places={"x": (-7.3, 1.4), "y": (-0.5, 2.0)})
FITTED = (-8.64, 2.88, -0.98, 2.38)
UNTOUCHED = {"x": [-1, 1], "y": [-1, 1]}


def test_an_untouched_range_becomes_one_that_holds_the_run():
    values, note, offer, fitted = proposed(REACH, (-1, 1, -1, 1), UNTOUCHED)
    assert values == FITTED
    assert fitted == {"x": [*FITTED[:2]], "y": [*FITTED[2:]]}
    assert not offer
    assert note == "The run reaches from −7.3 to 1.4 along α and from −0.5 to 2 along β; the range holds it with a margin."


def test_a_range_of_ones_own_stays_and_what_it_leaves_out_is_said():
    values, note, offer, fitted = proposed(REACH, (-8, 8, -0.25, 1), UNTOUCHED)
    assert values == (-8, 8, -0.25, 1)
    assert fitted == UNTOUCHED
    assert offer
    assert note.endswith("along β; the range leaves part of it out.")
    values, _, offer, _ = proposed(REACH, (-8, 8, -0.25, 1), UNTOUCHED, asked=True)
    assert (values, offer) == (FITTED, False)


def test_a_question_asked_again_keeps_its_range():
    values, _, offer, _ = proposed(REACH, (-1, 1, -1, 1), {})
    assert values == (-1, 1, -1, 1)
    assert offer


def test_a_proposed_range_goes_with_the_run_that_it_was_for():
    values, note, offer, fitted = proposed(None, (*FITTED[:2], -2, 2), {"x": [*FITTED[:2]], "y": [*FITTED[2:]]})
    assert (values, note, offer) == ((-1, 1, -2, 2), "", False)
    assert fitted["x"] == [-1, 1]


def test_other_points_move_a_proposed_range_so_that_the_network_stays_on_the_grid():
    fitted = {"x": [*FITTED[:2]], "y": [*FITTED[2:]]}
    values, _, _, kept = proposed(REACH, FITTED, fitted, points=51)
    assert values == (*kept["x"], *kept["y"]) != FITTED
    assert np.abs(Axis(start=values[0], stop=values[1], points=51).coordinates).min() < 1e-12
    for none in ("", None, 3):
        assert proposed(REACH, FITTED, fitted, points=none)[0] == (-1, 1, -1, 1)


def test_an_empty_field_is_no_range():
    values, _, offer, _ = proposed(REACH, (None, 1, "", 2.4), UNTOUCHED)
    assert values == (None, 1, "", 2.4)
    assert offer


def test_a_curve_has_one_range():
    reach = Reach(places={"x": (-7.3, 1.4)})
    values, note, _, _ = proposed(reach, (-1, 1, -1, 1), UNTOUCHED)
    assert values == (*FITTED[:2], -1, 1)
    assert note == "The run reaches from −7.3 to 1.4 along α; the range holds it with a margin."


def test_what_is_not_known_of_a_run_is_said():
    values, note, offer, _ = proposed(Reach(problem="It is too large."), (-1, 1, -1, 1), UNTOUCHED)
    assert (values, note, offer) == ((-1, 1, -1, 1), "It is too large.", False)
