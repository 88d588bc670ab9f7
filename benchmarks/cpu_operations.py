"""Each operation by itself over a range of shapes, forward and backward: ours beside tuned PyTorch, on 1 and 4 cores.

    python benchmarks/cpu_operations.py [--families 3x3 sampling] [--rounds 15] [--cores 1 4]

Best is the faster of PyTorch's two layouts, for each pass.
A side goes through a family of operations in a process of its own; the sides take turns. Ours is the operation as a
graph of one layer, compiled, timed within the graph's edges (`measuring.within`), and once more layer by layer. Where
results differ, no ratio is told.
The tables are printed, and written to results/cpu/operations.md after every round. Needs PyTorch (torch==2.13.0).
"""

import argparse
import importlib.util
import sys
from pathlib import Path
from statistics import median

from measuring.operations import IMAGES, families
from measuring.processes import SideFailed, ask, one_and_four
from measuring.report import RESULTS, command_line, duration, plural, settings, spread, write
from measuring.rounds import best, disagreement, times_faster
from measuring.sides import NAMES, OURS

PEERS = ["kept_memory", "channels_last"]


def table(family, cores, sides, rounds):
    """A row for each operation and pass.

    rounds   a list of {side: what `operation_side` answers}
    """
    ours = sides[0]
    lines = [
        f"## {family}, {plural(cores, 'core')}, {plural(len(rounds), 'round')}",
        "",
        f"| operation | maps | pass | {' | '.join(NAMES[side] for side in sides)} | our speed over the best |",
        f"|---|---|---|{'--:|' * len(sides)}--:|",
    ]
    for row, (operation, _, shape) in enumerate(families()[family]):
        answers = {side: answer[row] for side, answer in rounds[0].items()}
        problems = [
            f"{side}: {problem}"
            for side in sides
            if (problem := disagreement(answers[side]["numbers"], answers[ours]["numbers"]))
        ]
        for name in answers[ours]["seconds"]:
            seconds = [{side: answer[row]["seconds"][name] for side, answer in one.items()} for one in rounds]
            times = " | ".join(duration(median(s[side] for s in seconds)) for side in sides)
            peer = best(seconds, PEERS)
            ratio = spread(times_faster(seconds, ours, peer)) if peer else ""
            ratio = f"not reported, results differ: {'; '.join(problems)}" if problems else ratio
            lines.append(f"| {operation} | {shape[2]} x {shape[3]} | {name} | {times} | {ratio} |")
    return ["", *lines]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--families", nargs="+", choices=families(), default=list(families()))
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--cores", type=int, nargs="+", default=one_and_four(), help="1, and 4 or all there are")
    parser.add_argument("--seconds", type=float, default=0.2, help="of each operation in a process, 3 times at least")
    parser.add_argument("--folder", type=Path, default=RESULTS, help="where operations.md goes")
    arguments = parser.parse_args()
    sides = [OURS, "plain", *(PEERS if importlib.util.find_spec("torch") else [])]
    told = [
        f"{IMAGES} images; random upstream gradients, also by the images",
        "ours does not count how a graph's input and output change layout, which no operation within a network does",
    ]
    head = ["# Operations on the CPU", "", *settings(command_line(), told)]
    tables = {}
    try:
        for cores in arguments.cores:
            for family in arguments.families:
                rounds = []
                for _ in range(arguments.rounds):
                    options = {"family": family, "seconds": arguments.seconds}
                    rounds.append({side: ask("operation_side", side, cores, **options) for side in sides})
                    tables[family, cores] = table(family, cores, sides, rounds)
                    write(arguments.folder / "operations.md", head, *tables.values())
                print("\n".join(tables[family, cores]), flush=True)
    except SideFailed as problem:
        sys.exit(f"a side failed: {problem}")
    except KeyboardInterrupt:
        sys.exit(f"\nstopped; {arguments.folder} holds the rounds that were complete")


if __name__ == "__main__":
    main()
