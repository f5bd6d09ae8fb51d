"""Eigenvectors of a symmetric matrix that is known by its products with vectors alone.

Lanczos' method with full orthogonalisation and thick restarts (Wu and Simon 2000, SIAM J. Matrix Anal. Appl. 22, section 2), in
float64. One eigenvector is found at a time, at right angles to those before it, so that an eigenvalue that occurs several
times is found as often.
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


def top_eigenpairs(apply: Callable[[Vector], Vector], count: int, start: Callable[[int], Vector]) -> list[Eigenpair]:
    """The eigenpairs of the largest eigenvalues, largest first.

    Args:
        apply: v ↦ H v for a symmetric H, exact to far less than `TOLERANCE`.
        count: How many; at most the number of rows of H.
        start: The vector to begin with for the eigenpair of each position: any that is not special.

    Raises:
        InvalidRequest: A product is not finite, or an eigenvector was not found within `MOST_PRODUCTS`.

    Example:
        >>> pairs = top_eigenpairs(lambda v: np.array([2.0, 5.0]) * v, 2, lambda _: np.array([0.6, 0.8]))
        >>> [round(pair.value, 6) for pair in pairs]
        [5.0, 2.0]
    """
    found: list[Eigenpair] = []
    for position in range(count):
        found.append(_next_pair(apply, found, start(position)))
    return found


def _next_pair(apply: Callable[[Vector], Vector], found: list[Eigenpair], start: Vector) -> Eigenpair:
    """The eigenpair of the largest eigenvalue at right angles to those found."""
    known = np.stack([pair.vector for pair in found]) if found else np.empty((0, start.size))
    left = start.size - len(found)
    room = min(left, BASIS_MOST, max(BASIS_LEAST, BASIS_BYTES // (8 * start.size)))
    basis, projected, filled = np.empty((room, start.size)), np.zeros((room, room)), 0
    scale = max((abs(pair.value) for pair in found), default=0.0)
    following, good_since = _cleared(start, known), MOST_PRODUCTS
    for products in range(1, MOST_PRODUCTS + 1):
        basis[filled] = following / np.linalg.norm(following)
        product = _finite(apply(basis[filled]))
        column = basis[: filled + 1] @ product
        projected[filled, : filled + 1] = projected[: filled + 1, filled] = column
        filled += 1
        following = _cleared(product, known, basis[:filled])
        values, vectors = np.linalg.eigh(projected[:filled, :filled])
        scale = max(scale, float(np.abs(values).max()))
        residual = float(np.linalg.norm(following)) * abs(float(vectors[-1, -1]))
        if residual <= TOLERANCE * scale:
            good_since = min(good_since, products)
        good = good_since <= products and (
            residual <= OWN_TOLERANCE * abs(values[-1]) or products - good_since >= MORE_PRODUCTS
        )
        if good or filled == left:
            vector = vectors[:, -1] @ basis[:filled]
            share = residual / scale if scale else 0.0
            return Eigenpair(float(values[-1]), vector / np.linalg.norm(vector), share, products)
        if filled == room:
            filled = _restart(basis, projected, values, vectors)
    raise InvalidRequest(
        f"Eigenvector {len(found) + 1} of the Hessian did not separate from the others in {MOST_PRODUCTS} products; ask for "
        "one nearer to the end, or for other examples.",
        field="plane",
    )


def _restart(basis: np.ndarray, projected: np.ndarray, values: np.ndarray, vectors: np.ndarray) -> int:
    """Only the best approximations stay in the basis; how many. What leads on from them is one vector, and is kept."""
    kept = max(1, len(values) // 3)
    basis[:kept] = vectors[:, -kept:].T @ basis
    projected[:] = 0.0
    projected[range(kept), range(kept)] = values[-kept:]
    return kept


def _cleared(vector: Vector, *bases: np.ndarray) -> Vector:
    """What of a vector is at right angles to all rows, cleared twice because of rounding (Parlett 1998, section 6.9)."""
    for _ in range(2):
        for basis in bases:
            vector = vector - (basis @ vector) @ basis
    return vector


def _finite(product: Vector) -> Vector:
    if not np.isfinite(product).all():
        raise InvalidRequest(
            "The loss or its derivatives are not finite at this checkpoint, so its Hessian has no eigenvectors; choose another "
            "direction.",
            field="plane",
        )
    return product
