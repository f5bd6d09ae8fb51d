"""From a coarse grid to the full one, in whole grids: isolated cells draw nothing, a coarse grid is a picture."""

from __future__ import annotations

from itertools import pairwise


def refined_grids(ny: int, nx: int, coarse: int) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """(rows, columns) from a coarse grid to the full one; each contains the one before and differs in one axis.

    Args:
        ny: Points of the second axis; 1 for a curve.
        nx: Points of the first axis.
        coarse: About how many points an axis the first grid has.

    Example:
        >>> refined_grids(1, 5, 3)
        [((0,), (0, 2, 4)), ((0,), (0, 1, 2, 3, 4))]
    """
    rows, columns = _refinements(ny, coarse), _refinements(nx, coarse)
    grids = [(rows.pop(0), columns.pop(0))]
    while rows or columns:
        if columns:
            grids.append((grids[-1][0], columns.pop(0)))
        if rows:
            grids.append((rows.pop(0), grids[-1][1]))
    return grids


def _refinements(points: int, coarse: int) -> list[tuple[int, ...]]:
    """Indices of one axis from about `coarse` evenly spread ones (first, middle and last among them) to all."""
    n = min(points, coarse)
    indices = sorted({(2 * j * (points - 1) + n - 1) // (2 * (n - 1)) for j in range(n)}) if n > 1 else [0]
    levels = [tuple(indices)]
    while len(indices) < points:
        halves = {(a + b) // 2 for a, b in pairwise(indices)}
        nearly_full = max(b - a for a, b in pairwise(indices)) <= 3
        indices = list(range(points)) if nearly_full else sorted(halves.union(indices))
        levels.append(tuple(indices))
    return levels
