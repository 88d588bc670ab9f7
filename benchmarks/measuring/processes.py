"""Runs each side in a process of its own: its environment, its cores, and how it is ended with all its workers."""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from contextlib import contextmanager, suppress
from pathlib import Path

from measuring.sides import TUNED

FOLDER = Path(__file__).parent.parent
# Lets the C library keep what PyTorch frees, instead of asking the system for fresh pages in every step.
KEPT_MEMORY = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "100000000000"}

LONGEST = 1800  # seconds; a side that takes longer hangs


class SideFailed(Exception):
    """A side's process ended without an answer; the message is the last line it wrote."""


def ask(module, side, cores, **request):
    """What a module of this folder, run as a process of its own, answers for a side. Raises SideFailed."""
    with start(module, side, cores, **request) as process:
        return process.turn()


def start(module, side, cores, **request):
    """The process of a side, which runs a module of this folder and waits for its turns."""
    return Process([sys.executable, "-m", f"measuring.{module}"], side, cores, **request)


def ask_prototype(folder, cores, steps=3):
    """The prototype's training step on its U-Net, read from what it prints."""
    with Process([sys.executable, "unet_np.py", str(cores), str(steps)], "prototype", cores, cwd=folder) as process:
        told = process.rest()
    milliseconds = re.search(r"step med (\d+) ms", told)
    memory = re.search(r"rss\(rank0\) (\d+) MB, pss x NP (\d+) MB", told)
    return {
        "seconds": int(milliseconds[1]) / 1000,
        "memory": max(map(int, memory.groups())) * 2**20,
        "software": "the prototype's own weights and images",
    }


class Process:
    """A command on so many cores that waits for its turns, in a process group that ends with it.

    It reads the request as a line of JSON, and then a line for each turn, which it answers with a line of JSON.
    """

    def __init__(self, command, side, cores, cwd=None, **request):
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed with the process
        with on_cores(cores):
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self.errors,
                text=True,
                cwd=cwd,
                env=environment(os.environ, side, cores),
                start_new_session=True,
            )
        self._write(json.dumps(request | {"side": side, "cores": cores}))

    def turn(self):
        """The answer to one turn. Raises SideFailed."""
        self._write("turn")
        line = self._within(LONGEST, self.process.stdout.readline)
        if not line:
            raise self._failure()
        return json.loads(line)

    def rest(self):
        """All that the command writes before it ends by itself. Raises SideFailed."""
        told = self._within(LONGEST, self.process.stdout.read)
        if self.process.wait():
            raise self._failure()
        return told

    def _write(self, line):
        with suppress(BrokenPipeError):  # it has ended; reading tells
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()

    def _within(self, seconds, read):
        """What `read` returns; past so many seconds the process is ended."""
        timer = threading.Timer(seconds, end_group, [self.process.pid])
        timer.start()
        try:
            return read()
        finally:
            timer.cancel()

    def _failure(self):
        self.process.wait()
        self.errors.seek(0)
        status = f"exit status {self.process.returncode}, or no answer within {LONGEST} s"
        return SideFailed(next(reversed(self.errors.read().strip().splitlines()), status))

    def __enter__(self):
        return self

    def __exit__(self, *problem):
        end_group(self.process.pid)
        self.process.wait()
        for stream in (self.process.stdout, self.errors):
            stream.close()
        with suppress(BrokenPipeError):
            self.process.stdin.close()


def end_group(leader):
    try:
        os.killpg(leader, signal.SIGKILL)
    except ProcessLookupError:  # all of it has ended by itself
        return


def environment(outside, side, cores):
    """The variables a side runs under: those outside, without any that tune a library, and with as many threads.

    OPENBLAS_CORETYPE and OPENBLAS_L2_SIZE would take AVX-512 from NumPy while PyTorch keeps it.
    """
    kept = {k: v for k, v in outside.items() if not k.startswith(("OPENBLAS_", "OMP_", "MKL_", "MALLOC_"))}
    threads = 1 if side == "prototype" else cores  # in each of its processes
    path = [str(FOLDER), str(FOLDER.parent), *filter(None, [outside.get("PYTHONPATH")])]
    numbers = {"OPENBLAS_NUM_THREADS": str(threads), "OMP_NUM_THREADS": str(threads)}
    return {**kept, **numbers, **(KEPT_MEMORY if side in TUNED else {}), "PYTHONPATH": os.pathsep.join(path)}


def one_and_four():
    """The numbers of cores to measure on where none are named: 1, and 4 or as many as there are."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return sorted({1, min(4, allowed)})


@contextmanager
def on_cores(count):
    """Processes started inside stay on the last `count` of the cores allowed, where the system can be told."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    allowed = os.sched_getaffinity(0)
    if count > len(allowed):
        raise SystemExit(f"--cores {count}: this process may use {len(allowed)}")
    os.sched_setaffinity(0, sorted(allowed)[-count:])
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)
