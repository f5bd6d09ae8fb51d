"""What stands beside the figure: the chosen cell, the facts, the question, how it was made."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import dash_mantine_components as dmc
from dash import html
from dash.development.base_component import Component

from app import ids
from app.pages import words
from app.pages.blocks import aria, fact, fact_list
from app.schemas import SurfaceInfo
from app.services.imports import halves
from landscape_core.catalogue import class_names
from landscape_core.quantities import MAX_CLASSES

PROVENANCE = {
    "program": "Program",
    "torch": "PyTorch",
    "numpy": "NumPy",
    "python": "Python",
    "device": "Device",
    "machine": "Machine",
    "threads": "Threads",
    "batch": "Batch",
    "layout": "Layout of images",
    "started": "Begun",
    "finished": "Ended",
    "seconds": "Computing time",
    "own_loss": "Network's own loss",
    "own_accuracy": "Network's own accuracy",
    "tokens_per_example": "Tokens a sequence",
    "own_top5": "Network's own top-5 accuracy",
    "data_sha256": "Data SHA-256",
}
"""What a surface's provenance may hold, in the order in which it is shown; what is not listed comes last."""

DIRECTIONS = {
    "cosine": "cos(δ, η)",
    "x_norm": "‖δ‖",
    "y_norm": "‖η‖",
    "x_eigenvalue": "Eigenvalue of δ",
    "y_eigenvalue": "Eigenvalue of η",
    "x_unaligned_distance": "Distance before matching, δ",
    "x_aligned_distance": "Distance after matching, δ",
    "y_unaligned_distance": "Distance before matching, η",
    "y_aligned_distance": "Distance after matching, η",
}
CURVATURE = {
    "examples": "Examples of the eigenvalues",
    "parameters": "Parameters of the Hessian",
    "products": "Products with the Hessian",
    "not_separated": "Cells whose eigenvalues did not separate",
}
ELSEWHERE = {
    "fast",
    "precision_check",
    "about",
    "request",
    "trajectory",
    "dataset",
    "directions",
    "splits",
    "own_class_accuracy",
    "curvature",
}


def side(surface: SurfaceInfo, titles: Mapping[str, str]) -> Component:
    """The column beside the figure."""
    return html.Aside(
        [
            panel("Cell", html.Div(id=ids.SURFACE_CELL), live=True),
            panel("Surface", html.Div([html.Div(id=ids.SURFACE_FACTS), html.Div(id=ids.SURFACE_HOLES)])),
            html.Div(id=ids.SURFACE_RUN),
            panel("Flatness", html.Div(id=ids.SURFACE_FLATNESS)),
            about(surface),
            panel("Question", html.Div(question(surface, titles), id=ids.SURFACE_QUESTION)),
            panel("Provenance", html.Div(provenance(surface), id=ids.SURFACE_PROVENANCE)),
        ],
        className="side",
        **aria(label="Facts of the surface"),
    )


def panel(title: str, body: Component, *, live: bool = False) -> Component:
    """One titled part of the column."""
    extra = aria(live="polite") if live else {}
    return html.Section([html.H2(title, className="panel-title"), html.Div(body, **extra)], className="panel")


def question(surface: SurfaceInfo, titles: Mapping[str, str]) -> Component:
    """The request in words."""
    request = surface.request
    if request is None:
        said = "It was computed elsewhere and brings no question; what it says of itself stands below."
        return dmc.Text(f"{said}{other_split(surface)}", size="sm", c="dimmed")
    y = request.grid.y
    return fact_list(
        fact("Network", words.network(request.architecture.name, request.architecture.options)),
        fact("Checkpoint", html.Span(surface.checkpoint_name or request.checkpoint[:12], className="breakable")),
        fact("Data", words.data(request, titles)),
        fact("Preprocessing", words.preprocessing(request)),
        fact("Loss", words.LOSSES[request.loss]),
        fact("Directions", words.directions(request.plane)),
        fact("Normalisation", words.normalisation(request.plane)),
        fact("Batch norm", statistics) if (statistics := words.batch_norm(request)) else None,
        fact("Budget", how_good) if (how_good := words.budget(request)) else None,
        fact("Precision", request.precision) if request.precision != "float32" else None,
        fact("Curvature map", curved) if (curved := words.curvature(request)) else None,
        fact("α", words.axis(request.grid.x)),
        fact("β", words.axis(y)) if y else None,
    )


def other_split(surface: SurfaceInfo) -> str:
    """Where the other surface is of an imported file that held both splits; what to do where an older release left it out."""
    if halves(surface):
        return " Its file held both splits; both are on this server, and “Compare with…” shows them side by side."
    source = surface.provenance.get("source")
    also = source.get("also_in_file") if isinstance(source, dict) else None
    if not isinstance(also, list) or also not in (["train"], ["test"]):
        return ""
    return (
        f" It also holds the {also[0]} surface: write that to a file with lossatlas convert --split {also[0]}, "
        "and open the file here to compare both."
    )


