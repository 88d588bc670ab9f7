"""A training step and inference of the lecture's networks, beside PyTorch as it comes and tuned, on 1 and 4 cores.

    python benchmarks/cpu_step.py [--networks unet segnet_basic] [--rounds 15] [--cores 1 4] [--plain] [--prototype DIR]

Each side is a process of its own; the sides take turns, and ratios are taken within a round. A process lasts for five
rounds and waits between its turns; tuned sides that are then clearly slower than the best of them take no further part.
Before a case is timed, a side must agree with ours on losses and gradient norms, or on scores, from the same weights. A
table a network is printed, and written to results/cpu/ as rounds are made, so it may be stopped at any time (Ctrl-C).
Needs PyTorch for the comparison (pip install torch==2.13.0), and g++ for torch.compile.
"""

import argparse
import importlib.util
import sys
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

from measuring.case import Case
from measuring.processes import SideFailed, ask, ask_prototype, one_and_four, start
from measuring.report import RESULTS, command_line, plural, settings, sides_table, write
from measuring.rounds import FAR, disagreement, far_behind
from measuring.sides import NAMES, OURS, TUNED

U_NET = {"width": 32, "depth": 3}
VGG = {"encoder": "vgg16"}
# Title, model, its arguments, shapes trained on, shapes predicted.
NETWORKS = {
    "unet": ("U-Net 32-64-128-256", "unet", U_NET, [(4, 3, 256, 256)], [(1, 3, 256, 256), (4, 3, 256, 256)]),
    "unet_200x312": ("U-Net at 200 x 312", "unet", U_NET, [(4, 3, 200, 312)], [(1, 3, 200, 312), (4, 3, 200, 312)]),
    "unet_2015": ("The paper's U-Net", "unet_2015", {}, [(1, 1, 572, 572)], [(1, 1, 572, 572)]),
    "segnet_basic": ("SegNet-Basic", "segnet_basic", {}, [(4, 3, 256, 256)], [(1, 3, 256, 256), (4, 3, 256, 256)]),
    "fcn8s": ("FCN-8s on VGG-16", "fcn8s", VGG, *[[(1, 3, 224, 224), (4, 3, 224, 224)]] * 2),
}


def cases(name):
    """Every case of a network: its training steps, then its predictions."""
    _, model, arguments, trained, predicted = NETWORKS[name]
    for shapes, training in ((trained, True), (predicted, False)):
        for shape in shapes:
            yield Case(model, arguments, shape, training)


class Comparison:
    """One case on so many cores: which sides can take part, what each round gave."""

    def __init__(self, case, cores, sides, prototype, seconds):
        self.case, self.cores, self.prototype, self.seconds = case, cores, prototype, seconds
        self.rounds, self.memory, self.software, self.notes = [], {}, {}, []
        self.sides = self.agreeing([side for side in sides if side != "frozen" or not case.training])
        if prototype and (case.model, case.arguments, case.shape, case.training) == (
            "unet", U_NET, (4, 3, 256, 256), True,
        ):  # fmt: skip
            self.sides.append("prototype")

    def agreeing(self, sides):
        """The sides that run and give the numbers of the first, ours.

        None if that does not run or PyTorch as it comes gives others; a tuned one that gives others is left out.
        """
        ours, answers = sides[0], {}
        for side in sides:
            try:
                answers[side] = ask("one_side", side, self.cores, task="check", case=asdict(self.case))
            except SideFailed as problem:
                self.notes.append(f"{NAMES[side]} does not run here: {problem}")
                if side == ours:
                    return []
                continue
            if problem := disagreement(answers[side], answers[ours]):
                problem = f"{NAMES[side]} does not compute what {NAMES[ours]} does: {problem}"
                if side not in TUNED:
                    self.notes.append(f"NOT REPORTED: {problem}")
                    return []
                self.notes.append(f"Left out: {problem}.")
                del answers[side]
        return list(answers)

    def add_rounds(self, count):
        """So many rounds with a new process a side; a side that fails ends the case.

        Afterwards the tuned sides that cannot be the best of them any more leave, so that the others have more rounds.
        """
        with ExitStack() as processes:
            turns = {}
            for _ in range(count):
                answers = {}
                for side in self.sides:
                    try:
                        if side not in turns:  # not before: who is not yet ready must not disturb those before it
                            turns[side] = self._start(side, processes)
                        answers[side] = turns[side]()
                    except SideFailed as problem:
                        self.notes.append(f"Ended before its last round: {side} failed: {problem}")
                        self.sides = []
                        return
                for side, answer in answers.items():
                    self.memory[side] = max(self.memory.get(side, 0), answer["memory"])
                    self.software[side] = answer["software"]
                self.rounds.append({side: answer["seconds"] for side, answer in answers.items()})
        slow = far_behind(self.rounds, TUNED)
        self.sides = [side for side in self.sides if side not in slow]

    def _start(self, side, processes):
        """What makes a turn of this side, in a process that ends with `processes`."""
        if side == "prototype":
            return lambda: ask_prototype(self.prototype, self.cores)
        options = {"task": "time", "case": asdict(self.case), "seconds": self.seconds}
        return processes.enter_context(start("one_side", side, self.cores, **options)).turn

    def report(self):
        title = f"## {str(self.case).capitalize()}, {plural(self.cores, 'core')}, {plural(len(self.rounds), 'round')}"
        table = sides_table(self.rounds, self.memory, self.software) if self.rounds else []
        return ["", title, "", *table, *[line for note in self.notes for line in ("", note)]]


def measure(name, arguments, sides):
    """Run every case of a network, writing the report after each set of rounds; whether all could be reported."""
    told = [
        f"a process lasts for {arguments.turns} rounds, waiting between its turns: in each {arguments.seconds} s of "
        "steps, 1 at least, after 2 in its first turn and 1 in each other that do not count; their median",
        f"tuned sides more than {FAR:.0%} slower than the best of them after such a set of rounds take no further part",
    ]
    head = [f"# {NETWORKS[name][0]}, on the CPU", "", *settings(command_line(), told)]
    path, done = arguments.folder / f"{name}.md", []
    for cores in arguments.cores:
        for case in cases(name):
            comparison = Comparison(case, cores, sides, arguments.prototype, arguments.seconds)
            done.append(comparison)
            while comparison.sides and len(comparison.rounds) < arguments.rounds:
                comparison.add_rounds(min(arguments.turns, arguments.rounds - len(comparison.rounds)))
                write(path, head, *[one.report() for one in done])
            print("\n".join(comparison.report()), flush=True)
    write(path, head, *[one.report() for one in done])
    return all(comparison.rounds for comparison in done)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--turns", type=int, default=5, help="rounds that a process lasts for")
    parser.add_argument("--cores", type=int, nargs="+", default=one_and_four(), help="1, and 4 or all there are")
    parser.add_argument("--seconds", type=float, default=1.0, help="of steps in each turn, 1 step at least")
    parser.add_argument("--plain", action="store_true", help="time our layers one after another, too")
    parser.add_argument("--prototype", type=Path, help="folder of unet_np.py and wino2.py, a further side for U-Net")
    parser.add_argument("--folder", type=Path, default=RESULTS, help="where the tables go")
    arguments = parser.parse_args()
    sides = [OURS, *["plain"] * arguments.plain]
    if importlib.util.find_spec("torch"):
        sides += ["pytorch", *TUNED]
    try:
        reported = [measure(name, arguments, sides) for name in arguments.networks]
    except KeyboardInterrupt:
        sys.exit(f"\nstopped; {arguments.folder} holds the rounds that were complete")
    sys.exit(not all(reported))


if __name__ == "__main__":
    main()
