"""Reading a pickle without running it: numbers, strings, lists, tuples, tables, and what the caller makes of names."""

from __future__ import annotations

import pickle
import pickletools
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from minisegnet.errors import CheckpointError

ADVICE = "save the weights alone, torch.save(model.state_dict(), path)"
_LONGEST_NAME = 200
_LONGEST_INTEGER = 16  # bytes


@dataclass(frozen=True, eq=False)
class Global:
    """What stands here for a name that a pickle uses.

    call   from the tuple of arguments to what the pickle gets; None: the name is passed on, and not called
    """

    name: str
    call: Callable[[tuple], Any] | None = None


class PickleReader:
    """The stack machine that a pickle is a program for, cut down to what describes arrays.

    Python's own machine calls any function that the program names. This one knows the opcodes of `_STEPS` and no
    others, has no way to reach a function besides those in `known`, sets no attribute of anything, and spends a bounded
    time and memory on each byte of the program.

    program      the pickle
    known        the names that it may use, such as "collections.OrderedDict"
    persistent   gives what stands for a persistent id
    """

    def __init__(self, program: bytes, known: Mapping[str, Global], persistent: Callable[[Any], Any]) -> None:
        self._program, self._known, self._persistent = program, known, persistent
        self._place = 0
        self._stack: list[Any] = []
        self._below: list[list[Any]] = []  # the stacks that each MARK put aside
        self._memo: dict[int, Any] = {}

    def read(self) -> Any:
        """What the pickle describes. Raises CheckpointError for one that is damaged, or describes more than that."""
        try:
            while (opcode := self._take(1)) != pickle.STOP:
                step = self._STEPS.get(opcode)
                if step is None:
                    raise self._refusal(opcode)
                step(self)
            return self._stack.pop()
        except (LookupError, UnicodeDecodeError) as problem:
            raise self._damage(str(problem)) from None

    # ------------------------------------------------------------------------------------------------------ refusing

    def _damage(self, problem: str) -> CheckpointError:
        return CheckpointError(f"has a pickle damaged at byte {self._place}: {problem}; get the file again")

    def _refusal(self, opcode: bytes) -> CheckpointError:
        names = {known.code.encode("latin-1"): known.name for known in pickletools.opcodes}
        name = names.get(opcode, repr(opcode))
        return CheckpointError(
            f"has a pickle that uses {name}, which describes no weights; nothing was executed: {ADVICE}"
        )

    def _global(self, module: str, name: str) -> Global:
        name = f"{module}.{name}"
        if name not in self._known:
            raise CheckpointError(
                f"has a pickle that asks for {name[:_LONGEST_NAME]!r}, which is no part of weights; nothing was "
                f"executed: {ADVICE}"
            )
        return self._known[name]

    # --------------------------------------------------------------------------------------------- reading the program

    def _take(self, count: int) -> bytes:
        end = self._place + count
        if end > len(self._program):
            raise self._damage(f"it ends there, where {count} bytes more are promised")
        taken = self._program[self._place : end]
        self._place = end
        return taken

    def _number(self, form: str) -> Any:
        return struct.unpack(form, self._take(struct.calcsize(form)))[0]

    def _line(self) -> str:
        end = self._program.find(b"\n", self._place, self._place + _LONGEST_NAME)
        if end < 0:
            raise self._damage("a name without an end")
        return self._take(end + 1 - self._place)[:-1].decode()

    # ------------------------------------------------------------------------------------------------------ the steps

    def _push(self, value: Any) -> None:
        self._stack.append(value)

    def _mark(self) -> None:
        self._below.append(self._stack)
        self._stack = []

    def _since_mark(self) -> list[Any]:
        values, self._stack = self._stack, self._below.pop()
        return values

    def _protocol(self) -> None:
        version = self._number("<B")
        if version > 5:
            raise CheckpointError(f"has a pickle of version {version}; versions to 5 are read")

    def _integer(self) -> None:
        length = self._number("<B")
        if length > _LONGEST_INTEGER:
            raise CheckpointError(f"has a pickle with an integer of {length} bytes; no weights need one")
        self._push(int.from_bytes(self._take(length), "little", signed=True))

    def _inst(self) -> None:
        self._global(self._line(), self._line())  # for the better message
        raise self._refusal(pickle.INST)

    def _line_global(self) -> None:
        self._push(self._global(self._line(), self._line()))

    def _stack_global(self) -> None:
        name, module = self._stack.pop(), self._stack.pop()
        if type(module) is not str or type(name) is not str:
            raise self._damage("a name that is no string")
        self._push(self._global(module, name))

    def _tuple(self, count: int) -> None:
        if count > len(self._stack):
            raise self._damage(f"a tuple of {count} out of {len(self._stack)}")
        self._stack[len(self._stack) - count :] = [tuple(self._stack[len(self._stack) - count :])]

    def _extend(self, values: list[Any]) -> None:
        if type(self._stack[-1]) is not list:
            raise self._damage(f"something is appended to a {type(self._stack[-1]).__name__}")
        self._stack[-1].extend(values)

    def _update(self, values: list[Any]) -> None:
        table = self._stack[-1]
        if type(table) is not dict or len(values) % 2:
            raise self._damage(f"{len(values)} keys and values are put into a {type(table).__name__}")
        for key, value in zip(values[::2], values[1::2], strict=True):
            if not (type(key) is str or (type(key) is int and abs(key) < 2**63)):
                raise CheckpointError(f"has a table with a {type(key).__name__} as key; {ADVICE}")
            if key in table:
                raise CheckpointError(f"has a table with the key {str(key)[:_LONGEST_NAME]!r} twice")
            table[key] = value

    def _setitem(self) -> None:
        value, key = self._stack.pop(), self._stack.pop()
        self._update([key, value])

    def _reduce(self) -> None:
        arguments, function = self._stack.pop(), self._stack.pop()
        if not isinstance(function, Global) or function.call is None or type(arguments) is not tuple:
            raise CheckpointError(f"has a pickle that calls what is no function; nothing was executed: {ADVICE}")
        self._push(function.call(arguments))

    def _build(self) -> None:
        """Attributes of an OrderedDict, as of PyTorch's state_dict, are passed over; nothing else may have any."""
        attributes = self._stack.pop()
        if type(self._stack[-1]) is not dict or type(attributes) is not dict:
            raise CheckpointError(f"has a pickle that sets attributes of an object; nothing was executed: {ADVICE}")

    _STEPS: ClassVar[dict[bytes, Callable[[PickleReader], None]]] = {
        pickle.PROTO: _protocol,
        pickle.FRAME: lambda self: self._number("<Q"),
        pickle.NONE: lambda self: self._push(None),
        pickle.NEWTRUE: lambda self: self._push(True),
        pickle.NEWFALSE: lambda self: self._push(False),
        pickle.BININT: lambda self: self._push(self._number("<i")),
        pickle.BININT1: lambda self: self._push(self._number("<B")),
        pickle.BININT2: lambda self: self._push(self._number("<H")),
        pickle.LONG1: _integer,
        pickle.BINFLOAT: lambda self: self._push(self._number(">d")),
        pickle.BINUNICODE: lambda self: self._push(self._take(self._number("<I")).decode()),
        pickle.SHORT_BINUNICODE: lambda self: self._push(self._take(self._number("<B")).decode()),
        pickle.EMPTY_LIST: lambda self: self._push([]),
        pickle.EMPTY_TUPLE: lambda self: self._push(()),
        pickle.EMPTY_DICT: lambda self: self._push({}),
        pickle.MARK: _mark,
        pickle.TUPLE: lambda self: self._push(tuple(self._since_mark())),
        pickle.TUPLE1: lambda self: self._tuple(1),
        pickle.TUPLE2: lambda self: self._tuple(2),
        pickle.TUPLE3: lambda self: self._tuple(3),
        pickle.APPEND: lambda self: self._extend([self._stack.pop()]),
        pickle.APPENDS: lambda self: self._extend(self._since_mark()),
        pickle.SETITEM: _setitem,
        pickle.SETITEMS: lambda self: self._update(self._since_mark()),
        pickle.BINPUT: lambda self: self._memo.update({self._number("<B"): self._stack[-1]}),
        pickle.LONG_BINPUT: lambda self: self._memo.update({self._number("<I"): self._stack[-1]}),
        pickle.MEMOIZE: lambda self: self._memo.update({len(self._memo): self._stack[-1]}),
        pickle.BINGET: lambda self: self._push(self._memo[self._number("<B")]),
        pickle.LONG_BINGET: lambda self: self._push(self._memo[self._number("<I")]),
        pickle.GLOBAL: _line_global,
        pickle.STACK_GLOBAL: _stack_global,
        pickle.INST: _inst,
        pickle.REDUCE: _reduce,
        pickle.BINPERSID: lambda self: self._push(self._persistent(self._stack.pop())),
        pickle.BUILD: _build,
    }
