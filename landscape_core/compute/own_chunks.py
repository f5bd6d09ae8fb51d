"""Batches of the user's own put together as chunks of examples that double, as `estimate.chunk_bounds` cuts single ones."""

from __future__ import annotations

from collections.abc import Sequence

from landscape_core.estimate import FIRST_CHUNK, example_order

ORDER_SEED = 0
"""Of the permutation in which batches that are kept make up the chunks."""


def in_chunks(sizes: Sequence[int], *, permuted: bool) -> list[list[int]]:
    """Positions of the batches of each chunk, ascending: the first has 64 examples or more, each further one doubles all.

    Args:
        sizes: How many examples each batch holds.
        permuted: Whether batches are taken in an order that is drawn with the seed `ORDER_SEED`, else as they come.

    Example:
        >>> in_chunks([50] * 7, permuted=False)
        [[0, 1], [2, 3], [4, 5, 6]]
        >>> sorted(sum(in_chunks([50] * 7, permuted=True), []))
        [0, 1, 2, 3, 4, 5, 6]
    """
    order = example_order(len(sizes), ORDER_SEED if permuted else None).tolist()
    chunks: list[list[int]] = [[]]
    seen, until = 0, FIRST_CHUNK
    for position in order:
        if seen >= until:
            chunks.append([])
            until = 2 * seen
        chunks[-1].append(position)
        seen += sizes[position]
    return [sorted(chunk) for chunk in chunks]
