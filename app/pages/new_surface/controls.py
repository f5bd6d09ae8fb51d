"""The controls of the form, one for each of its values; each has the id `ids.field(path)`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import dash_mantine_components as dmc
from dash import html
from dash.development.base_component import Component

from app import ids
from app.forms import DIRECTIONS, ORDER, SHAPE
from app.pages.blocks import aria, icon
from app.pages.new_surface import choices
from app.pages.uploads import drop_zone, upload_panel

SEED_MAX = 2**53 - 1
"""The largest whole number that a browser keeps exactly."""

PRESETS = {"25": "25 · quick", "51": "51 · paper", "101": "101 · fine", "0": "own"}
"""Points on each axis to choose from; the paper's figures have 51."""

Values = Mapping[str, Any]


def select(values: Values, path: str, label: str, data: Sequence[Any], **rest: Any) -> Component:
    """A list to choose one value from."""
    return dmc.Select(
        id=ids.field(path),
        label=label,
        data=list(data),
        value=values[path],
        allowDeselect=False,
        checkIconPosition="right",
        maxDropdownHeight=320,
        **rest,
    )


def number(values: Values, path: str, label: str, **rest: Any) -> Component:
    """A number."""
    return dmc.NumberInput(id=ids.field(path), label=label, value=values[path], debounce=350, **rest)


def either(values: Values, path: str, label: str, options: Sequence[tuple[str, str]], note: str | None = None) -> Component:
    """One of a few values, all in sight."""
    control = dmc.SegmentedControl(
        id=ids.field(path),
        data=[{"value": value, "label": text} for value, text in options],
        value=values[path],
        size="sm",
        **aria(label=label),
    )
    return dmc.InputWrapper(control, id=ids.field_error(path), label=label, description=note, className="either")


def network(values: Values, checkpoints: Sequence[Any], architectures: Sequence[Any]) -> list[Component]:
    """Checkpoint and architecture."""
    return [
        select(
            values, "checkpoint", "Checkpoint", checkpoints,
            placeholder="Choose a checkpoint", searchable=True, nothingFoundMessage="No such checkpoint",
        ),
        select(values, "architecture", "Architecture", architectures, placeholder="Choose a checkpoint first"),
        html.Div(id=ids.NEW_CHECKPOINT_NOTE, className="field-note", **aria(live="polite")),
    ]  # fmt: skip


# More than 40 lines: a form read from top to bottom.
def data(values: Values, datasets: Sequence[Any], preprocessings: Sequence[Any], limit: str) -> list[Component]:
    """Which examples, and how they are prepared."""
    text = {"debounce": 350, "placeholder": "0.49, 0.48, 0.45"}
    custom = html.Div(
        [
            dmc.TextInput(id=ids.field(path), label=label, value=values[path], description="One number a channel", **text)
            for path, label in (("data.preprocessing.mean", "Mean"), ("data.preprocessing.std", "Standard deviation"))
        ],
        id=ids.NEW_CUSTOM,
        className="row",
    )
    return [
        select(values, "data.dataset", "Data set", datasets, placeholder="Choose a data set", searchable=True),
        drop_zone("dataset", "Your own data set", f"An .npz with x (uint8 or float) and y, up to {limit}", ".npz", small=True),
        upload_panel("dataset"),
        html.Div(
            [
                either(values, "data.split", "Split", (("train", "Train"), ("test", "Test"))),
                number(
                    values, "data.examples", "Examples", min=1, step=500, allowDecimal=False, thousandSeparator=",",
                    placeholder="all of the split", description="Leave empty for all",
                ),
            ],
            className="row",
        ),
        html.Div(
            [
                either(values, ORDER, "Order", (("seed", "Shuffled"), ("own", "As stored"))),
                html.Div(
                    number(
                        values, "data.seed", "Seed of the shuffle", min=0, max=SEED_MAX, allowDecimal=False,
                        description="The same seed takes the same examples",
                    ),
                    id=ids.NEW_ORDER,
                ),
            ],
            className="row",
        ),
        select(values, "data.preprocessing", "Preprocessing", preprocessings, description="As the network was trained"),
        custom,
        html.Div(id=ids.NEW_DATA_NOTE, className="field-note", **aria(live="polite")),
        select(values, "loss", "Loss", choices.LOSSES),
    ]  # fmt: skip


# More than 40 lines: a form read from top to bottom.
def plane(values: Values) -> list[Component]:
    """Curve or surface, directions and normalisation."""
    seeds = {"min": 0, "max": SEED_MAX, "allowDecimal": False}
    random = html.Div(
        [
            html.Div(
                [
                    number(values, "plane.x.seed", "Seed of δ", **seeds),
                    html.Div(number(values, "plane.y.seed", "Seed of η", **seeds), className="only-surface"),
                    dmc.Button("New draw", id=ids.NEW_DRAW, variant="light", leftSection=icon("dices")),
                ],
                className="row row-end",
            ),
            norm(values),
        ],
        id=ids.NEW_SEEDS,
        className="stack",
    )
    file = html.Div(
        [
            drop_zone(
                "directions", "Direction file", "An .h5 with xdirection and ydirection, as Li et al.'s code writes it",
                ".h5,.hdf5", small=True,
            ),
            upload_panel("directions"),
            dmc.TextInput(
                id=ids.field("plane.x.file"), label="Id of the direction file", value=values["plane.x.file"], debounce=350,
                description="Filled in by the upload. Its tensors are used as they are: they are already normalised.",
                className="mono",
            ),
        ],
        id=ids.NEW_FILE,
        className="stack",
    )  # fmt: skip
    return [
        html.Div(
            [
                either(values, SHAPE, "Cut along", (("surface", "Two directions"), ("curve", "One (a curve)"))),
                either(values, DIRECTIONS, "Directions", (("random", "Random"), ("file", "From a file"))),
            ],
            className="row",
        ),
        random,
        file,
    ]


def norm(values: Values) -> Component:
    """How random directions are scaled to the network."""
    return html.Div(
        [
            select(
                values, "plane.normalisation.norm", "Normalisation", choices.NORMS,
                description=choices.NORM_MEANING[values["plane.normalisation.norm"]],
            ),
            either(
                values, "plane.normalisation.ignore", "Biases and batch norm", (("biasbn", "Stay"), ("none", "Move too")),
                "Li et al. leave tensors of one dimension where they are.",
            ),
            either(
                values, "plane.normalisation.of", "Running statistics", (("weights", "Stay"), ("states", "Move too")),
                "Batch norm's means and variances are no weights, but can be moved with them.",
            ),
        ],
        className="stack",
    )  # fmt: skip


def grid(values: Values) -> list[Component]:
    """Range and resolution."""
    presets = dmc.SegmentedControl(
        id=ids.NEW_PRESET,
        data=[{"value": value, "label": text} for value, text in PRESETS.items()],
        value=str(values["grid.x.points"]) if str(values["grid.x.points"]) in PRESETS else "0",
        size="sm",
        **aria(label="Points on each axis"),
    )

    def axis(name: str, letter: str) -> Component:
        return html.Div(
            [
                number(values, f"grid.{name}.start", f"{letter} from", step=0.25, decimalScale=6),
                number(values, f"grid.{name}.stop", "to", step=0.25, decimalScale=6),
                number(values, f"grid.{name}.points", "points", min=1, max=501, allowDecimal=False),
            ],
            className="row row-3 only-surface" if name == "y" else "row row-3",
        )

    return [
        dmc.InputWrapper(presets, label="Points on each axis", className="either"),
        axis("x", "α"),
        axis("y", "β"),
    ]
