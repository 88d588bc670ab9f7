"""Runs a .cu file on the CPU: fast, or checked against the rules of CUDA, or line by line.

    run(source, kernel, grid, block, arguments)    as a device would, spread over the cores
    with check() as report: ...                    every run inside is checked: races, accesses outside arrays, ...
    trace(source, kernel, grid, block, arguments)  one thread or one warp, line by line

The file is compiled by the machine's C++ compiler behind headers that give it CUDA's words (runtime/cuda.h), and kept.
The threads of a block take turns on one core (runtime/machine.h); blocks are spread over the cores. In check mode the
compiler's instrumentation reports every access of memory to runtime/checker.h.

    source.py, following.py   the text: what C++ does not know of CUDA, what a trace adds
    compiler.py, library.py   compiling, the cache, calling
    launch.py                 fast mode
    checking.py               check mode; memory.py the copies it runs on, results.py what C++ hands back
    findings.py, counters.py, counters_picture.py, trace.py     what is told of it
"""

from minisegnet.emulator.checking import Report, check
from minisegnet.emulator.compiler import compiler_found
from minisegnet.emulator.counters import Counters
from minisegnet.emulator.findings import Finding
from minisegnet.emulator.launch import run
from minisegnet.emulator.trace import Trace, trace
from minisegnet.emulator.uninitialised import empty

__all__ = ["Counters", "Finding", "Report", "Trace", "check", "compiler_found", "empty", "run", "trace"]
