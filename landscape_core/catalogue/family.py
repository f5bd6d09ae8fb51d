"""What a family of architectures is: the names it answers to, and what a file's tensors must be to fit one of them. No torch.

A network is added by one file in `catalogue/families` and one in `compute/architectures`; everything else asks the family.

A file fits a network when it has every tensor with its exact shape and nothing else. Only batch norm's counters
`num_batches_tracked` may be absent: files from before PyTorch 0.4.1 lack them, and evaluation does not use them.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import ClassVar

from pydantic import Field

from landscape_core.catalogue.comparison import COUNTER, Comparison, compared
from landscape_core.catalogue.symmetry import Symmetry
from landscape_core.errors import InvalidRequest
from landscape_core.requests import ArchitectureSpec, Message

Shapes = Mapping[str, tuple[int, ...]]
Options = Mapping[str, str]

ACTIVATIONS = ("relu", "tanh", "sigmoid", "gelu", "elu", "leaky_relu", "silu", "identity")

NEAR = 0.25
"""The least share of a file's tensors that a network must have for it to be named as the nearest."""

DAMAGED = 0.5
"""The least share at which a file is rather a damaged or unusual form of that network than one to be guessed at."""


class ArchitectureEntry(Message):
    """One catalogued architecture. `options` lists the values of each option, the default first.

    Attributes:
        name: What a request's `architecture.name` takes.
        title: For people.
        options: Name of each option -> its values, the default first.

    Example:
        >>> from landscape_core.catalogue import architectures
        >>> entry = next(entry for entry in architectures() if entry.name == "mlp")
        >>> entry.title, entry.options["activation"][0]
        ('Multi-layer perceptron', 'relu')
    """

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
        takes_tokens: Whether an example is a sequence of token ids, of which `classes` is the vocabulary.
        transposed: Matrices that the file has as (inputs, outputs), by the network's names.
        copies: A tensor of the file -> the one that it has to equal, because they are one in the network.

    Example:
        >>> from landscape_core.catalogue import match
        >>> candidate = match({"a.weight": (5, 4), "b.weight": (3, 5)})[0]
        >>> str(candidate.architecture), candidate.input_shape, candidate.classes, candidate.renames["layers.0.weight"]
        ('mlp', (4,), 3, 'a.weight')
    """

    architecture: ArchitectureSpec
    note: str
    input_shape: tuple[int, ...]
    classes: int
    renames: dict[str, str] = Field(default_factory=dict)
    takes_tokens: bool = False
    transposed: tuple[str, ...] = ()
    copies: dict[str, str] = Field(default_factory=dict)


class Family(ABC):
    """Architectures that are known, built and explained alike. `options` below are those of a spec, defaults included.

    Attributes:
        key: What `compute.architectures` knows its builder by.
        summary: All its names, in short, for a sentence that lists what there is.
        guesses: Whether it offers networks of which tensors do not tell enough, so that a damaged file of a known one is not
            taken for one of them.
    """

    key: ClassVar[str]
    summary: ClassVar[str]
    guesses: ClassVar[bool] = False

    @abstractmethod
    def entries(self) -> list[ArchitectureEntry]:
        """The architectures to be listed."""

    def entry(self, name: str) -> ArchitectureEntry | None:
        """The architecture of this name, listed or not; None if it is none of this family."""
        return next((entry for entry in self.entries() if entry.name == name), None)

    @abstractmethod
    def fit(self, spec: ArchitectureSpec, options: Options, shapes: Shapes) -> Candidate:
        """How one of the family's architectures fits a file's tensors.

        Raises:
            InvalidRequest: It does not; the text says what differs.
        """

    @abstractmethod
    def match(self, shapes: Shapes, filename: str) -> tuple[Candidate, ...]:
        """The family's architectures that a file's tensors fit exactly, best first."""

    @abstractmethod
    def near_miss(self, shapes: Shapes) -> tuple[float, str] | None:
        """(how near in 0 … 1, what stands in the way, to go on after “No catalogued architecture fits”); None if not near."""

    def nearest(self, shapes: Shapes) -> Comparison | None:
        """The family's network that is nearest to a file that fits none, tensor by tensor; None if its names are free."""
        del shapes
        return None

    @abstractmethod
    def macs(self, spec: ArchitectureSpec, options: Options, shapes: Shapes, input_shape: tuple[int, ...]) -> int:
        """Multiply-accumulates of one forward pass of one example, in convolutions and affine layers."""

    def symmetry(self, spec: ArchitectureSpec, options: Options, shapes: Shapes) -> Symmetry | None:
        """Which hidden units of a network that fits may change places, by its own names; None if that is not written down."""
        del spec, options, shapes
        return None

    def size_problem(self, spec: ArchitectureSpec, options: Options, shapes: Shapes, height: int, width: int) -> str | None:
        """Why images of this height and width cannot be given to the network, to go on after “images of 5 x 5, ”."""
        del spec, options, shapes, height, width
        return None


