"""What a file may ask of us before it is refused. One place, so that a test can lower every bound."""

from __future__ import annotations

from dataclasses import dataclass

MIB = 1 << 20


@dataclass(frozen=True)
class Limits:
    """Bounds on an uploaded file. The defaults leave a hostile file of a few bytes at most some 200 MB of memory.

    Attributes:
        pickle_bytes: Longest pickle. The largest of PyTorch's own that we met has 3 MB.
        operations: Most pickle operations; a tensor takes about thirty.
        objects: Most lists, dicts and other things with members that a pickle may make.
        copies: Most bytes that a pickle's calls and names may make, beyond twice the pickle's own length.
        held: Most bytes that everything a pickle makes may take, beyond the pickle's own length.
        memo: Most objects that a pickle may remember.
        text: Longest line of a text operation of a pickle: names of classes, decimal numbers.
        integer_bytes: Longest integer in a pickle. PyTorch's own magic number has 10 bytes.
        depth: Deepest nesting of dicts, lists and modules.
        numel: Most numbers in one tensor, and longest dimension even of an empty one.
        tensors: Most tensors in a file.
        name: Longest name of a tensor, in characters after escaping.
        entries: Most entries of a zip archive.
        directory_bytes: Longest table of contents of a zip archive.
        header_bytes: Longest header of a safetensors file.
        growth: How many times larger than the file its numbers may be, unpacked and widened to float32 …
        allowance: … beyond this many bytes, which any file may have …
        most: … and never more than this.

    Example:
        >>> Limits(tensors=10).tensors, Limits().total(1000)  # bytes that the numbers of a file of 1,000 bytes may take
        (10, 16781216)
    """

    pickle_bytes: int = 64 * MIB
    operations: int = 3_000_000
    objects: int = 500_000
    copies: int = 8 * MIB
    held: int = 96 * MIB
    memo: int = 1_000_000
    text: int = 1_000
    integer_bytes: int = 64
    depth: int = 100
    numel: int = 1 << 31
    tensors: int = 50_000
    name: int = 255
    entries: int = 60_000
    directory_bytes: int = 8 * MIB
    header_bytes: int = 10 * MIB
    growth: int = 4
    allowance: int = 16 * MIB
    most: int = 16 << 30

    def total(self, file_bytes: int) -> int:
        """How many bytes of numbers a file of this size may hold."""
        return min(self.allowance + self.growth * file_bytes, self.most)
