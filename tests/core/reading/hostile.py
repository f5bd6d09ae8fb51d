"""Hostile and unusable files, numbered as the bad inputs that the reader is designed against."""

from __future__ import annotations

import io
import json
import shlex
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

from .assembler import (
    EMPTY_LIST,
    FALSE,
    NONE,
    archive,
    call,
    group,
    integer,
    integers,
    legacy,
    named,
    ordered,
    pickled,
    run_of,
    safetensors,
    storage,
    table,
    tensor,
    text,
    zip_directory,
    zipped,
)

Maker = bytes | Callable[[], bytes]

FOUR = {"data/0": struct.pack("<4f", 1, 2, 3, 4)}
"""The numbers of one small honest tensor."""

HONEST = tensor(storage("0", 4))


def code_runs(canary: Path) -> dict[str, bytes]:
    """Calls that would create the canary if anything called them: the plain one, and nine that scanners let pass."""
    touch = f"touch {shlex.quote(str(canary))}"
    python = f"__import__('os').system({touch!r})"
    attribute = call("builtins", "getattr", call("builtins", "__import__", text("os")), text("system"))
    return {
        "06-os.system": call("os", "system", text(touch)),
        "07-sympy": call("sympy.core.sympify", "sympify", text(python)),
        "07-torch.fx": call("torch.fx.graph_module", "_exec_with_source", text(python), table()),
        "07-pathlib": call("pathlib", "Path.touch", call("pathlib", "PosixPath", text(str(canary)))),
        "07-collect_env": call("torch.utils.collect_env", "run", text(touch)),
        "07-timeit": call("timeit", "timeit", text(python), text("pass")),
        "07-cProfile": call("cProfile", "run", text(python)),
        "07-getattr": attribute + group(text(touch)) + b"R",
        "07-runpy": call("runpy", "run_path", text(str(canary))),
        "07-numpy": call("numpy.testing._private.utils", "runstring", text(python), table()),
    }


def files(canary: Path) -> dict[str, bytes]:
    """All of them by name; each name begins with its row."""
    return {name: data() if callable(data) else data for name, data in makers(canary).items()}


