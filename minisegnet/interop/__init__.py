"""Weights from PyTorch, safetensors and NumPy files, read without those programs and without running what they hold."""

from minisegnet.interop.pretrained import Pretrained, load_pretrained
from minisegnet.interop.published import IMAGENET, Normalisation
from minisegnet.interop.weights import read_weights

__all__ = ["IMAGENET", "Normalisation", "Pretrained", "load_pretrained", "read_weights"]
