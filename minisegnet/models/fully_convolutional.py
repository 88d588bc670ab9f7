"""A classifier made fully convolutional: its fully connected layers become convolutions, which slide."""

from __future__ import annotations

from copy import deepcopy
from typing import Any, NamedTuple

from minisegnet import shapes
from minisegnet.errors import GraphError
from minisegnet.graph import Graph
from minisegnet.layers import Add, AvgPool2d, Conv2d, Dropout, Flatten, GlobalAvgPool2d, Layer, Linear, ReLU, Sigmoid
from minisegnet.nodes import Handle, located
from minisegnet.shapes import Shape

ELEMENTWISE = (ReLU, Sigmoid, Dropout, Add)  # what may change a vector before the first Linear: each value by itself


class Vector(NamedTuple):
    """What a vector (N, F) of the classifier is a map of: values (N, C, height, width) with C height width = F.

    flatten  the name of the Flatten that it comes from
    window   (height, width), of the map flattened; 1 x 1 once a Linear has seen it all
    """

    flatten: str
    window: Shape


def fully_convolutional(classifier: Graph, size: Any) -> Graph:
    """The same network as one that slides: on images of `size` the same scores, on larger ones a map of them.

    classifier   a graph from one image (N, C, H, W) to scores (N, num_classes), or (N, num_classes, 1, 1)
    size         of the images that it was built for, an int or (H, W)

    A Linear after Flatten is a convolution whose kernel covers the whole flattened map; those after it are 1 x 1
    convolutions; an average over the whole map becomes one over windows of its size. Flatten itself is left out, and so
    is the input's check of its size. The scores are (N, num_classes, H', W'): 1 x 1 for `size`, and on a larger image
    one place for each position of the classifier, as far apart as the strides on the way multiply up to. Where layers
    pad, a position inside the image sees the image where the classifier saw zeros, so its scores are not quite those
    of the classifier on the crop.

    The new graph has weights of its own, copied, under the same keys: "classifier.0.weight" (4096, 25088) becomes
    (4096, 512, 7, 7).

    Raises GraphError for a graph that has no such counterpart, naming the node; ShapeError for a size that the
    classifier does not take.
    Source: Long et al. 2015, Fully convolutional networks, section 3.1 and figure 2.
    """
    image, channels = _image(classifier)
    _check_vectors(classifier)
    shape = classifier.shapes((1, channels, *shapes.pair(size, "size", 1)))

    graph = Graph(f"{classifier.name}, fully convolutional")
    graph.training = classifier.training
    values: dict[str, tuple[Handle, ...]] = {image: (graph.input(image, channels),)}
    vectors: dict[str, Vector] = {}
    made: dict[Any, Layer] = {}  # so that a layer at several nodes stays one

    def new(handle: Handle) -> Handle:
        return values[handle.node.name][handle.position]

    for node in classifier.layer_nodes():
        window = shape[node.inputs[0].node.name][2:]
        if isinstance(node.layer, Flatten):
            vectors[node.name] = Vector(node.name, window)
            values[node.name] = (new(node.inputs[0]),)
            continue
        read = [vectors[handle.node.name] for handle in node.inputs if handle.node.name in vectors]
        if read:
            with located(classifier.name, node):
                window = _common_window(node.layer, read)
            vectors[node.name] = Vector(read[0].flatten, (1, 1) if isinstance(node.layer, Linear) else window)
        key = (node.layer, window if isinstance(node.layer, Linear | GlobalAvgPool2d) else None)
        if key not in made:
            made[key] = _sliding(node.layer, window, is_vector=bool(read))
        layer = made[key]
        size_of = None if node.size_of is None else new(node.size_of)
        value = graph.add(node.name, layer, *map(new, node.inputs), size_of=size_of)
        layer.training = node.layer.training
        values[node.name] = value if isinstance(value, tuple) else (value,)
    for node in classifier.outputs:
        if node.name in vectors and vectors[node.name].window != (1, 1):
            raise GraphError(
                f"{classifier.name}: its output {node.name!r} is a whole flattened map; end it in a Linear"
            )
        graph.outputs.append(values[node.name][0].node)
    graph.zero_grad()
    return graph


