"""Whether the Hessian's eigenvalues are measured at every cell, over how many examples, and how much longer that takes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from dash import html
from dash.development.base_component import Component
from pydantic import ValidationError

from app import ids
from app.forms import CURVATURE, problems
from app.pages import words
from app.pages.blocks import aria
from app.pages.new_surface.controls import Values, either, number
from app.schemas import CostEstimate
from app.services.curvature_costs import MOST_CURVATURE_EXAMPLES
from landscape_core.errors import InvalidRequest
from landscape_core.requests import CurvatureSpec, SurfaceRequest

if TYPE_CHECKING:
    from app.services import Services


DEFAULT_EXAMPLES = 64
"""Over how many examples an estimate is while the field holds none."""


def curvature_map(values: Values) -> list[Component]:
    """The two controls, and a word on what it costs."""
    return [
        either(
            values, CURVATURE, "Curvature map", (("off", "Off"), ("on", "On")),
            "The Hessian's largest and smallest eigenvalue at every cell, to colour the surface by |λmin/λmax|, near 0 where "
            "the loss is convex (Li et al. 2018, figure 7).",
        ),
        html.Div(
            number(
                values, "curvature.examples", "Examples of the eigenvalues", min=1, max=MOST_CURVATURE_EXAMPLES, step=32,
                allowDecimal=False, thousandSeparator=",", description="The first of those above",
            ),
            id=ids.NEW_CURVATURE,
        ),
        html.Div(id=ids.NEW_CURVATURE_NOTE, className="field-note", **aria(live="polite")),
    ]  # fmt: skip


async def curvature_note(services: Services, request: SurfaceRequest, cost: CostEstimate, examples: int | None) -> str:
    """How much longer the map takes, or would take.

    Args:
        services: For the estimate.
        request: What is asked for now.
        cost: What that costs.
        examples: Over how many examples the map would be.
    """
    spec = request.curvature or CurvatureSpec(examples=examples or DEFAULT_EXAMPLES)
    if request.curvature is None:
        try:
            asked = SurfaceRequest.model_validate({**request.model_dump(), "curvature": spec})
            cost = await asyncio.to_thread(services.estimate, asked)
        except (ValidationError, InvalidRequest) as error:
            return f"It is not possible with the choices above. {next(iter(problems(error).values()))}"
    over = words.counted(min(spec.examples, request.data.examples or spec.examples), "example")
    seconds = cost.curvature_seconds
    if seconds is None:
        return f"Each cell takes as long as some 200 evaluations of its {over}."
    if request.curvature is None:
        return f"Over {over} it would take {words.duration(seconds)} longer: some 200 evaluations of them at each cell."
    return f"It takes {words.duration(seconds)}, after the losses: some 200 evaluations of its {over} at each cell."
