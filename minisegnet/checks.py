"""Checks of what a caller gives an operation: once, at the contract, so that backends may trust their arguments."""

from __future__ import annotations

from typing import Any

import numpy as np

from minisegnet import shapes
from minisegnet.backends import backend_in_force
from minisegnet.cuda.arrays import device_of, is_array, is_device, place_of, to_device
from minisegnet.errors import BackendError, BoxError, DtypeError, IndicesError, LabelError, OptionError, ShapeError


def shape(array: Any) -> tuple[int, ...] | None:
    """The array's shape, or None for no array."""
    return None if array is None else array.shape


def floats(optional: tuple[str, ...] = (), **arrays: Any) -> None:
    """Arrays (None passes for those named as optional) in one place, of one float type that is computed with there."""
    first_name, first = "", None
    for name, array in arrays.items():
        if array is None and name in optional:
            continue
        if not is_array(array):
            raise DtypeError(f"{name} must be a NumPy array; got {type(array).__name__}")
        any_float = backend_in_force() == "reference" and not is_device(array)
        allowed = array.dtype.kind == "f" if any_float else array.dtype in ("f4", "f8")
        if not allowed or not array.dtype.isnative:
            raise DtypeError(f"{name} must be float32 or float64; got {array.dtype}; use {name}.astype('float32')")
        if first is None:
            first_name, first = name, array
            continue
        same_place(first_name, first, name, array)
        if array.dtype != first.dtype:
            raise DtypeError(f"{name} is {array.dtype} and {first_name} is {first.dtype}; give both the same type")


def same_place(first_name: str, first: Any, name: str, array: Any) -> None:
    """Two arrays in the computer's memory, or on one device."""
    if place_of(first) != place_of(array):
        raise BackendError(
            f"{name} lies {place_of(array)} and {first_name} {place_of(first)}; bring both to one place, with "
            "minisegnet.cuda.arrays.to_device or to_host, or graph.placed(array)"
        )


def gradient(operation: str, dy: Any, output: tuple, dtype: np.dtype, device: Any) -> Any:
    """dy as an array of the output's shape and type, on its device (a number passes for a loss)."""
    if isinstance(dy, int | float | np.generic) and output == ():
        dy = np.asarray(dy, dtype)
        if device is not None:
            with device:
                dy = to_device(dy)
    if not is_array(dy):
        raise DtypeError(f"{operation}_backward: dy must be a NumPy array; got {type(dy).__name__}")
    if device_of(dy) != device:
        where = "in the computer's memory" if device is None else f"on {device}"
        raise BackendError(
            f"{operation}_backward: dy lies {place_of(dy)} and what {operation}_forward was given {where}; bring dy "
            "there, with minisegnet.cuda.arrays.to_device or to_host, or graph.placed(dy)"
        )
    if dy.shape != output:
        raise ShapeError(f"{operation}_backward: dy must have the output's shape {output}; got {dy.shape}")
    if dy.dtype != dtype:
        raise DtypeError(f"{operation}_backward: dy must be {dtype}, as the output is; got {dy.dtype}")
    return dy


def array_list(operation: str, arrays: Any) -> Any:
    """A list or tuple of at least one array."""
    if not isinstance(arrays, list | tuple) or not arrays:
        raise ShapeError(f"{operation} takes a list of at least one array; got {type(arrays).__name__}")
    return arrays


def per_channel(channels: int, **arrays: Any) -> None:
    """Arrays (None passes) of one value for each channel."""
    for name, array in arrays.items():
        if array is not None and array.shape != (channels,):
            raise ShapeError(f"{name} must have shape ({channels},), one value a channel; got {array.shape}")


def same_shape(wanted_name: str, wanted: Any, **arrays: Any) -> None:
    """Arrays (None passes) of the shape of another."""
    for name, array in arrays.items():
        if array is not None and array.shape != wanted.shape:
            raise ShapeError(f"{name} must have the shape of {wanted_name}, {wanted.shape}; got {array.shape}")


def integers(name: str, array: Any) -> None:
    """An array of any integer type."""
    if not is_array(array) or array.dtype.kind not in "iu":
        given = array.dtype if is_array(array) else type(array).__name__
        raise DtypeError(f"{name} must be a NumPy array of integers; got {given}")


