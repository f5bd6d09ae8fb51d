"""Recipes of directions as they come in Python: checkpoints and direction files in the place of their hashes.

    {"x": {"kind": "towards", "checkpoint": other.state_dict(), "aligned": True}, "y": {"kind": "hessian", "index": 1}}

What comes out is the very `PlaneSpec` of a request, in which each checkpoint is named by a digest of what it holds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError
from torch import Tensor, nn

from landscape_core.catalogue import check_plane
from landscape_core.catalogue.plane_checks import check_plane_memory
from landscape_core.compute.own_checkpoints import OwnRun, State, digest, read_run, read_state, same
from landscape_core.errors import InvalidRequest
from landscape_core.reading import DirectionsContents, read_directions
from landscape_core.requests import FileDirection, Message, PlaneSpec, PrincipalDirection, TowardsDirection

_M = TypeVar("_M", bound=Message)


@dataclass(frozen=True)
class RecipeInPython:
    """A recipe with what its ids stand for.

    Attributes:
        spec: The recipe; None if the directions are given as tensors.
        given: Directions that are given as tensors, or that a direction file holds.
        states: Checkpoints, by the ids in the recipe.
        run: The training run that is shown on the plane, if any.
        own: The id of the model: that of a checkpoint that holds the same values, if there is one.
    """

    spec: PlaneSpec | None
    given: tuple[list[Tensor], list[Tensor] | None] | DirectionsContents | None
    states: Mapping[str, State]
    run: OwnRun | None
    own: str


def message(kind: type[_M], value: Any, name: str) -> _M:
    """The message, or that of its JSON form.

    Args:
        kind: Which.
        value: As it came.
        name: The argument's name.

    Raises:
        InvalidRequest: It cannot be read.
    """
    if isinstance(value, kind):
        return value
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join([name, *map(str, first["loc"])])
        raise InvalidRequest(f"{where} cannot be read: {first['msg']}.", field=where) from None


def asked_recipe(plane: PlaneSpec | Mapping[str, Any], module: nn.Module, run: OwnRun | None) -> RecipeInPython:
    """A plane that is asked for by a recipe.

    Args:
        plane: A `PlaneSpec`, or its JSON form with checkpoints in the place of their hashes.
        module: The network.
        run: The training run of `landscape`'s `checkpoints`.

    Raises:
        InvalidRequest: It cannot be read, or names what is not there.
        CheckpointRejected: The file of a checkpoint cannot be read.
        DirectionsRejected: A direction file cannot be read.
    """
    reader = _Reader(run)
    written = {name: reader.direction(name, value) if name in {"x", "y"} else value for name, value in dict(plane).items()}
    spec = message(PlaneSpec, written, "plane")
    _check_known(spec, reader)
    own_state = module.state_dict()
    own = next((each for each, state in reader.states.items() if same(state, own_state)), None) or digest(own_state)
    check_plane(spec, own)
    check_plane_memory(spec, sum(tensor.numel() for tensor in own_state.values() if isinstance(tensor, Tensor)))
    return RecipeInPython(spec, reader.file, reader.states, reader.run, own)


class _Reader:
    """Puts ids into the place of checkpoints and files."""

    def __init__(self, run: OwnRun | None) -> None:
        self.run, self.states = run, dict[str, State]()
        self.file: DirectionsContents | None = None
        self.file_sha256 = ""
        self._given, self._own_runs = run, dict[int, OwnRun]()

    def direction(self, axis: str, value: Any) -> Any:
        """A direction's JSON form with ids in it."""
        if not isinstance(value, Mapping):
            return value
        kind = value.get("kind")
        if kind == "towards" and "checkpoint" in value:
            field = f"plane.{axis}.checkpoint"
            return {**value, "checkpoint": self._named(read_state(value["checkpoint"], field, field))}
        if kind == "principal":
            return {**value, "checkpoints": self._trajectory(axis, value.get("checkpoints"))}
        if kind == "file" and "file" in value:
            return {**value, "file": self._file(axis, value["file"])}
        return value

    def _named(self, state: State) -> str:
        name = digest(state)
        self.states[name] = state
        return name

    def _trajectory(self, axis: str, given: Any) -> list[str]:
        if given is not None and self._given is not None:
            raise InvalidRequest(
                "A plane of principal directions shows their own checkpoints; name the run once, by checkpoints=… or in the "
                "plane.",
                field="checkpoints",
            )
        if given is None and self._given is None:
            raise InvalidRequest(
                f"plane.{axis} is a principal direction of a training run, but no run was given; give checkpoints=[…].",
                field=f"plane.{axis}.checkpoints",
            )
        if given is not None:
            if id(given) not in self._own_runs:
                self._own_runs[id(given)] = read_run(given)
            self.run = self._own_runs[id(given)]
        return [] if self.run is None else [self._named(state) for state in self.run.states]

    def _file(self, axis: str, given: Any) -> str:
        if not isinstance(given, str | Path) or not Path(given).is_file():
            raise InvalidRequest(
                f"plane.{axis}.file should be the path of a direction file, but there is none at {str(given)[:80]!r}.",
                field=f"plane.{axis}.file",
            )
        found = hashlib.sha256(Path(given).read_bytes()).hexdigest()
        if self.file is not None and found != self.file_sha256:
            raise InvalidRequest(
                "Both directions are from files, but from two; give one that holds both.", field="plane.y.file"
            )
        self.file, self.file_sha256 = read_directions(Path(given)), found
        return found


def _check_known(spec: PlaneSpec, reader: _Reader) -> None:
    """What is named by a hash, as in a request, is not there in Python."""
    if spec.trajectory is not None:
        raise InvalidRequest(
            "plane.trajectory names checkpoints by their hashes, which a model in Python has not; leave it out, and give "
            "checkpoints=[…].",
            field="plane.trajectory",
        )
    for axis, direction in spec.specs.items():
        known, part, instead = True, "", ""
        if isinstance(direction, TowardsDirection):
            known, part, instead = direction.checkpoint in reader.states, "checkpoint", "a state_dict, a path or a module"
        elif isinstance(direction, PrincipalDirection):
            known = set(direction.checkpoints) <= reader.states.keys()
            part, instead = "checkpoints", "state_dicts, paths or modules"
        elif isinstance(direction, FileDirection):
            known, part, instead = direction.file == reader.file_sha256, "file", "its path"
        if not known:
            raise InvalidRequest(
                f"plane.{axis} is of the kind {direction.kind!r} and names its {part} by hash, which a model in Python has "
                f'not; give {instead}: plane={{"{axis}": {{"kind": "{direction.kind}", "{part}": …}}}}.',
                field=f"plane.{axis}.{part}",
            )
