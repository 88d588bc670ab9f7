"""One of our graphs as a PyTorch module: the same layers on the same weights, written as a PyTorch user would."""

from collections import Counter

import torch
from torch import nn
from torch.nn import functional as F

from minisegnet import layers

# Layers whose backward pass does not read what they returned, so that a ReLU may overwrite it.
FORGETS_ITS_OUTPUT = (layers.Conv2d, layers.ConvTranspose2d, layers.BatchNorm2d, layers.Linear, layers.Add)


class Twin(nn.Module):
    """A graph of one input and one output, for inputs of one shape (N, C, H, W).

    Values are let go after their last use, and a ReLU that alone reads a convolution's or normalisation's output works
    in place, so that PyTorch's memory is what a module written by hand would need.
    """

    def __init__(self, graph, input_shape):
        super().__init__()
        shapes = graph.shapes(input_shape)
        nodes = graph.layer_nodes()
        readers = Counter(handle.node.name for node in nodes for handle in node.inputs)
        last_reader = {handle.node.name: node.name for node in nodes for handle in node.inputs}
        self.input, self.output = graph.inputs[0].name, graph.outputs[0].name
        self.steps, translated = [], {}
        for node in nodes:
            reads = [(handle.node.name, handle.position) for handle in node.inputs]
            operation = translated.get(node.layer)
            if operation is None:
                first = node.inputs[0].node
                in_place = readers[first.name] == 1 and isinstance(first.layer, FORGETS_ITS_OUTPUT)
                operation = translate(node.layer, shapes[first.name], shapes[node.name], in_place)
                if node.layer.parameters:  # a layer at several nodes shares them
                    translated[node.layer] = operation
            finished = [name for name in dict.fromkeys(name for name, _ in reads) if last_reader[name] == node.name]
            self.steps.append((operation, reads, node.name, finished))
        self.registered = nn.ModuleList(step[0] for step in self.steps if isinstance(step[0], nn.Module))
        self.by_layer = {name: translated[layer] for name, layer in graph.layers.items() if layer in translated}

    def forward(self, x):
        values = {self.input: (x,)}
        for operation, reads, name, finished in self.steps:
            result = operation(*[values[read][position] for read, position in reads])
            values[name] = result if isinstance(result, tuple) else (result,)
            for read in finished:
                del values[read]
        return values[self.output][0]

    def gradients(self):
        """The gradients of the last backward pass, under our parameters' names."""
        named = {f"{n}.{p}": value for n, m in self.by_layer.items() for p, value in m.named_parameters()}
        return {name: parameter.grad.numpy() for name, parameter in named.items() if parameter.requires_grad}


def translate(layer, shape, output_shape, in_place):
    """PyTorch's module or function for a layer that makes output_shape from its first input's shape."""
    if isinstance(layer, layers.ReLU):
        return nn.ReLU(in_place)
    if isinstance(layer, layers.Concat):
        return lambda *xs: torch.cat(xs, layer.dim)
    if isinstance(layer, layers.Add):
        return torch.add
    if isinstance(layer, layers.CenterCrop | layers.Crop):
        H, W = output_shape[2:]
        centred = isinstance(layer, layers.CenterCrop)
        top, left = ((shape[2] - H) // 2, (shape[3] - W) // 2) if centred else (layer.top, layer.left)
        return lambda x: x[:, :, top : top + H, left : left + W]
    if isinstance(layer, layers.PadToMultiple):
        padding = layer.padding(shape)
        return (lambda x: F.pad(x, padding, mode="reflect")) if any(padding) else (lambda x: x)
    if isinstance(layer, layers.MaxUnpool2d):
        windows = (layer.kernel_size or 2, layer.stride, layer.padding)  # the size alone decides
        return lambda x, indices: F.max_unpool2d(x, indices, *windows, output_size=output_shape[2:])
    if isinstance(layer, layers.NearestUnpool2d):
        return lambda x: F.interpolate(x, output_shape[2:], mode="nearest")
    if isinstance(layer, layers.UpsampleBilinear2d):
        return lambda x: F.interpolate(x, output_shape[2:], mode="bilinear", align_corners=layer.align_corners)
    if isinstance(layer, layers.BedOfNails2d):
        return lambda x: bed_of_nails(x, layer.stride, output_shape)
    return module(layer)


def module(layer):
    """The module of the same name and options, on a copy of the layer's weights."""
    options = {
        layers.Conv2d: "in_channels out_channels kernel_size stride padding dilation bias",
        layers.ConvTranspose2d: "in_channels out_channels kernel_size stride padding output_padding dilation bias",
        layers.BatchNorm2d: "num_features eps momentum",
        layers.MaxPool2d: "kernel_size stride padding dilation return_indices ceil_mode",
        layers.AvgPool2d: "kernel_size stride padding ceil_mode count_include_pad",
        layers.Dropout: "p",
        layers.Linear: "in_features out_features bias",
        layers.ReflectionPad2d: "padding",
        layers.Sigmoid: "",
        layers.Softmax: "dim",
        layers.Flatten: "",
    }
    if isinstance(layer, layers.GlobalAvgPool2d):
        return nn.AdaptiveAvgPool2d(1)
    kind = next((kind for kind in options if isinstance(layer, kind)), None)
    if kind is None:
        raise NotImplementedError(f"no PyTorch twin of {layer}; add it to {__name__}")
    given = {name: getattr(layer, name) for name in options[kind].split()}
    if "bias" in given:  # given as a yes or no, kept as the parameter or None
        given["bias"] = layer.bias is not None
    with torch.device("meta"):  # no memory, no first weights
        twin = getattr(nn, kind.__name__)(**given)
    twin.load_state_dict({name: torch.tensor(array) for name, array in layer.arrays().items()}, assign=True)
    for name, parameter in layer.parameters.items():
        twin.get_parameter(name).requires_grad_(parameter.trainable)
    return twin.train(layer.training)


def bed_of_nails(x, stride, output_shape):
    stride_h, stride_w = stride if isinstance(stride, tuple) else (stride, stride)
    y = x.new_zeros(output_shape)
    y[:, :, ::stride_h, ::stride_w] = x
    return y
