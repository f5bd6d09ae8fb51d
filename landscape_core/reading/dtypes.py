"""PyTorch's element types in numpy, and the exact widening of those that numpy or the networks do not have."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float32, Shaped, UInt8, UInt16

RAW: dict[str, str] = {
    "Float": "f4",
    "Double": "f8",
    "Half": "f2",
    "BFloat16": "u2",
    "Float8_e4m3fn": "u1",
    "Float8_e5m2": "u1",
    "Long": "i8",
    "Int": "i4",
    "Short": "i2",
    "Char": "i1",
    "Byte": "u1",
    "Bool": "u1",
    "UInt16": "u2",
    "UInt32": "u4",
    "UInt64": "u8",
    "Untyped": "u1",
}
"""Element type as named by PyTorch's storages -> how its bits are read by numpy."""

NAMES: dict[str, str] = {
    "Float": "float32",
    "Double": "float64",
    "Half": "float16",
    "BFloat16": "bfloat16",
    "Float8_e4m3fn": "float8_e4m3fn",
    "Float8_e5m2": "float8_e5m2",
    "Long": "int64",
    "Int": "int32",
    "Short": "int16",
    "Char": "int8",
    "Byte": "uint8",
    "Bool": "bool",
    "UInt16": "uint16",
    "UInt32": "uint32",
    "UInt64": "uint64",
}
"""Element type -> `torch.dtype`'s name, which is what people know."""

KINDS: dict[str, str] = {name: kind for kind, name in NAMES.items()} | {
    "half": "Half",
    "float": "Float",
    "double": "Double",
    "long": "Long",
    "int": "Int",
    "short": "Short",
}
"""`torch.dtype`'s name -> element type."""

SAFETENSORS: dict[str, str] = {
    "F32": "Float",
    "F64": "Double",
    "F16": "Half",
    "BF16": "BFloat16",
    "F8_E4M3": "Float8_e4m3fn",
    "F8_E5M2": "Float8_e5m2",
    "I64": "Long",
    "I32": "Int",
    "I16": "Short",
    "I8": "Char",
    "U8": "Byte",
    "BOOL": "Bool",
    "U16": "UInt16",
    "U32": "UInt32",
    "U64": "UInt64",
}
"""safetensors' name of an element type -> ours."""


def item_bytes(kind: str) -> int:
    """Bytes of one element of a known kind."""
    return np.dtype(RAW[kind]).itemsize


def widened_bytes(kind: str) -> int:
    """Bytes of one element after `widen`."""
    return 4 if kind in _WIDEN else item_bytes(kind)


def widen(kind: str, bits: Shaped[np.ndarray, "*shape"]) -> Shaped[np.ndarray, "*shape"]:
    """The values of these bits: floats shorter than float32 as float32, exactly; all else as it is.

    Args:
        kind: One of `RAW`.
        bits: (*shape,) of the numpy type that `RAW` names, in this machine's byte order.
    """
    if kind == "Bool":
        return bits != 0
    change = _WIDEN.get(kind)
    return bits if change is None else change(bits)


def _from_half(bits: Shaped[np.ndarray, "*shape"]) -> Float32[np.ndarray, "*shape"]:
    return bits.astype(np.float32)


def _from_bfloat16(bits: UInt16[np.ndarray, "*shape"]) -> Float32[np.ndarray, "*shape"]:
    """A bfloat16 is the upper half of a float32."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


def _from_float8_e5m2(bits: UInt8[np.ndarray, "*shape"]) -> Float32[np.ndarray, "*shape"]:
    """An e5m2 is the upper half of a float16 (Micikevicius et al. 2022, table 1)."""
    return (bits.astype(np.uint16) << 8).view(np.float16).astype(np.float32)


def _from_float8_e4m3fn(bits: UInt8[np.ndarray, "*shape"]) -> Float32[np.ndarray, "*shape"]:
    """Sign, 4 bits of exponent (bias 7), 3 of mantissa; all ones are NaN, no infinities (Micikevicius et al. 2022, table 1)."""
    exponent, mantissa = (bits >> 3) & 15, (bits & 7).astype(np.float32)
    scale = np.exp2(np.maximum(exponent, 1).astype(np.float32) - 10)
    magnitude = np.where(exponent > 0, mantissa + 8, mantissa) * scale
    magnitude = np.where((bits & 127) == 127, np.float32(np.nan), magnitude)
    return np.where(bits >> 7, -magnitude, magnitude).astype(np.float32)


_WIDEN: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "Half": _from_half,
    "BFloat16": _from_bfloat16,
    "Float8_e5m2": _from_float8_e5m2,
    "Float8_e4m3fn": _from_float8_e4m3fn,
}