def makers(canary: Path) -> dict[str, Maker]:  # many lines: one for each file
    """All of them by name, the large ones not yet made."""
    named_files: dict[str, Maker] = {
        "01-empty": b"",
        "02-html": b"<!DOCTYPE html><html><head><title>404</title></head></html>",
        "02-text": b"Please log in to download this file.\n" * 40,
        "02-lfs": b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"a" * 64 + b"\nsize 1\n",
        "02-random": bytes(range(255, 0, -1)) * 9,
        "02-gzip": b"\x1f\x8b\x08" + bytes(200),
        "03-no-data.pkl": archive({"archive/version": b"3"}),
        "03-only-inside": archive({"weights/model.pt": b"x"}),
        "03-empty-zip": archive({}),
        "08-bytearray": zipped(table(a=call("builtins", "bytearray", integer(2_000_000_000)))),
        "09-FloatTensor": zipped(table(w=call("torch", "FloatTensor", integer(64)))),
        "09-FloatTensor-huge": zipped(table(w=call("torch", "FloatTensor", integer(500_000_000)))),
        "10-legacy-no-keys": legacy(table(w=tensor(storage("0", 16, view=NONE), 0, (16,))), [], b""),
        "11-legacy-numel": legacy(table(w=tensor(storage("0", 10**13, view=NONE), 0, (10**13,))), ["0"], b""),
        "11-legacy-other-length": legacy(table(w=tensor(storage("0", 4, view=NONE))), ["0"], run_of(bytes(8))),
        "11-legacy-view-outside": legacy(
            table(w=tensor(storage("0", 4, view=group(text("v"), integer(2), integer(4))))), ["0"], run_of(bytes(16))
        ),
        "12-numel-lie": zipped(table(w=tensor(storage("0", 10**9), 0, (10**9,))), FOUR),
        "12-tensor-too-big": zipped(table(w=tensor(storage("0", 4), 0, (5,))), FOUR),
        "12-no-record": zipped(table(w=HONEST)),
        "13-expand": zipped(table(w=tensor(storage("0", 4), 0, (10**6, 10**6), (0, 0))), FOUR),
        "14-negative-offset": zipped(table(w=tensor(storage("0", 4), -1)), FOUR),
        "14-negative-stride": zipped(table(w=tensor(storage("0", 4), 3, (4,), (-1,))), FOUR),
        "14-overflow": zipped(table(w=tensor(storage("0", 4), 0, (2**33, 2**33), (1, 1))), FOUR),
        "14-stride-outside": zipped(table(w=tensor(storage("0", 4), 0, (2,), (2**62,))), FOUR),
        "14-empty-but-huge": zipped(table(w=tensor(storage("0", 4), 0, (0, 10**18), (1, 1))), FOUR),
        "14-ranks-differ": zipped(table(w=tensor(storage("0", 4), 0, (2, 2), (1,))), FOUR),
        "16-unknown-storage": zipped(table(w=tensor(storage("0", 4, "Strange"))), FOUR),
        "17-deflate-bomb": _deflate_bomb,
        "17-deflate-lie": lambda: _deflate_lie(bytes(512 << 20), 100),
        "17-deflate-short": lambda: _deflate_lie(pickled(NONE), 1000),
        "18-overlap": _overlapping,
        "19-duplicate": _duplicate,
        "19-climbing": archive(
            {"archive/data.pkl": pickled(table(w=HONEST)), "archive/../x": b"", "archive/data/0": bytes(16)}
        ),
        "19-encrypted": _encrypted,
        "19-many-entries": lambda: zip_directory([(f"{i:x}", 0, 0, 0) for i in range(200_001)], b"PK\x03\x04" + bytes(26), 0),
        "19-many-entries-denied": lambda: _with_entry_count(
            zip_directory([("", 0, 0, 0)] * 100_000, b"PK\x03\x04" + bytes(26)), 1
        ),
        "21-nested": lambda: zipped(b")" * 1 + b"\x85" * 1_000_000),
        "21-nested-dicts": lambda: zipped(b"".join(b"}" + text("a") for _ in range(3000)) + HONEST + b"s" * 3000, FOUR),
        "21-cycle": zipped(EMPTY_LIST + b"q\x00h\x00a"),
        "21-dag": zipped(group(NONE) + b"".join(b"q" + bytes([i]) + b"h" + bytes([i]) + b"\x86" for i in range(25))),
        "21-dag-of-tensors": zipped(HONEST + b"".join(map(_twice, range(25))), FOUR),
        "21-shared-state": lambda: _deflated(
            b"(}q\x00("
            + b"".join(integer(i) + NONE for i in range(100_000))
            + b"u"
            + named("x", "Y")
            + b"q\x01"
            + b"h\x01)\x81h\x00b" * 200
            + b"t"
        ),
        "21-shared-hidden-buffers": lambda: _deflated(_many_modules(3_000, 100_000)),
        "22-colliding-keys": lambda: zipped(b"}(" + b"".join(integer(i * (2**61 - 1)) + NONE for i in range(20_000)) + b"u"),
        "22-colliding-tuples": lambda: zipped(b"}(" + b"".join(_minus_ones(i) + NONE for i in range(4096)) + b"u"),
        "22-colliding-memos": lambda: zipped(NONE + b"".join(b"p%d\n" % (i * (2**61 - 1)) for i in range(200_000))),
        "22-negative-memo": zipped(NONE + b"p-1\n"),
        "23-BYTEARRAY8": b"\x96" + struct.pack("<Q", 3_000_000_000) + b"aaa",
        "23-BYTEARRAY8-legacy": b"\x80\x05\x96" + struct.pack("<Q", 3_000_000_000),
        "23-BYTEARRAY8-zip": zipped(b"\x96" + struct.pack("<Q", 3_000_000_000)),
        "23-LONG_BINPUT": b"\x80\x02Nr" + struct.pack("<I", 2**27) + b".",
        "23-BINBYTES8": b"\x80\x04\x8e" + struct.pack("<Q", 2**62),
        "23-LONG4": b"\x80\x02\x8b" + struct.pack("<i", 2**31 - 1),
        "24-copies-of-set": lambda: _deflated(_copies("builtins", "set", b"(" + NONE * 1_000_000 + b"l")),
        "24-copies-of-size": lambda: _deflated(_copies("torch", "Size", group(NONE * 1_000_000))),
        "24-copies-of-dict": lambda: _deflated(
            _copies("collections", "OrderedDict", b"}(" + b"".join(integer(i) + NONE for i in range(100_000)) + b"u")
        ),
        "24-copies-of-text": lambda: _deflated(_copies("_codecs", "encode", text("a" * 8_000_000), text("latin1"))),
        "24-copies-of-names": lambda: _deflated(
            text("a" * 500) + b"q\x000" + text("b" * 499) + b"q\x010(" + b"h\x00h\x01\x93" * 490_000 + b"t"
        ),
        "24-copies-of-tensor": lambda: _deflated(
            _copies("torch._utils", "_rebuild_tensor_v2", *_thin_tensor(), times=400_000), FOUR
        ),
        "24-many-integers": lambda: _deflated(b"](" + b"K\x01" * 2_900_000 + b"e"),
        "24-many-strings": lambda: _deflated(b"](" + b"\x8c\x02\xc4\x80" * 2_990_000 + b"e"),
        "24-many-strings-astral": lambda: _deflated(b"](" + b"\x8c\x04\xf0\x9f\x98\x80" * 2_600_000 + b"e"),
        "24-many-dicts": lambda: _deflated(b"](" + b"}NNs" * 499_000 + b"\x8c\x02\xc4\x80" * 990_000 + b"e"),
        "24-many-numbers-named": lambda: _deflated(
            b"](" + b"".join(b"G" + struct.pack(">d", i) + b"\x94" for i in range(990_000)) + b"e"
        ),
        "24-many-holders": lambda: _deflated(table(w=HONEST) + b"q\x000](" + b"h\x00" * 1_400_000 + b"e", FOUR),
        "24-integer-text": lambda: zipped(b"L" + b"9" * 10_000_000 + b"L\n"),
        "24-many-sets": lambda: zipped(b"\x8f" * 5_000_000),
        "24-many-marks": lambda: zipped(b"(" * 5_000_000),
        "24-many-memos": lambda: zipped(b"N" + b"\x94" * 5_000_000),
        "24-persistent-id": zipped(table(w=NONE + b"Q")),
        "24-views-of-one": lambda: zipped(
            b"}(" + b"".join(text(f"w{i}") + tensor(storage("0", 10**6), 0, (10**6,)) for i in range(200)) + b"u",
            {"data/0": bytes(4 * 10**6)},
        ),
        "24-tar-extended-header": lambda: _extended_tar(tarfile.XHDTYPE, b"1" * 2_000_000),
        "24-tar-global-header": lambda: _extended_tar(tarfile.XGLTYPE, b"1" * 2_000_000),
        "24-tar-long-name": lambda: _extended_tar(tarfile.GNUTYPE_LONGNAME, b"n" * 2_000_000),
        "27-long-name": zipped(b"}" + text("n" * 10_240) + HONEST + b"s", FOUR),
        "27-long-path": lambda: zipped(b"".join(b"}" + text("k" * 500_000) for _ in range(60)) + HONEST + b"s" * 60, FOUR),
        "27-one-name-twice": zipped(table(**{"a.b": HONEST, "a": table(b=HONEST)}), FOUR),
        "27-reserved-name": zipped(table(__metadata__=HONEST, w=HONEST), FOUR),
        "27-reserved-name-below": zipped(table(**{"module.__metadata__": HONEST}), FOUR),
        "29-pt2": archive({"m/archive_format": b"pt2", "m/models/model.json": b"{}"}),
        "30-torchscript": archive({"m/constants.pkl": pickled(NONE), "m/data.pkl": pickled(NONE), "m/code/m.py": b""}),
        "30-package": archive({".data/version": b"6", "m/data.pkl": pickled(NONE)}),
    }
    for name, body in code_runs(canary).items():
        named_files[name] = zipped(table(w=body), FOUR)
    named_files["06-os.system-legacy"] = legacy(table(w=code_runs(canary)["06-os.system"]), [], b"")
    return named_files | _safetensors()


