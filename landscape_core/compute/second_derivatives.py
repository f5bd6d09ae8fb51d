"""The Hessian of a mean loss, known by its products with vectors (Pearlmutter 1994): what all its uses have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from landscape_core.compute.devices import is_out_of_memory, one_blas_thread
from landscape_core.compute.directions import tensor_seed
from landscape_core.compute.lanczos import Eigenpair, extreme_eigenpairs, top_eigenpairs
from landscape_core.compute.quadrature import hutchinson, spectral_density
from landscape_core.errors import InvalidRequest, OutOfMemory
from landscape_core.requests import Normalisation
from landscape_core.spectra import SpectralDensity, TraceEstimate
from landscape_core.training_run import unit_direction

Vector = Float64[np.ndarray, " parameters"]


class MeanLossHessian(ABC):
    """The Hessian of a mean loss by some of a network's parameters, where they stand when a product is asked for.

    Args:
        varied: These parameters, by name, in the network's order; leaves that require a gradient.
    """

    def __init__(self, varied: Mapping[str, Tensor]) -> None:
        self._varied = dict(varied)
        self._sizes = [parameter.numel() for parameter in self._varied.values()]
        self._told: Callable[[], None] = lambda: None
        self.products = 0
        """How many products there have been."""

    def __len__(self) -> int:
        """How many parameters it is of."""
        return sum(self._sizes)

    @property
    @abstractmethod
    def examples(self) -> int:
        """Over how many examples the mean is."""

    @abstractmethod
    def times(self, vector: Vector) -> Vector:
        """H v, with the parameters in the network's order.

        Raises:
            InvalidRequest: The loss has no second derivatives.
            Cancelled: The computation was asked to stop.
            OutOfMemory: The device's memory does not suffice.
        """

    def tell(self, told: Callable[[], None]) -> None:
        """From now on `told` is called after every product."""
        self._told = told

    def eigenpairs(self, count: int, field: str, *, smallest: bool = False) -> list[Eigenpair]:
        """The eigenpairs of the largest eigenvalues, largest first; or of the smallest, smallest first.

        Args:
            count: How many.
            field: The part of the request that asks for them.
            smallest: Whether from the other end.

        Raises:
            InvalidRequest: There are not so many, or they cannot be found (see `lanczos`).
            Cancelled: The computation was asked to stop.
            OutOfMemory: The memory does not suffice.
        """
        if count > len(self):
            raise InvalidRequest(
                f"The Hessian is of {len(self):,} parameters, so it has no eigenvector {count}; ask for a lower number.",
                field=field,
            )
        with self._memory():
            if not smallest:
                return top_eigenpairs(self._counted, count, self._start)
            pairs = top_eigenpairs(lambda vector: -self._counted(vector), count, self._start)
        return [Eigenpair(-pair.value, pair.vector, pair.residual, pair.products) for pair in pairs]

    def extremes(self) -> tuple[Eigenpair, Eigenpair]:
        """The eigenpairs of the smallest and of the largest eigenvalue, from the same products.

        Raises:
            InvalidRequest: They cannot be found (`lanczos.NotFinite`, `lanczos.NotSeparated`).
            Cancelled: The computation was asked to stop.
            OutOfMemory: The memory does not suffice.
        """
        with self._memory():
            return extreme_eigenpairs(self._counted, self._start(0))

    def trace(self, tolerance: float, most: int) -> TraceEstimate:
        """The sum of all eigenvalues (see `quadrature.hutchinson`).

        Args:
            tolerance: The standard error that is good enough, as a share of the trace.
            most: Most random vectors.

        Raises:
            InvalidRequest: The loss has no second derivatives, or they are not finite.
            Cancelled: The computation was asked to stop.
            OutOfMemory: The memory does not suffice.
        """
        with self._memory():
            return hutchinson(self._counted, self._signs, tolerance, most)

    def density(self, probes: int, steps: int) -> SpectralDensity:
        """How the eigenvalues are spread (see `quadrature.spectral_density`).

        Args:
            probes: How many random vectors: others than those of the trace.
            steps: Products for each of them.

        Raises:
            InvalidRequest: The loss has no second derivatives, or they are not finite.
            Cancelled: The computation was asked to stop.
            OutOfMemory: The memory does not suffice.
        """
        with self._memory():
            return spectral_density(self._counted, lambda position: self._signs(-1 - position), probes, steps)

    def _pieces(self, vector: Vector) -> list[Tensor]:
        """A vector as tensors like the parameters."""
        parts = torch.from_numpy(vector).split(self._sizes)
        return [part.to(p.dtype).to(p.device).view(p.shape) for part, p in zip(parts, self._varied.values(), strict=True)]

    def _product(self, share: Callable[[], Tensor], parts: Sequence[Tensor]) -> Vector:
        """What a batch adds to H v: `share` gives what it adds to the mean loss."""
        varied = list(self._varied.values())
        with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH), explained():  # fused attention has no second derivative
            value = share()
            if not value.requires_grad:
                raise InvalidRequest(
                    "The loss does not depend on the parameters in a way that PyTorch can differentiate (because of "
                    "torch.no_grad, argmax or a detour through numpy); give one that it can.",
                    field="loss_fn",
                )
            gradients = torch.autograd.grad(value, varied, create_graph=True, materialize_grads=True)
            pairs = [(g, v) for g, v in zip(gradients, parts, strict=True) if g.requires_grad]
            if not pairs:  # the loss is linear in all of them
                return np.zeros(len(self))
            curved, along = ([pair[index] for pair in pairs] for index in (0, 1))
            products = torch.autograd.grad(curved, varied, along, materialize_grads=True)
        return torch.cat([product.flatten() for product in products]).cpu().double().numpy()

    def _counted(self, vector: Vector) -> Vector:
        product = self.times(vector)
        self.products += 1
        self._told()
        return product

    def _start(self, position: int) -> Vector:
        """A Gaussian vector, drawn per tensor as random directions are, with the eigenpair's position for a seed."""
        return self._drawn(position, "", lambda n, g: torch.randn(n, generator=g, dtype=torch.float64))

    def _signs(self, position: int) -> Vector:
        """A vector of entries ±1, drawn likewise."""
        return self._drawn(position, "signs:", lambda n, g: 2.0 * torch.randint(2, (n,), generator=g).double() - 1.0)

    def _drawn(self, seed: int, before: str, draw: Callable[[int, torch.Generator], Tensor]) -> Vector:
        drawn = []
        for name, parameter in self._varied.items():
            generator = torch.Generator().manual_seed(tensor_seed(seed, before + name))
            drawn.append(draw(parameter.numel(), generator).numpy())
        return np.concatenate(drawn)

    @contextmanager
    def _memory(self) -> Iterator[None]:
        with (
            one_blas_thread(),
            enough_memory(
                f"the vectors of {len(self):,} numbers that the search keeps; ask for fewer, or for a smaller network"
            ),
        ):
            yield


