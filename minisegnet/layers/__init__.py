"""Layers: objects with parameters, each a pair of `forward` and `backward`, under PyTorch's names."""

from minisegnet.layers.activation import ReLU, Sigmoid, Softmax
from minisegnet.layers.base import Layer, Parameter
from minisegnet.layers.convolution import Conv2d, ConvTranspose2d
from minisegnet.layers.dropout import Dropout
from minisegnet.layers.frame import CenterCrop, Concat, PadToMultiple, ReflectionPad2d
from minisegnet.layers.linear import Linear
from minisegnet.layers.loss import BCEWithLogitsLoss, CrossEntropyLoss, DiceLoss, SmoothL1Loss
from minisegnet.layers.normalisation import BatchNorm2d
from minisegnet.layers.pool import AvgPool2d, MaxPool2d
from minisegnet.layers.unpool import BedOfNails2d, MaxUnpool2d, NearestUnpool2d, UpsampleBilinear2d

__all__ = [
    "AvgPool2d", "BCEWithLogitsLoss", "BatchNorm2d", "BedOfNails2d", "CenterCrop", "Concat", "Conv2d",
    "ConvTranspose2d", "CrossEntropyLoss", "DiceLoss", "Dropout", "Layer", "Linear", "MaxPool2d", "MaxUnpool2d",
    "NearestUnpool2d", "PadToMultiple", "Parameter", "ReLU", "ReflectionPad2d", "Sigmoid", "SmoothL1Loss", "Softmax",
    "UpsampleBilinear2d",
]  # fmt: skip
