"""Programs of `torch.export.save` (.pt2): the weights that lie beside the program. The program itself is never looked at.

Since PyTorch 2.9 every run of numbers is an entry of its own, and a table in JSON says which tensor is which part of which run
(`torch/export/pt2_archive`). Releases before wrote one file of `torch.save`, into the archive's folder of weights or its root.

    <name>/archive_format                                  "pt2"
    <name>/data/weights/<model>_weights_config.json        tensor's name -> entry, element type, sizes, strides, offset
    <name>/data/weights/weight_<n>                         a run of numbers
    <name>/data/weights/<model>.pt                         2.8: a file of `torch.save`
    serialized_state_dict.pt                               2.1 to 2.7: a file of `torch.save`
"""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Mapping
from typing import Any

from landscape_core.errors import CheckpointRejected
from landscape_core.reading.containers import Opened
from landscape_core.reading.dtypes import item_bytes
from landscape_core.reading.limits import Limits
from landscape_core.reading.rebuild import natural, naturals
from landscape_core.reading.records import Storage, Tensor, UnsupportedTensor
from landscape_core.reading.refusals import damaged
from landscape_core.reading.zip_archive import read_entry

FORMAT = "torch export"
OLD_WEIGHTS = "serialized_state_dict.pt"

_CONFIG = re.compile(r"(?P<folder>(?:[^/]+/)?data/weights/)[^/]*_weights_config\.json")
_SAVED = re.compile(r"(?:[^/]+/)?data/weights/[^/]+\.pt")
_STRIDED = 7
"""`torch._export.serde.schema.Layout.Strided`."""

_KINDS = {
    1: "Byte",
    2: "Char",
    3: "Short",
    4: "Int",
    5: "Long",
    6: "Half",
    7: "Float",
    8: "Double",
    12: "Bool",
    13: "BFloat16",
    28: "UInt16",
    29: "Float8_e4m3fn",
    30: "Float8_e5m2",
    34: "UInt32",
    35: "UInt64",
}
"""`torch._export.serde.schema.ScalarType` -> element type, for those that are read."""

_REMEDY = (
    "on your own machine, and only if you trust whoever made it (loading it runs it), export the state_dict with "
    '`torch.save(torch.export.load("model.pt2").state_dict, "weights.pt")` and upload weights.pt.'
)

Entries = Mapping[str, zipfile.ZipInfo]


def is_exported(entries: Entries) -> bool:
    """Whether a zip file with these entries is an exported program."""
    ends = {name.rpartition("/")[2] for name in entries}
    return bool(ends & {"serialized_exported_program.json", "archive_format"}) or any("/models/" in f"/{n}" for n in entries)


def saved_weights(entries: Entries) -> zipfile.ZipInfo | None:
    """The entry that is a file of `torch.save` with the weights; None if they are not kept so."""
    found = [name for name in entries if name == OLD_WEIGHTS or _SAVED.fullmatch(name)]
    return entries[found[0]] if len(found) == 1 and not _configs(entries) else None


def open_exported(archive: zipfile.ZipFile, entries: Entries, limits: Limits) -> Opened:
    """The weights of an exported program that has each run of numbers as an entry.

    Args:
        archive: Open, and known to be honest.
        entries: Of it.
        limits: Bounds.

    Raises:
        CheckpointRejected: If it has no such weights or those of several programs, is damaged or over the limits.
    """
    tables = _configs(entries)
    if len(tables) != 1:
        what = f"the weights of {len(tables)} programs" if tables else "no weights that can be read without running it"
        raise CheckpointRejected(f"This exported program (.pt2) holds {what}: {_REMEDY}")
    folder, table = tables[0], entries[_table_name(entries)]
    if table.file_size > limits.pickle_bytes:
        raise CheckpointRejected(f"The file's structure is too large: its table has over {limits.pickle_bytes:,} bytes.")
    config = _field(json.loads(read_entry(archive, table)), "config")
    runs: dict[str, Storage] = {}
    root = {name: _tensor(entry, folder, entries, runs) for name, entry in config.items()}

    def read(key: str) -> bytes:
        return read_entry(archive, entries[f"{folder}{key}"])

    return Opened(FORMAT, root, read, runs)


def _configs(entries: Entries) -> list[str]:
    """The folder of every table of weights."""
    return [found["folder"] for name in entries if (found := _CONFIG.fullmatch(name))]


def _table_name(entries: Entries) -> str:
    return next(name for name in entries if _CONFIG.fullmatch(name))


def _tensor(entry: Any, folder: str, entries: Entries, runs: dict[str, Storage]) -> Tensor | UnsupportedTensor:
    """One tensor, as the table declares it; its run is noted in `runs`."""
    about = _field(entry, "tensor_meta")
    key, kind = entry.get("path_name"), _KINDS.get(_whole(about.get("dtype")))
    if entry.get("use_pickle") is not False or kind is None or about.get("layout") != _STRIDED:
        return UnsupportedTensor("unusual exported", "export the state_dict with torch.save")
    place = entries.get(f"{folder}{key}") if isinstance(key, str) else None
    if place is None:
        raise damaged("a tensor's numbers are missing")
    run = runs.setdefault(key, Storage(key, kind, place.file_size // item_bytes(kind)))
    if run.kind != kind or run.numel * item_bytes(kind) != place.file_size:
        raise damaged("a tensor's declared size is not that of its data")
    sizes, strides = _integers(about.get("sizes")), _integers(about.get("strides"))
    if len(sizes) != len(strides):
        raise damaged("a tensor has another number of sizes than of strides")
    return Tensor(run, natural(_plain(about.get("storage_offset")), "offset"), sizes, strides, kind)


def _field(value: Any, name: str) -> dict[str, Any]:
    """The table of this name in a table."""
    found = value.get(name) if isinstance(value, dict) else None
    if not isinstance(found, dict):
        raise damaged(f"its table of weights has no {name!r}")
    return found


def _integers(values: Any) -> tuple[int, ...]:
    plain = [_plain(value) for value in values] if isinstance(values, list) else values
    return naturals(plain, "size or stride")


def _plain(value: Any) -> Any:
    """The number in `{"as_int": number}`; sizes that depend on the input are none."""
    return value.get("as_int") if isinstance(value, dict) else None


def _whole(value: Any) -> int:
    return value if type(value) is int else 0
