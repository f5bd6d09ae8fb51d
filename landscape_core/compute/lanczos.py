"""Eigenvalues and eigenvectors of a symmetric matrix that is known by its products with vectors alone.

Lanczos' method with full orthogonalisation and thick restarts (Wu and Simon 2000, SIAM J. Matrix Anal. Appl. 22), in
float64. One eigenvector is found at a time, at right angles to those before it, so that an eigenvalue that occurs several
times is found as often. This is why it is not `scipy.sparse.linalg.eigsh` (ARPACK), which has one start for all of them: of
the eigenvalues 2, 2, 2, 1, … it gave 2, 2, 1 as the three largest, as converged, nor does it find all of a small matrix.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from landscape_core.errors import InvalidRequest

TOLERANCE = 1e-4
"""‖H v − λ v‖ that is good enough, as a share of the largest magnitude of an eigenvalue."""

OWN_TOLERANCE = 1e-2
"""What it should be as a share of the eigenvalue itself as well: next to a large one, a small one is met by anything."""

MORE_PRODUCTS = 60
"""How many products are spent on that at most; an eigenvalue of 0 never meets it."""

MOST_PRODUCTS = 400
"""Most products with the matrix for one eigenvector."""

BASIS_BYTES = 1 << 30
"""Most memory for vectors that are kept between products, as long as these are `BASIS_LEAST` or more."""

BASIS_MOST, BASIS_LEAST = 60, 8

Vector = Float64[np.ndarray, " size"]
Product = Callable[[Vector], Vector]
"""v ↦ H v for a symmetric H, exact to far less than `TOLERANCE`."""


class NotFinite(InvalidRequest):
    """A product with the matrix is not finite, so it has no eigenvalues."""


class NotSeparated(InvalidRequest):
    """An eigenvector was not found within `MOST_PRODUCTS`."""


@dataclass(frozen=True)
class Eigenpair:
    """One eigenvalue with its vector.

    Attributes:
        value: λ.
        vector: (size,) v, of length one.
        residual: ‖H v − λ v‖ as a share of the largest magnitude of an eigenvalue that was met.
        products: How many products with the matrix it took.
    """

    value: float
    vector: Vector
    residual: float
    products: int


def top_eigenpairs(apply: Product, count: int, start: Callable[[int], Vector]) -> list[Eigenpair]:
    """The eigenpairs of the largest eigenvalues, largest first.

    Args:
        apply: The matrix.
        count: How many; at most the number of rows of H.
        start: The vector to begin with for the eigenpair of each position: any that is not special.

    Raises:
        NotFinite: A product is not finite.
        NotSeparated: An eigenvector was not found within `MOST_PRODUCTS`.

    Example:
        >>> pairs = top_eigenpairs(lambda v: np.array([2.0, 5.0]) * v, 2, lambda _: np.array([0.6, 0.8]))
        >>> [round(pair.value, 6) for pair in pairs]
        [5.0, 2.0]
    """
    found: list[Eigenpair] = []
    for position in range(count):
        first = start(position)
        known = np.stack([pair.vector for pair in found]) if found else np.empty((0, first.size))
        scale = max((abs(pair.value) for pair in found), default=0.0)
        found += _found(apply, first, known, (-1,), scale)
    return found


def extreme_eigenpairs(apply: Product, start: Vector) -> tuple[Eigenpair, Eigenpair]:
    """The eigenpairs of the smallest and of the largest eigenvalue, from the same products.

    Args:
        apply: The matrix.
        start: The vector to begin with: any that is not special.

    Raises:
        NotFinite: A product is not finite.
        NotSeparated: They were not found within `MOST_PRODUCTS`.

    Example:
        >>> smallest, largest = extreme_eigenpairs(lambda v: np.array([2.0, -5.0, 1.0]) * v, np.array([0.6, 0.8, 0.3]))
        >>> round(smallest.value, 6), round(largest.value, 6)
        (-5.0, 2.0)
    """
    smallest, largest = _found(apply, start, np.empty((0, start.size)), (0, -1), 0.0)
    return smallest, largest


def basis_room(size: int, most: int = BASIS_MOST) -> int:
    """How many vectors of this length are kept: `most`, or what `BASIS_BYTES` holds, but `BASIS_LEAST` at least.

    Args:
        size: Their length.
        most: How many are wanted.
    """
    return min(size, most, max(BASIS_LEAST, BASIS_BYTES // (8 * size)))


def finite(product: Vector) -> Vector:
    """The product, if it is finite.

    Raises:
        NotFinite: It is not.
    """
    if not np.isfinite(product).all():
        raise NotFinite(
            "The loss or its derivatives are not finite at this checkpoint, so its Hessian has no eigenvalues; choose another "
            "direction, other examples or another checkpoint.",
            field="plane",
        )
    return product


class _Krylov:
    """An orthonormal basis that grows by products, and the matrix as it is seen in it."""

    def __init__(self, start: Vector, known: np.ndarray, ends: tuple[int, ...]) -> None:
        self._ends, self.left = ends, start.size - len(known)
        self._room, self._known = min(self.left, basis_room(start.size)), known
        self._basis, self._projected = np.empty((self._room, start.size)), np.zeros((self._room, self._room))
        self._following, self.filled = cleared(start, known), 0
        self.values, self._vectors = np.empty(0), np.empty((0, 0))

    def grow(self, apply: Product) -> None:
        """One product more."""
        if self.filled == self._room:
            self._restart()
        row = self.filled
        self._basis[row] = self._following / np.linalg.norm(self._following)
        product = finite(apply(self._basis[row]))
        self.filled += 1
        column = self._basis[: self.filled] @ product
        self._projected[row, : self.filled] = self._projected[: self.filled, row] = column
        self._following = cleared(product, self._known, self._basis[: self.filled])
        self.values, self._vectors = np.linalg.eigh(self._projected[: self.filled, : self.filled])

    def residual(self, end: int) -> float:
        """‖H v − λ v‖ of the approximation at this position."""
        return float(np.linalg.norm(self._following)) * abs(float(self._vectors[-1, end]))

    def vector(self, end: int) -> Vector:
        """That approximation, of length one."""
        vector = self._vectors[:, end] @ self._basis[: self.filled]
        return vector / np.linalg.norm(vector)

    def _restart(self) -> None:
        """Only the best approximations of the ends stay. What leads on from them is one vector, and is kept."""
        each = max(1, self.filled // (2 + len(self._ends)))
        low, high = range(each), range(self.filled - each, self.filled)
        kept = [*(low if 0 in self._ends else ()), *high]
        self._basis[: len(kept)] = self._vectors[:, kept].T @ self._basis
        self._projected[:] = 0.0
        self._projected[range(len(kept)), range(len(kept))] = self.values[kept]
        self.filled = len(kept)


def _found(apply: Product, start: Vector, known: np.ndarray, ends: tuple[int, ...], scale: float) -> list[Eigenpair]:
    """The eigenpairs at some ends (0 for the smallest, −1 for the largest) at right angles to those known."""
    krylov = _Krylov(start, known, ends)
    good_since = dict.fromkeys(ends, MOST_PRODUCTS)
    for products in range(1, MOST_PRODUCTS + 1):
        krylov.grow(apply)
        scale = max(scale, float(np.abs(krylov.values).max()))
        residuals = {end: krylov.residual(end) for end in ends}
        for end, residual in residuals.items():
            if residual <= TOLERANCE * scale:
                good_since[end] = min(good_since[end], products)
        good = all(
            good_since[end] <= products
            and (residual <= OWN_TOLERANCE * abs(krylov.values[end]) or products - good_since[end] >= MORE_PRODUCTS)
            for end, residual in residuals.items()
        )
        if good or krylov.filled == krylov.left:
            shares = {end: residual / scale if scale else 0.0 for end, residual in residuals.items()}
            return [Eigenpair(float(krylov.values[end]), krylov.vector(end), shares[end], products) for end in ends]
    raise NotSeparated(
        f"Eigenvector {len(known) + 1} of the Hessian did not separate from the others in {MOST_PRODUCTS} products; ask for "
        "one nearer to the end, or for other examples.",
        field="plane",
    )


def cleared(vector: Vector, *bases: np.ndarray) -> Vector:
    """What of a vector is at right angles to all rows, cleared twice because of rounding (Parlett 1998, section 6.9).

    Args:
        vector: (size,).
        bases: Of orthonormal rows, (rows, size) each.
    """
    for _ in range(2):
        for basis in bases:
            vector = vector - (basis @ vector) @ basis
    return vector
