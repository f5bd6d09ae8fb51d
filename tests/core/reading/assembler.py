"""Writing pickles and containers byte by byte, as a hostile author would. Protocol 2 unless said otherwise."""

from __future__ import annotations

import io
import struct
import zipfile

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
NONE, FALSE, TRUE, EMPTY_DICT, EMPTY_LIST = b"N", b"\x89", b"\x88", b"}", b"]"


def text(value: str) -> bytes:
    data = value.encode("utf-8", "surrogatepass")
    return b"X" + struct.pack("<I", len(data)) + data


def integer(value: int) -> bytes:
    data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(data)]) + data


def named(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


def group(*items: bytes) -> bytes:
    return b"(" + b"".join(items) + b"t"


def integers(*values: int) -> bytes:
    return group(*map(integer, values))


def call(module: str, name: str, *arguments: bytes) -> bytes:
    return named(module, name) + group(*arguments) + b"R"


def table(**items: bytes) -> bytes:
    return b"}(" + b"".join(text(key) + value for key, value in items.items()) + b"u"


def ordered(**items: bytes) -> bytes:
    return call("collections", "OrderedDict") + table(**items)[1:]


def storage(key: str, numel: int, kind: str = "Float", view: bytes | None = None) -> bytes:
    last = () if view is None else (view,)
    return group(text("storage"), named("torch", f"{kind}Storage"), text(key), text("cpu"), integer(numel), *last) + b"Q"


def tensor(run: bytes, offset: int = 0, size: tuple[int, ...] = (4,), stride: tuple[int, ...] = (1,)) -> bytes:
    arguments = (run, integer(offset), integers(*size), integers(*stride), FALSE, call("collections", "OrderedDict"))
    return call("torch._utils", "_rebuild_tensor_v2", *arguments)


def pickled(body: bytes) -> bytes:
    return b"\x80\x02" + body + b"."


def zipped(body: bytes, records: dict[str, bytes] | None = None, compression: int = zipfile.ZIP_STORED) -> bytes:
    """A zip file of `torch.save` around a pickle's body."""
    entries = {"data.pkl": pickled(body), "byteorder": b"little", "version": b"3\n"}
    return archive({f"archive/{name}": data for name, data in (entries | (records or {})).items()}, compression)


def archive(entries: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as file:
        for name, data in entries.items():
            file.writestr(zipfile.ZipInfo(name), data, compression)
    return buffer.getvalue()


def legacy(body: bytes, keys: list[str], data: bytes) -> bytes:
    """A legacy file around a pickle's body; `data` are the storages, each with its length before it."""
    system = table(protocol_version=integer(PROTOCOL), little_endian=TRUE)
    listed = b"](" + b"".join(map(text, keys)) + b"e"
    return b"".join(map(pickled, (integer(MAGIC), integer(PROTOCOL), system, body, listed))) + data


def run_of(numbers: bytes, item: int = 4) -> bytes:
    """A legacy file's storage: its length in elements and its numbers."""
    return struct.pack("<q", len(numbers) // item) + numbers


def safetensors(header: bytes, data: bytes = b"", length: int | None = None) -> bytes:
    return struct.pack("<Q", len(header) if length is None else length) + header + data


def zip_directory(entries: list[tuple[str, int, int, int]], locals_: bytes, method: int = 8) -> bytes:
    """A zip file whose table of contents says what it is told: (name, packed size, unpacked size, place) of each entry."""
    rows = []
    for name, packed, unpacked, place in entries:
        fields = (0x02014B50, 20, 20, 0, method, 0, 0, 0, packed, unpacked, len(name), 0, 0, 0, 0, 0, place)
        rows.append(struct.pack("<I6H3I5H2I", *fields) + name.encode())
    directory = b"".join(rows)
    many = min(len(entries), 0xFFFF)
    return locals_ + directory + struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, many, many, len(directory), len(locals_), 0)
