"""`--architecture path/to/file.py:factory`: the user's own code, run on the user's own machine. No server takes such a name."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from landscape_core.errors import ComputationFailed, InvalidRequest, LandscapeError, NotFound
from landscape_core.requests import ArchitectureSpec

if TYPE_CHECKING:
    import numpy as np

    from landscape_core.catalogue import DatasetFacts

MAX_NAME = 64
"""Most characters of `file.py:factory`: as many as an architecture's name has in a request."""


class OwnCodeFailed(InvalidRequest):
    """The user's code raised; the text names file, line and exception, `__cause__` is the exception."""


@contextmanager
def blamed_on(
    place: Callable[[BaseException], str], kinds: tuple[type[BaseException], ...], *, computing: bool
) -> Iterator[None]:
    """What fails in the block, other than by an error of ours, is told in one sentence as a failure of code that is not ours.

    Args:
        place: Says of an error where it came from.
        kinds: Which errors are told so.
        computing: Whether the computation has begun.

    Raises:
        OwnCodeFailed: If something did before the computation.
        ComputationFailed: If something did in it.
    """
    try:
        yield
    except LandscapeError:
        raise
    except kinds as error:
        text = " ".join(str(error).split())[:300]
        sentence = f"{place(error)}: {type(error).__name__}{f': {text}' if text else ''}."
        if computing:
            raise ComputationFailed(sentence) from error
        raise OwnCodeFailed(sentence, field="architecture") from error


@dataclass(frozen=True)
class OwnCode:
    """A function in a Python file that makes a network.

    Attributes:
        path: The file.
        factory: The function's name in it; a class that takes no arguments serves too.
        sha256: Of the file's bytes, in hexadecimal.
    """

    path: Path
    factory: str
    sha256: str

    @classmethod
    def typed(cls, text: str) -> OwnCode:
        """The code that `path/to/file.py:factory` names. The file is read, but does not run yet.

        Args:
            text: As typed.

        Raises:
            InvalidRequest: If no function is named, or the name is too long.
            NotFound: If there is no such file.
        """
        file, _, factory = text.rpartition(":")
        path = Path(file)
        if path.suffix != ".py" or not factory.isidentifier():
            raise InvalidRequest(
                f"Code of your own is named as path/to/file.py:factory, where factory() gives the network, but {text!r} came.",
                field="architecture",
            )
        if not path.is_file():
            raise NotFound(f"There is no file {path}.")
        if len(f"{path.name}:{factory}") > MAX_NAME:
            raise InvalidRequest(
                f"{path.name}:{factory} is too long a name; at most {MAX_NAME} characters are kept.", field="architecture"
            )
        return cls(path, factory, hashlib.sha256(path.read_bytes()).hexdigest())

    @property
    def name(self) -> str:
        """As in `file.py:factory`."""
        return f"{self.path.name}:{self.factory}"

    @property
    def spec(self) -> ArchitectureSpec:
        """How a request names it: by no catalogued name, so no server computes it; its hash tells versions apart."""
        return ArchitectureSpec(name=self.name, options={"code": self.sha256[:16]})

    def provenance(self) -> dict[str, Any]:
        """What a surface's provenance says of it."""
        return {"code": self.name, "code_sha256": self.sha256}

    def loaded(self, tensors: dict[str, np.ndarray], facts: DatasetFacts) -> Any:
        """The network with a checkpoint's tensors in it.

        Args:
            tensors: The checkpoint's names and arrays.
            facts: What is known of the data set that it will get.

        Raises:
            InvalidRequest: See `made` and `compute.load_own`.
        """
        from landscape_core.compute import load_own  # noqa: PLC0415  torch takes a second or two

        del facts
        return load_own(self.made(), tensors, self.name)

    def made(self) -> object:
        """What the function gives, which should be a network (`compute.load_own` sees to it). Runs the user's code.

        Raises:
            InvalidRequest: If the code fails, or has no such function.
        """
        with self.blamed():
            return self._function()()

    def _function(self) -> Any:
        """What the file calls by the factory's name, once the file has run."""
        path = self.path.resolve()
        sys.path.insert(0, str(path.parent))  # as `python file.py` does, so that the file finds its neighbours
        name = f"lossatlas_own_{self.sha256[:16]}"
        found = importlib.util.spec_from_file_location(name, path)
        if found is None or found.loader is None:
            raise InvalidRequest(f"{self.path} cannot be loaded as Python code.", field="architecture")
        module = importlib.util.module_from_spec(found)
        sys.modules[name] = module
        found.loader.exec_module(module)
        function = getattr(module, self.factory, None)
        if not callable(function):
            what = "is no function" if hasattr(module, self.factory) else "is not there"
            raise InvalidRequest(
                f"{self.factory} {what} in {self.path.name}; name one that gives the network.", field="architecture"
            )
        return function

    @contextmanager
    def blamed(self, *, computing: bool = False) -> Iterator[None]:
        """What fails in the block, other than by an error of ours, is told as a failure of the user's code.

        Args:
            computing: Whether the computation has begun.

        Raises:
            OwnCodeFailed: If something did before the computation.
            ComputationFailed: If something did in it.
        """
        with blamed_on(self._place, (Exception, SystemExit), computing=computing):
            yield

    def _place(self, error: BaseException) -> str:
        """Where in the user's file it failed."""
        line = self._line(error)
        return f"{self.path.name}, line {line}" if line else self.name

    def _line(self, error: BaseException) -> int | None:
        """The last line of the user's file that an exception passed, or at which it cannot be parsed."""
        path = str(self.path.resolve())
        if isinstance(error, SyntaxError) and error.filename == path:
            return error.lineno
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == path]
        return lines[-1] if lines else None
