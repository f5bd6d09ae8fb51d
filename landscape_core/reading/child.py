"""The process in which one file from a stranger is read: `python -I -m landscape_core.reading.child KIND FILE NAME FOLDER`.

A surface file's split may follow.

It bounds itself, reads the file, writes `canonical` and `report.json` into the folder, and ends. A file that is refused gives
a report with nothing but a problem. Whatever else happens here, be it a fault of the reader, the parent turns into a sentence.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from landscape_core.errors import FileRejected
from landscape_core.reading import report as reports
from landscape_core.reading.canonical import write_canonical
from landscape_core.reading.checkpoint import read_checkpoint
from landscape_core.reading.dataset import DATASET_LIMITS, read_dataset, write_dataset
from landscape_core.reading.limits import Limits
from landscape_core.reading.refusals import SeveralFiles
from landscape_core.reading.sandbox import CANONICAL, MEMBERS, REPORT, lock_down

if TYPE_CHECKING:
    from landscape_core.formats import Split


def main(kind: str, path: Path, filename: str, folder: Path, *split: str) -> None:
    """Reads the file and writes what was found.

    Args:
        kind: `checkpoint`, `dataset`, `directions` or `surface`; or `run`, for an archive of checkpoints.
        path: The file.
        filename: Its name where it came from.
        folder: For the results; nobody else's.
        split: Of a surface file that holds both: `train` or `test`.
    """
    lock_down(path.stat().st_size, DATASET_LIMITS.growth if kind == "dataset" else Limits().growth)
    try:
        text = _READERS[kind](path, filename, folder / CANONICAL, *split).model_dump_json()
    except SeveralFiles as error:
        text = json.dumps({"problem": str(error), "several": True})
    except FileRejected as error:
        text = json.dumps({"problem": str(error)})
    except MemoryError:
        text = json.dumps({"problem": "The file asks for more memory than any honest file of its size needs."})
    (folder / REPORT).write_text(text, encoding="utf-8")


def _checkpoint(path: Path, filename: str, out: Path) -> reports.Report:
    contents = read_checkpoint(path)
    write_canonical(contents, out)
    return reports.checkpoint_report(contents, filename)


def _dataset(path: Path, filename: str, out: Path) -> reports.Report:
    contents = read_dataset(path)
    write_dataset(contents, out)
    return reports.dataset_report(contents, filename)


def _directions(path: Path, _filename: str, out: Path) -> reports.Report:
    from landscape_core.reading.directions import read_directions, write_directions  # noqa: PLC0415  h5py: only where needed

    contents = read_directions(path)
    write_directions(contents, out)
    return reports.directions_report(contents.x, contents.y)


def _surface(path: Path, _filename: str, out: Path, split: Split | None = None) -> reports.Report:
    from landscape_core.formats import npz  # noqa: PLC0415  loads h5py: only where needed
    from landscape_core.reading.surface import read_splits  # noqa: PLC0415

    surface, held = read_splits(path, split)
    out.write_bytes(npz.dump(surface))
    return reports.surface_report(surface, held)


def _run(path: Path, _filename: str, out: Path) -> reports.RunReport:
    from landscape_core.reading.unpacking import unpack  # noqa: PLC0415  only where needed

    folder = out.with_name(MEMBERS)
    folder.mkdir(mode=0o700)
    return unpack(path, folder)


_READERS: dict[str, Callable[..., reports.Report | reports.RunReport]] = {
    "checkpoint": _checkpoint,
    "dataset": _dataset,
    "directions": _directions,
    "surface": _surface,
    "run": _run,
}

if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3], Path(sys.argv[4]), *sys.argv[5:])
