"""Makes the token sample that ships with the package: forty kilobytes of Ambrose Bierce's Devil's Dictionary (1911).

Needs Debian's package dict-devil, or its devil.dict.dz (which gzip reads) from elsewhere.

    python recipes/make_token_sample.py [/usr/share/dictd/devil.dict.dz]

The text is cut and nothing else: its entries from the first after NOSE on, to the byte that the last sequence needs.
"""

from __future__ import annotations

import gzip
import sys
from pathlib import Path

from landscape_core.catalogue.data import TEXT_SAMPLE_FILE, TEXT_SAMPLE_LENGTH, TEXT_SAMPLE_SPLITS

DEBIAN = Path("/usr/share/dictd/devil.dict.dz")
FIRST = b"\nNOTORIETY, n."


def main(file: Path) -> None:
    """Writes the sample to its place in the package.

    Args:
        file: Debian's devil.dict.dz.

    Raises:
        SystemExit: It is not here, or is another edition.
    """
    if not file.is_file():
        raise SystemExit("The Devil's Dictionary is not on this machine: install dict-devil, or name its devil.dict.dz.")
    text = gzip.decompress(file.read_bytes())
    begin = text.find(FIRST) + 1
    sample = text[begin : begin + sum(TEXT_SAMPLE_SPLITS.values()) * TEXT_SAMPLE_LENGTH + 1]
    if begin == 0 or not sample.isascii():
        raise SystemExit("This is another edition of the dictionary; the sample is from Debian's dict-devil 1.0.")
    TEXT_SAMPLE_FILE.write_bytes(sample)
    print(f"{TEXT_SAMPLE_FILE}: {len(sample):,} bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else DEBIAN)
