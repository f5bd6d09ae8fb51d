# More than 300 lines: the walk, its budgets and the choice all lean on what an object counts as.
"""Which of the tensors in a file are the network's: the choice of container, and the names.

    {"acc": …, "epoch": …, "state_dict": {…}}          container "state_dict"
    {"model": {"state_dict": {…}}, "optimizer": {…}}   container "model.state_dict"
    {"net": <a pickled module>, …}                     container "net"; names as in its state_dict()
    {"conv1.weight": …}                                container "", the root

A file's objects may refer to each other in any way, also to themselves. Each is counted once, so that a few bytes cannot ask
for 2^25 visits; what is on the way from the root is not entered again.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain

from landscape_core.errors import CheckpointRejected
from landscape_core.reading.limits import Limits
from landscape_core.reading.records import Instance, Tensor, UnsupportedTensor
from landscape_core.reading.sniff import printable

Leaf = Tensor | UnsupportedTensor
Scalar = str | int | float | bool

CONTAINERS = ("state_dict", "model_state_dict", "model_state", "model", "network", "net", "module", "params", "weights")
"""Keys under which training programs put the network, the surest first."""

PREFIXES = ("module.", "model.", "_orig_mod.", "net.", "network.", "_fsdp_wrapped_module.")
"""What DataParallel, Lightning modules, torch.compile and FSDP put before every name."""

_BESIDE = re.compile(r"optim|sched|(^|_)ema|scaler|callback|rng|loops?$|hyper|history|criterion|loss|(^|_)swa", re.IGNORECASE)
"""Keys of what is saved beside a network: never chosen unless nothing else holds tensors."""

_RESERVED = "__metadata__"
_LONGEST_BYTES = 1_000
"""Bytes of a key that are looked at; a name of so many characters is refused."""
_MOST_SCALARS = 64
_LONGEST_KEY = 64
_LONGEST_TEXT = 200
_LARGEST_NUMBER = float(1 << 53)
"""Beyond it, browsers round; NaN and infinities, which JSON does not have, are not below it."""


@dataclass(frozen=True)
class Chosen:
    """The network's tensors, by name.

    Attributes:
        container: Dotted path from the root; "" for the root itself.
        prefix: What was taken off every name.
        tensors: By name, in the file's order.
        other: Tensors outside the container, and those in it that are none of the network's.
        metadata: Small scalars beside the container.
        scalar_tensors: Tensors beside the container that may hold one number worth showing.
    """

    container: str
    prefix: str
    tensors: dict[str, Leaf]
    other: int
    metadata: dict[str, Scalar]
    scalar_tensors: dict[str, Tensor] = field(default_factory=dict)


class Chooser:
    """Finds the network's tensors in a file's root object.

    Args:
        limits: Bounds.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._counts: dict[int, int] = {}
        self._path: set[int] = set()
        self._visits = 0

    def choose(self, root: object) -> Chosen:
        """The network's tensors.

        Args:
            root: What the file holds, as records.

        Raises:
            CheckpointRejected: If there are none, or they are over the limits or not well named.
        """
        total = self._count(root)
        if total == 0:
            raise CheckpointRejected(
                'The file holds no tensors: expected a state_dict, as torch.save(model.state_dict(), "weights.pt") writes it.'
            )
        way, node = self._descend(root)
        inside = self._count(node)
        if inside > self._limits.tensors:
            raise CheckpointRejected(f"The file has {inside:,} tensors; at most {self._limits.tensors:,} are read.")
        named: dict[str, Leaf] = {}
        for name, leaf in self._walk("", node):
            if name in named:
                raise CheckpointRejected(f"Two tensors of the file have the name {printable(name[:80])!r}; rename one of them.")
            if len(named) >= self._limits.tensors:
                raise CheckpointRejected(f"The file has over {self._limits.tensors:,} tensors; so many are not read.")
            named[name] = leaf
        tensors, prefix = strip_prefixes(clean_names(named, self._limits))
        _refuse_reserved(tensors)
        metadata, scalar_tensors = _beside([holder for _, holder in way], node)
        container = ".".join(printable(key[:80]) for key, _ in way)
        return Chosen(container, prefix, tensors, max(0, total - len(tensors)), metadata, scalar_tensors)

    def _descend(self, root: object) -> tuple[list[tuple[str, object]], object]:
        """The way from the root to the network, as (key, what holds it), and the network."""
        way: list[tuple[str, object]] = []
        node, seen = root, {id(root)}
        while (key := self._next(node)) is not None:
            inner = next(value for name, value in self._members(node) if name == key)
            if id(inner) in seen:
                break
            seen.add(id(inner))
            way.append((key, node))
            node = inner
        return way, self._without_companions(node)

    def _next(self, node: object) -> str | None:
        """The key of the member that the network is in; None if it is the node itself."""
        if is_module(node):
            return None
        inside = self._holders(node)
        named = next((key for key in CONTAINERS if key in inside), None)
        if named is not None:
            return named
        if any(isinstance(value, Leaf) and not (inside and _is_number(value)) for _, value in self._members(node)):
            return None
        main = [key for key in inside if not _BESIDE.search(key[:_LONGEST_KEY])] or inside
        if isinstance(node, list | tuple):
            return main[0] if main else None
        return main[0] if len(main) == 1 else None

    def _holders(self, node: object) -> list[str]:
        """The keys of the members that hold tensors and are none."""
        found = []
        for key, value in self._members(node):
            if not isinstance(value, Leaf) and self._count(value):
                found.append(key)
            if len(found) > self._limits.tensors:
                raise CheckpointRejected(f"The file has over {self._limits.tensors:,} tensors; so many are not read.")
        return found

    def _without_companions(self, node: object) -> object:
        """The node without optimizers and the like, if the network or parts of it lie side by side with them in it."""
        if not isinstance(node, dict):
            return node
        kept = {
            key: value
            for key, value in node.items()
            if isinstance(value, Leaf) or not (_BESIDE.search(_key_name(key)[:_LONGEST_KEY]) and self._count(value))
        }
        return kept if any(self._count(value) for value in kept.values()) else node

    def _count(self, node: object) -> int:
        """How many tensors are in an object."""
        if isinstance(node, Leaf):
            return 1
        if not isinstance(node, dict | list | tuple | Instance) or id(node) in self._path:
            return 0
        known = self._counts.get(id(node))
        if known is None:
            self._enter(node)
            known = self._counts[id(node)] = sum(self._count(value) for _, value in self._members(node))
            self._path.discard(id(node))
        return known

    def _walk(self, name: str, node: object) -> Iterator[tuple[str, Leaf]]:
        """The tensors of an object with their dotted names, in order."""
        if isinstance(node, Leaf):
            yield name, node
        elif id(node) not in self._path and self._count(node):
            self._enter(node)
            for key, value in self._members(node):
                if len(name) + len(key) >= self._limits.name:
                    raise _long_name(f"{name[:40]}.{key[:40]}".lstrip("."), self._limits)
                yield from self._walk(f"{name}.{key}" if name else key, value)
            self._path.discard(id(node))

    def _members(self, node: object) -> Iterator[tuple[str, object]]:
        """`members`, counted: thousands of objects may share one state of thousands of entries."""
        self._visits += len(hidden_buffers(node))
        for member in members(node):
            self._visits += 1
            if self._visits > self._limits.operations:
                raise CheckpointRejected(
                    f"The file's structure is too large: it takes over {self._limits.operations:,} steps to look through; "
                    "save only the state_dict."
                )
            yield member

    def _enter(self, node: object) -> None:
        if len(self._path) >= self._limits.depth:
            raise CheckpointRejected(
                f"The file's contents are nested more than {self._limits.depth} deep; save only the state_dict."
            )
        self._path.add(id(node))