def honest_files() -> dict[str, bytes]:
    """Files that look odd and are read: row 20, 25 and 27; each holds `w` = 1, 2, 3, 4."""
    shadowed = table(numel=named("torch", "Size"), clone=named("torch", "device"))
    subclass = call(
        "torch._tensor",
        "_rebuild_from_type_v2",
        named("torch._utils", "_rebuild_tensor_v2"),
        named("torch", "Tensor"),
        group(storage("0", 4), integer(0), integers(4), integers(1), FALSE, call("collections", "OrderedDict")),
        shadowed,
    )
    return {
        "20-alignment": zipped(table(w=HONEST), FOUR | {".storage_alignment": b"0", ".format_version": b"1"}),
        "25-shadowed-numel": zipped(table(w=subclass), FOUR),
        "25-shadowed-items": zipped(ordered(w=HONEST) + table(items=HONEST) + b"b", FOUR),
        "06-code-beside": zipped(table(state_dict=table(w=HONEST), hook=call("os", "system", text("true"))), FOUR),
        "15-sparse-beside": zipped(
            table(state_dict=table(w=HONEST), optimizer=table(s=call("torch._utils", "_rebuild_sparse_tensor", NONE, NONE))),
            FOUR,
        ),
        "21-cycle-beside": zipped(table(state_dict=table(w=HONEST)) + b"q\x00" + text("self") + b"h\x00s", FOUR),
        "22-large-key": zipped(b"}" + integer(2**61 - 1) + NONE + b"s" + text("w") + HONEST + b"s", FOUR),
        "31-legacy-view": legacy(
            table(w=tensor(storage("0", 6, view=group(text("v"), integer(2), integer(4))))),
            ["0"],
            run_of(struct.pack("<6f", 8, 9, 1, 2, 3, 4)),
        ),
        "31-protocol-1": legacy(
            b"}" + text("w") + tensor(storage("0", 4, view=NONE)) + b"s" + text("best") + b"I01\ns",
            ["0"],
            run_of(FOUR["data/0"]),
        ),
        "31-deflated": zipped(table(w=HONEST), FOUR, zipfile.ZIP_DEFLATED),
    }


