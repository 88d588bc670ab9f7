"""Memory is kept where the C library can, and the call is harmless elsewhere."""

import subprocess
import sys

import pytest

PROGRAM = """
import sys
import numpy as np
from minisegnet.memory import keep_freed_memory
import resource

def faults(rounds):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(rounds):
        np.ones(2**23, np.float32)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

assert keep_freed_memory() or sys.exit(5)
faults(2)
print(faults(10))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only glibc lets a program choose")
def test_the_same_pages_serve_again():
    run = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60)
    if run.returncode == 5:
        pytest.skip("this C library is not glibc")
    assert run.returncode == 0, run.stderr
    assert int(run.stdout) < 1000  # fresh from the system, each 32 MB array would be thousands of page faults


def test_other_systems_are_left_alone(monkeypatch):
    from minisegnet import memory

    monkeypatch.setattr(sys, "platform", "darwin")
    assert memory.keep_freed_memory() is False
