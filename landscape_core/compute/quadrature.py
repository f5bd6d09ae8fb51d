"""The trace and the spectral density of a symmetric matrix that is known by its products with vectors alone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float64

from landscape_core.compute.lanczos import Product, Vector, basis_room, cleared, finite
from landscape_core.spectra import SpectralDensity, TraceEstimate

LEAST_PROBES = 8
"""Before so many probes their spread says too little of the error of their mean."""

DENSITY_POINTS = 2001
WIDTH = 0.005
"""Standard deviation of the Gaussians, as a share of the distance from the smallest to the largest eigenvalue met."""

MARGIN = 8.0
"""How many of these the density goes on beyond them: what is cut off is less than 1e-14."""

NO_MORE = 1e-7
"""What is left of a product is rounding, if it is a smaller share of the largest eigenvalue met: products are float32."""

Probe = Callable[[int], Vector]
"""The random vector of each position, of entries ±1."""


def hutchinson(apply: Product, probe: Probe, tolerance: float, most: int) -> TraceEstimate:
    """The trace, as the mean of zᵀ H z over random z of entries ±1 (Hutchinson 1990).

    Args:
        apply: v ↦ H v.
        probe: The random vectors.
        tolerance: It ends once the standard error is at most this share of the mean, after `LEAST_PROBES` or more.
        most: It ends after so many probes in any case; 2 or more.

    Raises:
        NotFinite: A product is not finite.

    Example:
        >>> probe = lambda k: np.random.default_rng(k).choice([-1.0, 1.0], 3)
        >>> hutchinson(lambda v: np.array([3.0, -1.0, 2.0]) * v, probe, 0.01, 100)  # exact for a diagonal matrix
        TraceEstimate(value=4.0, stderr=0.0, probes=8)
    """
    forms: list[float] = []
    while len(forms) < most:
        z = probe(len(forms))
        forms.append(float(z @ finite(apply(z))))
        if len(forms) >= LEAST_PROBES and _stderr(forms) <= tolerance * abs(float(np.mean(forms))):
            break
    return TraceEstimate(float(np.mean(forms)), _stderr(forms), len(forms))


def spectral_density(apply: Product, probe: Probe, probes: int, steps: int) -> SpectralDensity:
    """How the eigenvalues are spread, by stochastic Lanczos quadrature (Ghorbani, Krishnan and Xiao 2019, section 2).

    For each random vector, Lanczos' tridiagonal matrix gives nodes (its eigenvalues) and weights (the squared first entries of
    its eigenvectors) that integrate polynomials up to degree 2 steps − 1 over the eigenvalues as that vector sees them. The
    density is the mean of Gaussians at the nodes. Where memory does not hold all vectors (`lanczos.BASIS_BYTES`), a product is
    cleared of the latest ones alone: then nodes occur twice, and share the weight (Greenbaum 1989, Linear Algebra Appl. 113).

    Args:
        apply: v ↦ H v.
        probe: The random vectors.
        probes: How many of them.
        steps: Products for each; fewer where the matrix has fewer rows, or they lead nowhere new.

    Raises:
        NotFinite: A product is not finite.

    Example:
        >>> probe = lambda k: np.random.default_rng(k).choice([-1.0, 1.0], 4)
        >>> found = spectral_density(lambda v: np.array([0.0, 0.0, 0.0, 1.0]) * v, probe, 1, 10)
        >>> half = found.eigenvalues < 0.5
        >>> round(float(np.trapezoid(found.density[half], found.eigenvalues[half])), 6)  # three of four eigenvalues
        0.75
    """
    rules = [_nodes(apply, probe(k), steps) for k in range(probes)]
    every = np.concatenate([nodes for nodes, _ in rules])
    low, high = float(every.min()), float(every.max())
    width = WIDTH * ((high - low) or max(abs(low), abs(high)) or 1.0)
    at = np.linspace(low - MARGIN * width, high + MARGIN * width, DENSITY_POINTS)
    each = np.stack([_gaussians(at, nodes, width) @ weights for nodes, weights in rules])
    error = each.std(axis=0, ddof=1) / np.sqrt(probes) if probes > 1 else np.full(len(at), np.nan)
    return SpectralDensity(at, each.mean(axis=0), error, width, probes, max(len(nodes) for nodes, _ in rules))


def _nodes(apply: Product, z: Vector, steps: int) -> tuple[Float64[np.ndarray, " steps"], Float64[np.ndarray, " steps"]]:
    """Nodes and weights of the quadrature over the eigenvalues as z sees them; the weights add up to 1."""
    steps = min(steps, z.size)
    kept = basis_room(z.size, steps)
    basis, diagonal, beside = np.zeros((kept, z.size)), [], []
    following, scale = z, 0.0
    for step in range(steps):
        length = float(np.linalg.norm(following))
        if step and length <= NO_MORE * scale:
            break
        if step:
            beside.append(length)
        row = step % kept
        basis[row] = following / length
        product = finite(apply(basis[row]))
        diagonal.append(float(basis[row] @ product))
        following = cleared(product, basis[: step + 1])
        scale = max(scale, float(np.linalg.norm(product)))
    values, vectors = np.linalg.eigh(np.diag(diagonal) + np.diag(beside, 1) + np.diag(beside, -1))
    return values, vectors[0] ** 2


def _gaussians(at: np.ndarray, nodes: np.ndarray, width: float) -> np.ndarray:
    return np.exp(-0.5 * ((at[:, None] - nodes) / width) ** 2) / (width * np.sqrt(2 * np.pi))


def _stderr(forms: list[float]) -> float:
    return float(np.std(forms, ddof=1) / np.sqrt(len(forms))) if len(forms) > 1 else float("nan")
