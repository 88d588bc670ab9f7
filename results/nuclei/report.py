"""Nuclei: train a Mask R-CNN on the images of train, report once on those of val, write the table, curve and panel.

    python results/nuclei/report.py PATH_OF_NUCLEI [--out results/nuclei] [--run runs/nuclei]

The last 40 images of train are not trained on: the score from which on a detection counts is chosen there. A run that
is complete is only reported. The panel shows outlines on what the detector saw.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

from minisegnet import cli
from minisegnet.data import open_dataset
from minisegnet.data.objects import objects_of
from minisegnet.metrics import DATA_SCIENCE_BOWL, InstanceMatching
from minisegnet.trained import load_trained
from minisegnet.training.checkpoint import save_checkpoint
from minisegnet.training.detection_evaluation import DetectionEvaluation, as_map, surest
from minisegnet.training.detector_trainer import draw_detections
from minisegnet.training.loop import prefixed
from minisegnet.training.pictures import draw_curves

TRAIN, CHOOSE, REPORT = "train[:-40]", "train[-40:]", "val"
TRAINING = "--steps 12000 --threads 3 --seed 0"
SCORES = np.arange(0.3, 0.91, 0.05)
SHOWN = 5


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with images, labels, train.txt and val.txt")
    parser.add_argument("--out", type=Path, default=Path("results/nuclei"))
    parser.add_argument("--run", type=Path, default=Path("runs/nuclei"), help="folder of the run")
    arguments = parser.parse_args()
    command = f"train mask_rcnn --data nuclei:{arguments.data} --split {TRAIN} --val-split none {TRAINING}"
    command += f" --out {arguments.run}"
    if not (arguments.run / "last.npz").exists() and (code := cli.main(command.split())):
        sys.exit(code)
    arguments.out.mkdir(parents=True, exist_ok=True)
    report(arguments, command)


def report(arguments, command):
    detector, recipe = load_trained(arguments.run / "last.npz")
    with detector.accelerated():
        sure = chosen_score(found_in(detector, recipe, arguments.data, CHOOSE))
        found = found_in(detector, recipe, arguments.data, REPORT)
    evaluation = DetectionEvaluation(recipe.classes, with_masks=True, sure=sure)
    matching = InstanceMatching(DATA_SCIENCE_BOWL)
    for sample, detections in found:
        evaluation.add(sample, detections)
        size = sample.image.shape[1:]
        matching.add(as_map(objects_of(sample)), surest(detections, sure).as_instances(size))
    log = np.genfromtxt(arguments.run / "log.csv", delimiter=",", names=True)
    empty = {"step": np.zeros(0), "mask_ap50": np.zeros(0)}
    draw_curves(log, empty, arguments.out / "curves.png", ("mask_ap50", "mask AP50"))
    shown = [found[i] for i in np.linspace(0, len(found) - 1, SHOWN).round().astype(int)]
    draw_detections([(s, surest(d, sure)) for s, d in shown], recipe.classes, arguments.out / "panel.png")
    weights = prefixed("model", detector.arrays())
    save_checkpoint(arguments.out / "weights.npz", weights, {"network": detector.name, **recipe.metadata})
    write_page(arguments.out / "README.md", evaluation, matching, log, command, sure)
    print((arguments.out / "README.md").read_text())


def found_in(detector, recipe, path, split):
    """Each sample of a split with its detections, all of them."""
    dataset = open_dataset(f"nuclei:{path}", split)
    return [(sample, recipe.detections(detector, sample.image)) for sample in (dataset[i] for i in range(len(dataset)))]


def chosen_score(found):
    """The score from which on detections match best, in the mean over images."""
    means = []
    for score in SCORES:
        matching = InstanceMatching()
        for sample, detections in found:
            matching.add(as_map(objects_of(sample)), surest(detections, score).as_instances(sample.image.shape[1:]))
        means.append(matching.mean[0])
        print(f"score {score:.2f}: {means[-1]:.4f}", flush=True)
    return float(SCORES[int(np.argmax(means))])


def write_page(path, evaluation, matching, log, command, sure):
    told = [
        "# Nuclei: the 2018 Data Science Bowl's fluorescence images",
        "",
        f"A Mask R-CNN from scratch on {TRAIN}: {len(log['step'])} steps, {log['seconds'].sum() / 60:.1f} minutes on 3",
        f"cores. The score from which on a detection counts, {sure:.2f}, was chosen on {CHOOSE}, which was not trained",
        f"on; the table is of {REPORT}.",
        "",
        "```",
        f"minisegnet {command}",
        "python results/nuclei/report.py nuclei      # trains so, then writes this page, the weights and the pictures",
        "```",
        "",
        "TP / (TP + FP + FN) of instance maps, as the challenge counts:",
        "",
        "```",
        matching.table(),
        "```",
        "",
        "COCO's average precision:",
        "",
        "```",
        *"\n\n".join(result.table() for result in evaluation.results().values()).splitlines(),
        "```",
        "",
        "For comparison: the StarDist paper (Schmidt et al. 2018) reports 0.83 at an IoU of 0.5 for Mask R-CNN on its",
        "own split of these images.",
        "",
        "![the training loss](curves.png)",
        "",
        "![image, truth, prediction](panel.png)",
        "",
    ]
    path.write_text("\n".join(told))


if __name__ == "__main__":
    main()
