"""The process of one side that goes through a family of operations: time and numbers of each, printed as JSON."""

import json
import sys
import time
from statistics import median

import numpy as np

from measuring.operations import LOSS, families
from measuring.sides import make_side
from measuring.within import Within

LEAST = 3
SAMPLES = 100  # of each array, that are compared


def time_in_turn(side, actions, seconds, within):
    """Median seconds of each action; `within` tells them where given."""
    times = {name: [] for name in actions}
    started = time.perf_counter()
    while min(map(len, times.values())) < LEAST or time.perf_counter() - started < seconds:
        side.zero_grad()
        for name, action in actions.items():
            start = time.perf_counter()
            action()
            times[name].append(time.perf_counter() - start if within is None else within.seconds(name))
    return {name: median(values) for name, values in times.items()}


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
        actions = {"forward and backward": side.step}
    else:
        dy = rng.standard_normal(graph.output_shape(shape), np.float32)
        side = make_side(name, graph, x, None, True, cores)
        y, dx = side.forward(), side.backward(dy)
        numbers = {"y": samples(y), "dx": samples(dx)}
        numbers |= {f"d{parameter}": samples(gradient) for parameter, gradient in side.gradients().items()}
        actions = {"forward": side.forward, "backward": lambda: side.backward(dy)}
    within = Within(side.plan.plan) if name == "engine" else None
    times = time_in_turn(side, actions, seconds, within)
    side.close()
    return {"seconds": times, "numbers": numbers}


def main():
    request = json.loads(sys.stdin.readline())
    rows = families()[request["family"]]
    print(json.dumps([measure(request["side"], request["cores"], *row, request["seconds"]) for row in rows]))


if __name__ == "__main__":
    main()
