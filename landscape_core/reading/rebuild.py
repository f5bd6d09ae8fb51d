"""What PyTorch's own functions, named in a pickle, would have made: recognised by name, turned into records.

The names are those of torch/_utils.py, torch/_tensor.py and torch/nn/parameter.py in the releases from 0.1 to 2.13. A tensor of
a kind that is not read becomes a record that says so: it matters only if it is among the tensors that are wanted.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from landscape_core.reading.dtypes import KINDS
from landscape_core.reading.pickles import dict_key
from landscape_core.reading.records import Global, Instance, Storage, Tensor, UnsupportedTensor
from landscape_core.reading.refusals import damaged

Arguments = tuple[object, ...]

MAX_DIMENSIONS = 32
"""Most dimensions of a tensor; PyTorch's own kernels allow 64, networks use five."""

_LONGEST_SCALAR = 8
_SCALAR_TYPES = {"f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1"}


def construct(name: str, arguments: Arguments) -> object:
    """The record of `name(*arguments)`: a tensor or container where PyTorch means one, else an inert instance.

    Args:
        name: `module.name` as the file has it.
        arguments: Of the call; records, text and numbers.

    Raises:
        CheckpointRejected: If it is a tensor that makes no sense.
    """
    known = _KNOWN.get(name)
    return Instance(name, arguments) if known is None else known(name, arguments)


def storage_kind(storage_type: object) -> str:
    """The element type that the name of a storage class stands for: `torch.FloatStorage` is `Float`.

    Args:
        storage_type: What a persistent id names.

    Raises:
        CheckpointRejected: If it is no storage class.
    """
    if not isinstance(storage_type, Global) or not storage_type.short.endswith("Storage"):
        raise damaged("a tensor's numbers are of no known class")
    return storage_type.short.removesuffix("Storage")


def naturals(values: object, what: str) -> tuple[int, ...]:
    """A tensor's size or stride: integers from 0 up.

    Args:
        values: As the file has it.
        what: For the message.

    Raises:
        CheckpointRejected: If it is something else.
    """
    if not isinstance(values, tuple | list) or len(values) > MAX_DIMENSIONS:
        raise damaged(f"a tensor's {what} is no list of at most {MAX_DIMENSIONS} numbers")
    return tuple(natural(value, what) for value in values)


def natural(value: object, what: str) -> int:
    """An integer from 0 up to what PyTorch can count.

    Args:
        value: As the file has it.
        what: For the message.

    Raises:
        CheckpointRejected: If it is something else.
    """
    if type(value) is not int or not 0 <= value < 1 << 63:
        raise damaged(f"a tensor's {what} is no number from 0 up")
    return value


def _tensor(name: str, arguments: Arguments) -> object:
    """`_rebuild_tensor[_v2|_v3](storage, offset, size, stride, requires_grad, hooks[, dtype], metadata)`."""
    if len(arguments) < 4 or not isinstance(arguments[0], Storage):
        raise damaged("a tensor has no numbers")
    storage, kind, metadata = arguments[0], arguments[0].kind, arguments[6:7]
    if name.endswith("_v3"):
        kind, metadata = _kind_of_dtype(arguments[6:7]), arguments[7:8]
    if metadata and isinstance(metadata[0], dict) and any(value is True for value in metadata[0].values()):
        return UnsupportedTensor("lazily negated or conjugated", "save its .resolve_neg().resolve_conj()")
    size, stride = naturals(arguments[2], "size"), naturals(arguments[3], "stride")
    return Tensor(storage, natural(arguments[1], "offset"), size, stride, kind)


def _kind_of_dtype(dtype: Arguments) -> str:
    """The element type of a named dtype; the bare name where it is none that we read."""
    if not dtype or not isinstance(dtype[0], Global):
        raise damaged("a tensor's dtype is no dtype")
    return KINDS.get(dtype[0].short, dtype[0].short)


def _parameter(name: str, arguments: Arguments) -> object:
    """`_rebuild_parameter(data, …)`, `Parameter(data, …)`: the tensor itself."""
    data = arguments[0] if arguments else None
    return data if isinstance(data, Tensor | UnsupportedTensor) else Instance(name, arguments)


def _subclass(name: str, arguments: Arguments) -> object:
    """`_rebuild_from_type_v2(function, class, arguments, state)`: a tensor with attributes, or of a subclass."""
    if len(arguments) < 3 or not isinstance(arguments[0], Global) or not isinstance(arguments[2], tuple):
        raise damaged("a tensor of a subclass makes no sense")
    function = arguments[0].name
    if function == name:
        raise damaged("a tensor of a subclass is made of itself")
    return construct(function, arguments[2])


