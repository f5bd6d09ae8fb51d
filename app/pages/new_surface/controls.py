"""The controls of the form, one for each of its values; each has the id `ids.field(path)`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import dash_mantine_components as dmc
from dash import html
from dash.development.base_component import Component

from app import ids
from app.forms import ALIGNED, DIRECTIONS, ORDER, SHAPE, UNALIGNED
from app.pages.blocks import aria, icon
from app.pages.new_surface import choices
from app.pages.uploads import drop_zone, upload_panel
from landscape_core.requests import MAX_CHECKPOINTS

SEED_MAX = 2**53 - 1
"""The largest whole number that a browser keeps exactly."""

DATA_FILE = "An .npz with x (uint8 or float) and y, or with x of token ids (uint16, int32), up to {}"

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
        drop_zone("dataset", "Your own data set", DATA_FILE.format(limit), ".npz", small=True),
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
        dmc.MultiSelect(
            id=ids.field("metrics"), label="Also count", description="At every cell, beside loss and accuracy",
            data=choices.METRICS, value=list(values["metrics"]), placeholder="Nothing else", clearable=True,
        ),
    ]  # fmt: skip


def only_for(*kinds: str) -> str:
    """The class of what is in sight for these kinds of direction alone."""
    return " ".join(["stack", "kind-part", *(f"of-{kind}" for kind in kinds)])


def plane(values: Values, checkpoints: Sequence[Any]) -> list[Component]:
    """Curve or surface, directions and normalisation."""
    return [
        html.Div(
            [
                either(values, SHAPE, "Cut along", (("surface", "Two directions"), ("curve", "One (a curve)"))),
                select(values, DIRECTIONS, "Directions", choices.DIRECTIONS),
            ],
            className="row row-level",
        ),
        seeds(values),
        others(values, checkpoints),
        run(values, checkpoints),
        numbers(values),
        file(values),
        *norm(values),
    ]


def seeds(values: Values) -> Component:
    """Random directions."""
    bounds = {"min": 0, "max": SEED_MAX, "allowDecimal": False}
    parts = [
        number(values, "plane.x.seed", "Seed of δ", **bounds),
        html.Div(number(values, "plane.y.seed", "Seed of η", **bounds), className="only-surface"),
        dmc.Button("New draw", id=ids.NEW_DRAW, variant="light", leftSection=icon("dices")),
    ]
    return html.Div(html.Div(parts, className="row row-end"), className=only_for("random"))


def others(values: Values, checkpoints: Sequence[Any]) -> Component:
    """Directions towards other checkpoints."""
    given = {"placeholder": "Choose another", "searchable": True, "nothingFoundMessage": "No such checkpoint"}
    order = ((UNALIGNED, "As they came"), (ALIGNED, "Matched"))
    text = (
        "At 1 stands the other network, of the same kind. The difference is neither scaled nor masked. Matched, the other's "
        "hidden units are first put into the order in which its weights are nearest; it computes the same function then."
    )

    def towards(axis: str, letter: str) -> Component:
        parts = [
            select(values, f"plane.{axis}.checkpoint", f"{letter} leads to", checkpoints, **given),
            either(values, f"plane.{axis}.aligned", f"Its hidden units ({letter})", order),
        ]
        return html.Div(parts, className="row only-surface" if axis == "y" else "row")

    note = html.Div(text, className="field-note")
    return html.Div([towards("x", "δ"), towards("y", "η"), note], className=only_for("towards"))


def run(values: Values, checkpoints: Sequence[Any]) -> Component:
    """The checkpoints of a training run."""
    chosen = dmc.MultiSelect(
        id=ids.field("plane.trajectory"),
        label="Training run",
        description="Its checkpoints, in their order; the network above ends it",
        data=list(checkpoints),
        value=list(values["plane.trajectory"]),
        placeholder="Add a checkpoint",
        searchable=True,
        clearable=True,
        hidePickedOptions=True,
        nothingFoundMessage="No other checkpoint",
        maxDropdownHeight=320,
    )
    return html.Div(chosen, className=only_for("principal"))


def numbers(values: Values) -> Component:
    """Which principal directions or eigenvectors."""
    whole = {"allowDecimal": False, "max": MAX_CHECKPOINTS}
    examples = number(
        values, "plane.x.examples", "Examples of the Hessian", min=1, step=512, allowDecimal=False, thousandSeparator=",",
        description="The first of those above. Each eigenvector takes dozens of passes over them before the first surface.",
    )  # fmt: skip
    notes = {
        "principal": "1 is the direction of most variance. Directions have length one: coordinates are distances of weights.",
        "hessian": "1 is the largest eigenvalue, −1 the smallest. Directions have length one: choose the range of the grid "
        "accordingly.",
    }
    return html.Div(
        [
            html.Div(
                [
                    number(values, "plane.x.index", "Number of δ", **whole),
                    html.Div(number(values, "plane.y.index", "Number of η", **whole), className="only-surface"),
                ],
                className="row",
            ),
            *(
                html.Div(
                    text,
                    className=f"field-note kind-part of-{kind}",
                )
                for kind, text in notes.items()
            ),
            html.Div(examples, className=only_for("hessian")),
        ],
        className=only_for("principal", "hessian"),
    )


def file(values: Values) -> Component:
    """Directions from a file."""
    return html.Div(
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
        className=only_for("file"),
    )  # fmt: skip


def norm(values: Values) -> list[Component]:
    """How random directions are scaled to the network, and what moves."""
    return [
        html.Div(
            select(
                values, "plane.normalisation.norm", "Normalisation", choices.NORMS,
                description=choices.NORM_MEANING[values["plane.normalisation.norm"]],
            ),
            className=only_for("random"),
        ),
        html.Div(
            either(
                values, "plane.normalisation.ignore", "Biases and batch norm", (("biasbn", "Stay"), ("none", "Move too")),
                "Li et al. leave tensors of one dimension where they are.",
            ),
            className=only_for("random", "principal", "hessian"),
        ),
        html.Div(
            either(
                values, "plane.normalisation.of", "Running statistics", (("weights", "Stay"), ("states", "Move too")),
                "Batch norm's means and variances are no weights, but can be moved with them.",
            ),
            className=only_for("random", "towards", "principal", "file"),
        ),
    ]  # fmt: skip


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
