"""What an inert reader makes of a pickle: plain records that say what was there, and do nothing.

Nothing in here is ever called by a name from the file, and no class of the file's choosing is ever looked up.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, eq=False, slots=True)
class Global:
    """The name of a class or function, as `module.name`. It stays a name."""

    name: str

    @property
    def short(self) -> str:
        """The last part of the name."""
        return self.name.rpartition(".")[2]


@dataclass(eq=False, slots=True)
class Instance:
    """Something of a class that we never look up: the name, how it was made, and what was put into it.

    Attributes:
        name: `module.name` of the class or function that was to be called.
        arguments: Of that call.
        state: What `__setstate__` or `__dict__` would have got.
        items: What was set by key.
        elements: What was appended or added.
    """

    name: str
    arguments: tuple[object, ...] = ()
    state: object = None
    items: dict[object, object] | None = None
    elements: list[object] | None = None


@dataclass(frozen=True, eq=False, slots=True)
class OpaqueKey:
    """A dict key that is neither text nor a small number; compared by identity, so that no keys can be made to collide."""

    value: object


@dataclass(frozen=True, eq=False, slots=True)
class Storage:
    """A run of numbers in the file, or a window into one.

    Attributes:
        key: Name of the run in its container.
        kind: PyTorch's name of the element type, as in `Float`; `Untyped` for bytes.
        numel: How many elements this window has.
        start: Where in the run it begins, in elements.
    """

    key: str
    kind: str
    numel: int
    start: int = 0


@dataclass(frozen=True, eq=False, slots=True)
class Tensor:
    """A strided look at a storage, as the file declares it; nothing in it has been checked but its types.

    Attributes:
        storage: Where the numbers lie.
        offset: First element, counted from the storage's start.
        size: Length of each dimension.
        stride: Elements between neighbours, per dimension.
        kind: Element type as in `Storage.kind`.
    """

    storage: Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]
    kind: str


@dataclass(frozen=True, eq=False)
class UnsupportedTensor:
    """A tensor of a kind that is not read.

    Attributes:
        kind: What it is, as in `sparse`.
        remedy: What the person can do about it.
    """

    kind: str
    remedy: str = field(default="save a dense copy of it")
