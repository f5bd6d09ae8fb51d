"""Any checkpoint file -> its network's tensors. One function, one exception type."""

from __future__ import annotations

import math
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from io import BufferedIOBase
from pathlib import Path

import numpy as np

from landscape_core.errors import CheckpointRejected
from landscape_core.reading.containers import Opened
from landscape_core.reading.dtypes import NAMES
from landscape_core.reading.legacy_container import open_legacy
from landscape_core.reading.limits import Limits
from landscape_core.reading.records import Storage, Tensor
from landscape_core.reading.refusals import damaged
from landscape_core.reading.run_archive import refuse_run
from landscape_core.reading.safetensors_file import Placed, read_header
from landscape_core.reading.sniff import sniff
from landscape_core.reading.structure import Chooser, Chosen, Scalar
from landscape_core.reading.tar_container import open_tar
from landscape_core.reading.tensors import Materializer, checked
from landscape_core.reading.zip_archive import BadArchive, EncryptedArchive
from landscape_core.reading.zip_container import open_zip


@dataclass(frozen=True)
class CheckpointContents:
    """What a checkpoint file holds.

    Attributes:
        format: `torch zip`, `torch legacy`, `torch tar`, `torch export` or `safetensors`.
        container: Where in the file the network was, as in `model.state_dict`; "" for the root.
        prefix: What was taken off every tensor's name, as in `module.`.
        tensors: Name -> numbers, in the file's order; bfloat16, float16 and float8 widened to float32, exactly.
        dtypes: Name -> the element type in the file, by `torch.dtype`'s name.
        other: How many tensors are outside the container.
        metadata: Small scalars beside the network: accuracy, epoch, …
        warnings: What a person should know before trusting it, one sentence each.

    Example:
        >>> weights = {"w": np.ones((3, 2), np.float32), "bn.running_mean": np.ones(3, np.float32)}
        >>> CheckpointContents("safetensors", "", "", weights, {"w": "float32", "bn.running_mean": "float32"}).parameters
        6
    """

    format: str
    container: str
    prefix: str
    tensors: dict[str, np.ndarray]
    dtypes: dict[str, str]
    other: int = 0
    metadata: dict[str, Scalar] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Name -> shape, in the file's order."""
        return {name: tensor.shape for name, tensor in self.tensors.items()}

    @property
    def parameters(self) -> int:
        """How many numbers are weights or biases: floats that are not batch norm's running statistics."""
        statistics = ("running_mean", "running_var")
        return sum(t.size for name, t in self.tensors.items() if t.dtype.kind == "f" and not name.endswith(statistics))