def _extended_tar(kind: bytes, data: bytes) -> bytes:
    """A tar file that begins with an extended header (CVE-2024-6232)."""
    info = tarfile.TarInfo("header")
    info.type, info.size = kind, len(data)
    return info.tobuf(tarfile.USTAR_FORMAT) + data + bytes(-len(data) % 512 + 1024)


def _twice(number: int) -> bytes:
    """Takes what is on the stack, and leaves a dict that holds it twice."""
    again = b"h" + bytes([number])
    return b"q" + bytes([number]) + b"0" + table(a=again, b=again)


def _minus_ones(number: int) -> bytes:
    """A tuple of -1 and -2, which Python hashes alike."""
    return integers(*(-1 - (number >> bit & 1) for bit in range(12)))


def _deflate_bomb() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("archive/data.pkl", pickled(table(w=tensor(storage("0", 1 << 27), 0, (1 << 27,)))))
        with file.open("archive/data/0", "w") as entry:
            for _ in range(512):
                entry.write(bytes(1 << 20))
    return buffer.getvalue()


def _deflated(body: bytes, records: dict[str, bytes] | None = None) -> bytes:
    """A few kilobytes that unpack to a long pickle."""
    return zipped(body, records, zipfile.ZIP_DEFLATED)


def _copies(module: str, name: str, *arguments: bytes, times: int = 1_000) -> bytes:
    """A tuple of the results of one call, again and again with the same arguments."""
    remembered = group(*arguments) + b"q\x000" + named(module, name) + b"q\x010"
    return remembered + group(b"h\x01h\x00R" * times)


def _thin_tensor() -> tuple[bytes, ...]:
    """What a tensor of 32 dimensions is made of."""
    return storage("0", 4), integer(0), integers(*[300] * 32), integers(*[300] * 32)


def _many_modules(modules: int, hidden: int) -> bytes:
    """Modules that share a long list of buffers to leave out."""
    left_out = b"](" + b"".join(text(str(i)) for i in range(hidden)) + b"eq\x020"
    state = table(_parameters=table(a=NONE), _non_persistent_buffers_set=b"h\x02") + b"q\x000"
    return left_out + state + named("x", "Y") + b"q\x010" + group(b"h\x01)\x81h\x00b" * modules)