def labels(operation: str, logits: Any, labels: Any, ignore_index: int | None) -> None:
    """Labels (N, ...) that fit logits (N, C, ...) and lie inside the classes (on a device, the loss's kernel looks)."""
    integers("labels", labels)
    same_place("logits", logits, "labels", labels)
    if logits.ndim < 2 or labels.shape != logits.shape[:1] + logits.shape[2:]:
        raise ShapeError(
            f"{operation} takes logits (N, C, ...) and labels (N, ...); got {logits.shape} and {labels.shape}"
        )
    classes = logits.shape[1]
    if is_device(labels) or labels.size == 0 or (labels.min() >= 0 and labels.max() < classes):
        return
    stray = (labels < 0) | (labels >= classes)
    if ignore_index is not None:
        stray &= labels != ignore_index
    if stray.any():
        where = tuple(int(i) for i in np.argwhere(stray)[0])
        hint = (
            f"ignore_index is {ignore_index}"
            if ignore_index is not None
            else "if they mean 'no label', pass that value as ignore_index"
        )
        raise LabelError(
            f"{operation}: label {int(labels[where])} at {where} is outside the classes 0 to {classes - 1} "
            f"({int(stray.sum())} of {labels.size} labels are); {hint}"
        )


def cross_entropy(
    logits: Any, labels_given: Any, class_weight: Any, ignore_index: int | None, pixel_weight: Any
) -> None:
    """What `functional.softmax_cross_entropy_forward` takes."""
    floats(("class_weight", "pixel_weight"), logits=logits, class_weight=class_weight, pixel_weight=pixel_weight)
    labels("softmax_cross_entropy", logits, labels_given, ignore_index)
    per_channel(logits.shape[1], class_weight=class_weight)
    same_shape("labels", labels_given, pixel_weight=pixel_weight)


def indices(x: Any, indices: Any, output: tuple) -> None:
    """Unpooling indices of x's shape, inside the plane and distinct in each (not looked at on a device)."""
    integers("indices", indices)
    same_place("x", x, "indices", indices)
    if indices.shape != x.shape:
        raise ShapeError(f"max_unpool2d: x has shape {x.shape} and indices {indices.shape}; they must be the same")
    N, C, H, W = output
    if is_device(indices) or indices.size == 0:
        return
    if indices.min() < 0 or indices.max() >= H * W:
        where = tuple(int(i) for i in np.argwhere((indices < 0) | (indices >= H * W))[0])
        raise IndicesError(
            f"max_unpool2d: index {int(indices[where])} at {where} lies outside a plane of {H} x {W} = {H * W}; "
            "is output_size the size before the pooling?"
        )
    planes = np.arange(N * C).reshape(N, C, 1, 1) * (H * W) + indices.astype(np.int64)
    taken = np.zeros(N * C * H * W, bool)
    taken[planes.ravel()] = True
    if int(taken.sum()) != planes.size:
        _, first = np.unique(planes, return_index=True)
        repeated = np.setdiff1d(np.arange(planes.size), first)[0]
        where = tuple(int(i) for i in np.unravel_index(repeated, planes.shape))
        raise IndicesError(
            f"max_unpool2d: index {int(indices[where])} at {where} stands twice in its plane; "
            "pooling windows that overlap have no inverse"
        )


def windows_hold_values(
    x: tuple, output: tuple, kernel_size: Any, stride: Any, padding: Any, dilation: Any
) -> None:
    """Every pooling window must see at least one pixel that is no padding (a dilated one may step over them all)."""
    kernel = shapes.pair(kernel_size)
    stride = kernel if stride is None else shapes.pair(stride)
    for size, places, k, s, p, d in zip(
        x[2:], output[2:], kernel, stride, shapes.pair(padding), shapes.pair(dilation), strict=True
    ):
        rows = np.arange(places)[:, None] * s + np.arange(k) * d - p
        if not ((rows >= 0) & (rows < size)).any(axis=1).all():
            raise ShapeError(
                f"max_pool2d: a window of {k} (dilation {d}, padding {p}) sees only padding on a size of {size}; "
                "use less padding or dilation"
            )


def not_empty_image(operation: str, x: tuple) -> None:
    """An image with at least one row and column to read from."""
    if min(x[2:]) < 1:
        raise ShapeError(f"{operation} needs at least one row and column; got shape {x}")


def regions(operation: str, features: Any, boxes: Any, spatial_scale: float) -> None:
    """Rows (image number, x1, y1, x2, y2), finite, each of an image that is there (not looked at on a device)."""
    if is_device(boxes):
        return
    finite(operation, "box", boxes, 1e9 / max(spatial_scale, 1))  # further off, int32 cannot count the points of a box
    N, number = len(features), boxes[:, 0]
    stray = (number < 0) | (number >= N) | (number != np.floor(number))
    if stray.any():
        row = int(np.argmax(stray))
        raise BoxError(
            f"{operation}: box {row} is of image number {number[row]:g}, and features hold {N} images, counted from 0 "
            f"({int(stray.sum())} of {len(boxes)} boxes are); a row is (image number, x1, y1, x2, y2)"
        )


