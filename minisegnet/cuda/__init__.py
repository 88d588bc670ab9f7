"""Every operation as launches of kernels/*.cu, under the contract of `minisegnet.functional`.

On CuPy arrays the device computes, on NumPy arrays the emulator: one code for both. A module is imported when an
operation of it is first asked for.

`precision` chooses how exactly convolutions and fully connected layers compute.
"""

from __future__ import annotations

import importlib.util
import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any

from minisegnet.cuda.arrays import float32_arrays
from minisegnet.cuda.precisions import precision

# The module that holds `<operation>_forward` and `<operation>_backward`, or the one function of what has no backward.
MODULES = {
    "conv2d": "convolution", "conv_transpose2d": "convolution", "linear": "linear",
    "max_pool2d": "pooling", "avg_pool2d": "pooling",
    "max_unpool2d": "unpool", "nearest_unpool2d": "unpool", "bed_of_nails2d": "unpool",
    "upsample_bilinear2d": "upsample",
    "reflection_pad2d": "arrangement", "concat": "arrangement", "crop": "arrangement", "add": "arrangement",
    "batch_norm2d": "normalisation",
    "relu": "activation", "sigmoid": "activation", "softmax": "activation", "dropout": "dropout",
    "softmax_cross_entropy": "loss", "binary_cross_entropy_with_logits": "loss", "smooth_l1": "loss", "dice": "loss",
    "roi_align": "roi", "roi_pool": "roi", "nms": "suppression",
}  # fmt: skip

WITHOUT_BACKWARD = {"nms"}


def __getattr__(name: str) -> Callable:
    operation, _, half = (name, "", "forward") if name in WITHOUT_BACKWARD else name.rpartition("_")
    module = f"{__name__}.{MODULES.get(operation)}"
    if half not in ("forward", "backward") or importlib.util.find_spec(module) is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    function = getattr(importlib.import_module(module), name)
    if half == "forward":
        function = _in_float32(operation, function)
    globals()[name] = function  # found without this the next time
    return function


def _in_float32(operation: str, function: Callable) -> Callable:
    """The function, refusing arrays of other floats: kernels are compiled for float32."""
    names = list(inspect.signature(function).parameters)

    @wraps(function)
    def checked(*arguments: Any, **options: Any) -> Any:
        float32_arrays(operation, **dict(zip(names, arguments, strict=False)), **options)
        return function(*arguments, **options)

    return checked