def _image(classifier: Graph) -> tuple[str, int]:
    """The one input's name and channels. Raises GraphError where there are several, or any number of channels."""
    classifier.check_built()
    if len(classifier.inputs) > 1:
        names = ", ".join(node.name for node in classifier.inputs)
        raise GraphError(f"{classifier.name} has {len(classifier.inputs)} inputs ({names}); one, the image, is wanted")
    image = classifier.inputs[0]
    if image.channels is None:
        raise GraphError(
            f"{classifier.name}: how many channels {image.name!r} has is not known; "
            "say so where the graph is built, as in graph.input('image', channels=3)"
        )
    return image.name, image.channels


def _check_vectors(classifier: Graph) -> None:
    """Raise GraphError unless each Flatten lays out a map, and each Linear reads what comes from a Flatten."""
    vectors: set[str] = set()
    for node in classifier.layer_nodes():
        with located(classifier.name, node):
            reads_vector = any(handle.node.name in vectors for handle in node.inputs)
            source = node.inputs[0].node.name
            if isinstance(node.layer, Flatten) and reads_vector:
                raise GraphError(f"it flattens {source!r}, a vector already; leave it out")
            if isinstance(node.layer, Linear) and not reads_vector:
                raise GraphError(
                    f"it reads {source!r}, which is no map laid out by a Flatten, so there is nothing to slide over; "
                    "put a Flatten before it"
                )
        if reads_vector or isinstance(node.layer, Flatten):
            vectors.add(node.name)


def _common_window(layer: Layer, read: list[Vector]) -> Shape:
    """The window of the vectors that a layer reads. Raises GraphError where it cannot do the same to their maps."""
    flattens, windows = {vector.flatten for vector in read}, {vector.window for vector in read}
    if len(flattens) > 1:
        raise GraphError(
            f"it joins vectors of several Flattens ({', '.join(sorted(flattens))}), whose maps need not lie on one "
            "another in a larger image; join the maps before a single Flatten"
        )
    if windows == {(1, 1)} and (layer.pointwise or isinstance(layer, Linear)):
        return 1, 1
    if len(windows) == 1 and isinstance(layer, (Linear, *ELEMENTWISE)):
        return windows.pop()
    told = ", ".join(f"{height} x {width}" for height, width in sorted(windows))
    raise GraphError(
        f"what it does to vectors of Flatten {read[0].flatten!r} (maps of {told}) cannot be done to maps that slide; "
        f"use {', '.join(kind.__name__ for kind in ELEMENTWISE)} and Linear, and after a Linear any layer that is "
        "pointwise (see `Layer`)"
    )


def _sliding(layer: Layer, window: Shape, is_vector: bool) -> Layer:
    """The layer, with weights of its own, that does to each position of the classifier what `layer` did to one."""
    if isinstance(layer, Linear):
        return _convolution(layer, window)
    if isinstance(layer, GlobalAvgPool2d):
        return AvgPool2d(window, stride=1)
    layer = deepcopy(layer)
    if is_vector and getattr(layer, "dim", 1) == -1:  # the last dimension of a vector is that of the channels
        layer.dim = 1  # type: ignore[attr-defined]
    return layer


def _convolution(linear: Linear, window: Shape) -> Conv2d:
    """The convolution whose kernel, laid out channel by channel as Flatten does, is the weight of `linear`."""
    channels = linear.in_features // (window[0] * window[1])
    convolution = Conv2d(channels, linear.out_features, window, bias=linear.bias is not None)
    convolution.astype(linear.weight.data.dtype)
    for name, parameter in linear.parameters.items():
        copied = convolution.parameters[name]
        copied.data[...] = parameter.data.reshape(copied.data.shape)
        copied.trainable = parameter.trainable
    convolution.frozen = linear.frozen
    return convolution
