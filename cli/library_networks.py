"""`--architecture torchvision:NAME` and `timm:NAME`: networks of libraries that are installed on the user's own machine.

No server takes such a name: the library's code would run there, and its releases change what a name means.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cli.own_code import MAX_NAME, blamed_on
from landscape_core.errors import InvalidRequest
from landscape_core.requests import ArchitectureSpec

if TYPE_CHECKING:
    import numpy as np

    from landscape_core.catalogue import DatasetFacts

LIBRARIES = ("torchvision", "timm")


@dataclass(frozen=True)
class LibraryNetwork:
    """A network that a library knows by name.

    Attributes:
        library: `torchvision` or `timm`.
        model: The library's name for it.
        options: Given to the library as they are, `num_classes` among them if it is not to be taken from the checkpoint.
    """

    library: str
    model: str
    options: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def typed(cls, text: str) -> LibraryNetwork:
        """The network that `torchvision:NAME` or `timm:NAME,option=value` names. Nothing is imported yet.

        Args:
            text: As typed.

        Raises:
            InvalidRequest: If no network is named, or the name is too long.
        """
        library, _, rest = text.partition(":")
        model, _, options = rest.partition(",")
        if library not in LIBRARIES or not model.replace(".", "_").isidentifier() or len(f"{library}:{model}") > MAX_NAME:
            raise InvalidRequest(
                f"A library's network is named as torchvision:resnet18 or timm:NAME,option=value, but {text[:100]!r} came.",
                field="architecture",
            )
        return cls(library, model, ArchitectureSpec.parse(f"{model}:{options}").options)

    @property
    def name(self) -> str:
        """As in `torchvision:resnet18`."""
        return f"{self.library}:{self.model}"

    @property
    def spec(self) -> ArchitectureSpec:
        """How a request names it: by no catalogued name, so no server computes it."""
        return ArchitectureSpec(name=self.name, options=dict(self.options))

    def provenance(self) -> dict[str, Any]:
        """What a surface's provenance says of it."""
        return {"library": f"{self.library} {getattr(self._library(), '__version__', 'of unknown version')}"}

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
        return load_own(self.made({name: tensor.shape for name, tensor in tensors.items()}), tensors, self.name)

    def made(self, shapes: Mapping[str, tuple[int, ...]]) -> object:
        """The network with random weights and as many classes as the checkpoint's last layer has. Runs the library's code.

        Args:
            shapes: The checkpoint's, in the file's order.

        Raises:
            InvalidRequest: If the library is not there or does not work, or knows no such network or option.
        """
        factory = self._factory()
        with self.blamed():
            network = factory(self.model, **self.options)
            usual = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}  # type: ignore[attr-defined]
            count = classes(usual, shapes)
            if count is None or "num_classes" in self.options:
                return network
            return factory(self.model, num_classes=count, **self.options)

    def _factory(self) -> Callable[..., object]:
        """What makes a network of this library by its name, without downloading weights."""
        library = self._library()
        try:
            if self.library == "timm":
                create = library.create_model
                return lambda model, **options: create(model, pretrained=False, **options)
            get = importlib.import_module("torchvision.models").get_model
        except (ImportError, AttributeError) as error:
            raise InvalidRequest(
                f"The {self.library} that is installed cannot make networks by name ({error}); install a newer one.",
                field="architecture",
            ) from error
        return lambda model, **options: get(model, weights=None, **options)

    def _library(self) -> Any:
        try:
            return importlib.import_module(self.library)
        except ModuleNotFoundError as error:
            if error.name != self.library:
                raise self._broken(error) from error
            raise InvalidRequest(
                f"{self.library} is not installed here; install it, or name a network of your own as FILE.py:FACTORY.",
                field="architecture",
            ) from None
        except Exception as error:  # an import runs the library's code
            raise self._broken(error) from error

    def _broken(self, error: Exception) -> InvalidRequest:
        reason = " ".join(str(error).split())[:200]
        return InvalidRequest(
            f"{self.library} is installed but cannot be imported ({type(error).__name__}: {reason}); "
            "install the release that belongs to this PyTorch.",
            field="architecture",
        )

    @contextmanager
    def blamed(self, *, computing: bool = False) -> Iterator[None]:
        """What fails in the block, other than by an error of ours, is told as a failure of the library's network.

        Args:
            computing: Whether the computation has begun.

        Raises:
            OwnCodeFailed: If something did before the computation.
            ComputationFailed: If something did in it.
        """
        with blamed_on(lambda _: self.name, (Exception,), computing=computing):
            yield


def classes(network: Mapping[str, tuple[int, ...]], shapes: Mapping[str, tuple[int, ...]]) -> int | None:
    """How many outputs a checkpoint has in the network's last layer; None if as many as the network, or if there is none.

    Args:
        network: Names and shapes of the network with its usual number of classes, in its order: a file's may be any.
        shapes: The checkpoint's.
    """
    weights = [name for name, shape in network.items() if name.endswith("weight") and len(shape) >= 2]
    last = weights[-1] if weights else ""
    found = shapes.get(last, ())
    return found[0] if found and found[0] != network[last][0] else None