class Layout:
    """The tensors of a network in `state_dict` order, written down layer by layer, and what each layer costs.

    Args:
        rounding: How an odd height or width is halved: `math.ceil` for strides of padded kernels, `math.floor` for pooling.
    """

    def __init__(self, rounding: Callable[[float], int] = math.ceil) -> None:
        self.tensors: dict[str, tuple[int, ...]] = {}
        self._halvings: dict[str, int] = {}
        self._rounding = rounding

    def convolution(self, name: str, inputs: int, outputs: int, size: int, halvings: int, *, bias: bool = False) -> None:
        """A convolution with a square kernel, whose output has the image's height and width halved so many times."""
        self.tensors[f"{name}.weight"] = (outputs, inputs, size, size)
        self._halvings[f"{name}.weight"] = halvings
        if bias:
            self.tensors[f"{name}.bias"] = (outputs,)

    def batch_norm(self, name: str, width: int) -> None:
        """Batch norm over so many channels."""
        self.tensors |= {f"{name}.{part}": (width,) for part in ("weight", "bias", "running_mean", "running_var")}
        self.tensors[f"{name}.{COUNTER}"] = ()

    def affine(self, name: str, inputs: int, outputs: int) -> None:
        """An affine layer."""
        self.tensors |= {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}

    def macs(self, height: int, width: int) -> int:
        """Multiply-accumulates of convolutions and affine layers for one image of this height and width."""
        total = 0
        for name, shape in self.tensors.items():
            if name in self._halvings:
                scale = 2 ** self._halvings[name]
                total += self._rounding(height / scale) * self._rounding(width / scale) * math.prod(shape)
            elif len(shape) == 2:
                total += math.prod(shape)
        return total


