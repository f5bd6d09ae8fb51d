"""What a unit of a curvature map found, and its form as bytes (`checked_arrays`). No torch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from worker.blobs import DamagedBlob
from worker.checked_arrays import opened, sealed

_MAGIC = b"LACURVE1"
_COUNTS = ("examples", "parameters", "products", "not_separated")


@dataclass(frozen=True)
class Eigenvalues:
    """The Hessian's extreme eigenvalues at some cells.

    Attributes:
        cells: (row, column) of each cell.
        max_eig: (cells,) the largest; NaN where the loss is not finite, or they did not separate.
        min_eig: (cells,) the smallest, likewise.
        examples: The mean loss is over so many.
        parameters: The Hessian is by so many.
        products: How many products with it there were.
        not_separated: At how many of the cells the eigenvalues did not separate.
    """

    cells: tuple[tuple[int, int], ...]
    max_eig: Float64[np.ndarray, " cells"]
    min_eig: Float64[np.ndarray, " cells"]
    examples: int
    parameters: int
    products: int
    not_separated: int

    def encode(self) -> bytes:
        """The blob of the unit."""
        counts = np.array([getattr(self, name) for name in _COUNTS], np.int64)
        cells = np.array(self.cells, np.int32).reshape(-1, 2)
        return sealed(_MAGIC, {"cells": cells, "max_eig": self.max_eig, "min_eig": self.min_eig, "counts": counts})

    @classmethod
    def decode(cls, blob: bytes) -> Eigenvalues:
        """What was encoded, bit for bit.

        Raises:
            DamagedBlob: The bytes are not what was written, or those of another unit; the unit is to be computed again.
        """
        arrays = opened(_MAGIC, blob)
        try:
            cells = tuple((row, column) for row, column in arrays["cells"].tolist())
            counts = dict(zip(_COUNTS, arrays["counts"].tolist(), strict=True))
            return cls(cells, arrays["max_eig"], arrays["min_eig"], **counts)
        except (KeyError, ValueError) as error:
            raise DamagedBlob("a unit's eigenvalues are of another form") from error
