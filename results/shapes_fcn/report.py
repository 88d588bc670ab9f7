"""FCN-32s, 16s and 8s on the built-in shapes at equal training: what finer scores add; table and curves.

    python results/shapes_fcn/report.py [--out results/shapes_fcn] [--runs runs/shapes_fcn]

Trains what is not there yet, one run after another on one thread each; runs that are complete are only reported.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

from minisegnet import cli
from minisegnet.data import open_dataset
from minisegnet.trained import load_trained
from minisegnet.training.evaluation import evaluate

NETWORKS = ("fcn32s", "fcn16s", "fcn8s")
SEEDS = (0, 1, 2)
DATA, SIZE = "shapes", 128
TRAINING = f"--data {DATA} --data-option size={SIZE} --steps 1000 --batch-size 8 --val-split none --threads 1"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("results/shapes_fcn"))
    parser.add_argument("--runs", default="runs/shapes_fcn", help="folder of the runs")
    arguments = parser.parse_args()
    commands = {
        (network, seed): f"train {network} {TRAINING} --seed {seed} --out {arguments.runs}/{network}-{seed}"
        for seed in SEEDS
        for network in NETWORKS
    }
    for (network, seed), command in commands.items():
        folder = Path(arguments.runs) / f"{network}-{seed}"
        if not (folder / "last.npz").exists() and (code := cli.main(command.split())):
            sys.exit(code)
    validation = open_dataset(DATA, "val", size=SIZE)
    scores, minutes = {}, {}
    for network, seed in commands:
        folder = Path(arguments.runs) / f"{network}-{seed}"
        graph, recipe = load_trained(folder / "last.npz")
        scores[network, seed] = evaluate(graph, validation, recipe.probabilities)
        minutes[network, seed] = np.genfromtxt(folder / "log.csv", delimiter=",", names=True)["seconds"].sum() / 60
        print(f"{network} {seed}: mean IoU {scores[network, seed].mean_iou:.4f}")
    arguments.out.mkdir(parents=True, exist_ok=True)
    write_page(arguments.out / "README.md", scores, minutes, commands, len(validation))
    print(f"wrote {arguments.out}/README.md")


def write_page(path, scores, minutes, commands, images):
    def cell(network, seed):
        return f"{scores[network, seed].mean_iou:.4f}"

    def mean(network):
        return np.mean([scores[network, seed].mean_iou for seed in SEEDS])

    def accuracy(network):
        return np.mean([scores[network, seed].pixel_accuracy for seed in SEEDS])

    steps = [(NETWORKS[i], NETWORKS[i + 1]) for i in range(len(NETWORKS) - 1)]
    lines = [
        "# FCN-32s, 16s and 8s on the shapes set",
        "",
        f"The laptop encoder from random weights, {SIZE} x {SIZE} pixels, the same images in the same order for each",
        f"network of a seed; mean IoU on {images} other images with the last weights.",
        "",
        f"| network | {' | '.join(f'seed {seed}' for seed in SEEDS)} | mean | pixel accuracy | minutes on 1 core |",
        f"|---|{'---|' * (len(SEEDS) + 3)}",
        *(
            f"| {network} | {' | '.join(cell(network, seed) for seed in SEEDS)} | {mean(network):.4f} | "
            f"{accuracy(network):.4f} | {np.mean([minutes[network, seed] for seed in SEEDS]):.1f} |"
            for network in NETWORKS
        ),
        "",
        *(
            f"{finer} is ahead of {coarser} by at least "
            f"{min(scores[finer, seed].mean_iou - scores[coarser, seed].mean_iou for seed in SEEDS):.4f} in every seed."
            for coarser, finer in steps
        ),
        "",
        "```",
        *(f"minisegnet {commands[network, SEEDS[0]]}" for network in NETWORKS),
        "python results/shapes_fcn/report.py      # all of them, and this page",
        "```",
        "",
    ]
    path.write_text("\n".join(lines))


if __name__ == "__main__":
    main()
