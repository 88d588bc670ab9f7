"""How fast the emulator is: multiply-adds a second of each rung of conv2d, and how long each .cu file takes to compile.

    python benchmarks/emulator_speed.py [--size 64] [--channels 64] [--rounds 5] [--no-compiling]

Files are compiled into an empty cache, one after another, for fast and for check mode; the machine that all of them
share is compiled once for each. Rungs run in fast mode on all cores; the best of the rounds counts.
"""

import argparse
import os
import tempfile
import time

import numpy as np

from minisegnet.cuda import convolution, ladder
from minisegnet.emulator import library
from minisegnet.emulator.launch import cores
from minisegnet.kernel_files import kernel_folder


def seconds(call):
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def rungs(channels, size, rounds):
    """Forward, gradient by input and gradient by weight of a 3 x 3 convolution on one image."""
    rng = np.random.default_rng(0)
    x, dy = (rng.standard_normal((1, channels, size, size), np.float32) for _ in range(2))
    weight = rng.standard_normal((channels, channels, 3, 3), np.float32)
    bias = rng.standard_normal(channels, np.float32)
    sizes = convolution.Sizes.of(x.shape, (size, size), weight, 1, 1, 1)
    multiply_adds = weight.size * size * size
    print(f"{cores()} cores, {channels} channels of {size} x {size}, G multiply-adds a second")
    print(f"{'rung':20} {'forward':>8} {'by input':>9} {'by weight':>10}")
    for rung in ladder.RUNGS:
        products = [
            lambda rung=rung: convolution.gather(x, weight, bias, sizes, rung),
            lambda rung=rung: convolution.scatter(dy, weight, None, sizes, rung),
            lambda rung=rung: convolution.correlate(dy, x, sizes, rung),
        ]
        for product in products:
            product()  # compiled, and its memory touched
        best = [min(seconds(product) for _ in range(rounds)) for product in products]
        forward, by_input, by_weight = (multiply_adds / time / 1e9 for time in best)
        print(f"{rung:20} {forward:8.2f} {by_input:9.2f} {by_weight:10.2f}", flush=True)


def compiling():
    """Seconds for each file."""
    modes = ("fast", "check")
    files = sorted(kernel_folder().glob("*.cu"))
    total = np.zeros(2)
    print(f"{'seconds to compile':45} {'fast':>6} {'check':>6}")
    row("the machine, once", [seconds(lambda mode=mode: library.machine(mode)) for mode in modes])
    for file in files:
        times = [seconds(lambda file=file, mode=mode: library.load(file, mode)) for mode in modes]
        total += times
        row(file.name, times)
    row(f"all {len(files)} files", total)


def row(name, times):
    print(f"{name:45} {times[0]:6.2f} {times[1]:6.2f}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=64, help="height and width of the image")
    parser.add_argument("--channels", type=int, default=64, help="channels in and out")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--no-compiling", action="store_true", help="time the rungs alone")
    options = parser.parse_args()
    if not options.no_compiling:
        with tempfile.TemporaryDirectory() as empty:
            os.environ["MINISEGNET_CACHE"] = empty
            compiling()
        print()
    rungs(options.channels, options.size, options.rounds)


if __name__ == "__main__":
    main()
