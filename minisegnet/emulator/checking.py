"""Check mode: `with emulator.check() as report` holds every launch inside against the rules of CUDA."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from pathlib import Path
from threading import Lock
from typing import Any

from minisegnet.emulator import library
from minisegnet.emulator.counters import Counters
from minisegnet.emulator.findings import Finding, Teller
from minisegnet.emulator.launch import prepared
from minisegnet.emulator.library import Library
from minisegnet.emulator.memory import Memory
from minisegnet.emulator.results import WRITE, Array, Lines, RawFinding, Step, Traffic, fetch
from minisegnet.errors import OptionError

SCHEDULES = {"forward": 0, "reverse": 1, "random": 2, "adversarial": 3}  # Schedule in runtime/machine.h

_in_force: ContextVar[Report | None] = ContextVar("report", default=None)
_one_at_a_time = Lock()


class Report:
    """What checked launches broke and cost.

    findings  list of `Finding`; empty if no rule was broken
    counters  `Counters`: sectors, bank conflicts, bytes, barriers
    launches  how many kernels ran
    """

    def __init__(self, schedule: str | int = "forward"):
        if schedule not in SCHEDULES and (isinstance(schedule, str | bool) or not 0 <= schedule < 2**63):
            known = ", ".join(map(repr, SCHEDULES))
            raise OptionError(f"schedule must be one of {known}, or a seed, a whole number from 0; got {schedule!r}")
        self.schedule = schedule
        self.findings: list[Finding] = []
        self.counters = Counters()
        self.launches = 0

    def __str__(self) -> str:
        launches = f"{self.launches} launch{'es' if self.launches != 1 else ''} checked"
        if not self.findings:
            return f"{launches}: no rule broken"
        return "\n\n".join([f"{launches}: {len(self.findings)} broken", *map(str, self.findings)])

    def launch(
        self, source: Path, kernel: str, grid: Sequence[int], block: Sequence[int], arguments: Sequence[Any],
        shared_bytes: int,
    ) -> None:  # fmt: skip
        """Run one kernel checked: arguments as `run` takes them."""
        launch(self, source, kernel, grid, block, arguments, shared_bytes)


@contextmanager
def check(schedule: str | int = "forward") -> Iterator[Report]:
    """Check every kernel that is launched inside the block, on copies of its arguments that are then written back.

        with emulator.check() as report:
            conv2d_forward(x, weight, bias)
        assert not report.findings, report

    schedule  in which order threads go on: "forward", "reverse", "adversarial" (another thread at every access of
              memory), or a seed for a random order. What breaks a rule is mostly found in any of them, since rules are
              held against what threads could do rather than against what they happened to do.

    A launch that cannot go on (an access outside every array, a deadlock, an endless loop) ends there, is a finding,
    and raises nothing. Raises OptionError for a schedule that is none, and what `run` raises before a kernel starts.
    """
    report = Report(schedule)
    token = _in_force.set(report)
    try:
        yield report
    finally:
        _in_force.reset(token)


def in_force() -> Report | None:
    """The report of the check block that is open here, None where there is none."""
    return _in_force.get()


def launch(
    report: Report, source: Path, kernel: str, grid: Sequence[int], block: Sequence[int], arguments: Sequence[Any],
    shared_bytes: int, follow: tuple[int, int, int] | None = None,
) -> tuple[Library, Memory, list[Array], list[Step]]:  # fmt: skip
    """One checked launch, put into the report; `follow` = (block, first thread, last thread) are traced."""
    loaded = library.load(source, "trace" if follow else "check")
    _, found, types = loaded.kernel(kernel)
    prepared(loaded, kernel, grid, block, arguments, shared_bytes)  # before anything is copied: do they fit?
    memory = Memory(loaded, found.parameters, types, arguments)
    try:
        request, kept = prepared(loaded, kernel, grid, block, arguments, shared_bytes, memory.addresses())
        request.processors, request.poison = 1, 1
        seeded = isinstance(report.schedule, int)
        request.schedule = SCHEDULES["random" if seeded else str(report.schedule)]
        request.seed = report.schedule if seeded else 1
        with _one_at_a_time:
            reason, printed = loaded.check(request, memory.arrays(), len(memory.regions), follow or (-1, 0, -1))
            arrays = fetch(loaded, "emulator_arrays", Array)
            steps = fetch(loaded, "emulator_steps", Step) if follow else []
            del kept
            memory.copy_back()
            _add(report, loaded, kernel, tuple(request.grid), tuple(request.block), memory, arrays, reason)
    finally:
        memory.release()
    sys.stdout.write(printed)
    return loaded, memory, arrays, steps


def _add(
    report: Report, loaded: Library, kernel: str, grid: tuple, block: tuple, memory: Memory, arrays: list[Array],
    reason: str | None,
) -> None:  # fmt: skip
    """Into the report: what the launch that has just ended found and counted."""
    report.launches += 1
    raw = fetch(loaded, "emulator_findings", RawFinding)
    barriers, warp_barriers, meetings = ctypes.c_int64(), ctypes.c_int64(), ctypes.c_int64()
    traffic = fetch(loaded, "emulator_traffic", Traffic, barriers, warp_barriers, meetings)
    witnesses = [witness for finding in raw for witness in (finding.first, finding.second) if witness.site]
    sites = {witness.site for witness in witnesses} | {row.site for row in traffic}
    writes = {witness.site for witness in witnesses if witness.access == WRITE}
    lines = Lines(loaded).of(sites, writes | {row.site for row in traffic if row.writes})
    teller = Teller(loaded.source, kernel, grid, block, memory, arrays, lines)
    for finding in map(teller.finding, raw):
        report.findings.append(finding)
    if reason is not None and not raw:
        report.findings.append(Finding("crashed", kernel, f"crashed in {kernel}: {reason}", (), (), None))
    _merge(report)
    counters = report.counters
    counters.barriers += barriers.value
    counters.warp_barriers += warp_barriers.value
    counters.warp_operations += meetings.value
    for its in traffic:
        line, shared = lines[its.site], bool(arrays[its.array].shared)
        name, _ = teller.element(its.array, 0)
        action = "atomic" if its.atomic else "write" if its.writes else "read"
        text = loaded.source.line(line.file, line.number)
        row = counters.row(kernel, line, text, name, shared, action)
        scale = its.accesses / max(1, its.counted_accesses)  # of a very long loop only the start is put together
        row.accesses += its.accesses
        row.requests += round(its.requests * scale)
        row.bytes += round(its.bytes * scale)
        row.sectors += round(its.sectors * scale)
        row.rounds += round(its.wavefronts * scale)
        row.ideal_rounds += round(its.ideal_wavefronts * scale)


def _merge(report: Report) -> None:
    """One finding for each kind and pair of lines: the first, with the number of all."""
    merged: dict[tuple, Finding] = {}
    for finding in report.findings:
        told = frozenset(finding.places) or finding.message
        key = (finding.kind, finding.kernel, finding.argument, told)
        first = merged.get(key)
        merged[key] = replace(first, times=first.times + finding.times) if first else finding
    report.findings = list(merged.values())
