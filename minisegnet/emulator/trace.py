"""One thread, or one warp, line by line: what each line read, computed and wrote, as text that a lesson can show."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from minisegnet.emulator import checking
from minisegnet.emulator.checking import Report
from minisegnet.emulator.findings import Teller
from minisegnet.emulator.results import Line, Lines, Step
from minisegnet.errors import OptionError

READ, WRITE, ATOMIC, BUILTIN, VALUE, WAITING, LEAVING = range(7)  # StepKind in runtime/trace.h
BUILTINS = ("threadIdx", "blockIdx", "blockDim", "gridDim")  # as they lie in Context in runtime/machine_interface.h
WIDTH = 64  # characters of the source shown of a line


@dataclass
class Moment:
    """One line, done once by one thread.

    events  what happened: "threadIdx.x = 3", "i = 3", "read x[3] = 0.5", "wrote y[3] = 0.5", "waited in __syncthreads"
    """

    thread: tuple[int, ...]
    line: Line
    text: str
    events: list[str] = field(default_factory=list)


@dataclass
class Trace:
    """What was followed: the moments of one thread, or of each lane of a warp in turn.

    report  the checked launch's `Report`, so that a broken rule is told here too
    """

    kernel: str
    who: str
    moments: list[Moment]
    report: Report

    def of(self, thread: tuple[int, ...]) -> list[Moment]:
        """The moments of one thread, in order."""
        return [moment for moment in self.moments if moment.thread == thread]

    def __str__(self) -> str:
        threads = list(dict.fromkeys(moment.thread for moment in self.moments))
        if len(threads) <= 1:
            rows = [(moment.line, moment.text, ", ".join(moment.events)) for moment in self.moments]
        else:
            rows = _together([self.of(thread) for thread in threads])
        lines = [f"{self.kernel}, {self.who}"]
        number = max((len(str(line.number)) for line, _, _ in rows), default=1)
        text = min(WIDTH, max((len(text) for _, text, _ in rows), default=1))
        for line, code, events in rows:
            lines.append(f"{line.number:{number}}  {code[:WIDTH]:{text}}  {events}".rstrip())
        if self.report.findings:
            lines.append(str(self.report))
        return "\n".join(lines)


def trace(
    source: str | Path,
    kernel: str,
    grid: Sequence[int],
    block: Sequence[int],
    arguments: Sequence[np.ndarray | np.generic | None],
    shared_bytes: int = 0,
    *,
    block_index: Sequence[int] = (0, 0, 0),
    thread: Sequence[int] | None = None,
    warp: int | None = None,
) -> Trace:
    """Run a kernel checked, as `run` does, and follow one thread of one block, or one warp.

    block_index  which block, (x, y, z)
    thread       which thread of it, (x, y, z); the first if neither this nor warp is given
    warp         which warp of it, counted from 0: then each line is told once for all lanes that came to it

    The whole launch runs, and the arrays are written. Raises what `run` raises before a kernel starts, and OptionError
    for a thread or warp that is not there.
    """
    grids, blocks = _three("grid", grid), _three("block", block)
    number = _number("block_index", block_index, grids)
    if warp is None:
        first = last = _number("thread", (0, 0, 0) if thread is None else thread, blocks)
        who = f"thread {_place(first, blocks)} of block {_place(number, grids)}"
    else:
        warps = -(-int(np.prod(blocks)) // 32)
        if thread is not None or not 0 <= warp < warps:
            raise OptionError(f"give thread or warp; warp may be 0 to {warps - 1}, got {warp!r}")
        first, last = 32 * warp, 32 * warp + 31
        who = f"warp {warp} of block {_place(number, grids)}"
    report = Report()
    loaded, memory, arrays, steps = checking.launch(
        report, Path(source), kernel, grid, block, arguments, shared_bytes, (number, first, last)
    )
    lines = Lines(loaded).of({step.site for step in steps}, {step.site for step in steps if step.kind == WRITE})
    teller = Teller(loaded.source, kernel, grids, blocks, memory, arrays, lines)
    moments: list[Moment] = []
    for at in range(first, last + 1):
        moments += _moments([step for step in steps if step.thread == at], _place(at, blocks), teller)
    return Trace(kernel, who, moments, report)


# ---------------------------------------------------------------------------------------------------------- one thread


def _moments(steps: list[Step], thread: tuple[int, ...], teller: Teller) -> list[Moment]:
    """A thread's steps, those that follow each other on one line put together."""
    moments: list[Moment] = []
    for step in steps:
        line = teller.lines[step.site]
        text = teller.source.line(line.file, line.number)
        if not text or text in ("{", "}"):
            continue
        if not moments or moments[-1].line != line:
            moments.append(Moment(thread, line, text))
        event = _event(step, teller)
        if event and event not in moments[-1].events[-1:]:
            moments[-1].events.append(event)
    return moments