def read_checkpoint(path: Path, limits: Limits = Limits()) -> CheckpointContents:  # noqa: B008  frozen
    """The network's tensors in a checkpoint file, whatever wrote it. Nothing in the file is run, and no class is looked up.

    It takes what memory the file asks for, within the limits: read files from strangers in a child (`inspect_in_child`).

    Args:
        path: The file.
        limits: Bounds.

    Returns:
        The tensors by name, widened to float32 where they are of half precision, and what else is known.

    Raises:
        SeveralFiles: If it is an archive of checkpoints.
        CheckpointRejected: If it is no checkpoint, is damaged, over the limits, or holds tensors of a kind that is not read.

    Example:
        >>> from safetensors.numpy import save_file
        >>> save_file({"fc1.weight": np.ones((3, 2), np.float32)}, "net.safetensors")
        >>> contents = read_checkpoint(Path("net.safetensors"))
        >>> contents.format, contents.shapes, contents.parameters
        ('safetensors', {'fc1.weight': (3, 2)}, 6)
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            refuse_run(file, size, limits)
            return _READERS[sniff(file, size)](file, size, limits)
    except EncryptedArchive as error:
        raise CheckpointRejected(str(error)) from None
    except BadArchive as error:
        raise damaged(str(error)) from None
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, struct.error, EOFError, NotImplementedError) as error:
        raise damaged(f"its archive makes no sense ({str(error)[:80] or type(error).__name__})") from None
    except (ValueError, OverflowError) as error:
        raise damaged(f"its contents make no sense ({type(error).__name__})") from None
    except (MemoryError, RecursionError):
        raise CheckpointRejected("The file asks for more memory than any checkpoint of its size needs.") from None
    except OSError as error:
        raise CheckpointRejected(f"The file cannot be read ({error.strerror or error}).") from None


def _read_pickled(open_container: Callable[[BufferedIOBase, int, Limits], Opened]) -> Callable[..., CheckpointContents]:
    def read(file: BufferedIOBase, size: int, limits: Limits) -> CheckpointContents:
        opened = open_container(file, size, limits)
        chosen = Chooser(limits).choose(opened.root)
        tensors = checked(chosen.tensors, size, limits)
        materializer = Materializer(opened, tensors)
        arrays = {name: materializer.array(tensor) for name, tensor in tensors.items()}
        metadata = chosen.metadata | _scalars(opened, chosen, size, limits)
        dtypes = {name: NAMES[tensor.kind] for name, tensor in tensors.items()}
        return CheckpointContents(
            opened.format, chosen.container, chosen.prefix, arrays, dtypes, chosen.other, metadata, not_finite(arrays)
        )

    return read


def _read_safetensors(file: BufferedIOBase, size: int, limits: Limits) -> CheckpointContents:
    header = read_header(file, size, limits)
    records = {name: _record(name, placed) for name, placed in header.tensors.items()}
    chosen = Chooser(limits).choose({**header.metadata, **records})

    def read(key: str) -> bytes:
        placed = header.tensors[key]
        file.seek(placed.start)
        return file.read(placed.length)

    runs = {tensor.storage.key: tensor.storage for tensor in records.values()}
    tensors = checked(chosen.tensors, size, limits)
    materializer = Materializer(Opened("safetensors", records, read, runs), tensors)
    arrays = {name: materializer.array(tensor) for name, tensor in tensors.items()}
    dtypes = {name: NAMES[tensor.kind] for name, tensor in tensors.items()}
    return CheckpointContents(
        "safetensors", "", chosen.prefix, arrays, dtypes, metadata=chosen.metadata, warnings=not_finite(arrays)
    )


def _record(name: str, placed: Placed) -> Tensor:
    """A tensor of a safetensors file as a row-major look at a storage of its own."""
    numel = math.prod(placed.shape)
    strides = [math.prod(placed.shape[axis + 1 :]) for axis in range(len(placed.shape))]
    return Tensor(Storage(name, placed.kind, numel), 0, placed.shape, tuple(strides), placed.kind)


def _scalars(opened: Opened, chosen: Chosen, size: int, limits: Limits) -> dict[str, Scalar]:
    """The values of tensors of one number that lie beside the network; those that cannot be read are left out."""
    values: dict[str, Scalar] = {}
    for name, tensor in chosen.scalar_tensors.items():
        try:
            array = Materializer(opened, {name: tensor}).array(checked({name: tensor}, size, limits)[name])
        except CheckpointRejected:
            continue
        if np.isfinite(array).all():
            values[name] = array.reshape(-1)[0].item()
    return values


def not_finite(tensors: dict[str, np.ndarray]) -> tuple[str, ...]:
    """One sentence if any number is NaN or infinite, saying how many and where; empty otherwise.

    Args:
        tensors: By name.
    """
    counts = {name: int(a.size - np.isfinite(a).sum()) for name, a in tensors.items() if a.dtype.kind == "f"}
    bad = {name: count for name, count in counts.items() if count}
    if not bad:
        return ()
    where = ", ".join(f"{name} ({count:,})" for name, count in list(bad.items())[:3]) + (", …" if len(bad) > 3 else "")
    numbers = "1 number is" if sum(bad.values()) == 1 else f"{sum(bad.values()):,} numbers are"
    return (f"{numbers} not finite, so the loss may be undefined everywhere: {where}.",)


_READERS: dict[str, Callable[[BufferedIOBase, int, Limits], CheckpointContents]] = {
    "zip": _read_pickled(open_zip),
    "legacy": _read_pickled(open_legacy),
    "tar": _read_pickled(open_tar),
    "safetensors": _read_safetensors,
}
