"""Numbers, sizes and times as people read them, and a request in words."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from landscape_core.requests import (
    Axis,
    DirectionSpec,
    HessianDirection,
    PlaneSpec,
    PrincipalDirection,
    RandomDirection,
    Standardisation,
    SurfaceRequest,
    TowardsDirection,
)

LOSSES = {
    "cross_entropy": "Cross-entropy",
    "mse_softmax": "Squared error of the softmax",
    "mse": "Squared error",
    "multi_margin": "Multi-class margin",
    "nll": "Negative log-likelihood",
}
NORMS = {
    "filter": "filter by filter",
    "layer": "layer by layer",
    "weight": "weight by weight",
    "dfilter": "each filter to length one",
    "dlayer": "each layer to length one",
    "none": "not scaled",
}


def count(number: int) -> str:
    """A whole number with its thousands set apart."""
    return f"{number:,}"


def counted(number: int, singular: str, plural: str | None = None) -> str:
    """A number with its noun: `1 cell`, `2 cells`."""
    return f"{number:,} {singular if number == 1 else plural or singular + 's'}"


def parameters(number: int) -> str:
    """A number of parameters, rounded: `855,770` or `25.6 million`."""
    return f"{number / 1e6:.1f} million" if number >= 10_000_000 else f"{number:,}"


def size(number_bytes: float) -> str:
    """A size in bytes with the unit that fits."""
    for unit in ("bytes", "kB", "MB"):
        if number_bytes < 1000:
            return f"{number_bytes:.0f} {unit}" if unit == "bytes" else f"{number_bytes:.3g} {unit}"
        number_bytes /= 1000
    return f"{number_bytes:.3g} GB"


def limit(number_bytes: int) -> str:
    """A limit in bytes, in GiB or MiB if it is a round number of them."""
    for unit, name in ((1 << 30, "GiB"), (1 << 20, "MiB")):
        if number_bytes >= unit and number_bytes % unit == 0:
            return f"{number_bytes // unit} {name}"
    return size(number_bytes)


def duration(seconds: float) -> str:
    """A duration, rounded to what matters: `under a second`, `about 40 s`, `about 3 min`, `about 2.5 h`."""
    if seconds < 1:
        return "under a second"
    if seconds < 90:
        return f"about {seconds:.0f} s"
    if seconds < 5400:
        return f"about {seconds / 60:.0f} min"
    hours = seconds / 3600
    return f"about {hours:.1f} h" if hours < 48 else f"about {hours / 24:.0f} days"


def when(moment: datetime, now: datetime | None = None) -> str:
    """How long ago something was; the date after a week."""
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    seconds = ((now or datetime.now(UTC)) - moment).total_seconds()
    for limit, unit, name in ((60, 1, ""), (3600, 60, "minute"), (86400, 3600, "hour"), (604800, 86400, "day")):
        if seconds < limit:
            return f"{counted(int(seconds // unit), name)} ago" if name else "just now"
    return moment.strftime("%-d %B %Y")


def macs_speed(macs_per_second: float) -> str:
    """A measured speed in multiply-accumulates a second."""
    for scale, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M")):
        if macs_per_second >= scale:
            return f"{macs_per_second / scale:.3g} {unit}MAC/s"
    return f"{macs_per_second:.3g} MAC/s"


def shape(sizes: tuple[int, ...]) -> str:
    """A shape as `3 × 32 × 32`."""
    return " × ".join(str(size) for size in sizes)


def example(sizes: tuple[int, ...], *, tokens: bool) -> str:
    """One example: `3 × 32 × 32`, or `256 tokens`."""
    return counted(sizes[0], "token") if tokens else shape(sizes)


def number(value: float) -> str:
    """A coordinate, with a true minus sign."""
    return f"{value:.4g}".replace("-", "−")


def axis(spec: Axis) -> str:
    """An axis as `−1 … 1 in 51 points`."""
    return f"{number(spec.start)} … {number(spec.stop)} in {counted(spec.points, 'point')}"


def network(name: str, options: Mapping[str, object]) -> str:
    """An architecture with what distinguishes it: `resnet56 (conv shortcuts)`."""
    kinds = {"conv": "conv shortcuts", "A": "parameter-free shortcuts, option A"}
    if name.startswith(("resnet", "wrn")) and ":" not in name:
        kind = "no shortcuts" if name.endswith("_noshort") else kinds.get(str(options.get("shortcut", "conv")), "")
        return f"{name} ({kind})" if kind else name
    known = ", ".join(str(v) if k == "activation" else f"{k.replace('_', ' ')} {v}" for k, v in options.items())
    return f"{name} ({known})" if known else name


def data(request: SurfaceRequest, titles: Mapping[str, str]) -> str:
    """Which examples: data set, split, number, order."""
    chosen = request.data
    name = titles.get(chosen.dataset, chosen.dataset if len(chosen.dataset) < 64 else "an uploaded data set")
    amount = "all" if chosen.examples is None else count(chosen.examples)
    order = "in the data set's order" if chosen.seed is None else f"drawn with seed {chosen.seed}"
    return f"{name}, {chosen.split}: {amount} examples, {order}"


def preprocessing(request: SurfaceRequest) -> str:
    """How examples are prepared."""
    chosen = request.data.preprocessing
    if isinstance(chosen, Standardisation):
        mean, std = (", ".join(f"{v:g}" for v in values) for values in (chosen.mean, chosen.std))
        return f"(x − [{mean}]) / [{std}]"
    return "none" if chosen == "none" else chosen


def directions(plane: PlaneSpec) -> str:
    """Which directions span the plane."""
    specs = list(plane.specs.values())
    if all(isinstance(spec, RandomDirection) for spec in specs):
        seeds = " and ".join(str(spec.seed) for spec in specs if isinstance(spec, RandomDirection))
        return f"random, seed {seeds}" if len(specs) == 1 else f"random, seeds {seeds}"
    return "; ".join(dict.fromkeys(direction(spec) for spec in specs))


def direction(spec: DirectionSpec) -> str:
    """One direction."""
    if isinstance(spec, RandomDirection):
        return f"random, seed {spec.seed}"
    if isinstance(spec, TowardsDirection):
        return f"towards the checkpoint {spec.checkpoint[:8]}…{', its hidden units matched' if spec.aligned else ''}"
    if isinstance(spec, PrincipalDirection):
        return f"principal direction {spec.index} of {counted(len(spec.checkpoints), 'checkpoint')}"
    if isinstance(spec, HessianDirection):
        end = "largest" if spec.index > 0 else "smallest"
        return f"Hessian eigenvector {abs(spec.index)} from the {end} eigenvalue, {counted(spec.examples, 'example')}"
    return "from a direction file"


def normalisation(plane: PlaneSpec) -> str:
    """How directions are scaled, and what moves."""
    kinds, chosen = {spec.kind for spec in plane.specs.values()}, plane.normalisation
    angle = "; η at a right angle to δ" if plane.orthogonal else ""
    if kinds == {"file"}:
        return f"as stored in the file{angle}"
    moved = "; running statistics move too" if chosen.of == "states" else ""
    if not kinds & {"random", "principal", "hessian"}:
        return f"none{moved}{angle}"
    scale = NORMS[chosen.norm] if "random" in kinds else "to length one"
    ignored = "; biases and batch norm stay" if chosen.ignore == "biasbn" else "; biases and batch norm move too"
    return f"{scale}{ignored}{moved}{angle}"


def batch_norm(request: SurfaceRequest) -> str | None:
    """Which statistics batch norm has at a cell; None where nothing was asked of it."""
    if request.batch_norm == "fixed":
        return None
    return f"re-estimated at every cell over {counted(request.statistics_examples, 'example')}"


def budget(request: SurfaceRequest) -> str | None:
    """How good an estimate is to be; None where everything is measured."""
    if request.budget == "exact":
        return None
    return f"fast: estimated to {100 * request.tolerance:g} % of the range"


def curvature(request: SurfaceRequest) -> str | None:
    """Over how many examples eigenvalues are measured at every cell; None where they are not asked for."""
    if request.curvature is None:
        return None
    over = min(request.curvature.examples, request.data.examples or request.curvature.examples)
    return f"eigenvalues at every cell, over {counted(over, 'example')}"
