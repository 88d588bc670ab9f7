"""ISBI 2012: train a U-Net on slices 0 to 23, report once on slices 24 to 29, write the table, the curve and the panel.

    python results/isbi2012/report.py PATH_OF_ISBI2012 [--out results/isbi2012] [--run runs/isbi2012]

A run that is in the folder already is gone on with, or, where it is complete, only reported. The panel shows
probabilities and labels, not the data set's own images.
"""

import argparse
import csv
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from minisegnet import cli
from minisegnet.data import open_dataset
from minisegnet.metrics import best_rand_score, interior_rand_score, pixel_error
from minisegnet.trained import load_trained
from minisegnet.training.pictures import draw_panel

TRAIN, REPORT = "0-23", "24-29"
RECIPE = (
    "--width 24 --depth 4 --crop 256 --augment flips rotate90 elastic colour "
    "--steps 1400 --lr 0.002 --warm-up 50 --threads 4 --seed 0"
)
INTERIOR = 1  # the class "interior"; 0 is the membrane


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with train/image and train/label")
    parser.add_argument("--out", type=Path, default=Path("results/isbi2012"))
    parser.add_argument("--run", type=Path, default=Path("runs/isbi2012"))
    arguments = parser.parse_args()

    command = f"minisegnet train unet --data isbi:{arguments.data} --split {TRAIN} --val-split none {RECIPE}"
    code = cli.main([*command.split()[1:], "--out", str(arguments.run), "--resume"])
    if code:
        sys.exit(code)
    arguments.out.mkdir(parents=True, exist_ok=True)
    graph, recipe = load_trained(arguments.run / "last.npz")
    dataset = open_dataset(f"isbi:{arguments.data}", REPORT)
    samples = [dataset[i] for i in range(len(dataset))]
    rows = []
    for symmetries in (False, True):
        interior = np.stack([recipe.probabilities(graph, s.image, symmetries=symmetries)[INTERIOR] for s in samples])
        rows.append(scores("mean of the 8 turns" if symmetries else "one pass", interior, samples))
        print(rows[-1])
    write_table(arguments.out / "README.md", rows, arguments.run / "log.csv")
    shutil.copy(arguments.run / "curves.png", arguments.out / "curves.png")
    shown = [replace(s, image=p[None]) for s, p in zip(samples, interior, strict=True)]
    predicted = [(p > 0.5).astype(np.int32) for p in interior]
    draw_panel(
        shown[::2], predicted[::2], dataset.palette, arguments.out / "panel.png", dataset.classes,
        first_column="probability of interior",
    )  # fmt: skip
    print(f"wrote {arguments.out}/README.md, curves.png, panel.png")


def scores(name, interior, samples):
    """Name, pixel error at 1/2, foreground-restricted Rand score at 1/2 and at its best threshold."""
    truth = np.stack([s.labels == INTERIOR for s in samples])
    best, threshold = best_rand_score(interior, truth)
    return name, pixel_error(interior, truth), interior_rand_score(interior, truth).score, best.score, threshold


def write_table(path, rows, log):
    with open(log, newline="") as file:
        steps = list(csv.DictReader(file))
    minutes = sum(float(step["seconds"]) for step in steps) / 60
    lines = [
        "# ISBI 2012: membranes under the electron microscope",
        "",
        f"A U-Net of width 24 and depth 4, from scratch on slices {TRAIN}; {len(steps)} steps of four 256 x 256 crops,",
        f"{minutes:.0f} minutes on 4 cores. Nothing was chosen on slices {REPORT}, which are reported here, once.",
        "",
        "```",
        f"minisegnet train unet --data isbi:isbi2012 --split {TRAIN} --val-split none --out runs/isbi2012 \\",
        f"    {RECIPE}",
        "python results/isbi2012/report.py isbi2012   # trains as above, then writes this page and its pictures",
        "```",
        "",
        "| prediction | pixel error | Rand score at 1/2 | best Rand score | at threshold |",
        "|---|---|---|---|---|",
        *(f"| {name} | {error:.4f} | {rand:.4f} | {best:.4f} | {at:.2f} |" for name, error, rand, best, at in rows),
        "",
        "Pixel error is the share of wrong pixels at probability 1/2. The Rand score is the foreground-restricted one",
        "(`minisegnet.metrics.rand`). For comparison: the U-Net paper reports a pixel error of 0.0611, on the",
        "challenge's hidden slices.",
        "",
        "![the training loss](curves.png)",
        "",
        "![truth, prediction and errors](panel.png)",
        "",
    ]
    path.write_text("\n".join(lines))


if __name__ == "__main__":
    main()
