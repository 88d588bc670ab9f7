"""One training step of U-Net, layer by layer in NumPy, beside PyTorch's: whole processes in turn, medians of the ratio.

    python benchmarks/unet_step.py [--rounds 5] [--threads 4] [--width 32] [--size 256] [--batch 4] [--write FILE]

This is the plain path that a student reads. Without PyTorch installed (pip install torch==2.13.0) only ours is timed.
"""

import argparse
import importlib.util
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

STEPS = 4  # timed in each process, after one that warms up
# What makes PyTorch fastest here: images with channels last, and freed memory kept (we ask the C library ourselves).
TUNED = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "100000000000"}


def ours(width, size, batch, threads):
    import numpy as np
    from threadpoolctl import threadpool_info, threadpool_limits

    from minisegnet import models
    from minisegnet.layers import CrossEntropyLoss
    from minisegnet.memory import keep_freed_memory
    from minisegnet.training import SGD

    keep_freed_memory()
    rng = np.random.default_rng(0)
    images = rng.standard_normal((batch, 3, size, size), np.float32)
    labels = rng.integers(0, 21, (batch, size, size))
    graph, loss = models.unet(21, width=width, depth=3), CrossEntropyLoss()
    optimiser = SGD(graph.parameters, lr=0.01, momentum=0.9)

    def step():
        optimiser.zero_grad()
        _, cache = loss.forward(graph.forward(images), labels)
        graph.backward(loss.backward(1.0, cache))
        optimiser.step()

    with threadpool_limits(threads, user_api="blas"):
        blas = threadpool_info()[0]
        timed(step, f"NumPy {np.__version__}, {blas['internal_api']} {blas['version']} ({blas['architecture']})")


def pytorchs(width, size, batch, threads, channels_last):
    import torch
    from torch import nn
    from torch.nn import functional as F

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    layout = torch.channels_last if channels_last else torch.contiguous_format

    def double(given, out):
        convolutions = []
        for channels in (given, out):
            convolutions += [nn.Conv2d(channels, out, 3, padding=1, bias=False), nn.BatchNorm2d(out), nn.ReLU(True)]
        return nn.Sequential(*convolutions)

    class UNet(nn.Module):
        def __init__(self):
            super().__init__()
            widths = [width * 2**level for level in range(4)]
            self.down = nn.ModuleList(double(a, b) for a, b in zip([3, *widths], widths, strict=False))
            self.up = nn.ModuleList(nn.ConvTranspose2d(2 * w, w, 2, 2) for w in widths[2::-1])
            self.join = nn.ModuleList(double(2 * w, w) for w in widths[2::-1])
            self.score = nn.Conv2d(width, 21, 1)

        def forward(self, x):
            skips = []
            for level, block in enumerate(self.down):
                x = block(F.max_pool2d(x, 2) if level else x)
                skips.append(x)
            skips.pop()
            for up, join in zip(self.up, self.join, strict=True):
                x = join(torch.cat([skips.pop(), up(x)], 1))
            return self.score(x)

    graph = UNet().to(memory_format=layout)
    images = torch.randn(batch, 3, size, size).contiguous(memory_format=layout)
    labels = torch.randint(0, 21, (batch, size, size))
    optimiser = torch.optim.SGD(graph.parameters(), lr=0.01, momentum=0.9)

    def step():
        optimiser.zero_grad()
        F.cross_entropy(graph(images), labels).backward()
        optimiser.step()

    timed(step, f"PyTorch {torch.__version__}")


def timed(step, what):
    step()
    seconds = []
    for _ in range(STEPS):
        start = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - start)
    print(f"{statistics.median(seconds):.4f} {what}")


def run(side, arguments):
    """Time one side in a process of its own; returns seconds a step and what computed them."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("OPENBLAS_")}
    if side == "tuned":
        environment |= TUNED
    command = [sys.executable, __file__, "--side", side]
    for name in ("width", "size", "batch", "threads"):
        command += [f"--{name}", str(getattr(arguments, name))]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    seconds, _, what = done.stdout.strip().partition(" ")
    return float(seconds), what


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    for name, default in {"threads": os.cpu_count() or 1, "width": 32, "size": 256, "batch": 4}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--write", type=Path, help="also write the table to this file")
    parser.add_argument("--side", choices=["ours", "default", "tuned"], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    settings = arguments.width, arguments.size, arguments.batch, arguments.threads
    if arguments.side == "ours":
        return ours(*settings)
    if arguments.side:
        return pytorchs(*settings, channels_last=arguments.side == "tuned")

    sides = ["ours", "default", "tuned"] if importlib.util.find_spec("torch") else ["ours"]
    rounds = [{side: run(side, arguments) for side in sides} for _ in range(arguments.rounds)]
    lines = [
        f"U-Net, width {arguments.width}, depth 3; {arguments.batch} images of 3 x {arguments.size} x {arguments.size}",
        f"({arguments.threads} threads, {arguments.rounds} rounds of {STEPS} steps each side)",
        "",
        "| side | seconds a step, median | PyTorch's time / ours, median (range) | computed by |",
        "|---|---|---|---|",
    ]
    for side in sides:
        seconds = [r[side][0] for r in rounds]
        ratios = [r[side][0] / r["ours"][0] for r in rounds]
        ratio = "" if side == "ours" else f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        name = {"ours": "minisegnet", "default": "PyTorch as it comes", "tuned": "PyTorch, tuned"}[side]
        lines.append(f"| {name} | {statistics.median(seconds):.3f} | {ratio} | {rounds[0][side][1]} |")
    print("\n".join(lines))
    if arguments.write:
        arguments.write.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
