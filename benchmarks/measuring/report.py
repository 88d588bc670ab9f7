"""What the benchmarks write: tables in Markdown, with the machine and every setting they were made under."""

import os
import platform
import sys
from importlib import metadata
from pathlib import Path
from statistics import median

from measuring.processes import KEPT_MEMORY
from measuring.rounds import best, times, times_faster
from measuring.sides import NAMES, SGD_OPTIONS, TUNED

RESULTS = Path(__file__).parents[2] / "results" / "cpu"


def settings(command, told):
    """Lines on the machine, the versions and how it was measured; `told` are further lines of the benchmark."""
    tuned = " ".join(f"{name}={value}" for name, value in KEPT_MEMORY.items())
    sgd = ", ".join(f"{name}={value}" for name, value in SGD_OPTIONS.items())
    return [
        f"- made by `{command}`",
        f"- {processor()}, {os.cpu_count()} cores; {platform.system()} {platform.release()}, "
        f"Python {platform.python_version()}, NumPy {version('numpy')}, PyTorch {version('torch')}",
        "- each side is a process of its own, kept on so many cores, with OPENBLAS_NUM_THREADS, OMP_NUM_THREADS and "
        "torch.set_num_threads set to their number and OPENBLAS_CORETYPE and OPENBLAS_L2_SIZE unset; the sides take "
        "turns, a round being one turn of each",
        f"- PyTorch tuned: {tuned}, SGD in one kernel (fused=True); channels last besides; torch.compile besides, the "
        "loss included; for inference its weights frozen besides. The best tuned is the one of least median",
        f"- a training step: forward, softmax cross-entropy, backward, SGD ({sgd}); random images and labels, float32",
        *[f"- {line}" for line in told],
    ]


def processor():
    """The processor's name, as Linux tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def version(package):
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def sides_table(rounds, memory, software):
    """A row a side: median time, how many times faster the first, ours, is than it, peak memory.

    rounds     a list of {side: seconds}; a side may be missing from the later ones
    memory     {side: bytes}
    software   {side: what computed}
    """
    ours, *peers = rounds[0]
    fastest = best(rounds, TUNED)
    lines = [
        "| side | median | our speed over it, median (range) | peak memory | ours of it | computed by |",
        "|---|--:|--:|--:|--:|---|",
    ]
    for side in (ours, *peers):
        name = f"**{NAMES[side]}** (best tuned)" if side == fastest else NAMES[side]
        if len(times(rounds, side)) < len(rounds):
            name += f" ({plural(len(times(rounds, side)), 'round')})"
        ratio = "" if side == ours else spread(times_faster(rounds, ours, side))
        share = "" if side == ours else f"{memory[ours] / memory[side]:.2f}"
        lines.append(
            f"| {name} | {duration(median(times(rounds, side)))} | {ratio} | {memory[side] / 2**20:.0f} MiB | "
            f"{share} | {software[side]} |"
        )
    return lines


def spread(ratio):
    """A median with its range, (median, smallest, largest)."""
    return "{:.2f} ({:.2f} to {:.2f})".format(*ratio)


def duration(seconds):
    """Three digits, in the unit that suits."""
    for unit, scale in (("s", 1), ("ms", 1e3), ("us", 1e6)):
        if seconds * scale >= 1 or unit == "us":
            value = seconds * scale
            return f"{value:.{max(0, 2 - len(str(int(value))) + 1)}f} {unit}"


def plural(count, thing):
    return f"{count} {thing}{'' if count == 1 else 's'}"


def write(path, *parts):
    """Write a file of several lists of lines, whole: one interrupted is never half a table."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    fresh.write_text("\n".join(line for part in parts for line in part) + "\n")
    fresh.replace(path)


def command_line():
    """How this benchmark was called, without the machine's own paths."""
    words = [Path(word).name if Path(word).is_absolute() else word for word in sys.argv[1:]]
    return " ".join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *words])
