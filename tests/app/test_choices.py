"""What the form offers for a checkpoint, and what is said of it, for networks that tensors do not tell apart."""

from __future__ import annotations

from dash.development.base_component import Component

from app.pages.checkpoints.layout import verdict
from app.pages.new_surface import choices
from app.pages.new_surface.callbacks import note
from app.schemas import ArchitectureInfo, CandidateInfo, DatasetInfo
from landscape_core import catalogue
from landscape_core.requests import ArchitectureSpec

LENET = {"conv1.weight": (6, 3, 5, 5), "conv2.weight": (16, 6, 5, 5), "fc1.weight": (120, 400), "fc2.weight": (10, 120)}
KNOWN = [ArchitectureInfo(**entry.model_dump()) for entry in catalogue.architectures()]


def candidates(shapes: dict[str, tuple[int, ...]]) -> list[CandidateInfo]:
    found = []
    for fits in catalogue.match(shapes):
        spec = fits.architecture
        macs = catalogue.macs_per_example(spec, shapes, fits.input_shape)
        info = CandidateInfo(
            name=spec.name, options=spec.options, text=str(spec), note=fits.note, macs_per_example=macs,
            input_shape=fits.input_shape, classes=fits.classes,
        )  # fmt: skip
        found.append(info)
    return found


def text_of(component: Component | str | None) -> str:
    if isinstance(component, Component):
        children = getattr(component, "children", None)
        parts = children if isinstance(children, list | tuple) else [children]
        return "".join(text_of(part) for part in parts)
    return str(component or "")


def test_every_choice_for_a_plain_convolutional_network_can_be_asked_for():
    offered = choices.architectures(candidates(LENET), KNOWN)
    assert offered[0] == {"value": "convnet", "label": "convnet, activation relu"}
    assert offered[1] == {"value": "convnet:activation=tanh", "label": "convnet, activation tanh"}
    values = [choice["value"] for choice in offered]
    assert len(set(values)) == len(values) == 8 * len(candidates(LENET))
    assert any("pool=average" in value for value in values)
    for value in values:
        catalogue.fit(catalogue.canonical(ArchitectureSpec.parse(value)), LENET)
    assert "The file does not say activation, pooling, strides and padding" in note(candidates(LENET), offered)


def test_the_verdict_names_the_first_of_many_and_each_of_few():
    many = candidates(LENET)
    assert f"This is convnet, or one of {len(many) - 1} others that have these tensors too." in text_of(verdict(many))
    assert "This is convnet or convnet (" in text_of(verdict(many[:2]))
    assert "Input 3 × 32 × 32 · 10 classes" in text_of(verdict(many))


def test_a_data_set_of_the_network_s_channels_and_classes_is_suggested():
    def dataset(name: str, shape: tuple[int, ...]) -> DatasetInfo:
        return DatasetInfo(id=name, title=name, state="ready", uploaded=False, splits={"train": 9}, shape=shape, classes=10)

    known = [dataset("grey", (1, 28, 28)), dataset("colours", (3, 32, 32))]
    assert choices.suggested_dataset(candidates(LENET), known) == "colours"
