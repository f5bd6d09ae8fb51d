# More than 300 lines: one short method for each operation of a pickle.
"""An inert reader of pickles: it follows the operations and builds plain records; no class is looked up, no code is called.

Python's own unpickler imports what a file names and calls it; that is how a checkpoint runs code. Here a class stays its name
(`records.Global`), a call becomes a record of the call (`construct` decides which), and `__setstate__` becomes a field. Only
the operations that PyTorch (since 0.1, Python 2 included) writes are known. Every length is held against what is left of the
file before anything is allocated: 12 bytes can ask Python's unpickler for 3 GB.

The operations are those of CPython's Lib/pickletools.py, whose names the methods carry.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from io import BufferedIOBase
from sys import getsizeof
from typing import ClassVar

from landscape_core.errors import CheckpointRejected
from landscape_core.reading.bounded_bytes import BoundedBytes
from landscape_core.reading.copies import held_bytes
from landscape_core.reading.limits import Limits
from landscape_core.reading.records import Global, Instance, OpaqueKey, Tensor, UnsupportedTensor
from landscape_core.reading.refusals import damaged

_LARGEST_KEY = 1 << 53
"""Integers from here on are not dict keys: Python hashes them modulo 2^61 - 1, so any number of them can be made to collide."""

_SLOT = 8
"""Bytes of a reference in a list or a tuple."""
_MEMO = 64
"""Bytes of the memo for each object in it, with room to grow."""

Construct = Callable[[str, tuple[object, ...]], object]
"""Says what a call of a named class or function becomes: (name, arguments) -> record."""


def no_persistent_id(_identifier: object) -> object:
    """Refuses references to what lies outside a pickle, where there should be none.

    Raises:
        CheckpointRejected: Always.
    """
    raise damaged("it refers to data where none belong")


class InertUnpickler:
    """Reads one pickle from where the file stands, and leaves the file right behind it.

    Args:
        file: Open for reading, seekable.
        size: Bytes of the whole file, so that no length can be believed beyond its end.
        limits: Bounds on what is built.
        construct: What a call becomes.
        persistent_load: What a reference to data outside the pickle becomes.
    """

    def __init__(
        self,
        file: BufferedIOBase,
        size: int,
        limits: Limits,
        construct: Construct,
        persistent_load: Callable[[object], object] = no_persistent_id,
    ) -> None:
        self._bytes = BoundedBytes(file, size, limits)
        self._limits = limits
        self._construct = construct
        self._persistent_load = persistent_load
        self._stack: list[object] = []
        self._marks: list[list[object]] = []
        self._memo: dict[int, object] = {}
        self._objects = 0
        self._made = 0
        self._held = 0

    def load(self) -> object:
        """The object that the pickle holds.

        Raises:
            CheckpointRejected: If it is damaged, over the limits, or uses operations that PyTorch never writes.
        """
        try:
            return self._run()
        except (IndexError, KeyError, ValueError, struct.error) as error:
            raise damaged(f"its pickle makes no sense ({type(error).__name__})") from None

    def _run(self) -> object:
        operations, read, stop = self._OPERATIONS, self._bytes.read, b"."[0]
        for _ in range(self._limits.operations):
            code = read(1)[0]
            if code == stop:
                return self._stack.pop()
            operation = operations.get(code)
            if operation is None:
                raise damaged(f"its pickle has an operation ({code:#04x}) that PyTorch never writes")
            operation(self)
        raise CheckpointRejected(
            f"The file's structure is too large: it takes over {self._limits.operations:,} pickle operations; "
            "save only the state_dict."
        )

    # ---- stack ---------------------------------------------------------------------------------------------------------

    def _push(self, value: object) -> None:
        """Pushes what was made for it."""
        self._charge(getsizeof(value) + _SLOT)
        self._stack.append(value)

    def _push_known(self, value: object) -> None:
        """Pushes what is there already."""
        self._charge(_SLOT)
        self._stack.append(value)

    def _charge(self, count: int) -> None:
        """Counts memory that was taken; what a pickle lets go of again is not counted off."""
        self._held += count
        if self._held > self._limits.held + self._bytes.taken:
            raise CheckpointRejected("The file's structure is too large: it takes too much memory; save only the state_dict.")

    def _push_object(self, value: object) -> None:
        self._objects += 1
        if self._objects > self._limits.objects:
            raise CheckpointRejected(
                f"The file's structure is too large: it has over {self._limits.objects:,} lists, dicts and objects; "
                "save only the state_dict."
            )
        self._push(value)

    def _push_made(self, value: object) -> None:
        """Pushes what may be a copy of something large that the pickle names by two bytes."""
        self._made += held_bytes(value)
        if self._made > 2 * self._bytes.taken + self._limits.copies:
            raise damaged("its pickle makes far more than it holds, by copying the same objects again and again")
        self._push_object(value)

    def _pop_to_mark(self) -> list[object]:
        values = self._stack
        self._stack = self._marks.pop()
        return values

    def _mark(self) -> None:
        self._objects += 1
        if self._objects > self._limits.objects:
            raise damaged("its pickle has too many marks")
        self._charge(getsizeof(self._stack[:0]) + _SLOT)
        self._marks.append(self._stack)
        self._stack = []

    def _remember(self, index: int) -> None:
        if len(self._memo) >= self._limits.memo:
            raise damaged("its pickle remembers too many objects")
        if not 0 <= index < self._limits.memo:
            raise damaged(f"its pickle remembers an object under a number that is not below {self._limits.memo:,}")
        self._charge(_MEMO)
        self._memo[index] = self._stack[-1]

    def _store(self, target: object, key: object, value: object) -> None:
        if isinstance(target, Instance):
            items = target.items = {} if target.items is None else target.items
        elif isinstance(target, dict):
            items = target
        else:
            raise damaged(f"its pickle sets an item of a {type(target).__name__}")
        before, safe_key = getsizeof(items), dict_key(key)
        items[safe_key] = value
        self._charge(getsizeof(items) - before + (0 if safe_key is key else getsizeof(safe_key)))

    def _extend(self, target: object, values: list[object]) -> None:
        if isinstance(target, Instance):
            elements = target.elements = [] if target.elements is None else target.elements
        elif isinstance(target, list):
            elements = target
        else:
            raise damaged(f"its pickle appends to a {type(target).__name__}")
        before = getsizeof(elements)
        elements.extend(values)
        self._charge(getsizeof(elements) - before)

    # ---- operations that mean something ---------------------------------------------------------------------------------

    def _setitem(self) -> None:
        value, key = self._stack.pop(), self._stack.pop()
        self._store(self._stack[-1], key, value)

    def _setitems(self) -> None:
        values = self._pop_to_mark()
        for key, value in zip(values[::2], values[1::2], strict=True):
            self._store(self._stack[-1], key, value)

    def _dict(self) -> None:
        values = self._pop_to_mark()
        self._push_object({})
        for key, value in zip(values[::2], values[1::2], strict=True):
            self._store(self._stack[-1], key, value)

    def _append(self) -> None:
        value = self._stack.pop()
        self._extend(self._stack[-1], [value])

    def _appends(self) -> None:
        values = self._pop_to_mark()
        self._extend(self._stack[-1], values)

    def _tuple(self, count: int) -> None:
        values = tuple(self._stack.pop() for _ in range(count))
        self._push_object(values[::-1])

    def _global(self) -> None:
        module, name = self._bytes.line().decode("utf-8"), self._bytes.line().decode("utf-8")
        self._push_made(Global(f"{module}.{name}"))

    def _stack_global(self) -> None:
        name, module = self._stack.pop(), self._stack.pop()
        if not isinstance(name, str) or not isinstance(module, str) or len(name) + len(module) > self._limits.text:
            raise damaged("its pickle names a class by something that is no name")
        self._push_made(Global(f"{module}.{name}"))

    def _call(self) -> None:
        """REDUCE, NEWOBJ: the record of a call takes the place of function and arguments."""
        arguments, function = self._stack.pop(), self._stack.pop()
        if not isinstance(arguments, tuple):
            raise damaged("its pickle calls a function without a list of arguments")
        name = function.name if isinstance(function, Global) else "?"
        self._push_made(self._construct(name, arguments))

    def _newobj_ex(self) -> None:
        self._stack.pop()
        self._call()

    def _build(self) -> None:
        """BUILD: an instance keeps its state; what a dict or a tensor carries besides its contents is left out."""
        state, target = self._stack.pop(), self._stack[-1]
        if isinstance(target, Instance):
            target.state = state
        elif not isinstance(target, dict | list | Tensor | UnsupportedTensor):
            raise damaged(f"its pickle gives a state to a {type(target).__name__}")

    def _persistent(self) -> None:
        self._push_object(self._persistent_load(self._stack.pop()))

    def _pop(self) -> None:
        if self._stack:
            self._stack.pop()
        else:
            self._pop_to_mark()

    def _bool_or_decimal(self) -> None:
        """INT, LONG: decimal text; `I01` and `I00` are the booleans of protocol 1."""
        text = self._bytes.line()
        self._push(text == b"01" if text in {b"00", b"01"} else int(text.rstrip(b"L")))

    # The table's left side is the code as in Lib/pickletools.py. Left out, since PyTorch never writes them: PERSID, INST, OBJ,
    # EXT1, EXT2, EXT4, STRING, UNICODE, BYTEARRAY8, NEXT_BUFFER and READONLY_BUFFER.
    _OPERATIONS: ClassVar[dict[int, Callable[[InertUnpickler], object]]] = {
        b"\x80"[0]: lambda self: self._bytes.read(1),  # PROTO
        b"\x95"[0]: lambda self: self._bytes.read(8),  # FRAME
        b"("[0]: _mark,
        b"0"[0]: _pop,
        b"1"[0]: _pop_to_mark,
        b"2"[0]: lambda self: self._push_known(self._stack[-1]),  # DUP
        # constants
        b"N"[0]: lambda self: self._push_known(None),
        b"\x88"[0]: lambda self: self._push_known(True),
        b"\x89"[0]: lambda self: self._push_known(False),
        b"I"[0]: _bool_or_decimal,
        b"L"[0]: _bool_or_decimal,
        b"K"[0]: lambda self: self._push_known(self._bytes.number("<B")),
        b"M"[0]: lambda self: self._push(self._bytes.number("<H")),
        b"J"[0]: lambda self: self._push(self._bytes.number("<i")),
        b"\x8a"[0]: lambda self: self._push(self._bytes.integer(self._bytes.number("<B"))),
        b"\x8b"[0]: lambda self: self._push(self._bytes.integer(self._bytes.number("<i"))),
        b"F"[0]: lambda self: self._push(float(self._bytes.line())),
        b"G"[0]: lambda self: self._push(struct.unpack(">d", self._bytes.read(8))[0]),
        # text and bytes
        b"U"[0]: lambda self: self._push(_latin1(self._bytes.read(self._bytes.number("<B")))),
        b"T"[0]: lambda self: self._push(_latin1(self._bytes.read(self._bytes.number("<i")))),
        b"X"[0]: lambda self: self._push(_utf8(self._bytes.read(self._bytes.number("<I")))),
        b"\x8c"[0]: lambda self: self._push(_utf8(self._bytes.read(self._bytes.number("<B")))),
        b"\x8d"[0]: lambda self: self._push(_utf8(self._bytes.read(self._bytes.number("<Q")))),
        b"C"[0]: lambda self: self._push(self._bytes.read(self._bytes.number("<B"))),
        b"B"[0]: lambda self: self._push(self._bytes.read(self._bytes.number("<I"))),
        b"\x8e"[0]: lambda self: self._push(self._bytes.read(self._bytes.number("<Q"))),
        # containers; sets are lists here, because nothing needs their hashing
        b")"[0]: lambda self: self._push_known(()),
        b"\x85"[0]: lambda self: self._tuple(1),
        b"\x86"[0]: lambda self: self._tuple(2),
        b"\x87"[0]: lambda self: self._tuple(3),
        b"t"[0]: lambda self: self._push_object(tuple(self._pop_to_mark())),
        b"]"[0]: lambda self: self._push_object([]),
        b"l"[0]: lambda self: self._push_object(self._pop_to_mark()),
        b"\x8f"[0]: lambda self: self._push_object([]),
        b"\x91"[0]: lambda self: self._push_object(self._pop_to_mark()),
        b"}"[0]: lambda self: self._push_object({}),
        b"d"[0]: _dict,
        b"a"[0]: _append,
        b"e"[0]: _appends,
        b"\x90"[0]: _appends,
        b"s"[0]: _setitem,
        b"u"[0]: _setitems,
        # the memo
        b"p"[0]: lambda self: self._remember(int(self._bytes.line())),
        b"q"[0]: lambda self: self._remember(self._bytes.number("<B")),
        b"r"[0]: lambda self: self._remember(self._bytes.number("<I")),
        b"\x94"[0]: lambda self: self._remember(len(self._memo)),
        b"g"[0]: lambda self: self._push_known(self._memo[int(self._bytes.line())]),
        b"h"[0]: lambda self: self._push_known(self._memo[self._bytes.number("<B")]),
        b"j"[0]: lambda self: self._push_known(self._memo[self._bytes.number("<I")]),
        # classes and calls
        b"c"[0]: _global,
        b"\x93"[0]: _stack_global,
        b"R"[0]: _call,
        b"\x81"[0]: _call,
        b"\x92"[0]: _newobj_ex,
        b"b"[0]: _build,
        b"Q"[0]: _persistent,
    }


def dict_key(key: object) -> object:
    """The key itself where its hash cannot be made to collide with others at will; else one that equals only itself.

    Args:
        key: As the file has it.
    """
    if key is None or isinstance(key, str | bytes | bool | float | Global):
        return key
    return key if isinstance(key, int) and abs(key) < _LARGEST_KEY else OpaqueKey(key)


def _latin1(data: bytes) -> str:
    """Text of Python 2, which did not say in what encoding; `torch.load` reads it so too."""
    return data.decode("latin1")


def _utf8(data: bytes) -> str:
    return data.decode("utf-8", "surrogatepass")
