"""Compare full resolution with down- and upsampling, by each of its operators, at equal parameters.

examples:
  minisegnet compare
  minisegnet compare --steps 100 --size 48 --out runs/quick

Six networks are trained in turn on the same made-up shapes: one that keeps the image's full resolution, and five
encoder-decoders that differ in how they upsample. Ctrl-C ends the training early and shows how they compare so far.
DIR gets comparison.txt and comparison.png.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from minisegnet.commands.options import add_threads, at_least, limited_threads

STEPS, SIZE, SMALLEST = 300, 64, 16
TABLE, PICTURE = "comparison.txt", "comparison.png"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--steps", type=at_least(1), default=STEPS, metavar="N", help=f"of each network ({STEPS})")
    parser.add_argument(
        "--size", type=at_least(SMALLEST), default=SIZE, metavar="N", help=f"side of the images in pixels ({SIZE})"
    )
    parser.add_argument("--seed", type=at_least(0), default=0, metavar="N", help="of weights and images (0)")
    parser.add_argument("--out", type=Path, default=Path("runs/compare"), metavar="DIR", help="folder (runs/compare)")
    add_threads(parser)


def run(arguments: argparse.Namespace) -> None:
    from tqdm import tqdm

    from minisegnet.teaching.comparison import BATCH_SIZE, Comparison, table
    from minisegnet.teaching.comparison_picture import draw_comparison
    from minisegnet.training.checkpoint import replacing
    from minisegnet.training.pictures import save_picture

    arguments.out.mkdir(parents=True, exist_ok=True)
    comparison = Comparison(arguments.size, arguments.steps, seed=arguments.seed)
    interrupted = False
    with limited_threads(arguments.threads):
        try:
            rounds = tqdm(comparison.rounds(), "training in turn", arguments.steps, unit="step", dynamic_ncols=True)
            for _ in rounds:
                pass
        except KeyboardInterrupt:
            if not comparison.steps_done:
                raise
            interrupted = True
            print(f"\nStopped after step {comparison.steps_done} of {arguments.steps}; Ctrl-C again to leave at once")
        networks = tqdm(
            comparison.results(), "scoring", len(comparison.graphs), unit="network", leave=False, disable=None
        )
        results = list(networks)
    size = f"{arguments.size} x {arguments.size}"
    told = (
        f"{table(results)}\n\n"
        f"mult-adds and activations are of one image of {size}; a step trains on {BATCH_SIZE} of them.\n"
        f"Scores on {len(comparison.test_images)} other images, after {comparison.steps_done} steps on the same images."
    )
    print(told)
    with replacing(arguments.out / TABLE) as file:
        file.write(f"{told}\n".encode())
    parameters = round(sum(result.parameters for result in results) / len(results), -3)
    title = f"{len(results)} networks of about {parameters:,.0f} parameters, {comparison.steps_done} steps each"
    save_picture(draw_comparison(results, f"{title}, images of {size}"), arguments.out / PICTURE)
    print(f"picture  {arguments.out / PICTURE}")
    if interrupted:
        raise KeyboardInterrupt
