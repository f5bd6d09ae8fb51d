"""Choosing a device, and knowing when its memory did not suffice."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch

from landscape_core.errors import InvalidRequest


def choose_device(name: str = "auto") -> str:
    """The name of the device that `name` stands for.

    Args:
        name: `auto` (an accelerator such as a GPU if PyTorch sees one, else the CPU), or a PyTorch device such as `cuda:1`.

    Returns:
        A name that `torch.device` takes.

    Raises:
        InvalidRequest: It is no device of this machine.

    Example:
        >>> choose_device("cpu")
        'cpu'
    """
    if name == "auto":
        accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
        return "cpu" if accelerator is None else accelerator.type
    try:
        torch.empty(1, device=name).cpu()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise InvalidRequest(
            f"There is no device {name!r} on this machine; use auto, cpu, or one that PyTorch sees."
        ) from error
    return name


def cpu_threads() -> int:
    """How many CPU threads PyTorch computes with.

    Example:
        >>> cpu_threads() >= 1
        True
    """
    return torch.get_num_threads()


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that memory did not suffice, on any device."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and ("out of memory" in text or "can't allocate memory" in text)


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """In the block numpy multiplies vectors and matrices in one thread, whatever the machine; PyTorch's threads stay.

    With more of them the last bits depend on their number, and the threads wait for each other longer than they work.
    """
    import threadpoolctl  # noqa: PLC0415  it looks through all libraries of the process, and only curvature needs it

    with threadpoolctl.threadpool_limits(limits=1, user_api="blas"):
        yield


def compute_exactly(threads: int | None) -> None:
    """From now on this process rounds no more than float32 does, and uses so many CPU threads.

    Args:
        threads: None leaves their number as it is.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    round_factors("ieee")


@contextmanager
def exactly() -> Iterator[None]:
    """In the block this process rounds no more than float32 does; afterwards as before, for whoever set it otherwise."""
    kinds, backends = _kinds(), torch.backends
    before = [kind.fp32_precision for kind in kinds]
    try:
        older = backends.cudnn.allow_tf32, torch.get_float32_matmul_precision()
    except RuntimeError:  # some of them were set by the older switches and some by the newer ones
        older = None
    round_factors("ieee")
    try:
        yield
    finally:
        if older is not None:
            backends.cudnn.allow_tf32 = older[0]
            torch.set_float32_matmul_precision(older[1])
        for kind, precision in zip(kinds, before, strict=True):
            kind.fp32_precision = "none"  # as what is above it in the list, if that is as before
            if kind.fp32_precision != precision:
                kind.fp32_precision = precision


def _kinds() -> list[Any]:
    """What can be given a precision: all, those of a library, and single kinds of operations, after that which they follow."""
    backends: Any = torch.backends
    cudnn, mkldnn = backends.cudnn, backends.mkldnn
    return [backends, cudnn, cudnn.conv, cudnn.rnn, backends.cuda.matmul, mkldnn, mkldnn.conv, mkldnn.rnn, mkldnn.matmul]


def round_factors(precision: Literal["ieee", "tf32"]) -> None:
    """From now on the factors of float32 products and convolutions on CUDA devices keep all their bits, or the 10 of TF32.

    PyTorch's default is TF32 for convolutions. An operation that was ever set by itself, as `torch.backends.cudnn.flags` does
    on leaving, no longer follows the setting for all, so each is set; on CPUs too, which never round, although
    `torch.set_float32_matmul_precision` may have told them to. The older switches must agree with the newer ones, or else
    whoever asks for them (torch.export does) gets an error.

    Args:
        precision: `ieee` for all bits.
    """
    backends: Any = torch.backends
    backends.cudnn.allow_tf32 = backends.cuda.matmul.allow_tf32 = precision == "tf32"
    backends.fp32_precision = precision
    for operation in (backends.cudnn.conv, backends.cudnn.rnn, backends.cuda.matmul):
        operation.fp32_precision = precision
    for operation in (backends.mkldnn.conv, backends.mkldnn.rnn, backends.mkldnn.matmul):
        operation.fp32_precision = "ieee"
