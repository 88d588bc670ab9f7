"""Broken rules in words: what happened to which element, at which two lines, between which two threads."""

from __future__ import annotations

from dataclasses import dataclass

from minisegnet.emulator.memory import Memory
from minisegnet.emulator.results import ACCESSES, LEFT, Array, Line, RawFinding, Witness
from minisegnet.emulator.source import Source

# What each kind of finding means, and the usual way out.
ADVICE = {
    "race": "nothing makes one wait for the other (a barrier, __syncwarp(), or atomic operations on both sides)",
    "out of bounds": "the launch was ended there",
    "uninitialised": "nothing has been written there before",
    "misaligned": "a vector of n bytes lies on a multiple of n bytes; the launch was ended there",
    "missing wait": "the copy may still be on its way: cp_async_wait first, then a barrier for the other threads",
    "write to const": "the parameter is declared const",
    "divergent barrier": "every thread of the block must come to the same __syncthreads()",
    "divergent warp": "all lanes that the mask names must come to the same instruction",
    "absent lane": "a shuffle may only read lanes that take part in it",
    "wrong mask": "each lane that takes part must be named in its mask",
    "deadlock": "the launch was ended there",
    "endless": "a loop does not end; the launch was ended there",
}


@dataclass(frozen=True)
class Finding:
    """A broken rule.

    kind      "race", "out of bounds", "uninitialised", "misaligned", "missing wait", "write to const", "divergent
              barrier", "divergent warp", "absent lane", "wrong mask", "deadlock", "endless", "division by zero",
              "shared memory", "failed" (an assertion) or "crashed"
    kernel    the kernel's name
    message   the whole story on a few lines
    places    the lines of the source that take part, as (file, number)
    threads   who was there, as ((block x, y, z), (thread x, y, z))
    argument  name of the argument or shared array, None where there is none
    times     how often it happened at these lines
    """

    kind: str
    kernel: str
    message: str
    places: tuple[Line, ...]
    threads: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...]
    argument: str | None
    times: int = 1

    def __str__(self) -> str:
        again = f"\n  and {self.times - 1} more at the same lines" if self.times > 1 else ""
        return self.message + again


class Teller:
    """Puts what one launch found into words."""

    def __init__(
        self, source: Source, kernel: str, grid: tuple, block: tuple, memory: Memory, arrays: list[Array],
        lines: dict[int, Line],
    ):  # fmt: skip
        self.source, self.kernel, self.grid, self.block = source, kernel, grid, block
        self.memory, self.arrays, self.lines = memory, arrays, lines

    def finding(self, raw: RawFinding) -> Finding:
        """One finding as Python has it."""
        kind = raw.kind.decode()
        witnesses = [witness for witness in (raw.first, raw.second) if witness.block >= 0]
        what = (raw.what or b"").decode()
        argument = None
        if raw.array >= 0:
            argument, element = self.element(raw.array, raw.offset)
            what = what or element
        rows = [self._row(witness, raw.bytes, kind) for witness in witnesses]
        head = f"{kind} in {self.kernel}: {what}" if what else f"{kind} in {self.kernel}"
        message = "\n".join([head, *rows, *([f"  {ADVICE[kind]}"] if kind in ADVICE else [])])
        places = tuple(self.lines[witness.site] for witness in witnesses if witness.site)
        threads = tuple((self._block(witness.block), self._thread(witness.thread)) for witness in witnesses)
        return Finding(kind, self.kernel, message, places, threads, argument, raw.times)

    def element(self, array: int, offset: int) -> tuple[str, str]:
        """The name of an array, and the element at an offset in words: "x[5]", or how far outside."""
        its = self.arrays[array]
        if its.shared:
            shared = its.shared.contents
            name = shared.name.decode()
            extents = list(shared.extents[: shared.rank])
            size, count, inside = shared.element_bytes, its.bytes // shared.element_bytes, 0 <= offset < its.bytes
            if inside:
                return name, f"{name}{_subscripts(offset // size, extents)}{_rest(offset % size)} in shared memory"
            return name, _outside(f"shared array {name}", offset // size, count)
        inside_of = [
            argument
            for argument in self.memory.regions[array].arguments
            if argument.offset <= offset < argument.offset + argument.array.nbytes
        ]
        if inside_of:
            told = [
                f"{a.name}[{(offset - a.offset) // a.array.itemsize}]{_rest((offset - a.offset) % a.array.itemsize)}"
                for a in inside_of
            ]
            return inside_of[0].name, ", which is also ".join(told)
        nearest = self.memory.regions[array].arguments[0 if offset < 0 else -1]
        index = (offset - nearest.offset) // nearest.array.itemsize
        return nearest.name, _outside(nearest.name, index, nearest.array.size)

    def _row(self, witness: Witness, size: int, kind: str) -> str:
        """One line: who did what where, and the text of the source there."""
        line = self.lines.get(witness.site) if witness.site else None
        if witness.access >= 0:
            did = ACCESSES[witness.access] + (f" ({size} bytes)" if size not in (0, 4) else "")
        else:
            did = "left the kernel" if witness.access == LEFT else "stood"
        where = f" at {line}" if line else ""
        text = self.source.line(line.file, line.number) if line else ""
        who = f"thread {self._thread(witness.thread)} of block {self._block(witness.block)}"
        by = "by " if witness.access >= 0 else ""
        row = f"  {did}{where} {by}{who}" if by else f"  {who} {did}{where}"
        return f"{row}\n      {text}" if text else row

    def _block(self, number: int) -> tuple[int, ...]:
        x, y, _ = self.grid
        return (number % x, number // x % y, number // x // y)

    def _thread(self, number: int) -> tuple[int, ...]:
        x, y, _ = self.block
        return (number % x, number // x % y, number // x // y)


def _subscripts(index: int, extents: list[int]) -> str:
    """[row][column] of an element counted through, as C writes it; a single value has none."""
    subscripts = []
    for extent in reversed(extents[1:]):
        subscripts.append(index % extent)
        index //= extent
    if extents:
        subscripts.append(index)
    return "".join(f"[{subscript}]" for subscript in reversed(subscripts))


def _rest(bytes_behind: int) -> str:
    return f" (and {bytes_behind} bytes)" if bytes_behind else ""


def _outside(name: str, index: int, count: int) -> str:
    if index < 0:
        return f"{name}[{index}], {-index} before the start of {name}, which has {count} elements"
    sign = f" ({index - 2**32}, counted without a sign)" if 2**31 <= index < 2**32 else ""
    return f"{name}[{index}]{sign}, {index - count + 1} beyond the last of {name}, which has {count} elements"
