"""What a file is, by its content, and a helpful sentence for each kind that is no checkpoint we read."""

from __future__ import annotations

import re
from io import BufferedIOBase
from typing import Literal

from landscape_core.errors import CheckpointRejected

Form = Literal["zip", "legacy", "tar", "safetensors"]

_HEAD_BYTES = 1024
_STATE_DICT = 'torch.save(model.state_dict(), "weights.pt")'

_FOREIGN: list[tuple[bytes, str]] = [
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file (Keras weights, or a direction or surface file of loss-landscape)"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"GGUF", "a GGUF file of llama.cpp"),
    (b"\x89PNG", "a picture"),
    (b"\xff\xd8\xff", "a picture"),
    (b"%PDF", "a PDF document"),
    (b"\x7fELF", "a program"),
    (b"MZ", "a program"),
]

_PACKED = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\x00": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"7z\xbc\xaf\x27\x1c": "7-Zip",
    b"Rar!": "RAR",
}

_OWN_RISK = "on your own machine, and only if you trust whoever made it (loading it runs it),"

_NO_CHECKPOINT = f"save the network with {_STATE_DICT} and upload that file."


def sniff(file: BufferedIOBase, size: int) -> Form:
    """The form of a checkpoint file, by its content alone.

    Args:
        file: Open for reading.
        size: Bytes of the file.

    Raises:
        CheckpointRejected: If it is empty, or is known to be something else.
    """
    if size == 0:
        raise CheckpointRejected("The file is empty: the download or the upload may have failed; try it again.")
    file.seek(0)
    head = file.read(_HEAD_BYTES)
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return "zip"
    if head[257:262] == b"ustar":
        return "tar"
    if head[6:9] == b"\0\0{":
        return "safetensors"
    _refuse_foreign(head, size)
    return "legacy"


def _refuse_foreign(head: bytes, size: int) -> None:
    if head.startswith(b"version https://git-lfs"):
        raise CheckpointRejected(
            "This is a Git LFS pointer, not the file: run `git lfs pull` in its repository and upload the real file."
        )
    for start, packer in _PACKED.items():
        if head.startswith(start):
            raise CheckpointRejected(f"The file is packed with {packer}: unpack it and upload the checkpoint that is in it.")
    for start, what in _FOREIGN:
        if head.startswith(start):
            raise CheckpointRejected(f"The file is not a checkpoint but {what}: {_NO_CHECKPOINT}")
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    if re.match(rb"<(!doctype|html|head|\?xml|body|svg)", text, re.IGNORECASE):
        raise CheckpointRejected(
            "The file is not a checkpoint but a web page: the link led to a page about the file; download the file itself."
        )
    if not head.startswith(b"\x80") and (re.fullmatch(rb"[\t\n\r\x1b\x20-\x7e\x80-\xff]*", head) or size < 8):
        raise CheckpointRejected(f"The file is not a checkpoint but text: {_NO_CHECKPOINT}")
    if not head.startswith(b"\x80"):
        raise CheckpointRejected(f"The file is not a checkpoint of PyTorch or safetensors: {_NO_CHECKPOINT}")


def explain_zip(names: list[str]) -> str | None:
    """Why a zip file with these entries is no checkpoint; None if it may be one.

    Args:
        names: Its entries.
    """
    ends = {name.rpartition("/")[2] for name in names}
    if "constants.pkl" in ends:
        return (
            f"TorchScript is a program, not only weights, so it is not read: {_OWN_RISK} export the state_dict with "
            '`torch.save(torch.jit.load("model.pt", map_location="cpu").state_dict(), "weights.pt")` and upload weights.pt.'
        )
    if any(name.startswith(".data/") or "/.data/extern_modules" in name for name in names):
        return f"A torch.package archive is a program, not only weights, so it is not read: {_NO_CHECKPOINT}"
    if any(name.count("/") == 1 and name.endswith("/data.pkl") for name in names):
        return None
    if any(name.endswith(".npy") for name in names):
        return f"The file is not a checkpoint but a NumPy archive, which may be a data set: {_NO_CHECKPOINT}"
    inside = next((name for name in names if re.search(r"\.(pt|pth|ckpt|t7|th|tar|safetensors)$", name)), None)
    if inside is not None:
        return f"The zip file is not itself a checkpoint: unpack it and upload {printable(inside)[:80]}."
    return f"The zip file holds no data.pkl, so it is no checkpoint of torch.save: {_NO_CHECKPOINT}"


def printable(text: str) -> str:
    """The same text with every character that is not visible (controls, marks that reverse direction) written as an escape.

    Args:
        text: From a file.
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode("ascii") for c in text)
