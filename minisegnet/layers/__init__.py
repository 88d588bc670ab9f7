"""Layers: objects with parameters, each a pair of `forward` and `backward`, under PyTorch's names."""

from minisegnet.layers.activation import ReLU, Sigmoid, Softmax
from minisegnet.layers.base import Layer, Parameter
from minisegnet.layers.convolution import Conv2d, ConvTranspose2d
from minisegnet.layers.dropout import Dropout
from minisegnet.layers.frame import CenterCrop, Crop, PadToMultiple, ReflectionPad2d
from minisegnet.layers.join import Add, Concat
from minisegnet.layers.linear import Flatten, Linear
from minisegnet.layers.loss import BCEWithLogitsLoss, CrossEntropyLoss, DiceLoss, SmoothL1Loss
from minisegnet.layers.normalisation import BatchNorm2d
from minisegnet.layers.pool import AvgPool2d, GlobalAvgPool2d, MaxPool2d
from minisegnet.layers.score import BilinearConvTranspose2d, ZeroConv2d
from minisegnet.layers.unpool import BedOfNails2d, MaxUnpool2d, NearestUnpool2d, UpsampleBilinear2d

__all__ = [
    "Add", "AvgPool2d", "BCEWithLogitsLoss", "BatchNorm2d", "BedOfNails2d", "BilinearConvTranspose2d", "CenterCrop",
    "Concat", "Conv2d", "ConvTranspose2d", "Crop", "CrossEntropyLoss", "DiceLoss", "Dropout", "Flatten",
    "GlobalAvgPool2d", "Layer", "Linear", "MaxPool2d", "MaxUnpool2d", "NearestUnpool2d", "PadToMultiple", "Parameter",
    "ReLU", "ReflectionPad2d", "Sigmoid", "SmoothL1Loss", "Softmax", "UpsampleBilinear2d", "ZeroConv2d",
]  # fmt: skip
