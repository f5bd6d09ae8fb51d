"""The catalogued networks, known by the names and shapes of their tensors. No torch: `compute.architectures` builds them.

    resnet20 … resnet110           CIFAR-10 ResNets of He et al. 2016, section 4.2; option shortcut=conv|A
    resnet20_noshort … resnet110_noshort   the same without shortcuts (Li et al. 2018, section 6)
    mlp                            any chain of affine layers; option activation

A file fits a network when it has every tensor with its exact shape and nothing else. Only batch norm's counters
`num_batches_tracked` may be absent: files from before PyTorch 0.4.1 lack them, and evaluation does not use them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from pydantic import Field

from landscape_core.errors import InvalidRequest
from landscape_core.requests import ArchitectureSpec, Message

Shapes = Mapping[str, tuple[int, ...]]

RESNET_BLOCKS = {20: 3, 32: 5, 44: 7, 56: 9, 110: 18}
"""Blocks in each of the three stages by depth: depth = 6 n + 2 (He et al. 2016, section 4.2)."""

RESNET_WIDTHS = (16, 32, 64)
ACTIVATIONS = ("relu", "tanh", "sigmoid", "gelu", "elu", "leaky_relu", "silu", "identity")
COUNTER = "num_batches_tracked"


class ArchitectureEntry(Message):
    """One catalogued architecture. `options` lists the values of each option, the default first."""

    name: str
    title: str
    options: dict[str, list[str]]


class Candidate(Message):
    """An architecture that a file's tensors fit exactly.

    Attributes:
        architecture: What a request's `architecture` takes.
        note: Why it was found, and how to choose where several fit.
        input_shape: (channels, height, width) it was made for, or (features,). A ResNet takes other heights and widths too.
        classes: How many outputs it has.
        renames: The network's name -> the file's name, for those tensors whose names differ.
    """

    architecture: ArchitectureSpec
    note: str
    input_shape: tuple[int, ...]
    classes: int
    renames: dict[str, str] = Field(default_factory=dict)


def architectures() -> list[ArchitectureEntry]:
    """All catalogued architectures."""
    plain = [
        ArchitectureEntry(name=f"resnet{d}", title=f"ResNet-{d} for CIFAR", options={"shortcut": ["conv", "A"]})
        for d in RESNET_BLOCKS
    ]
    noshort = [
        ArchitectureEntry(name=f"resnet{d}_noshort", title=f"ResNet-{d} for CIFAR, without shortcuts", options={})
        for d in RESNET_BLOCKS
    ]
    mlp = ArchitectureEntry(name="mlp", title="Multi-layer perceptron", options={"activation": list(ACTIVATIONS)})
    return [*plain, *noshort, mlp]


def resolve(spec: ArchitectureSpec) -> dict[str, str]:
    """The value of every option of a catalogued architecture, defaults included.

    Raises:
        InvalidRequest: There is no such architecture, option or value.
    """
    known = {entry.name: entry for entry in architectures()}
    if spec.name not in known:
        raise InvalidRequest(
            f"There is no architecture {spec.name!r}; choose one of {', '.join(known)}.", field="architecture.name"
        )
    options = known[spec.name].options
    chosen = {name: values[0] for name, values in options.items()}
    for name, value in spec.options.items():
        if name not in options:
            listed = ", ".join(f"{key} ({'|'.join(values)})" for key, values in options.items()) or "none"
            raise InvalidRequest(
                f"{spec.name} has no option {name!r}; its options are: {listed}.", field="architecture.options"
            )
        if str(value) not in options[name]:
            raise InvalidRequest(
                f"{spec.name}'s option {name} is one of {', '.join(options[name])}, but {value!r} was given.",
                field="architecture.options",
            )
        chosen[name] = str(value)
    return chosen


def canonical(spec: ArchitectureSpec) -> ArchitectureSpec:
    """The same architecture with its default options left out, so that one question has one digest.

    Raises:
        InvalidRequest: There is no such architecture, option or value.
    """
    defaults = resolve(ArchitectureSpec(name=spec.name))
    return ArchitectureSpec(name=spec.name, options={k: v for k, v in resolve(spec).items() if v != defaults[k]})


# ---- ResNets ---------------------------------------------------------------------------------------------------------


def resnet_depth(name: str) -> tuple[int, bool] | None:
    """(depth, has shortcuts) of a ResNet's name; None if it is not one."""
    found = re.fullmatch(r"resnet(\d+)(_noshort)?", name)
    if found is None or int(found[1]) not in RESNET_BLOCKS:
        return None
    return int(found[1]), found[2] is None


def _batch_norm(name: str, width: int) -> dict[str, tuple[int, ...]]:
    vectors = {f"{name}.{part}": (width,) for part in ("weight", "bias", "running_mean", "running_var")}
    return {**vectors, f"{name}.{COUNTER}": ()}


def resnet_tensors(depth: int, *, conv_shortcuts: bool, channels: int, classes: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a CIFAR ResNet's tensors, in `state_dict` order, as in the code of Li et al. 2018.

    Args:
        depth: 20, 32, 44, 56 or 110.
        conv_shortcuts: Whether the two blocks that change the width have 1 x 1 convolutions in their shortcuts;
            option A and networks without shortcuts have none.
        channels: Channels of the input.
        classes: Outputs.
    """
    tensors: dict[str, tuple[int, ...]] = {"conv1.weight": (16, channels, 3, 3), **_batch_norm("bn1", 16)}
    before = 16
    for stage, width in enumerate(RESNET_WIDTHS, start=1):
        for index in range(RESNET_BLOCKS[depth]):
            block = f"layer{stage}.{index}"
            tensors |= {f"{block}.conv1.weight": (width, before, 3, 3), **_batch_norm(f"{block}.bn1", width)}
            tensors |= {f"{block}.conv2.weight": (width, width, 3, 3), **_batch_norm(f"{block}.bn2", width)}
            if conv_shortcuts and before != width:
                tensors |= {f"{block}.shortcut.0.weight": (width, before, 1, 1)}
                tensors |= _batch_norm(f"{block}.shortcut.1", width)
            before = width
    return {**tensors, "linear.weight": (classes, before), "linear.bias": (classes,)}


def resnet_ends(shapes: Shapes) -> tuple[int, int]:
    """(input channels, classes) as the file's first and last weights have them; CIFAR-10's where they are missing."""
    first, last = shapes.get("conv1.weight", ()), shapes.get("linear.weight", ())
    return (first[1] if len(first) == 4 else 3), (last[0] if len(last) == 2 else 10)


def expected_resnet(spec: ArchitectureSpec, shapes: Shapes) -> dict[str, tuple[int, ...]]:
    """The tensors of the ResNet that `spec` names, with the file's input channels and classes, in `state_dict` order."""
    depth, has_shortcuts = resnet_depth(spec.name) or (20, True)
    channels, classes = resnet_ends(shapes)
    conv = has_shortcuts and resolve(spec)["shortcut"] == "conv"
    return resnet_tensors(depth, conv_shortcuts=conv, channels=channels, classes=classes)


def resnet_specs() -> list[ArchitectureSpec]:
    """Every ResNet of the catalogue with every option."""
    specs = []
    for depth in RESNET_BLOCKS:
        specs.append(ArchitectureSpec(name=f"resnet{depth}"))
        specs.append(ArchitectureSpec(name=f"resnet{depth}", options={"shortcut": "A"}))
        specs.append(ArchitectureSpec(name=f"resnet{depth}_noshort"))
    return specs


def listed(names: list[str], most: int = 3) -> str:
    """The first few names, and how many more there are."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