def _deflate_lie(data: bytes, declared: int) -> bytes:
    """A data.pkl that unpacks to other than its declared length."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = packer.compress(data) + packer.flush()
    crc = zlib.crc32(data)
    name = b"archive/data.pkl"
    head = struct.pack("<I5H3I2H", 0x04034B50, 20, 0, 8, 0, 0, crc, len(packed), declared, len(name), 0) + name
    whole = bytearray(zip_directory([(name.decode(), len(packed), declared, 0)], head + packed))
    struct.pack_into("<I", whole, len(head) + len(packed) + 16, crc)
    return bytes(whole)


def _with_entry_count(data: bytes, count: int) -> bytes:
    """A zip file whose end says that it has so many entries."""
    whole = bytearray(data)
    struct.pack_into("<2H", whole, len(whole) - 14, count, count)
    return bytes(whole)


def _overlapping() -> bytes:
    """64 entries of 64 MB each that are all the same few bytes of the file."""
    length = 64 << 20
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = packer.compress(bytes(length)) + packer.flush()
    head = struct.pack("<I5H3I2H", 0x04034B50, 20, 0, 8, 0, 0, 0, len(packed), length, 14, 0) + b"archive/data/0"
    entries = [(f"archive/data/{i}", len(packed), length, 0) for i in range(64)]
    return zip_directory(entries, head + packed)


def _duplicate() -> bytes:
    whole = archive(
        {"archive/data.pkl": pickled(table(w=HONEST)), "archive/data/0": FOUR["data/0"], "archive/data.pkk": pickled(NONE)}
    )
    return whole.replace(b"archive/data.pkk", b"archive/data.pkl")


def _encrypted() -> bytes:
    whole = bytearray(zipped(table(w=HONEST), FOUR))
    at = whole.find(b"PK\x01\x02")
    while at >= 0:
        whole[at + 8] |= 1
        at = whole.find(b"PK\x01\x02", at + 4)
    return bytes(whole)


def _safetensors() -> dict[str, Maker]:  # many lines: one for each file
    """Row 26."""

    def one(data: bytes = bytes(16), **changes: object) -> bytes:
        entry = {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]} | changes
        return safetensors(json.dumps({"w": entry}).encode(), data)

    def two(first: tuple[int, int], second: tuple[int, int], data: bytes = bytes(16)) -> bytes:
        entries = {n: {"dtype": "U8", "shape": [b - a], "data_offsets": [a, b]} for n, (a, b) in (("a", first), ("b", second))}
        return safetensors(json.dumps(entries).encode(), data)

    entry = b'{"dtype":"F32","shape":[4],"data_offsets":[0,16]}'
    found: dict[str, Maker] = {
        "length-2^63": safetensors(b"{}", length=2**63),
        "length-over-limit": safetensors(b"{" + b" " * (11 << 20) + b"}"),
        "length-beyond-file": safetensors(b"{}", length=4000),
        "no-json": safetensors(b"{nonsense}"),
        "bad-utf8": safetensors(b'{"\xff\xfe":' + entry + b"}", bytes(16)),
        "overlap": two((0, 8), (0, 8), bytes(8)),
        "partial-overlap": two((0, 8), (4, 16)),
        "hole": two((0, 4), (8, 16)),
        "trailing": one(bytes(20)),
        "past-end": one(bytes(8)),
        "shape-mismatch": one(shape=[5]),
        "overflow": one(shape=[2**63, 2**63]),
        "duplicate-keys": safetensors(b'{"w":' + entry + b',"w":' + entry + b"}", bytes(16)),
        "unknown-dtype": one(dtype="F13"),
        "negative": one(shape=[-4]),
        "float": one(shape=[4.0]),
        "offsets-reversed": one(data_offsets=[16, 0]),
        "offsets-three": one(data_offsets=[0, 8, 16]),
        "extra-field": one(more=1),
        "deep-json": safetensors(b'{"w":' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
        "nested-metadata": safetensors(b'{"__metadata__":{"a":{"b":"c"}}}'),
        "list": safetensors(b'{"w":[1,2]}'),
        "no-tensors": safetensors(b"{}"),
        "empty-1e18": one(b"", shape=[0, 10**18], data_offsets=[0, 0]),
        "empty-2^62": one(b"", shape=[2**62, 0], data_offsets=[0, 0]),
        "name-10KB": safetensors(json.dumps({"n" * 10_240: json.loads(entry)}).encode(), bytes(16)),
        "10MB-of-tables": lambda: safetensors(b'{"w":[' + b"{}," * 3_490_000 + b"{}]}"),
        "10MB-of-lists": lambda: safetensors(b'{"w":[' + b"[]," * 3_490_000 + b"[]]}"),
        "10MB-of-keys": lambda: safetensors(b'{"w":{' + b",".join(b'"%x":0' % i for i in range(900_000)) + b"}}"),
        "10MB-of-metadata": lambda: safetensors(
            ('{"__metadata__":{' + ",".join(f'"{i:x}":"\u0100"' for i in range(700_000)) + "}}").encode()
        ),
        "metadata-1001": lambda: safetensors(json.dumps({"__metadata__": {str(i): "" for i in range(1001)}}).encode()),
        "10MB-of-numbers": lambda: safetensors(b'{"w":[' + b"0," * 5_000_000 + b"0]}"),
        "10MB-of-texts": lambda: safetensors(b'{"w":[' + '"\u0100",'.encode() * 2_000_000 + b"0]}"),
        "many-tensors": lambda: _many_empty(120_000),
        "60MB-header": lambda: _many_empty(900_000),
    }
    return {f"26-{name}": data for name, data in found.items()}


def _many_empty(count: int) -> bytes:
    entry = '{"dtype":"F32","shape":[0],"data_offsets":[0,0]}'
    return safetensors(("{" + ",".join(f'"{i}":{entry}' for i in range(count)) + "}").encode())
