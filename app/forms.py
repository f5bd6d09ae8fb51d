"""The form of a request: which fields it has, how its values become a SurfaceRequest, and what is wrong with them.

    values {path: value} ──▶ nested() ──▶ SurfaceRequest            read()
                                └──▶ {path: sentence}               problems()

A path is the dotted place in the request (`grid.x.points`). Paths that begin with `choice.` belong to the form alone:
they say which of several kinds of value the request shall have. Every field of `SurfaceRequest` has one control, to which a
test holds the form.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import ValidationError

from landscape_core.errors import InvalidRequest
from landscape_core.requests import LEAST_TOLERANCE, MOST_TOLERANCE, ArchitectureSpec, SurfaceRequest, TowardsDirection

SHAPE, ORDER, DIRECTIONS, CURVATURE = "choice.shape", "choice.order", "choice.directions", "choice.curvature"
"""Curve or surface; shuffled or as stored; the kind of both directions; with or without eigenvalues."""

KINDS = ("random", "towards", "principal", "hessian", "file")
"""The kinds of direction that the form offers."""

CUSTOM = "custom"
"""The preprocessing that stands for a mean and a standard deviation of one's own."""

UNALIGNED, ALIGNED = "as it came", "matched"
"""Whether the hidden units of a checkpoint that a direction leads to are matched first."""

DEFAULTS: dict[str, Any] = {
    "checkpoint": None,
    "architecture": None,
    "data.dataset": None,
    "data.split": "train",
    "data.examples": 1000,
    ORDER: "seed",
    "data.seed": 0,
    "data.preprocessing": "none",
    "data.preprocessing.mean": "",
    "data.preprocessing.std": "",
    "loss": "cross_entropy",
    "metrics": [],
    SHAPE: "surface",
    DIRECTIONS: "random",
    "plane.x.seed": 1,
    "plane.y.seed": 2,
    "plane.x.checkpoint": None,
    "plane.y.checkpoint": None,
    "plane.x.aligned": UNALIGNED,
    "plane.y.aligned": UNALIGNED,
    "plane.trajectory": [],
    "plane.x.index": 1,
    "plane.y.index": 2,
    "plane.x.examples": 512,
    "plane.x.file": "",
    "plane.normalisation.norm": "filter",
    "plane.normalisation.ignore": "biasbn",
    "plane.normalisation.of": "weights",
    "plane.orthogonal": "false",
    "batch_norm": "fixed",
    "grid.x.start": -1,
    "grid.x.stop": 1,
    "grid.x.points": 25,
    "grid.y.start": -1,
    "grid.y.stop": 1,
    "grid.y.points": 25,
    "budget": "exact",
    "tolerance": 0.5,
    CURVATURE: "off",
    "curvature.examples": 64,
}
"""Every control of the form, in reading order, and what it says at first. The tolerance is in percent here."""


def nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values of the form as the body of a request, not yet validated.

    Raises:
        InvalidRequest: A mean, a standard deviation or an architecture cannot be read.
    """
    surface = values[SHAPE] == "surface"
    return {
        "checkpoint": values["checkpoint"] or "",
        "architecture": _architecture(values["architecture"]),
        "data": {
            "dataset": values["data.dataset"] or "",
            "split": values["data.split"],
            "examples": _absent(values["data.examples"]),
            "seed": values["data.seed"] if values[ORDER] == "seed" else None,
            "preprocessing": _preprocessing(values),
        },
        "loss": values["loss"],
        "metrics": values["metrics"] or [],
        "plane": {
            "x": _direction(values, "x"),
            "y": _direction(values, "y") if surface else None,
            "normalisation": {part: values[f"plane.normalisation.{part}"] for part in ("norm", "ignore", "of")},
            "orthogonal": surface and values["plane.orthogonal"] == "true",
        },
        "grid": {axis: _axis(values, axis) if axis == "x" or surface else None for axis in ("x", "y")},
        "batch_norm": values["batch_norm"],
        "budget": values["budget"],
        **({"tolerance": _share(values["tolerance"])} if values["budget"] == "fast" else {}),
        "curvature": {"examples": _absent(values["curvature.examples"])} if values[CURVATURE] == "on" else None,
    }


def read(values: Mapping[str, Any]) -> SurfaceRequest:
    """The request that the form's values stand for.

    Raises:
        InvalidRequest: A mean, a standard deviation or an architecture cannot be read.
        ValidationError: A value is missing or out of bounds; see `problems`.
    """
    return SurfaceRequest.model_validate(nested(values))


def values_of(request: SurfaceRequest) -> dict[str, Any]:
    """The form's values that stand for a request: the inverse of `read`, where one kind of direction serves for both axes.

    A plane of two kinds, of two direction files, or with a run beside directions that are not its own, can be asked for by REST
    and the command line only; the form then begins with what it can show.
    """
    values = dict(DEFAULTS)
    body = request.model_dump(mode="json")
    for path in DEFAULTS:
        part: Any = body
        for name in path.split("."):
            part = part.get(name) if isinstance(part, dict) else None
        if part is not None and not isinstance(part, dict):
            values[path] = part
    values["architecture"] = str(request.architecture)
    values["data.examples"] = "" if request.data.examples is None else request.data.examples
    values["plane.orthogonal"] = str(request.plane.orthogonal).lower()
    values[ORDER] = "own" if request.data.seed is None else "seed"
    values["tolerance"] = round(100 * request.tolerance, 9)
    values[CURVATURE] = "off" if request.curvature is None else "on"
    values[SHAPE] = "curve" if request.grid.y is None else "surface"
    kinds = {spec.kind for spec in request.plane.specs.values()}
    values[DIRECTIONS] = kinds.pop() if len(kinds) == 1 else "random"
    for axis, spec in request.plane.specs.items():
        values[f"plane.{axis}.aligned"] = ALIGNED if isinstance(spec, TowardsDirection) and spec.aligned else UNALIGNED
    values["plane.trajectory"] = list(request.plane.run)
    if not isinstance(request.data.preprocessing, str):
        values["data.preprocessing"] = CUSTOM
        for part_name in ("mean", "std"):
            values[f"data.preprocessing.{part_name}"] = ", ".join(f"{v!r}" for v in body["data"]["preprocessing"][part_name])
    return values


def problems(error: ValidationError | InvalidRequest) -> dict[str, str]:
    """What is wrong, as one sentence for each control of the form; "" holds what belongs to no control."""
    if isinstance(error, InvalidRequest):
        return {place((error.field or "").split(".")): str(error)}
    found: dict[str, str] = {}
    for item in error.errors():
        if item["type"] in {"string_type", "model_type"} and item["loc"][:2] == ("data", "preprocessing"):
            continue
        path = place([part for part in item["loc"] if isinstance(part, str)])
        found.setdefault(path, _sentence(path, item))
    return found


def place(location: Iterable[str]) -> str:
    """The control that a place in a request belongs to: the longest path whose parts occur in it, in order."""
    parts = list(location)
    if parts[:1] == ["plane"] and "checkpoints" in parts:
        parts = ["plane", "trajectory"]
    if parts[:2] == ["plane", "y"] and parts[-1] in {"file", "examples"}:
        parts[1] = "x"

    def within(path: str) -> bool:
        rest = iter(parts)
        return all(name in rest for name in path.split("."))

    exact = [path for path in DEFAULTS if within(path)]
    if exact:
        return max(exact, key=len)
    start = ".".join(parts)
    return next((path for path in DEFAULTS if start and path.startswith(f"{start}.")), "")


EMPTY = {
    "checkpoint": "Choose a checkpoint.",
    "architecture": "Choose the architecture of the network.",
    "data.dataset": "Choose a data set.",
    "plane.x.checkpoint": "Choose the checkpoint that δ leads to.",
    "plane.y.checkpoint": "Choose the checkpoint that η leads to.",
    "plane.trajectory": "Choose the checkpoints of a training run.",
    "plane.x.file": "Upload a direction file, or give the id of one.",
    "tolerance": f"Give a tolerance from {100 * LEAST_TOLERANCE:g} to {100 * MOST_TOLERANCE:g} %.",
}
"""What is said of these controls whatever is wrong with them."""


def _sentence(path: str, item: Any) -> str:
    kind, bounds = item["type"], item.get("ctx", {})
    if path in EMPTY:
        return EMPTY[path]
    fixed = {
        "greater_than_equal": f"Give at least {bounds.get('ge')}.",
        "greater_than": f"Give more than {bounds.get('gt')}.",
        "less_than_equal": f"Give at most {bounds.get('le')}.",
        "finite_number": "Give a finite number.",
    }
    if kind in fixed:
        return fixed[kind]
    if kind.startswith("int"):
        return "Give a whole number."
    if kind.startswith("float"):
        return "Give a number."
    text = item["msg"].removeprefix("Value error, ")
    return f"{text[0].upper()}{text[1:]}."


def _share(percent: Any) -> Any:
    """Percent as a share; what is no number stays as it is, to be refused."""
    return percent / 100 if isinstance(percent, int | float) else percent


def _absent(value: Any) -> Any:
    return None if value in {None, ""} else value


def _architecture(text: Any) -> dict[str, Any]:
    if not text:
        raise InvalidRequest(EMPTY["architecture"], field="architecture")
    return ArchitectureSpec.parse(text).model_dump()


def _direction(values: Mapping[str, Any], axis: str) -> dict[str, Any]:
    kind, index = values[DIRECTIONS], values[f"plane.{axis}.index"]
    parts: dict[str, dict[str, Any]] = {
        "random": {"seed": values[f"plane.{axis}.seed"]},
        "towards": {
            "checkpoint": values[f"plane.{axis}.checkpoint"] or "",
            "aligned": values[f"plane.{axis}.aligned"] == ALIGNED,
        },
        "principal": {"index": index, "checkpoints": values["plane.trajectory"] or []},
        "hessian": {"index": index, "examples": values["plane.x.examples"]},
        "file": {"file": (values["plane.x.file"] or "").strip()},
    }
    return {"kind": kind, **parts[kind]}


def _axis(values: Mapping[str, Any], axis: str) -> dict[str, Any]:
    return {part: values[f"grid.{axis}.{part}"] for part in ("start", "stop", "points")}


def _preprocessing(values: Mapping[str, Any]) -> Any:
    chosen = values["data.preprocessing"]
    if chosen != CUSTOM:
        return chosen or "none"
    return {part: _numbers(values[f"data.preprocessing.{part}"], f"data.preprocessing.{part}") for part in ("mean", "std")}


def _numbers(text: Any, path: str) -> list[float]:
    parts = str(text or "").replace(";", ",").replace(" ", ",").split(",")
    try:
        numbers = [float(part) for part in parts if part]
    except ValueError:
        numbers = []
    if not numbers:
        raise InvalidRequest("Give one number for each channel, with commas between, as in 0.49, 0.48, 0.45.", field=path)
    return numbers
