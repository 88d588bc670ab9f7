"""Runs each side in a process of its own: its environment, its cores, and how it is ended with all its workers."""

import json
import os
import re
import signal
import subprocess
import sys
from contextlib import contextmanager
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
    request |= {"side": side, "cores": cores}
    answer = run([sys.executable, "-m", f"measuring.{module}"], side, cores, json.dumps(request))
    return json.loads(answer.splitlines()[-1])


def ask_prototype(folder, cores, steps=5):
    """The prototype's training step on its U-Net, read from what it prints."""
    told = run([sys.executable, "unet_np.py", str(cores), str(steps)], "prototype", cores, cwd=folder)
    milliseconds = re.search(r"step med (\d+) ms", told)
    memory = re.search(r"rss\(rank0\) (\d+) MB, pss x NP (\d+) MB", told)
    return {
        "seconds": int(milliseconds[1]) / 1000,
        "memory": max(map(int, memory.groups())) * 2**20,
        "software": "the prototype's own weights and images",
    }


def run(command, side, cores, standard_input="", cwd=None):
    """The standard output of a command on so many cores, in a process group that ends with it. Raises SideFailed."""
    with on_cores(cores):
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=cwd,
            env=environment(os.environ, side, cores),
            start_new_session=True,
        )
    try:
        output, errors = process.communicate(standard_input, timeout=LONGEST)
    except subprocess.TimeoutExpired:
        raise SideFailed(f"no answer after {LONGEST} s") from None
    finally:
        end_group(process.pid)
    if process.returncode:
        raise SideFailed(next(reversed(errors.strip().splitlines()), f"exit status {process.returncode}"))
    return output


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