def provenance(surface: SurfaceInfo) -> Component:
    """How the surface was made: versions, device, times, and the id of the question."""
    made = {name: value for name, value in surface.provenance.items() if name not in ELSEWHERE and value not in (None, "")}
    order = [*PROVENANCE, *sorted(made.keys() - PROVENANCE)]
    rows = [fact(PROVENANCE.get(n, n.replace("_", " ").capitalize()), value_text(n, made[n])) for n in order if n in made]
    drawn = surface.provenance.get("directions")
    lengths = drawn if isinstance(drawn, dict) else {}
    rows += [fact(title, words.number(lengths[n])) for n, title in DIRECTIONS.items() if isinstance(lengths.get(n), float)]
    rows += estimated(surface.provenance.get("fast"))
    rows += rounding(surface.provenance.get("precision_check"))
    rows += eigenvalues(surface.provenance.get("curvature"))
    rows += shares(surface.provenance.get("trajectory"))
    rows += own_classes(surface)
    own = [
        fact("Id", html.Code(f"{surface.id[:16]}…", title=surface.id)),
        fact("Asked", words.when(surface.created), surface.created.isoformat(timespec="seconds")),
        fact("Finished", words.when(surface.finished), surface.finished.isoformat(timespec="seconds"))
        if surface.finished
        else None,
    ]
    return fact_list(*own, *rows)


def eigenvalues(found: Any) -> list[Component]:
    """How the eigenvalues at the cells were measured, as far as it is in order: an imported file may say anything."""
    said = found if isinstance(found, dict) else {}
    known = {name: words.count(said[name]) for name in CURVATURE if type(said.get(name)) is int}
    return [fact(title, known[name]) for name, title in CURVATURE.items() if name in known]


def shares(trajectory: Any) -> list[Component]:
    """How much of a training run's variance lies along each direction."""
    found = trajectory.get("explained_variance_ratio") if isinstance(trajectory, dict) else None
    known = found if isinstance(found, list) else []
    return [
        fact(f"Run's variance along {letter}", f"{100 * share:.3g} %")
        for letter, share in zip("δη", known, strict=False)
        if isinstance(share, float)
    ]


def rounding(check: Any) -> list[Component]:
    """How far some cells are from float32, as far as it is in order: an imported file may say anything."""
    found = check if isinstance(check, dict) else {}
    cells, examples, largest = (found.get(name) for name in ("cells", "examples", "largest_relative_difference"))
    if not isinstance(cells, list) or not isinstance(examples, int) or not isinstance(largest, int | float | None):
        return []
    said = "not finite in one of the two" if largest is None else f"{100 * largest:.2g} % at most"
    over = f"{words.counted(len(cells), 'cell')}, {words.counted(examples, 'example')}"
    return [fact("Difference from float32", f"{said} ({over})")]


def estimated(about: Any) -> list[Component]:
    """How a fast surface was estimated, as far as it is in order: an imported file may say anything."""
    found = about if isinstance(about, dict) else {}
    share, form, met = found.get("cost_share"), found.get("form"), found.get("met")
    rows = [fact("Estimated", form[:60])] if isinstance(form, str) else []
    if isinstance(share, int | float) and not isinstance(share, bool):
        rows.append(fact("Cost of the estimate", f"{100 * share:.3g} % of an exact surface"))
    return [*rows, fact("Tolerance", "met" if met else "not met")] if isinstance(met, bool) else rows


def own_classes(surface: SurfaceInfo) -> list[Component]:
    """The accuracy of each class of the network itself, as far as it is in order: an imported file may say anything."""
    found = surface.provenance.get("own_class_accuracy")
    known = found if isinstance(found, dict) else {}
    names = class_names(surface.request.data.dataset) if surface.request is not None else None
    called = {str(index): name for index, name in enumerate(names or ())}
    return [
        fact(f"Own accuracy, {called.get(index, f'class {index}')}", f"{known[index]:.4g} %")
        for index in map(str, range(MAX_CLASSES))
        if isinstance(known.get(index), int | float)
    ]


def about(surface: SurfaceInfo) -> Component | None:
    """What the gallery says of its surface."""
    said = surface.provenance.get("about")
    if not isinstance(said, dict):
        return None
    texts = [str(said[name]) for name in ("description", "made_by", "licence") if said.get(name)]
    return panel("About", html.Div([html.P(text, className="dim") for text in texts], className="about"))


def value_text(name: str, value: Any) -> Component | str:
    """A value of the provenance as text; long ones are cut, and whole in their title."""
    if name == "seconds" and isinstance(value, int | float):
        return words.duration(value)
    if name in {"started", "finished"}:
        return str(value)[:16].replace("T", " ")
    if name == "workers" and isinstance(value, dict):
        value = ", ".join(f"{worker} on {device}" for worker, device in value.items())
    if name in {"own_accuracy", "own_top5"} and isinstance(value, int | float):
        return f"{value:.4g} %"
    if isinstance(value, float):
        return words.number(value)
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    if re.fullmatch(r"[0-9a-f]{40,}", text):
        return html.Code(f"{text[:16]}…", title=text)
    shown = text if len(text) <= 60 else f"{text[:56]}…"
    return html.Span(shown, title=text, className="breakable")
