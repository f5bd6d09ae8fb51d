"""Makes the Fashion-MNIST sample that ships with the package: the first 3,000 training and the first 1,000 test images.

Needs the whole data set: Debian's package dataset-fashion-mnist, or its IDX files in a folder.

    python recipes/make_fashion_mnist_sample.py [FOLDER]

The same bytes come out every time: numpy writes no dates into its archives.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from landscape_core.catalogue import read_idx
from landscape_core.catalogue.data import SAMPLE_FILE, SAMPLE_SPLITS, split_files


def main(folder: Path) -> None:
    """Writes the sample to its place in the package.

    Args:
        folder: Holds `fashion-mnist/` with the IDX files, unless Debian's package is installed.

    Raises:
        SystemExit: The data set is not on this machine.
    """
    arrays: dict[str, np.ndarray] = {}
    for split, count in SAMPLE_SPLITS.items():
        files = split_files("fashion-mnist", split, folder)
        if not files:
            raise SystemExit("Fashion-MNIST is not on this machine: install dataset-fashion-mnist, or name its folder.")
        arrays[f"x_{split}"], arrays[f"y_{split}"] = (read_idx(file)[:count] for file in files)
    np.savez_compressed(SAMPLE_FILE, **arrays)
    print(f"{SAMPLE_FILE}: {SAMPLE_FILE.stat().st_size:,} bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path())