def _event(step: Step, teller: Teller) -> str:
    if step.kind == BUILTIN:
        word = step.offset // 4
        return f"{BUILTINS[word // 3]}.{'xyz'[word % 3]} = {_value(step, 'u4')}" if word < 12 else ""
    if step.kind == VALUE:
        if step.name is None:
            return "true" if step.value[0] else "false"
        if step.name == b"returned":
            return f"returned = {_value(step, step.number.decode() + str(step.bytes))}"
        return f"{step.name.decode()} = {_value(step, step.number.decode() + str(step.bytes))}"
    if step.kind == WAITING:
        return f"waited in {step.name.decode()}"
    if step.kind == LEAVING:
        return "left the kernel"
    its = teller.arrays[step.array]
    if its.shared:
        shared = its.shared.contents
        kind = shared.number.decode() + str(shared.element_bytes)
        kind = kind if kind[0] in "fiu" else f"u{min(4, step.bytes)}"
    else:
        kind = teller.memory.regions[step.array].arguments[0].array.dtype.str[1:]
    _, element = teller.element(step.array, step.offset)
    did = {READ: "read", WRITE: "wrote", ATOMIC: "changed"}[step.kind]
    return f"{did} {element.replace(' in shared memory', '')} = {_value(step, kind)}"


def _value(step: Step, kind: str) -> str:
    dtype = np.dtype("u1" if kind == "b1" else kind)
    data = bytes(step.value)[: step.bytes]
    if step.bytes % dtype.itemsize:
        return "0x" + data[::-1].hex()
    values = [f"{value:.6g}" if dtype.kind == "f" else str(value) for value in np.frombuffer(data, dtype)]
    return values[0] if len(values) == 1 else f"({', '.join(values)})"


# ------------------------------------------------------------------------------------------------------------ a warp


def _together(lanes: list[list[Moment]]) -> list[tuple[Line, str, str]]:
    """The n-th time that lanes come to a line as one row, in the order in which the first of them came there."""
    rows: dict[tuple[Line, int], list[tuple[int, Moment]]] = {}
    order: list[tuple[Line, int]] = []
    for lane, moments in enumerate(lanes):
        visits: dict[Line, int] = {}
        place = 0
        for moment in moments:
            visits[moment.line] = visits.get(moment.line, 0) + 1
            key = (moment.line, visits[moment.line])
            if key not in rows:
                rows[key] = []
                order.insert(place, key)
            rows[key].append((lane, moment))
            place = order.index(key) + 1
    return [(key[0], rows[key][0][1].text, _told(rows[key], len(lanes))) for key in order]


def _told(moments: list[tuple[int, Moment]], lanes: int) -> str:
    """The lanes' events, each kind once: "read x[0 to 31]"; values where all lanes have the same."""
    who = "" if len(moments) == lanes else f"lanes {_ranges([lane for lane, _ in moments])}: "
    first = moments[0][1].events
    told = []
    for turn, event in enumerate(first):
        events = [moment.events[turn] for _, moment in moments if turn < len(moment.events)]
        if len(set(events)) == 1:
            told.append(event)
            continue
        what = [re.match(r"(.*?)(?:\[(\d+)\])? = (.*)$", text) for text in events]
        indices = [int(match[2]) for match in what if match and match[2]]
        if indices:
            told.append(f"{what[0][1]}[{_ranges(indices)}]")  # type: ignore[index]
        elif all(what):
            values = [match[3] for match in what if match]
            whole = all(re.fullmatch(r"-?\d+", value) for value in values) and len(values) == len(moments)
            told.append(f"{what[0][1]} = {_ranges([int(v) for v in values]) if whole else _ends(values)}")  # type: ignore[index]
        else:
            for kind in dict.fromkeys(events):
                those = [lane for lane, moment in moments if moment.events[turn : turn + 1] == [kind]]
                told.append(f"{kind} for {_ranges(those)}")
    return (who + ", ".join(told)).rstrip(": ")


def _ends(values: list[str]) -> str:
    return f"{values[0]} ... {values[-1]}"


def _ranges(numbers: list[int]) -> str:
    """0 to 31; or the first and last with the step between, or a few of them."""
    steps = set(np.diff(numbers).tolist())
    if len(numbers) == 1 or steps == {0}:
        return str(numbers[0])
    if steps == {1}:
        return f"{numbers[0]} to {numbers[-1]}"
    if len(steps) == 1:
        return f"{numbers[0]} to {numbers[-1]} by {steps.pop()}"
    return ", ".join(map(str, numbers)) if len(numbers) < 5 else _ends([*map(str, numbers)])


# --------------------------------------------------------------------------------------------------------- who is meant


def _three(name: str, sizes: Sequence[int]) -> tuple[int, int, int]:
    x, y, z = (*map(int, sizes), 1, 1)[:3]
    if min(x, y, z) < 1:
        raise OptionError(f"{name} must be whole numbers from 1; got {tuple(sizes)}")
    return x, y, z


def _number(name: str, place: Sequence[int], sizes: tuple[int, int, int]) -> int:
    x, y, z = (*map(int, place), 0, 0)[:3]
    if not (0 <= x < sizes[0] and 0 <= y < sizes[1] and 0 <= z < sizes[2]):
        raise OptionError(f"{name} {tuple(place)} is not there: the sizes are {sizes}")
    return x + sizes[0] * (y + sizes[1] * z)


def _place(number: int, sizes: tuple[int, int, int]) -> tuple[int, int, int]:
    return number % sizes[0], number // sizes[0] % sizes[1], number // sizes[0] // sizes[1]
