"""Other checkpoints of the user's own network: a `state_dict`, a file, or another module, as they come in Python."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from landscape_core.compute.borrowing import unwrapped
from landscape_core.compute.direction_making import direction_dtype
from landscape_core.errors import InvalidRequest
from landscape_core.plane import MAX_CHECKPOINTS
from landscape_core.reading import read_checkpoint

WRAPPERS = ("module.", "_orig_mod.")
"""What `DataParallel`, `AveragedModel` and `torch.compile` put before every name."""

State = Mapping[str, Tensor]

FORMS = "a state_dict, the path of a checkpoint file, or another module"


@dataclass(frozen=True)
class OwnRun:
    """A training run.

    Attributes:
        states: The `state_dict`s in the order of training.
        names: Theirs; "" where they have none.
    """

    states: list[State]
    names: list[str]


def read_state(given: Any, called: str, field: str) -> State:
    """The tensors of a checkpoint, by the model's names.

    Args:
        given: A `state_dict`, a path, or a module.
        called: What it is called, for the message.
        field: The argument that it is in.

    Raises:
        InvalidRequest: It is none of these.
        CheckpointRejected: The file cannot be read.
    """
    if isinstance(given, nn.Module):
        given = unwrapped(given).state_dict()
    elif isinstance(given, str | Path):
        path = Path(given)
        if not path.is_file():
            raise InvalidRequest(f"{called}: there is no file {str(given)!r}; give {FORMS}.", field=field)
        given = {name: torch.from_numpy(np.array(array)) for name, array in read_checkpoint(path).tensors.items()}
    if not isinstance(given, Mapping):
        raise InvalidRequest(f"{called} should be {FORMS}, but is of type {type(given).__name__}.", field=field)
    return without_prefix(given)


def read_run(given: Any) -> OwnRun:
    """A training run, as `checkpoints` gives it.

    Args:
        given: A sequence of checkpoints, or a mapping of names to them.

    Raises:
        InvalidRequest: It is none, or one of its checkpoints is none.
        CheckpointRejected: A file cannot be read.
    """
    named = isinstance(given, Mapping) and not any(isinstance(value, Tensor) for value in given.values())
    listed = list(given.values()) if named else given
    if not isinstance(listed, Sequence) or isinstance(listed, str) or not 1 <= len(listed) <= MAX_CHECKPOINTS:
        raise InvalidRequest(
            f"checkpoints should be 1 to {MAX_CHECKPOINTS:,} state_dicts, paths or modules in their order, in a list or by "
            "their names.",
            field="checkpoints",
        )
    states = [read_state(one, f"checkpoints[{number}]", "checkpoints") for number, one in enumerate(listed)]
    return OwnRun(states, [str(name) for name in given] if named else [""] * len(states))


def without_prefix(state: Mapping[str, Any]) -> Mapping[str, Any]:
    """The same without what wrappers put before every name.

    Args:
        state: A `state_dict`.

    Example:
        >>> without_prefix({"module.weight": 1, "n_averaged": 2})
        {'weight': 1}
    """
    for prefix in WRAPPERS:
        kept = {name.removeprefix(prefix): value for name, value in state.items() if str(name).startswith(prefix)}
        if kept and all(str(name).startswith(prefix) or name == "n_averaged" for name in state):
            return without_prefix(kept)
    return state


def placed(state: State, own: Mapping[str, Tensor], called: str, field: str) -> dict[str, Tensor]:
    """The tensors of a checkpoint that are named like some of the model's, on the CPU; half precision is widened.

    Args:
        state: The checkpoint.
        own: The model's tensors, by name.
        called: What the checkpoint is called, for the message.
        field: The argument that it is in.

    Returns:
        In the order of `own`.

    Raises:
        InvalidRequest: It lacks one of them, or has it in another shape.
    """
    place = {}
    for name, tensor in own.items():
        given = state.get(name)
        if not isinstance(given, Tensor) or given.shape != tensor.shape:
            has = f"the shape {tuple(given.shape)}" if isinstance(given, Tensor) else "no tensor"
            raise InvalidRequest(
                f"{called} is of another network: it has {has} for {name}, but the model has {tuple(tensor.shape)}; give a "
                "checkpoint of this model.",
                field=field,
            )
        place[name] = plain(given)
    return place


def plain(tensor: Tensor) -> Tensor:
    """A copy on the CPU; half precision, of which numpy knows only some, is widened to float32."""
    widened = direction_dtype(tensor) if tensor.is_floating_point() else tensor.dtype
    return tensor.detach().to("cpu", widened, copy=True)


def digest(state: State) -> str:
    """SHA-256 of names, types, shapes and values, in hexadecimal: what a checkpoint without a file is known by.

    Args:
        state: The checkpoint; what is no tensor has no part in it.
    """
    found = hashlib.sha256()
    for name, tensor in state.items():
        if isinstance(tensor, Tensor):
            found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            found.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return found.hexdigest()


def same(state: State, own: State) -> bool:
    """Whether a checkpoint holds exactly the values that the model has."""
    return all(
        isinstance(given := state.get(name), Tensor)
        and given.shape == tensor.shape
        and torch.equal(plain(given), plain(tensor))
        for name, tensor in own.items()
        if isinstance(tensor, Tensor)
    )
