"""Cost against pixels: a training step and inference of U-Net on one image of 64 to 1024 pixels a side.

    python benchmarks/cpu_pixels.py [--sides 64 128 256 512 1024] [--rounds 5] [--cores 1]

A table and a picture are written to results/cpu/pixels.md and .png after every size, with the exponent k of the law
seconds = c pixels^k that fits best: at 1 the cost of a pixel does not depend on the image's size.
PyTorch's tuned step stands beside it where it is installed (pip install torch==2.13.0).
"""

import argparse
import importlib.util
import sys
from dataclasses import asdict
from pathlib import Path
from statistics import median

from measuring.case import Case
from measuring.processes import SideFailed, ask
from measuring.report import RESULTS, command_line, duration, plural, settings, write
from measuring.rounds import exponent
from measuring.sides import NAMES, OURS

PIXELS = [64, 96, 128, 192, 256, 384, 512, 768, 1024]
TASKS = {True: "training step", False: "inference"}


def measure(size, training, sides, arguments):
    """{side: (median seconds, largest peak memory)} over the rounds, the sides in turn."""
    case = asdict(Case("unet", {"width": 32, "depth": 3}, (1, 3, size, size), training))
    options = {"task": "time", "case": case, "seconds": arguments.seconds}
    rounds = [
        {side: ask("one_side", side, arguments.cores, **options) for side in sides} for _ in range(arguments.rounds)
    ]
    return {
        side: (median(r[side]["seconds"] for r in rounds), max(r[side]["memory"] for r in rounds)) for side in sides
    }


def exponents(sizes, measured, training, sides):
    return {side: exponent([s * s for s in sizes], [measured[s, training][side][0] for s in sizes]) for side in sides}


def table(sizes, measured, sides):
    """A part for each task, a row for each size: seconds, nanoseconds a pixel and peak memory of each side."""
    lines = []
    for training, task in TASKS.items():
        columns = "".join(f" {NAMES[side]} | a pixel | peak memory |" for side in sides)
        lines += ["", f"## {task.capitalize()}", "", f"| image |{columns}", f"|---|{'--:|--:|--:|' * len(sides)}"]
        for size in sizes:
            cells = [
                f" {duration(seconds)} | {seconds / size**2 * 1e9:.0f} ns | {memory / 2**20:.0f} MiB |"
                for seconds, memory in (measured[size, training][side] for side in sides)
            ]
            lines.append(f"| {size} x {size} |{''.join(cells)}")
        if len(sizes) > 1:
            fitted = exponents(sizes, measured, training, sides)
            told = ", ".join(f"{NAMES[side]} {k:.2f}" for side, k in fitted.items())
            lines += ["", f"Exponent of the time in pixels, {sizes[0]} to {sizes[-1]} a side: {told}."]
    return lines


def draw(path, sizes, measured, sides, cores):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 5), layout="constrained")
    for axes, (training, task) in zip(figure.subplots(1, 2), TASKS.items(), strict=True):
        fitted = exponents(sizes, measured, training, sides)
        pixels = [size**2 for size in sizes]
        for side, marker in zip(sides, "os", strict=False):
            seconds = [measured[size, training][side][0] for size in sizes]
            axes.loglog(pixels, seconds, marker=marker, label=f"{NAMES[side]}, exponent {fitted[side]:.2f}")
        first = measured[sizes[-1], training][sides[0]][0]
        axes.loglog(pixels, [first * p / pixels[-1] for p in pixels], "k:", linewidth=1, label="linear in pixels")
        axes.set(title=f"{task.capitalize()}, {plural(cores, 'core')}", xlabel="pixels", ylabel="seconds")
        axes.set_xticks(pixels, [f"{size}²" for size in sizes], rotation=60)
        axes.minorticks_off()
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.25))  # beside the curves it would cover some of them
    figure.savefig(path, dpi=120)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sides", type=int, nargs="+", default=PIXELS, help="pixels a side, each measured")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cores", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=0.5, help="of steps in each process, 1 step at least")
    parser.add_argument("--folder", type=Path, default=RESULTS, help="where pixels.md and pixels.png go")
    arguments = parser.parse_args()
    sides = [OURS, *["channels_last"] * bool(importlib.util.find_spec("torch"))]
    told = [f"{plural(arguments.cores, 'core')}, {plural(arguments.rounds, 'round')}, medians"]
    head = ["# Cost of U-Net 32-64-128-256 against pixels, one image", "", *settings(command_line(), told)]
    measured, done = {}, []
    try:
        for size in sorted(arguments.sides):
            for training in TASKS:
                measured[size, training] = measure(size, training, sides, arguments)
            done.append(size)
            write(arguments.folder / "pixels.md", head, table(done, measured, sides), ["", "![time](pixels.png)"])
            if len(done) > 1:
                draw(arguments.folder / "pixels.png", done, measured, sides, arguments.cores)
    except SideFailed as problem:
        sys.exit(f"a side failed: {problem}")
    except KeyboardInterrupt:
        print(f"\nstopped; {arguments.folder} holds the sizes that were complete")
    print("\n".join(table(done, measured, sides)))


if __name__ == "__main__":
    main()
