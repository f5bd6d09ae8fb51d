"""What differs between two requests, in words: the fields that are not the same, and no others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from app.pages import words
from app.schemas import SurfaceInfo
from app.services.imports import halves
from landscape_core.requests import Axis, SurfaceRequest

SHOWN = 2
"""How many differences a title names."""


@dataclass(frozen=True)
class Difference:
    """One field that is not the same in both.

    Attributes:
        name: What it is called.
        a: Its value in the first.
        b: Its value in the second.
    """

    name: str
    a: str
    b: str

    def __str__(self) -> str:
        return f"{self.name}: {self.a} / {self.b}"


def differences(a: SurfaceInfo, b: SurfaceInfo, titles: Mapping[str, str]) -> list[Difference] | None:
    """The fields in which the requests of two surfaces differ; None if either surface does not say what was asked.

    Of two that came in one file it is known without that they are its two splits.

    Whatever is added to requests is found here too: a field without words of its own is shown as it is stored.

    Args:
        a: The first.
        b: The second.
        titles: Titles of the data sets, by their ids.
    """
    if a.request is None or b.request is None:
        split_of = {each: split for split, each in halves(a).items()}
        if a.id != b.id and b.id in split_of:  # one file, one plane
            return [Difference(NAMES["data.split"], split_of[a.id], split_of[b.id])]
        return None
    parts = [_parts(info.request) for info in (a, b) if info.request]
    found = []
    for path in sorted(parts[0].keys() | parts[1].keys(), key=lambda path: (_rank(path), path)):
        if parts[0].get(path) != parts[1].get(path):
            said = [_said(path, info, part.get(path), titles) for info, part in zip((a, b), parts, strict=True)]
            found.append(Difference(NAMES.get(path) or path.rpartition(".")[2].replace("_", " ").capitalize(), *said))
    return found


def title(found: list[Difference] | None) -> str:
    """One line that says what differs."""
    if not found:
        return "Two surfaces side by side"
    rest = len(found) - SHOWN
    shown = " · ".join(map(str, found[:SHOWN]))
    return f"{shown} · and {words.counted(rest, 'more difference')}" if rest > 0 else shown


def names(a: SurfaceInfo, b: SurfaceInfo, found: list[Difference] | None) -> tuple[str, str]:
    """What each side is called: by what differs, or by its title where that is unknown or too much."""
    if found and len(found) <= SHOWN:
        first, second = (", ".join(getattr(one, side) for one in found) for side in ("a", "b"))
        return first, second
    return (a.title, b.title) if a.title != b.title else (f"{a.title} (first)", f"{b.title} (second)")


def _parts(request: SurfaceRequest) -> dict[str, Any]:
    """Every field by its dotted path; what is one thing to people (a direction, an axis, a standardisation) is one."""
    found: dict[str, Any] = {}

    def walk(value: Any, path: str) -> None:
        if isinstance(value, dict) and path not in WHOLE:
            for name, inner in value.items():
                walk(inner, f"{path}.{name}" if path else name)
        else:
            found[path] = value

    walk(request.model_dump(mode="json"), "")
    return found


NAMES = {
    "architecture.name": "Architecture",
    "checkpoint": "Checkpoint",
    "data.dataset": "Data",
    "data.split": "Split",
    "data.examples": "Examples",
    "data.seed": "Order of the examples",
    "data.preprocessing": "Preprocessing",
    "loss": "Loss",
    "plane.x": "Direction δ",
    "plane.y": "Direction η",
    "plane.normalisation.norm": "Norm",
    "plane.normalisation.ignore": "Ignored",
    "plane.normalisation.of": "What moves",
    "plane.trajectory": "Training run",
    "plane.orthogonal": "Angle between δ and η",
    "batch_norm": "Batch norm's statistics",
    "precision": "Precision",
    "budget": "Values",
    "tolerance": "Tolerance",
    "metrics": "Also counted",
    "curvature.examples": "Examples of the eigenvalues",
    "grid.x": "α",
    "grid.y": "β",
}
"""What fields are called, in the order in which they are told."""

WHOLE = {"data.preprocessing", "plane.x", "plane.y", "plane.trajectory", "grid.x", "grid.y"}

UNSAID = {"batch_norm": ("the checkpoint's", "re-estimated"), "plane.orthogonal": ("as it is", "a right angle")}
"""What is said of fields that a request leaves out where they are as usual: as usual, and otherwise."""

IGNORED = {"biasbn": "biases and batch norm", "none": "nothing"}


def _rank(path: str) -> int:
    known = list(NAMES)
    return known.index(path) if path in NAMES else len(known)


def _said(path: str, info: SurfaceInfo, value: Any, titles: Mapping[str, str]) -> str:
    """One field's value in words."""
    request = info.request
    if path in UNSAID:
        return UNSAID[path][0 if value is None else 1]
    if path == "precision":
        return "float32" if value is None else str(value)
    if value is None and path != "data.seed":
        return "none"
    sayings: dict[str, Callable[[SurfaceRequest], str]] = {
        "checkpoint": lambda r: info.checkpoint_name or f"{r.checkpoint[:8]}…",
        "data.dataset": lambda r: titles.get(r.data.dataset, "an uploaded data set"),
        "data.examples": lambda r: words.count(r.data.examples or 0),
        "data.seed": lambda r: "the data set's own" if r.data.seed is None else f"seed {r.data.seed}",
        "data.preprocessing": words.preprocessing,
        "loss": lambda r: words.LOSSES.get(r.loss, r.loss),
        "plane.x": lambda r: words.direction(r.plane.x),
        "plane.y": lambda r: words.direction(r.plane.y) if r.plane.y else "none",
        "plane.normalisation.ignore": lambda _: IGNORED.get(str(value), str(value)),
        "plane.trajectory": lambda _: words.counted(len(value), "checkpoint"),
        "metrics": lambda r: ", ".join(metric.replace("_", " ") for metric in r.metrics),
        "grid.x": lambda r: words.axis(r.grid.x),
        "grid.y": lambda r: words.axis(r.grid.y) if isinstance(r.grid.y, Axis) else "none",
    }
    return sayings[path](request) if request and path in sayings else str(value)
