"""How much memory a record of a pickle holds beyond its fixed size, so that copies of what was remembered can be counted.

Two bytes of a pickle name an object of any size again; a call that copies it costs the file three more.
"""

from __future__ import annotations

from landscape_core.reading.records import Global, Tensor

_SLOT = 8
"""Bytes of a reference in a list or a tuple."""
_ITEM = 64
"""Bytes of a dict for each of its keys, with room to grow."""
_WIDE = 4
"""Bytes of a character of text that is not plain ASCII, at most."""


def held_bytes(value: object) -> int:
    """About how many bytes a record holds itself; what it refers to and what every record takes are left out.

    Args:
        value: A record, text or number.
    """
    if isinstance(value, list | tuple):
        return _SLOT * len(value)
    if isinstance(value, dict):
        return _ITEM * len(value)
    if isinstance(value, str):
        return len(value) if value.isascii() else _WIDE * len(value)
    if isinstance(value, Tensor):
        return _SLOT * (len(value.size) + len(value.stride)) + held_bytes(value.kind)
    if isinstance(value, Global):
        return held_bytes(value.name)
    return len(value) if isinstance(value, bytes) else 0