def is_module(node: object) -> bool:
    """Whether this is a pickled `torch.nn.Module`: its state has `_parameters` or `_modules`.

    Args:
        node: Any record.
    """
    state = module_state(node)
    return isinstance(state.get("_parameters"), dict) or isinstance(state.get("_modules"), dict)


def module_state(node: object) -> Mapping[object, object]:
    """An instance's `__dict__`; empty for all else.

    Args:
        node: Any record.
    """
    if not isinstance(node, Instance):
        return {}
    state = node.state[0] if isinstance(node.state, tuple) and node.state else node.state
    return state if isinstance(state, dict) else {}


def hidden_buffers(node: object) -> list[object]:
    """The names of the buffers that a module leaves out of its `state_dict()`.

    Args:
        node: Any record.
    """
    hidden = module_state(node).get("_non_persistent_buffers_set")
    return hidden if isinstance(hidden, list) else []


def members(node: object) -> Iterator[tuple[str, object]]:
    """What an object holds, by key; a module as its `state_dict()` would: parameters, persistent buffers, submodules.

    Args:
        node: Any record.
    """
    if isinstance(node, list | tuple):
        yield from ((str(index), value) for index, value in enumerate(node))
    elif is_module(node):
        hidden = {name for name in hidden_buffers(node) if isinstance(name, str)}
        parts = [module_state(node).get(part) for part in ("_parameters", "_buffers", "_modules")]
        dicts = [part for part in parts if isinstance(part, dict)]
        yield from ((_key_name(key), value) for part in dicts for key, value in part.items() if key not in hidden)
    else:
        yield from ((_key_name(key), value) for key, value in _own(node))