class NamedFamily(Family):
    """Networks for images whose tensors have fixed names, and shapes that follow from the name and the file's two ends.

    Attributes:
        first: Name of the first weight, which has the input's channels.
        last: Name of the last weight, which has the number of classes.
    """

    first: ClassVar[str]
    last: ClassVar[str]

    @abstractmethod
    def specs(self, shapes: Shapes) -> list[ArchitectureSpec]:
        """Every architecture that a file could be, with every option that its tensors can tell."""

    @abstractmethod
    def layout(self, spec: ArchitectureSpec, options: Options, shapes: Shapes) -> Layout:
        """The network's tensors, with the file's input channels and classes."""

    def options_of(self, spec: ArchitectureSpec) -> dict[str, str]:
        """The spec's options, defaults included."""
        entry = self.entry(spec.name)
        defaults = {} if entry is None else {name: values[0] for name, values in entry.options.items()}
        return defaults | {name: str(value) for name, value in spec.options.items()}

    def ends(self, shapes: Shapes) -> tuple[int, int]:
        """(input channels, classes) as the file's first and last weights have them; CIFAR-10's where they are missing."""
        first, last = shapes.get(self.first, ()), shapes.get(self.last, ())
        return (first[1] if len(first) == 4 else 3), (last[0] if len(last) == 2 else 10)

    def image_size(self, shapes: Shapes) -> tuple[int, int]:
        """(height, width) of the images that the network was made for."""
        del shapes
        return 32, 32

    def note(self, spec: ArchitectureSpec, shapes: Shapes) -> str:
        """What is said of a file that fits."""
        return f"All {len(shapes)} tensors have the names and shapes of {spec}."

    def fit(self, spec: ArchitectureSpec, options: Options, shapes: Shapes) -> Candidate:
        """How one of the family's architectures fits a file's tensors.

        Raises:
            InvalidRequest: It does not; the text says what differs.
        """
        count, words = differences(self.layout(spec, options, shapes).tensors, shapes)
        if not count and (empty := [name for name, shape in shapes.items() if 0 in shape]):
            count, words = len(empty), f"{listed(empty)} has no elements"
        if count:
            raise InvalidRequest(f"The checkpoint does not fit {spec}: {words}.", field="architecture")
        channels, classes = self.ends(shapes)
        shape = (channels, *self.image_size(shapes))
        return Candidate(architecture=spec, note=self.note(spec, shapes), input_shape=shape, classes=classes)

    def match(self, shapes: Shapes, filename: str) -> tuple[Candidate, ...]:
        """The family's architectures that a file's tensors fit exactly, in the order of `specs`."""
        del filename
        found = []
        for spec in self.specs(shapes) if self.first in shapes else []:
            try:
                found.append(self.fit(spec, self.options_of(spec), shapes))
            except InvalidRequest:
                continue
        return tuple(found)

    def near_miss(self, shapes: Shapes) -> tuple[float, str] | None:
        """The nearest of the family's networks, if a quarter of the file's tensors are its own: the share, and what differs."""
        found = self.nearest(shapes)
        if found is None or found.same < NEAR * len(shapes):
            return None
        spec = found.architecture
        _, words = differences(self.layout(spec, self.options_of(spec), shapes).tensors, shapes)
        same = found.same
        return same / len(shapes), f"; the nearest is {spec}, with {same} of {len(shapes)} tensors in common: {words}."

    def nearest(self, shapes: Shapes) -> Comparison | None:
        """The family's network with the fewest tensors that differ; None if not one is the same."""
        layouts = [(spec, self.layout(spec, self.options_of(spec), shapes).tensors) for spec in self.specs(shapes)]
        spec, tensors = min(layouts, key=lambda found: differences(found[1], shapes)[0])
        found = compared(spec, tensors, shapes)
        return found if found.same else None

    def macs(self, spec: ArchitectureSpec, options: Options, shapes: Shapes, input_shape: tuple[int, ...]) -> int:
        """Multiply-accumulates of one forward pass of one image; of the size the network was made for, if it is no image."""
        height, width = input_shape[-2:] if len(input_shape) == 3 else self.image_size(shapes)
        return self.layout(spec, options, shapes).macs(height, width)


def differences(expected: Shapes, shapes: Shapes) -> tuple[int, str]:
    """(how many tensors differ, in words) between a network and a file; (0, "") if the file fits."""
    missing = [name for name in expected if name not in shapes and not name.endswith(COUNTER)]
    unexpected = [name for name in shapes if name not in expected]
    other = [name for name, shape in shapes.items() if name in expected and tuple(shape) != expected[name]]
    parts = []
    if missing:
        parts.append(f"the file lacks {listed(missing)}")
    if unexpected:
        parts.append(f"it has {listed(unexpected)}, which the network has not")
    if other:
        first = other[0]
        more = f" (and {len(other) - 1} more have other shapes)" if len(other) > 1 else ""
        parts.append(f"{first} has shape {tuple(shapes[first])} where the network has {expected[first]}{more}")
    return len(missing) + len(unexpected) + len(other), "; ".join(parts)


def listed(names: list[str], most: int = 3) -> str:
    """The first few names, and how many more there are."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
