"""The process of one side that goes through a family of operations: time and numbers of each, printed as JSON."""

import json
import sys
import time
from statistics import median

import numpy as np

from measuring.operations import LOSS, families
from measuring.sides import make_side

LEAST = 3
SAMPLES = 100  # of each array, that are compared


def time_passes(side, dy, seconds):
    """Median seconds of the forward and of the backward pass, in turn."""
    times = {"forward": [], "backward": []}
    while len(times["forward"]) < LEAST or sum(map(sum, times.values())) < seconds:
        side.zero_grad()
        for name, action in (("forward", side.forward), ("backward", lambda: side.backward(dy))):
            start = time.perf_counter()
            action()
            times[name].append(time.perf_counter() - start)
    return {name: median(values) for name, values in times.items()}


def time_step(side, seconds):
    times = []
    while len(times) < LEAST or sum(times) < seconds:
        start = time.perf_counter()
        side.step()
        times.append(time.perf_counter() - start)
    return {"forward and backward": median(times)}


def samples(array):
    places = np.random.default_rng(1).integers(0, array.size, SAMPLES)
    return array[np.unravel_index(places, array.shape)].tolist()


def measure(name, cores, operation, build, shape, seconds):
    """{"seconds": {pass: median}, "numbers": {what: samples}} of one operation; see `rounds.disagreement`."""
    graph = build().initialise(0)
    rng = np.random.default_rng(0)
    x = rng.standard_normal(shape, np.float32)
    if operation == LOSS:
        N, C, H, W = graph.output_shape(shape)
        side = make_side(name, graph, x, rng.integers(0, C, (N, H, W)), True, cores)
        numbers = {"losses": [side.step(), side.step()]}
        times = time_step(side, seconds)
    else:
        dy = rng.standard_normal(graph.output_shape(shape), np.float32)
        side = make_side(name, graph, x, None, True, cores)
        y, dx = side.forward(), side.backward(dy)
        numbers = {"y": samples(y), "dx": samples(dx)}
        numbers |= {f"d{parameter}": samples(gradient) for parameter, gradient in side.gradients().items()}
        times = time_passes(side, dy, seconds)
    side.close()
    return {"seconds": times, "numbers": numbers}


def main():
    request = json.load(sys.stdin)
    rows = families()[request["family"]]
    print(json.dumps([measure(request["side"], request["cores"], *row, request["seconds"]) for row in rows]))


if __name__ == "__main__":
    main()
