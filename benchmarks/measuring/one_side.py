"""The process of one side: builds a case, and at each turn checks or times it and prints what it found as JSON.

    python -m measuring.one_side
    {"side": "engine", "cores": 1, "task": "time", "case": {...}, "seconds": 1}
    turn

Between its turns it waits for a line, and the cores are free for the others.
"""

import json
import os
import resource
import statistics
import sys
import time
from pathlib import Path

import numpy as np

from measuring.case import Case
from measuring.sides import make_side

LEAST = 1  # repetitions, however long one takes
WARM_UP, WARM_UP_AGAIN = 2, 1  # more that do not count: in a process's first turn, in each of its others
SCORES = 1000  # of a prediction, that are compared


def check(side, training):
    """Numbers that all sides share: see `agreement.disagreement`."""
    if not training:
        scores = side.predict()
        places = np.random.default_rng(1).integers(0, scores.size, SCORES)
        return {"scores": scores[np.unravel_index(places, scores.shape)].tolist()}
    first = side.step()
    norms = {name: float(np.linalg.norm(gradient)) for name, gradient in side.gradients().items()}
    return {"losses": [first, side.step()], "gradient norms": [norms[name] for name in sorted(norms)]}


def time_repeatedly(action, seconds, warm_up):
    """Seconds of each call, after `warm_up` that do not count, for at least so many seconds and LEAST calls."""
    for _ in range(warm_up):
        action()
    forget_peak_memory()
    times = []
    while len(times) < LEAST or sum(times) < seconds:
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return times


def forget_peak_memory():
    """Start the count of the largest resident memory anew, where Linux lets us: building a network is not its step."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def peak_memory():
    """Bytes: the most that this process held; with workers, what all hold now if that is more, shared pages once."""
    try:  # what `getrusage` tells begins with the peak of the process that started this one
        peak = bytes_told("/proc/self/status", "VmHWM:")
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    group = [int(p.name) for p in Path("/proc").glob("[0-9]*") if in_our_group(int(p.name))]
    return max(peak, sum(map(proportional_set_size, group))) if len(group) > 1 else peak


def in_our_group(process):
    try:
        return os.getpgid(process) == os.getpgid(0)
    except ProcessLookupError:  # it has ended meanwhile
        return False


def proportional_set_size(process):
    """Bytes a process holds, each page divided by how many processes share it."""
    return bytes_told(f"/proc/{process}/smaps_rollup", "Pss:")


def bytes_told(file, name):
    """The number that one of Linux's files gives in kB under a name."""
    lines = Path(file).read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) * 1024


def software(side):
    """What computes, with the processor type its kernels are chosen for."""
    if side in ("engine", "plain"):
        from minisegnet.doctor import blas

        library = blas()
        return f"NumPy {np.__version__}, {library['name']} {library['version']}, core type {library['core']}"
    import torch

    return f"PyTorch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}"


def main():
    request = json.loads(sys.stdin.readline())
    name, case = request["side"], Case(**request["case"])
    graph, images, labels = case.build(dropout=request["task"] == "time")
    side = make_side(name, graph, images, labels if case.training else None, case.training, request["cores"])
    del graph  # PyTorch has its own weights
    warm_up = WARM_UP
    for _ in sys.stdin:
        if request["task"] == "check":
            answer = check(side, case.training)
        else:
            action = side.step if case.training else side.predict
            times = time_repeatedly(action, request["seconds"], warm_up)
            warm_up = WARM_UP_AGAIN  # what the sides in between left in the caches is not ours to time
            answer = {"seconds": statistics.median(times), "memory": peak_memory(), "software": software(name)}
        print(json.dumps(answer), flush=True)
    side.close()


if __name__ == "__main__":
    main()
