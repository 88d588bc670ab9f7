"""A run small enough for tests, on random images.

As a script it trains in the folder given, resuming if it can, and kills itself at the moment of the number given.
"""

import builtins
import os
import signal
import sys
from dataclasses import replace

import numpy as np

from minisegnet.data.loader import Loader
from minisegnet.data.sample import Sample
from minisegnet.graph import Graph
from minisegnet.layers import BatchNorm2d, Conv2d, CrossEntropyLoss, Dropout, ReLU
from minisegnet.training import Adam, Poly, Trainer

STEPS = 60


class RandomImages:
    """Images of 6 x 6 pixels whose class is whether the first channel is above a half; 255 is ignored."""

    classes = ("dark", "light")
    palette = np.array([[40, 60, 90], [240, 200, 80]], np.uint8)
    ignore_index = 255
    channels = 2

    def __init__(self, count=10, seed=0):
        rng = np.random.default_rng(seed)
        self.images = rng.random((count, 2, 6, 6), np.float32)
        self.labels = (self.images[:, 0] > 0.5).astype(np.int32)
        self.labels[:, 0, 0] = 255

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        return Sample(self.images[i], self.labels[i], f"random{i}")


def brighten(sample, rng):
    return replace(sample, image=sample.image * np.float32(rng.uniform(0.9, 1.1)))


class TinyLoader(Loader):
    """Batches of three, shuffled and brightened, the last one of an epoch a single image."""

    def __init__(self, dataset=None, **options):
        given = {"batch_size": 3, "transform": brighten, "shuffle": True} | options
        super().__init__(RandomImages() if dataset is None else dataset, **given)


def tiny_graph(seed=0, width=4, name="tiny", padding=1):
    graph = Graph(name)
    x = graph.input("image", channels=2)
    x = graph.chain("body", x, Conv2d(2, width, 3, padding=padding), BatchNorm2d(width), ReLU(), Dropout(0.2))
    return graph.output("score", Conv2d(width, 2, 1), x).initialise(seed)


def predict(graph, image):
    return graph.predict(image[None])[0]


def tiny_trainer(folder, graph=None, **options):
    graph = graph or tiny_graph()
    given = {
        "loss": CrossEntropyLoss(ignore_index=255),
        "loader": TinyLoader(),
        "optimiser": Adam(graph.parameters, weight_decay=1e-3),
        "schedule": Poly(0.02, STEPS),
        "validation": RandomImages(4, seed=1),
        "predict": predict,
        "checkpoint_every": 3,
        "workers": 1,  # whatever BLAS was given: every number of them has bits of its own
        "metadata": {"classes": ["dark", "light"]},
        "seed": 5,
        "progress": False,
        "pictures": False,
    } | options
    if "epochs" not in given:
        given.setdefault("steps", STEPS)
    return Trainer(graph, folder=folder, **given)


def kill_at(moment):
    """Let the process die before or after a call, counting the calls that open, write, sync, rename or remove files."""
    left = moment

    def counted(function):
        def call(*arguments, **options):
            nonlocal left
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            result = function(*arguments, **options)
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return call

    for owner, name in [(builtins, "open"), (os, "fsync"), (os, "replace"), (os, "unlink"), (os, "mkdir")]:
        setattr(owner, name, counted(getattr(owner, name)))
    np.lib.format.write_array = counted(np.lib.format.write_array)


if __name__ == "__main__":
    if len(sys.argv) > 2:
        kill_at(int(sys.argv[2]))
    tiny_trainer(sys.argv[1]).fit(resume=True)
