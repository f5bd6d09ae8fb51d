"""Surfaces to write and read: random ones of every kind, and a small one with a request."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from landscape_core.quantities import quantity
from landscape_core.requests import (
    ArchitectureSpec,
    Axis,
    DataSlice,
    Grid,
    PlaneSpec,
    RandomDirection,
    SurfaceRequest,
)
from landscape_core.results import ESTIMATED, MEASURED, NOT_COMPUTED, Surface


def request(nx: int, ny: int | None, split: str = "train") -> SurfaceRequest:
    return SurfaceRequest(
        checkpoint="ab" * 32,
        architecture=ArchitectureSpec(name="mlp", options={"activation": "tanh"}),
        data=DataSlice(dataset="fashion-mnist-sample", split=split, examples=100),
        plane=PlaneSpec(x=RandomDirection(seed=1), y=None if ny is None else RandomDirection(seed=2)),
        grid=Grid(
            x=Axis(start=-1, stop=1, points=nx),
            y=None if ny is None else Axis(start=-0.5, stop=0.75, points=ny),
        ),
    )


def bowl(nx: int = 7, ny: int | None = 5, split: str = "train") -> Surface:
    asked = request(nx, ny, split)
    x = asked.grid.x.coordinates
    y = None if asked.grid.y is None else asked.grid.y.coordinates
    loss = 0.1 + x[None, :] ** 2 + (0.0 if y is None else 3 * y[:, None] ** 2 + y[:, None])
    shape = loss.shape
    return Surface(
        x=x,
        y=y,
        loss=loss,
        state=np.full(shape, MEASURED, np.uint8),
        accuracy=np.clip(100 - 20 * loss, 0, 100),
        examples=np.full(shape, 100, np.int64),
        stderr=0.01 * loss,
        request=asked,
        provenance={"device": "cpu", "seconds": 1.25},
    )


def over(x: list[float], y: list[float] | None, loss: object) -> Surface:
    """A surface of these losses, without a request; NaN is a hole."""
    table = np.array(loss, np.float64, ndmin=2)
    hole = np.isnan(table)
    return Surface(
        x=np.array(x, np.float64),
        y=None if y is None else np.array(y, np.float64),
        loss=table,
        state=np.where(hole, NOT_COMPUTED, MEASURED).astype(np.uint8),
        accuracy=np.full(table.shape, np.nan),
        examples=np.where(hole, 0, 10).astype(np.int64),
        stderr=np.full(table.shape, np.nan),
    )


def same(a: Surface, b: Surface) -> bool:
    """Whether two surfaces agree to the last bit, NaN in the same places."""
    for name in ("x", "y", "loss", "state", "accuracy", "examples", "stderr"):
        one, other = getattr(a, name), getattr(b, name)
        if (one is None) != (other is None):
            return False
        if one is not None and not (one.dtype == other.dtype and np.array_equal(one, other, equal_nan=one.dtype.kind == "f")):
            return False
    if list(a.quantities) != list(b.quantities):
        return False
    if not all(t.dtype == np.float64 and np.array_equal(t, b.quantities[n], equal_nan=True) for n, t in a.quantities.items()):
        return False
    return a.request == b.request and a.provenance == b.provenance


_finite = st.floats(allow_nan=False, allow_infinity=False)
_json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | _finite | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def _axes(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray | None]:
    steps = st.lists(_finite, min_size=1, max_size=6, unique=True)
    x = np.array(sorted(draw(steps)))
    y = np.array(sorted(draw(steps))) if draw(st.booleans()) else None
    return x, y


@st.composite
def surfaces(draw: st.DrawFn) -> Surface:
    """Any surface that may exist: holes, losses that are not finite, negative losses, unknown accuracies, estimates."""
    if draw(st.booleans()):
        asked = request(draw(st.integers(1, 6)), draw(st.none() | st.integers(1, 6)), draw(st.sampled_from(("train", "test"))))
        x, y = asked.grid.x.coordinates, None if asked.grid.y is None else asked.grid.y.coordinates
    else:
        asked, (x, y) = None, _axes(draw)
    shape = (1 if y is None else y.size, x.size)
    state = draw(hnp.arrays(np.uint8, shape, elements=st.integers(0, 3)))
    loss = draw(hnp.arrays(np.float64, shape, elements=_finite | st.just(-1.0)))
    accuracy = draw(hnp.arrays(np.float64, shape, elements=st.floats(0, 100) | st.just(np.nan)))
    examples = draw(hnp.arrays(np.int64, shape, elements=st.integers(0, 2**62)))
    stderr = draw(hnp.arrays(np.float64, shape, elements=st.floats(0, 1e300) | st.just(np.nan)))
    hole = state == NOT_COMPUTED
    names = ("top5", "max_eig", "min_eig", "class_accuracy_0", "class_accuracy_99")
    values = {n: st.floats(0, 100) if quantity(n).is_percentage else _finite | st.just(-1.0) for n in names}
    known = [name for name in names if draw(st.integers(0, 3)) == 0]
    tables = {name: draw(hnp.arrays(np.float64, shape, elements=values[name] | st.just(np.nan))) for name in known}
    return Surface(
        x=x,
        y=y,
        loss=np.where((state == MEASURED) | (state == ESTIMATED), loss, np.nan),
        state=state,
        accuracy=np.where(hole, np.nan, accuracy),
        examples=np.where(hole, 0, examples),
        stderr=np.where(hole, np.nan, stderr),
        request=asked,
        provenance=draw(st.dictionaries(st.text(max_size=5), _json, max_size=3)),
        quantities={name: np.where(hole, np.nan, table) for name, table in tables.items()},
    )


@st.composite
def perforated(draw: st.DrawFn) -> Surface:
    """A surface of at least 2 x 2 cells on an uneven grid, with losses of any size and holes anywhere, or a diagonal band."""
    steps = st.lists(st.floats(0.02, 1), min_size=1, max_size=6)
    start, unit = draw(st.floats(-3, 3)), draw(st.sampled_from((1e-200, 1.0, 1e200)))
    x, y = ((start + np.cumsum([0.0, *draw(steps)])) * unit for _ in "xy")
    shape = (y.size, x.size)
    element = st.floats(-1e3, 1e3) | _finite
    loss = draw(hnp.arrays(np.float64, shape, elements=element) | hnp.arrays(np.float64, shape, elements=st.just(1.5)))
    hole = draw(hnp.arrays(np.bool_, shape, elements=st.booleans() | st.just(value=False)))
    if draw(st.booleans()):  # facets that touch in their corners alone
        hole = np.abs(np.subtract.outer(range(y.size), range(x.size)) - draw(st.integers(-2, 2))) > 1
        hole = hole[:, ::-1] if draw(st.booleans()) else hole
    return over(x.tolist(), y.tolist(), np.where(hole, np.nan, loss))