def _own(node: object) -> Iterable[tuple[object, object]]:
    """What a dict or an instance that is no module holds, by key."""
    if isinstance(node, dict):
        return node.items()
    if not isinstance(node, Instance):
        return ()
    items, elements = (node.items or {}).items(), enumerate(node.elements or ())
    return chain(items, elements, module_state(node).items(), enumerate(node.arguments))


def _key_name(key: object) -> str:
    """A dict's key as part of a name. What is neither text nor a number has none: its text could be of any length."""
    if isinstance(key, bytes):
        return key[:_LONGEST_BYTES].decode("latin1")
    return str(key) if isinstance(key, str | int | float | None) else "?"


def clean_names(named: Mapping[str, Leaf], limits: Limits) -> dict[str, Leaf]:
    """The same tensors under names in which every character is visible.

    Args:
        named: As in the file.
        limits: Bounds.

    Raises:
        CheckpointRejected: If a name is empty or too long, or two become the same.
    """
    clean = {printable(name): leaf for name, leaf in named.items()}
    if len(clean) != len(named):
        raise CheckpointRejected("Two tensors of the file have the same name once it is made readable; rename one of them.")
    for name in clean:
        if not 0 < len(name) <= limits.name:
            raise _long_name(name, limits)
    return clean


def _refuse_reserved(named: Mapping[str, Leaf]) -> None:
    """Refuses the one name that the canonical form, safetensors, keeps for itself."""
    if _RESERVED in named:
        raise CheckpointRejected(f"A tensor of the file has the name {_RESERVED!r}, which is reserved; rename it.")


def _long_name(name: str, limits: Limits) -> CheckpointRejected:
    return CheckpointRejected(
        f"A tensor's name is empty or too long ({printable(name[:80])!r} …): names of 1 to {limits.name} characters are read."
    )


def strip_prefixes(named: dict[str, Leaf]) -> tuple[dict[str, Leaf], str]:
    """The network's tensors without the wrappers' prefixes that all their names carry, and what was taken off.

    Wrappers have tensors of their own too: an average counts what went into it, a Lightning module may hold the weights of its
    loss. They are left out where all the others have a prefix.

    Args:
        named: At least one tensor, by name.
    """
    taken = ""
    while True:
        own = {name: leaf for name, leaf in named.items() if not _is_wrappers(name, leaf)}
        prefix = next((p for p in PREFIXES if own and all(name.startswith(p) and name != p for name in own)), None)
        if prefix is None:
            return named, taken
        taken += prefix
        named = {name.removeprefix(prefix): leaf for name, leaf in own.items()}


def _is_wrappers(name: str, leaf: Leaf) -> bool:
    """Whether a tensor may be of what wraps the network."""
    first, dot, _ = name.partition(".")
    return bool(_BESIDE.search(first[:_LONGEST_KEY])) if dot else name == "n_averaged" and _is_number(leaf)


def _is_number(leaf: Leaf) -> bool:
    return isinstance(leaf, Tensor) and math.prod(leaf.size) == 1


def _beside(holders: list[object], container: object) -> tuple[dict[str, Scalar], dict[str, Tensor]]:
    """Small scalars on the way to the container and in it, and tensors of one number on the way."""
    metadata: dict[str, Scalar] = {}
    tensors: dict[str, Tensor] = {}
    for holder in [*holders, container]:
        for key, value in members(holder) if isinstance(holder, dict) else []:
            name = printable(key[:_LONGEST_KEY])
            if len(key) > _LONGEST_KEY or name in metadata or len(metadata) + len(tensors) >= _MOST_SCALARS:
                continue
            if isinstance(value, Tensor) and holder is not container and _is_number(value):
                tensors[name] = value
            elif isinstance(value, int | float) and abs(value) < _LARGEST_NUMBER:
                metadata[name] = value
            elif isinstance(value, str) and len(value) <= _LONGEST_TEXT:
                metadata[name] = printable(value)
    return metadata, tensors
