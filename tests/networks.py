"""Small networks that the tests of graphs share, each with the inputs that it takes."""

import numpy as np

from minisegnet.graph import Graph
from minisegnet.layers import (
    BatchNorm2d,
    CenterCrop,
    Concat,
    Conv2d,
    ConvTranspose2d,
    Dropout,
    MaxPool2d,
    MaxUnpool2d,
    PadToMultiple,
    ReLU,
    UpsampleBilinear2d,
)


def chain():
    graph = Graph("Chain")
    x = graph.input("image", channels=3)
    x = graph.chain("body", x, Conv2d(3, 4, 3, padding=1), BatchNorm2d(4), ReLU(), Dropout(0.3))
    return graph.output("score", Conv2d(4, 2, 1), x)


def small_unet():
    """Fan-out, a skip, and two nodes that read the size of another."""
    graph = Graph("Small U-Net")
    image = graph.input("image", channels=3)
    x = graph.add("pad", PadToMultiple(2), image)
    skip = graph.chain("encoder", x, Conv2d(3, 4, 3, padding=1), BatchNorm2d(4), ReLU())
    x = graph.add("pool", MaxPool2d(2), skip)
    x = graph.chain("bottom", x, Conv2d(4, 8, 3, padding=1), ReLU())
    x = graph.add("up", ConvTranspose2d(8, 4, 2, stride=2), x)
    x = graph.add("concat", Concat(), skip, x)
    x = graph.add("score", Conv2d(8, 2, 1), x)
    return graph.output("unpad", CenterCrop(), x, size_of=image)


def unpooling():
    """Indices from one node to another, and odd sizes."""
    graph = Graph("SegNet")
    before = graph.chain("encoder", graph.input("image", channels=3), Conv2d(3, 4, 3, padding=1), ReLU())
    x, indices = graph.add("pool", MaxPool2d(2, return_indices=True), before)
    x = graph.add("middle", Conv2d(4, 4, 1), x)
    x = graph.add("unpool", MaxUnpool2d(), x, indices, size_of=before)
    return graph.output("score", Conv2d(4, 2, 1), x)


def two_streams():
    """Two inputs, two outputs (one of them read further), a shared layer, and a node that nothing reads."""
    graph = Graph("Two streams")
    shared = Conv2d(3, 4, 3, padding=1)
    a = graph.add("colour", shared, graph.input("image", channels=3))
    b = graph.add("other", shared, graph.input("neighbour", channels=3))
    graph.add("unread", Conv2d(4, 4, 3), a)
    x = graph.add("concat", Concat(), a, b, a)
    graph.output("coarse", Conv2d(12, 2, 2, stride=2), x)
    x = graph.add("finer", UpsampleBilinear2d(), graph.handle("coarse"), size_of=a)
    return graph.output("fine", Conv2d(2, 2, 1), x)


NETWORKS = {
    "chain": (chain, [(2, 3, 5, 6)]),
    "small U-Net": (small_unet, [(2, 3, 5, 7)]),
    "unpooling": (unpooling, [(2, 3, 5, 7)]),
    "two streams": (two_streams, [(2, 3, 6, 8), (2, 3, 6, 8)]),
}


def built(name, seed, dtype="float32"):
    """The network with weights from the seed, inputs for it, and gradients by its outputs (a tuple each)."""
    build, shapes = NETWORKS[name]
    graph = build().initialise(seed).astype(dtype)
    rng = np.random.default_rng(seed)
    inputs = tuple(rng.standard_normal(shape).astype(dtype) for shape in shapes)
    outputs = several(graph.output_shape(*shapes), tuple)
    return graph, inputs, tuple(rng.standard_normal(shape).astype(dtype) for shape in outputs)


def several(value, kind=np.ndarray):
    """One or several, as a tuple; a shape, which is a tuple itself, is one."""
    if kind is tuple:
        return value if isinstance(value[0], tuple) else (value,)
    return value if isinstance(value, tuple) else (value,)


def assert_equal(left, right):
    """Same keys, and the same arrays to the bit."""
    assert list(left) == list(right)
    for name in left:
        np.testing.assert_array_equal(left[name], right[name], name)


def gradients(graph):
    return {name: parameter.grad.copy() for name, parameter in graph.parameters.items()}


def by_node(arrays):
    """The arrays of each node, "node.weight" and "node.bias", joined to one.

    A bias that batch norm takes away again has the gradient 0, but for rounding errors on the scale of its weight's.
    """
    nodes = {}
    for name, array in arrays.items():
        nodes.setdefault(name.rpartition(".")[0], []).append(array.ravel())
    return {node: np.concatenate(parts) for node, parts in nodes.items()}
