"""A hundred thousand training steps of a tiny network by the engine: the memory that they take must stay flat.

    python benchmarks/cpu_endurance.py [--steps 100000] [--workers 1 2]

Prints, and writes to results/cpu/endurance.md, the memory of the process and its workers, shared pages counted once and
those of libraries not at all, after every tenth of the steps, and how many files it holds open.
"""

import argparse
import gc
import os
import sys
from pathlib import Path

import numpy as np

from minisegnet import models
from minisegnet.engine.engine import Engine
from minisegnet.layers import CrossEntropyLoss
from minisegnet.training import SGD

RESULT = Path("results/cpu/endurance.md")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    arguments = parser.parse_args()
    lines = [
        "# Memory over many steps", "",
        "A U-Net of width 2 and depth 1 on two images of 8 x 8, SGD with momentum: MB of memory of this process and",
        "its workers, shared pages counted once and those of libraries not at all, and open files, after every tenth",
        "of the steps.", "",
        "| workers | " + " | ".join(f"{arguments.steps * i // 10:,}" for i in range(1, 11)) + " | growth | files |",
        "|---|" + "---|" * 12,
    ]  # fmt: skip
    for workers in arguments.workers:
        seen, files = run(workers, arguments.steps)
        cells = " | ".join(f"{number:.1f}" for number in seen)
        lines.append(f"| {workers} | {cells} | {seen[-1] - seen[0]:+.2f} MB | {files[0]} then {files[-1]} |")
        print(lines[-1], flush=True)
    lines += ["", f"```\npython benchmarks/cpu_endurance.py {' '.join(sys.argv[1:])}".rstrip(), "```", ""]
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text("\n".join(lines))
    print(f"wrote {RESULT}")


def run(workers, steps):
    rng = np.random.default_rng(0)
    graph = models.unet(3, width=2, depth=1, seed=0).train()
    images = rng.standard_normal((2, 3, 8, 8), np.float32)
    labels = rng.integers(0, 3, (2, 8, 8))
    optimiser = SGD(graph.parameters, 0.01, momentum=0.9)
    seen, files = [], []
    with Engine(graph, CrossEntropyLoss(), workers) as engine:
        for step in range(1, steps + 1):
            engine.step(images, labels, optimiser=optimiser)
            if step % (steps // 10) == 0:
                gc.collect()
                seen.append(sum(megabytes_of(pid) for pid in family()))
                files.append(len(os.listdir("/proc/self/fd")))
    return seen, files


def family():
    """This process and its children."""
    own = os.getpid()
    return [own, *map(int, Path(f"/proc/{own}/task/{own}/children").read_text().split())]


def megabytes_of(pid):
    """Memory of a process; of pages that several share, each counts its part.

    Pages of files do not count: a library's would be shared out anew whenever another process began to use it.
    """
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    kilobytes = {name: int(rest.split()[0]) for name, rest in (line.split(":", 1) for line in lines[1:])}
    return (kilobytes["Pss_Anon"] + kilobytes["Pss_Shmem"]) / 1024


if __name__ == "__main__":
    main()
