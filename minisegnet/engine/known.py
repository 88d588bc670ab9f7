"""Which layers the engine may compute by another road than their own."""

from __future__ import annotations

from minisegnet import layers as L
from minisegnet.backends import replacement_of
from minisegnet.layers.base import Layer

# The layers that the engine knows, and the operation that each stands for, if any.
KNOWN: dict[type[Layer], str] = {
    L.Add: "add",
    L.AvgPool2d: "avg_pool2d",
    L.BatchNorm2d: "batch_norm2d",
    L.BedOfNails2d: "bed_of_nails2d",
    L.CenterCrop: "crop",
    L.Concat: "concat",
    L.Conv2d: "conv2d",
    L.ConvTranspose2d: "conv_transpose2d",
    L.Crop: "crop",
    L.Dropout: "dropout",
    L.Flatten: "",
    L.GlobalAvgPool2d: "avg_pool2d",
    L.Linear: "linear",
    L.MaxPool2d: "max_pool2d",
    L.MaxUnpool2d: "max_unpool2d",
    L.NearestUnpool2d: "nearest_unpool2d",
    L.PadToMultiple: "reflection_pad2d",
    L.ReflectionPad2d: "reflection_pad2d",
    L.ReLU: "relu",
    L.UpsampleBilinear2d: "upsample_bilinear2d",
}


def known(layer: Layer, kind: type[Layer]) -> bool:
    """Whether the layer computes what `kind` does, by an operation that nobody has replaced."""
    return (
        isinstance(layer, kind)
        and getattr(layer.forward, "__func__", None) is kind.forward  # neither a subclass's nor the object's own
        and getattr(layer.backward, "__func__", None) is kind.backward
        and replacement_of(KNOWN[kind]) is None
    )
