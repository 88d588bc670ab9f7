"""Runs a .cu file on the CPU: fast, or checked against the rules of CUDA, or line by line.

    x, y = np.arange(100, dtype=np.float32), np.zeros(100, np.float32)
    emulator.run("relu.cu", "relu_forward", (4,), (32,), [x, y, np.int32(100)])      as a device would, on all cores

    with emulator.check() as report:                     every run inside is held against the rules of CUDA, in any way
        emulator.run(...)                                that kernels are launched: races, accesses outside arrays, ...
    print(report)                                        what was broken: at which lines, between which threads
    print(report.counters)                               sectors, bank conflicts, barriers; .picture() draws them

    print(emulator.trace(..., thread=(5,)))              one thread, or warp=0, line by line

Check mode finds races in shared and global memory, accesses outside an array, reads of shared memory that nobody has
written, vectors off their boundary, barriers that not all threads come to, lanes missing in shuffles, copies that
cp.async has not ended, divisions by zero and loops without end. `check(schedule)` chooses the order of the threads.

The file is compiled by the machine's C++ compiler, or by what CXX names, behind headers that give it CUDA's words
(runtime/cuda.h), and kept in the user's cache or the folder that MINISEGNET_CACHE names. The threads of a block take
turns on one core, each on a stack of its own (runtime/machine.h, runtime/fibre.h); blocks are spread over the cores. In
check mode the compiler's instrumentation reports every access of memory to runtime/checker.h.

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
