"""minisegnet: semantic segmentation from scratch in NumPy, every layer with its forward and backward pass to read."""

from minisegnet.backends import backend, replace

__version__ = "0.1.0"
__all__ = ["__version__", "backend", "replace"]
