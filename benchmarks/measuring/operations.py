"""The operations that are timed one by one, each as a graph of its own, by family."""

from functools import partial

from minisegnet.graph import Graph
from minisegnet.layers import (
    AvgPool2d,
    BatchNorm2d,
    Conv2d,
    ConvTranspose2d,
    MaxPool2d,
    MaxUnpool2d,
    NearestUnpool2d,
    ReLU,
    UpsampleBilinear2d,
)

IMAGES = 4
LOSS = "softmax cross-entropy"  # behind a 1 x 1 convolution to its classes, which gives the engine a graph


def one_layer(make, channels):
    graph = Graph("One layer")
    return graph.output("y", make(), graph.input("x", channels=channels))


def pool_and_unpool(channels):
    graph = Graph("Pooling and unpooling")
    before = graph.input("x", channels=channels)
    x, indices = graph.add("pool", MaxPool2d(2, return_indices=True), before)
    return graph.output("unpool", MaxUnpool2d(2), x, indices, size_of=before)


def convolution(name, channels, out_channels, size, kernel=3, make=Conv2d, **options):
    """(what the row says, a function that makes the graph, shape of its images)"""
    layer = partial(make, channels, out_channels, kernel, **options)
    return f"{name}, {channels} to {out_channels}", partial(one_layer, layer, channels), image(channels, size)


def without_weights(name, make, channels, size):
    return name, partial(one_layer, make, channels), image(channels, size)


def image(channels, size):
    return IMAGES, channels, size, size


def families():
    """{family: its rows, as `convolution` returns them}"""
    same = [(32, 256), (64, 256), (64, 128), (128, 128), (128, 56), (256, 64), (256, 28)]
    same += [(512, 28), (512, 16), (512, 14)]
    threes = [convolution("3 x 3", 3, 64, 256, padding=1)]
    threes += [convolution("3 x 3", channels, channels, size, padding=1) for channels, size in same]
    others = [
        *[convolution("7 x 7", *sizes, kernel=7, padding=3) for sizes in ((3, 64, 256), (64, 64, 128), (64, 64, 32))],
        convolution("7 x 7, stride 2", 3, 64, 224, kernel=7, padding=3, stride=2),
        *[convolution("3 x 3, stride 2", *sizes, padding=1, stride=2) for sizes in ((64, 128, 56), (256, 512, 14))],
        *[convolution("1 x 1", *sizes, kernel=1) for sizes in ((64, 21, 256), (256, 64, 56), (512, 512, 14))],
        *[
            convolution("transposed 2 x 2, stride 2", *sizes, kernel=2, stride=2, make=ConvTranspose2d)
            for sizes in ((64, 32, 128), (128, 64, 64), (512, 256, 16))
        ],
    ]
    maps = [(32, 256), (128, 64), (512, 16)]
    sampling = {
        "max pool 2 x 2": partial(MaxPool2d, 2),
        "max pool 3 x 3, stride 2": partial(MaxPool2d, 3, 2, 1),
        "average pool 2 x 2": partial(AvgPool2d, 2),
        "nearest upsampling": NearestUnpool2d,
        "bilinear upsampling": UpsampleBilinear2d,
    }
    pools = [without_weights(name, make, *sizes) for name, make in sampling.items() for sizes in maps]
    pools += [("max pool and unpool", partial(pool_and_unpool, sizes[0]), image(*sizes)) for sizes in maps]
    pointwise = [without_weights("batch norm", partial(BatchNorm2d, sizes[0]), *sizes) for sizes in maps]
    pointwise += [without_weights("ReLU", ReLU, *sizes) for sizes in maps]
    pointwise += [(LOSS, partial(one_layer, partial(Conv2d, 32, 21, 1), 32), image(32, size)) for size in (256, 64)]
    return {"3x3": threes, "convolutions": others, "sampling": pools, "pointwise": pointwise}
