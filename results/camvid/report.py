"""CamVid: FCN-8s on SqueezeNet, its encoder pretrained, random, or pretrained and frozen; table, curves and panel.

    python results/camvid/report.py CAMVID_FOLDER SQUEEZENET_WEIGHTS [--out results/camvid] [--runs runs/camvid]

Trains what is not there yet, one run after another on one thread each; runs that are complete are only reported.
The panel shows labels and predictions, not the data set's own images.
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from minisegnet import cli
from minisegnet.data import open_dataset
from minisegnet.metrics import ConfusionMatrix
from minisegnet.trained import load_trained
from minisegnet.training.evaluation import count, predictions
from minisegnet.training.pictures import draw_panel, running_mean, save_picture

SEEDS = (0, 1, 2)
LOGS = ("log.csv", "validation.csv")
TRAINING = "--steps 2700 --batch-size 8 --validate-every 10 --threads 1"
WAYS = {  # of starting the encoder: what is typed, and a colour
    "pretrained": ("--init {weights}", "#1f77b4"),
    "random": ("", "#d95f02"),
    "frozen": ("--init {weights} --freeze features", "#1b7f4d"),
}
TOLD = {
    "pretrained": "pretrained, trained end to end",
    "random": "random, trained end to end",
    "frozen": "pretrained and frozen",
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with train, trainannot, val and valannot")
    parser.add_argument("weights", type=Path, help="SqueezeNet 1.1 trained on ImageNet")
    parser.add_argument("--out", type=Path, default=Path("results/camvid"))
    parser.add_argument("--runs", default="runs/camvid", help="folder of the runs")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS), help="which rows (all)")
    arguments = parser.parse_args()
    commands = {
        (way, seed): f"train fcn8s --data camvid:{arguments.data} {start.format(weights=arguments.weights)} {TRAINING}"
        f" --seed {seed} --out {arguments.runs}/{way}-{seed}"
        for way, (start, _) in WAYS.items()
        if way in arguments.ways
        for seed in SEEDS
    }
    for (way, seed), command in commands.items():
        if not (Path(arguments.runs) / f"{way}-{seed}" / "last.npz").exists() and (code := cli.main(command.split())):
            sys.exit(code)
    arguments.out.mkdir(parents=True, exist_ok=True)
    report(arguments, commands)


def report(arguments, commands):
    validation = open_dataset(f"camvid:{arguments.data}", "val")
    scores, shown, minutes, curves = {}, {}, {}, {}
    for way, seed in commands:
        folder = Path(arguments.runs) / f"{way}-{seed}"
        scores[way, seed], shown[way, seed] = evaluate(folder / "last.npz", validation)
        log, progress = (np.genfromtxt(folder / name, delimiter=",", names=True) for name in LOGS)
        minutes[way, seed] = log["seconds"].sum() / 60
        curves[way, seed] = log, progress
        print(f"{way} {seed}: mean IoU {scores[way, seed].mean_iou:.4f}, {minutes[way, seed]:.1f} minutes")
    write_page(arguments.out / "README.md", validation, scores, minutes, commands)
    draw_curves(curves, arguments.out / "curves.png")
    panels(shown, validation, arguments.out / "panel.png")
    print(f"wrote {arguments.out}/README.md, curves.png, panel.png")


def evaluate(checkpoint, dataset):
    """The confusion matrix of the last weights, and the labels predicted for every image."""
    graph, recipe = load_trained(checkpoint)
    confusion, labels = ConfusionMatrix(len(dataset.classes), dataset.ignore_index), []
    for sample, probabilities in predictions(graph, dataset, recipe.probabilities):
        labels.append(probabilities.argmax(axis=0).astype(np.int32))
        count(confusion, sample, labels[-1])
    return confusion, labels


def write_page(path, dataset, scores, minutes, commands):
    def spread(way, measure):
        values = [measure(scores[way, seed]) for seed in SEEDS]
        return f"{np.mean(values):.4f} ({min(values):.4f} to {max(values):.4f})"

    measures = {
        "global accuracy": lambda c: c.pixel_accuracy,
        "class average": lambda c: c.mean_accuracy,
        "mean IoU": lambda c: c.mean_iou,
    }
    gaps = [scores["pretrained", seed].mean_iou - scores["random", seed].mean_iou for seed in SEEDS]
    ways = list(dict.fromkeys(way for way, _ in commands))
    took = {way: [minutes[way, seed] for seed in SEEDS] for way in ways}
    lines = [
        "# CamVid at half size: what a pretrained encoder is worth",
        "",
        "FCN-8s on SqueezeNet 1.1, 367 images of 240 x 180 to train on, scores on the 101 of **val** with the last",
        "weights of each run (nothing was chosen on val). Each row is the mean of three seeds, with the range.",
        "",
        f"| encoder | {' | '.join(measures)} | minutes on 1 core |",
        f"|---|{'---|' * (len(measures) + 1)}",
        *(
            f"| {TOLD[way]} | {' | '.join(spread(way, measure) for measure in measures.values())} | "
            f"{min(took[way]):.1f} to {max(took[way]):.1f} |"
            for way in ways
        ),
        "",
        f"Pretrained ahead of random in mean IoU: {np.mean(gaps):.4f}"
        f" (seed by seed {', '.join(f'{gap:.4f}' for gap in gaps)}).",
        "",
        "IoU of each class, mean of three seeds:",
        "",
        f"| encoder | {' | '.join(dataset.classes)} |",
        f"|---|{'---|' * len(dataset.classes)}",
        *(
            f"| {TOLD[way]} | "
            + " | ".join(f"{iou:.3f}" for iou in np.mean([scores[way, seed].iou for seed in SEEDS], axis=0))
            + " |"
            for way in ways
        ),
        "",
        "What was run, for seeds 0, 1 and 2 (class weights, joint scaling, crops, mirroring and the schedule are the",
        "recipe's, see `minisegnet.training.recipes`):",
        "",
        "```",
        *(f"minisegnet {commands[way, SEEDS[0]]}" for way in ways),
        "python results/camvid/report.py camvid_half squeezenet_v1.1_notop_oihw.npz    # all of them, and this page",
        "```",
        "",
        "![loss and mean IoU](curves.png)",
        "",
        "![truth and predictions](panel.png)",
        "",
    ]
    path.write_text("\n".join(lines))


def draw_curves(curves, path):
    """Training loss and validation mean IoU of all runs over their steps, one colour for each way of starting."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    loss, score = figure.subplots(1, 2)
    for (way, seed), (log, validation) in curves.items():
        style = {"color": WAYS[way][1], "alpha": 0.8, "label": TOLD[way] if seed == SEEDS[0] else None}
        loss.plot(log["step"], running_mean(log["loss"], 100), linewidth=1.3, **style)
        score.plot(validation["step"], validation["mean_iou"], marker="o", markersize=3, linewidth=1.3, **style)
    loss.set(xlabel="step", ylabel="training loss, mean of 100 steps", yscale="log")
    score.set(xlabel="step", ylabel="mean IoU on val", ylim=(0, None))
    score.legend(frameon=False, loc="lower right")
    for axes in (loss, score):
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    save_picture(figure, path)


def panels(shown, dataset, path):
    """A few images' truth, prediction from random weights and prediction from pretrained ones."""
    chosen = range(5, len(dataset), len(dataset) // 4)
    first = SEEDS[0]
    samples = []
    for index in chosen:
        random = dataset.palette[shown["random", first][index]].transpose(2, 0, 1).astype(np.float32) / 255
        samples.append(replace(dataset[index], image=random))
    predicted = [shown["pretrained", first][index] for index in chosen]
    column = "prediction, random encoder"
    draw_panel(
        samples, predicted, dataset.palette, path, dataset.classes, dataset.ignore_index, first_column=column
    )


if __name__ == "__main__":
    main()
