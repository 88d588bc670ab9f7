"""ISBI 2012: train a U-Net on slices 0 to 23, report on slices 24 to 29, write the table, the curve and the panel.

    python results/isbi2012/report.py PATH_OF_ISBI2012 [--out results/isbi2012] [--run runs/isbi2012]

Runs that are complete are only reported. The panel shows probabilities and labels, not the data set's own images.
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from minisegnet import cli
from minisegnet.data import open_dataset
from minisegnet.engine.engine import Engine
from minisegnet.metrics import best_rand_score, interior_rand_score, pixel_error
from minisegnet.trained import load_trained
from minisegnet.training.pictures import draw_curves, draw_panel

TRAIN, CHOOSE, REPORT = "0-23", "20-23", "24-29"
TRAINING = (
    "--width 32 --depth 4 --option running_statistics=False --crop 256 --batch-size 1 --threads 3 "
    "--augment flips rotate90 --steps 9800 --lr 0.0015 --warm-up 50 --seed 0"
)
THRESHOLDS = np.arange(0.3, 0.71, 0.05)  # of the interior's probability; the one best on CHOOSE is used
HISTORY = """\
With the threshold and the turns chosen on slices 20-23 (0.0643 there, one pass 0.0654) the error is 0.0747, below the
0.075 that was aimed at, and above the 0.068 that was hoped for. These slices were not looked at once, though: four
earlier runs were reported on them, with thresholds chosen in the same way. Width 24 and bilinear elastic deformation
with changed brightness gave 0.0776 in the mean of the turns at 1/2 after 1400 steps, and 0.0753 after 300 more without
either; 2100 steps with cubic elastic deformation gave 0.0756; 4200 steps of three crops at width 32 gave 0.0747 at
1/2 and 0.0761 at the chosen threshold. What this run does otherwise, one crop a step, no running statistics, no
elastic deformation, was decided on slices 20-23 after training on 0-19: 1800 crops gave 0.0810 there in steps of four
by running statistics, and 0.0750 in steps of one by each slice's own. By the wall, start and end of the command
included, this run took 51.2 minutes."""
INTERIOR = 1  # the class "interior"; 0 is the membrane


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with train/image and train/label")
    parser.add_argument("--out", type=Path, default=Path("results/isbi2012"))
    parser.add_argument("--run", type=Path, default=Path("runs/isbi2012"), help="folder of the run")
    arguments = parser.parse_args()
    data = f"--data isbi:{arguments.data} --split {TRAIN} --val-split none"
    command = f"train unet {data} {TRAINING} --out {arguments.run}"
    if not (arguments.run / "last.npz").exists() and (code := cli.main(command.split())):
        sys.exit(code)
    arguments.out.mkdir(parents=True, exist_ok=True)
    report(arguments, command)


def report(arguments, command):
    graph, recipe = load_trained(arguments.run / "last.npz")
    rows = []
    for name, symmetries in (("one pass", False), ("mean of the 8 turns", True)):
        with Engine(graph, workers=None) as engine, graph.accelerated(engine):
            chosen_on, on = (
                predict(graph, recipe, open_dataset(f"isbi:{arguments.data}", slices), symmetries)
                for slices in (CHOOSE, REPORT)
            )
        threshold = min(THRESHOLDS, key=lambda t: pixel_error(chosen_on[1], chosen_on[2], t))
        _, rand_threshold = best_rand_score(*chosen_on[1:])
        samples, interior, truth = on
        rows.append((
            name, pixel_error(interior, truth), f"{pixel_error(interior, truth, threshold):.4f} (at {threshold:.2f})",
            f"{interior_rand_score(interior, truth, rand_threshold).score:.4f} (at {rand_threshold:.2f})",
        ))  # fmt: skip
        print(rows[-1])
    log = np.genfromtxt(arguments.run / "log.csv", delimiter=",", names=True)
    empty = {"step": np.zeros(0), "mean_iou": np.zeros(0)}
    draw_curves(log, empty, arguments.out / "curves.png")
    write_table(arguments.out / "README.md", rows, log, command)
    shown = [replace(s, image=p[None]) for s, p in zip(samples, interior, strict=True)][::2]
    predicted = [(p > threshold).astype(np.int32) for p in interior][::2]
    palette, classes = np.array(recipe.palette, np.uint8), recipe.classes
    column = "probability of interior"
    draw_panel(shown, predicted, palette, arguments.out / "panel.png", classes, first_column=column)
    print(f"wrote {arguments.out}/README.md, curves.png, panel.png")


def predict(graph, recipe, dataset, symmetries):
    """The samples, the probability of the interior in each, and the truth, (slices, H, W)."""
    samples = [dataset[i] for i in range(len(dataset))]
    interior = np.stack([recipe.probabilities(graph, s.image, symmetries=symmetries)[INTERIOR] for s in samples])
    return samples, interior, np.stack([s.labels == INTERIOR for s in samples])


def write_table(path, rows, log, command):
    minutes = log["seconds"].sum() / 60
    lines = [
        "# ISBI 2012: membranes under the electron microscope",
        "",
        f"A U-Net of width 32 and depth 4, from scratch on slices {TRAIN}: {len(log['step'])} steps of one crop of",
        f"256 x 256, {minutes:.1f} minutes on 3 cores. Batch normalisation keeps no running statistics: a slice is",
        f"predicted by its own, as crops are trained on. Thresholds were chosen on slices {CHOOSE}, which were trained",
        f"on too; the table is of slices {REPORT}.",
        "",
        "```",
        f"minisegnet {command}",
        "python results/isbi2012/report.py isbi2012      # trains so, then writes this page and its pictures",
        "```",
        "",
        "| prediction | pixel error at 1/2 | pixel error | Rand score |",
        "|---|---|---|---|",
        *(f"| {name} | {at_half:.4f} | {error} | {rand} |" for name, at_half, error, rand in rows),
        "",
        HISTORY,
        "",
        "Pixel error is the share of wrong pixels. The Rand score is the foreground-restricted one",
        "(`minisegnet.metrics.rand`), without thinning of the borders. For comparison: the U-Net paper reports a pixel",
        "error of 0.0611, on the challenge's hidden slices.",
        "",
        "![the training loss](curves.png)",
        "",
        "![truth, prediction and errors](panel.png)",
        "",
    ]
    path.write_text("\n".join(lines))


if __name__ == "__main__":
    main()