def scored_boxes(boxes: Any, scores: Any) -> None:
    """Boxes (R, 4), finite, and as many scores, none NaN (numbers are not looked at on a device)."""
    if boxes.ndim != 2 or boxes.shape[1] != 4 or scores.shape != boxes.shape[:1]:
        raise ShapeError(f"nms takes boxes (R, 4) and scores (R,); got {boxes.shape} and {scores.shape}")
    if not is_device(boxes):
        finite("nms", "box", boxes, 1e18)  # further off, float32 cannot hold the area of a box
        if np.isnan(scores).any():
            raise BoxError(f"nms: the score of box {int(np.argmax(np.isnan(scores)))} is NaN; did training diverge?")


def finite(operation: str, what: str, rows: np.ndarray, farthest: float = np.inf) -> None:
    """Rows of numbers, none NaN, infinite or larger than the farthest."""
    broken = ~(np.abs(rows) <= min(farthest, float(np.finfo(rows.dtype).max))).all(axis=1)
    if broken.any():
        row = int(np.argmax(broken))
        numbers = ", ".join(f"{value:g}" for value in rows[row])
        limit = "" if farthest == np.inf else f" or off by more than {farthest:.0e} pixels"
        raise BoxError(
            f"{operation}: {what} {row} is ({numbers}), which is not finite{limit} ({int(broken.sum())} of {len(rows)} "
            "are); did training diverge?"
        )


def kept(who: str, keep: Any, boxes: Any) -> Any:
    """A replacement's choice of boxes held against the contract, as int32 indices, C-contiguous."""
    if not is_array(keep) or device_of(keep) != device_of(boxes) or keep.dtype.kind not in "iu" or keep.ndim != 1:
        given = f"{keep.dtype} of shape {keep.shape}" if is_array(keep) else type(keep).__name__
        raise DtypeError(f"{who} must be a vector of integers where the boxes lie; got {given}")
    if not is_device(keep):
        integers = keep.astype(np.int64)
        if np.any((integers < 0) | (integers >= len(boxes))) or len(np.unique(integers)) < len(integers):
            raise ShapeError(f"{who} must be distinct indices of the {len(boxes)} boxes; got {keep}")
    return keep.astype(np.int32)


def dimension(operation: str, x: tuple, dim: int) -> None:
    """A dimension that the array has."""
    if not -len(x) <= shapes.integer(dim, "dim") < len(x):
        raise OptionError(f"{operation}: dim {dim} is outside the {len(x)} dimensions of {x}")


def dropout(p: float, seed: int) -> None:
    """A probability, and a seed of 64 bits."""
    if not 0 <= p <= 1:
        raise OptionError(f"dropout: p is the probability of a zero, 0 to 1; got {p!r}")
    if not isinstance(seed, int | np.integer) or not 0 <= int(seed) < 2**64:
        raise OptionError(f"dropout: seed must be an int from 0 to 2**64 - 1; got {seed!r}")


def reduction(name: str) -> str:
    """A known way to reduce a loss."""
    if name not in ("sum", "mean", "none"):
        raise OptionError(f"reduction must be 'sum', 'mean' or 'none'; got {name!r}")
    return name


def positive(operation: str, **values: float) -> None:
    """Numbers above zero."""
    for name, value in values.items():
        if not value > 0:
            raise OptionError(f"{operation}: {name} must be above 0; got {value!r}")


def not_negative(operation: str, **values: float) -> None:
    """Numbers of at least zero."""
    for name, value in values.items():
        if not value >= 0:
            raise OptionError(f"{operation}: {name} must be at least 0; got {value!r}")


def share(operation: str, **values: float) -> None:
    """Numbers from 0 to 1."""
    for name, value in values.items():
        if not 0 <= value <= 1:
            raise OptionError(f"{operation}: {name} must lie between 0 and 1; got {value!r}")


def result(who: str, array: Any, shape: tuple, dtype: np.dtype, device: Any) -> Any:
    """A replacement's array held against the contract, and made C-contiguous."""
    if isinstance(array, np.generic):
        array = np.asarray(array)
    if not is_array(array) or device_of(array) != device:
        kind = "NumPy" if device is None else "CuPy"
        raise DtypeError(f"{who} must be a {kind} array of shape {shape}; got {type(array).__name__}")
    if array.shape != tuple(shape):
        raise ShapeError(f"{who} must have shape {tuple(shape)}; got {array.shape}")
    if array.dtype != dtype:
        reason = ", as the input is" if dtype.kind == "f" else ""
        raise DtypeError(f"{who} must be {dtype}{reason}; got {array.dtype}")
    return array if array.flags.c_contiguous else array.copy(order="C")