def _unsupported(kind: str, remedy: str) -> Callable[[str, Arguments], object]:
    return lambda _name, _arguments: UnsupportedTensor(kind, remedy)


def _dict(name: str, arguments: Arguments) -> object:
    """`OrderedDict()`, `OrderedDict([[key, value], …])`, `defaultdict(factory)`: a dict; what is set later goes into it."""
    if not arguments or name.endswith("defaultdict"):
        return {}
    if isinstance(arguments[0], dict):
        return dict(arguments[0])
    if not isinstance(arguments[0], list | tuple):
        raise damaged("an ordered dict makes no sense")
    pairs = [pair for pair in arguments[0] if isinstance(pair, list | tuple) and len(pair) == 2]
    if len(pairs) != len(arguments[0]):
        raise damaged("an ordered dict makes no sense")
    return {dict_key(key): value for key, value in pairs}


def _list(_name: str, arguments: Arguments) -> object:
    """`set([…])`, `frozenset([…])`: what is in them."""
    first = arguments[0] if arguments else []
    return list(first) if isinstance(first, list | tuple) else []


def _size(_name: str, arguments: Arguments) -> object:
    """`torch.Size((…))`: the tuple."""
    first = arguments[0] if arguments else ()
    return tuple(first) if isinstance(first, list | tuple) else ()


def _reconstructor(name: str, arguments: Arguments) -> object:
    """`copyreg._reconstructor(class, base, state)`, with which protocols 0 and 1 make any object: an instance of that class."""
    made = arguments[0] if arguments else None
    return Instance(made.name if isinstance(made, Global) else name)


def _bytes(name: str, arguments: Arguments) -> object:
    """`_codecs.encode(text, "latin1")`: how protocol 2 writes bytes."""
    if len(arguments) == 2 and isinstance(arguments[0], str) and arguments[1] == "latin1":
        return arguments[0].encode("latin1")
    return Instance(name, arguments)


def _numpy_scalar(name: str, arguments: Arguments) -> object:
    """`numpy.core.multiarray.scalar(dtype, bytes)`: the number, so that a recorded accuracy can be shown."""
    if len(arguments) == 2 and isinstance(arguments[0], Instance) and arguments[0].name == "numpy.dtype":
        code, data = (*arguments[0].arguments, None)[0], arguments[1]
        data = data.encode("latin1") if isinstance(data, str) and len(data) <= _LONGEST_SCALAR else data
        if isinstance(code, str) and code in _SCALAR_TYPES and isinstance(data, bytes):
            dtype = np.dtype(code)
            if len(data) == dtype.itemsize:
                return np.frombuffer(data, dtype)[0].item()
    return Instance(name, arguments)


_KNOWN: dict[str, Callable[[str, Arguments], object]] = {
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _tensor,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter,
    "torch._utils._rebuild_device_tensor_from_cpu_tensor": _parameter,
    "torch.nn.parameter.Parameter": _parameter,
    "torch.nn.parameter.Buffer": _parameter,
    "torch.autograd.variable.Variable": _parameter,
    "torch._tensor._rebuild_from_type_v2": _subclass,
    "torch._utils._rebuild_sparse_tensor": _unsupported("sparse", "save its .to_dense()"),
    "torch._utils._rebuild_sparse_csr_tensor": _unsupported("sparse", "save its .to_dense()"),
    "torch._utils._rebuild_qtensor": _unsupported("quantized", "save its .dequantize()"),
    "torch._utils._rebuild_nested_tensor": _unsupported("nested", "save its .to_padded_tensor(0.0)"),
    "torch._utils._rebuild_meta_tensor_no_storage": _unsupported("without data (device meta)", "save it from a real device"),
    "torch._utils._rebuild_wrapper_subclass": _unsupported("a wrapper around others", "save a plain copy of it"),
    "torch._utils._rebuild_device_tensor_from_numpy": _unsupported("an XLA tensor of an old kind", "save its .cpu()"),
    "collections.OrderedDict": _dict,
    "collections.defaultdict": _dict,
    "builtins.dict": _dict,
    "__builtin__.dict": _dict,
    "builtins.set": _list,
    "__builtin__.set": _list,
    "builtins.frozenset": _list,
    "__builtin__.frozenset": _list,
    "torch.Size": _size,
    "copyreg._reconstructor": _reconstructor,
    "copy_reg._reconstructor": _reconstructor,
    "_codecs.encode": _bytes,
    "numpy.core.multiarray.scalar": _numpy_scalar,
    "numpy._core.multiarray.scalar": _numpy_scalar,
}
