"""The graph of callbacks: every id is laid out, every output has one writer, every field of a request has one control."""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from dash.development.base_component import Component
from fastapi import FastAPI
from pydantic import BaseModel

from app import forms, ids
from app.pages import PAGES
from app.pages.new_surface.layout import before_the_form
from app.pages_server import Pages, attach
from app.schemas import View
from landscape_core.requests import SurfaceRequest

NOT_CHOSEN = {"precision"}
"""Fields of a request without a control: these are for REST and the command line."""


@pytest.fixture
def pages(services, settings) -> Pages:
    return attach(FastAPI(), services, settings)


@pytest.fixture
def layouts(services, settings, ready_checkpoint) -> dict[str, Any]:
    """Each page as it is for the gallery's surface and a checkpoint that has been inspected; a comparison in each state."""
    services.install_gallery()
    surface = services.surfaces()[0].id
    token = services.create_share(surface, View(), "").token
    variables = {"/surface/{}": surface, "/s/{}": token, "/s/{}/{}": token}

    async def layout(page: Any, **query: str) -> Any:
        pattern, names = re.sub(r"<\w+>", "{}", page.path), re.findall(r"<(\w+)>", page.path)
        return await page.layout(
            services, settings, {"checkpoint": ready_checkpoint} | query, **dict.fromkeys(names, variables.get(pattern))
        )

    compare = next(page for page in PAGES if page.path == "/compare")
    states = {"/compare, one": {"a": surface}, "/compare, both": {"a": surface, "b": surface}}
    made = {page.path: asyncio.run(layout(page)) for page in PAGES}
    made["/new, before"] = before_the_form(())
    return made | {name: asyncio.run(layout(compare, **query)) for name, query in states.items()}


def key(identity: Any) -> str:
    """A plain id, or the type of a repeated one."""
    if isinstance(identity, str) and identity.startswith("{"):
        identity = json.loads(identity)
    return identity["type"] if isinstance(identity, dict) else identity


def laid_out(tree: Any) -> list[Any]:
    """The ids of a component and of all that are in it, in whatever property."""
    if isinstance(tree, list | tuple):
        return [identity for part in tree for identity in laid_out(part)]
    if not isinstance(tree, Component):
        return []
    properties = tree.to_plotly_json()["props"]
    own = [properties["id"]] if "id" in properties else []
    return own + [identity for value in properties.values() for identity in laid_out(value)]


def outputs(callback: dict[str, Any]) -> list[str]:
    text = callback["output"]
    return text.strip(".").split("...") if text.startswith("..") else [text]


def test_every_id_that_a_callback_names_is_laid_out(pages, layouts):
    there = {key(identity) for tree in (pages.layout, *layouts.values()) for identity in laid_out(tree)}
    named = set()
    for callback in pages._callback_list:
        named |= {key(part["id"]) for part in (*callback["inputs"], *callback["state"])}
        named |= {key(output.rpartition(".")[0]) for output in outputs(callback)}
    repeated = {key(ids.delete_checkpoint("")), key(ids.revoke_share(""))}  # as many as there are rows; none may be
    assert named - there - repeated == set()


def test_every_output_has_one_writer(pages):
    writers = Counter(output for callback in pages._callback_list for output in outputs(callback))
    assert [output for output, count in writers.items() if count > 1 or "@" in output] == []


def test_no_id_is_laid_out_twice_on_a_page(pages, layouts):
    frame = [json.dumps(identity, sort_keys=True) for identity in laid_out(pages.layout)]
    for path, tree in layouts.items():
        counts = Counter([*frame, *(json.dumps(identity, sort_keys=True) for identity in laid_out(tree))])
        assert [identity for identity, count in counts.items() if count > 1] == [], path


def leaves(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from leaves(inner, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def meet(field: str, control: str) -> bool:
    """Whether a control stands for a field, for a part of it (a direction's seed) or for all it is in (an architecture)."""
    return f"{control}.".startswith(f"{field}.") or f"{field}.".startswith(f"{control}.")


def test_every_field_of_a_request_has_one_control(layouts):
    controls = Counter(
        ids.path_of(identity)
        for identity in laid_out(layouts["/new"])
        if isinstance(identity, dict) and identity["type"] == key(ids.field(""))
    )
    wanted = set(leaves(SurfaceRequest)) - NOT_CHOSEN
    assert {path for path in wanted if not any(meet(path, control) for control in controls)} == set()
    assert {path: count for path, count in controls.items() if count > 1} == {}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "Over 64 examples it would take about"),
        ({forms.CURVATURE: "on", "curvature.examples": 500}, "some 200 evaluations of its 200 examples at each cell."),
        ({"batch_norm": "reestimated"}, "It is not possible with the choices above."),
    ],
)
def test_the_form_says_how_much_longer_a_curvature_map_takes(services, ready_checkpoint, request_for, changes, said):
    from app.pages.new_surface.curvature_choices import curvature_note
    from tests.app.hands import Hands

    Hands(services)  # whose speed is known
    request = SurfaceRequest.model_validate(request_for(ready_checkpoint, 9, 200))
    values = forms.values_of(request) | changes
    asked = forms.read(values | {"batch_norm": "fixed"})
    cost = services.estimate(asked)
    asked = asked.model_copy(update={"batch_norm": values["batch_norm"]})
    assert said in asyncio.run(curvature_note(services, asked, cost, values["curvature.examples"]))