class DirectedHessian(MeanLossHessian):
    """A Hessian whose vectors can be used as directions of its network.

    Args:
        varied: As for `MeanLossHessian`.
        moved: The tensors that a direction moves, by name, in its order.
    """

    def __init__(self, varied: Mapping[str, Tensor], moved: Mapping[str, Tensor]) -> None:
        super().__init__(varied)
        self._moved_shapes = {name: tuple(tensor.shape) for name, tensor in moved.items()}

    def direction(self, vector: Float64[np.ndarray, " parameters"]) -> list[np.ndarray]:
        """A vector as a direction of length one: float32, one array for each moved tensor, zero where nothing is varied.

        Args:
            vector: (parameters,), in the network's order.
        """
        pieces = dict(zip(self._varied, np.split(vector, np.cumsum(self._sizes)[:-1]), strict=True))
        shapes = [np.empty(shape) for shape in self._moved_shapes.values()]
        parts = [pieces.get(name, np.zeros(like.size)) for name, like in zip(self._moved_shapes, shapes, strict=True)]
        return unit_direction(parts, shapes)


def varied_parameters(module: nn.Module, how: Normalisation) -> dict[str, nn.Parameter]:
    """The parameters that the Hessian is by: all, or for `ignore="biasbn"` those of two dimensions and more.

    Args:
        module: The network.
        how: Its `ignore`.
    """
    return {name: p for name, p in module.named_parameters() if how.ignore == "none" or p.dim() > 1}


@contextmanager
def enough_memory(what: str) -> Iterator[None]:
    """A memory that does not suffice in the block becomes a sentence.

    Args:
        what: What it does not suffice for; and what to do, after a semicolon.

    Raises:
        OutOfMemory: It did not.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise OutOfMemory(f"The memory does not suffice for {what}.") from error


@contextmanager
def explained() -> Iterator[None]:
    """An operation that cannot be differentiated twice becomes a sentence.

    Raises:
        InvalidRequest: There was one in the block.
    """
    try:
        yield
    except RuntimeError as error:
        text = str(error).splitlines()[0][:200] if str(error) else ""
        if "derivative" not in text or "not implemented" not in text:
            raise
        raise InvalidRequest(
            f"An operation of the network or the loss has no second derivative in PyTorch ({text.rstrip('.')}); write it in "
            "simpler operations.",
            field="model",
        ) from error
