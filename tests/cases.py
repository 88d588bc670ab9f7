"""A table of small inputs and options for every operation, each with its own seed."""

import zlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from minisegnet.functional import OPERATIONS

# How many arguments, from the first, have gradients (1 where not listed; concat: all of its list).
DIFFERENTIABLE = {"conv2d": 3, "conv_transpose2d": 3, "linear": 3, "batch_norm2d": 3, "add": 2}


# ------------------------------------------------------------------------------------ arrays, drawn from a generator


def normal(*shape, scale=1.0):
    return lambda rng: scale * rng.standard_normal(shape)


def uniform(*shape, low=0.0, high=1.0):
    return lambda rng: rng.uniform(low, high, shape)


def labels(*shape, classes, among=(), dtype="int32"):
    """Class labels, of which about a third are drawn from `among` instead."""

    def draw(rng):
        drawn = rng.integers(0, classes, shape)
        return (np.where(rng.random(shape) < 1 / 3, rng.choice(among, shape), drawn) if among else drawn).astype(dtype)

    return draw


def constant(value, *shape, dtype="int32"):
    return lambda rng: np.full(shape, value, dtype)


def distinct(*shape, below, dtype="int32"):
    """Unpooling indices: distinct in each plane, less than `below`."""

    def draw(rng):
        planes = [rng.permutation(below)[: shape[2] * shape[3]] for _ in range(shape[0] * shape[1])]
        return np.array(planes, dtype).reshape(shape)

    return draw


def regions(count, images, low, high):
    """Rows (image number, x1, y1, x2, y2) between two (x, y), in quarters of a pixel."""

    def draw(rng):
        corners = rng.integers(4 * np.array(low), 4 * np.array(high), (2, count, 2)) / 4
        return np.column_stack([rng.integers(0, images, count), corners.min(axis=0), corners.max(axis=0)])

    return draw


def rows(*numbers):
    return lambda rng: np.array(numbers, float)


# ------------------------------------------------------------------------------- the same values, laid out otherwise


def every_other(array):
    spread = np.zeros([2 * size for size in array.shape], array.dtype)
    view = spread[(slice(None, None, 2),) * array.ndim]
    view[...] = array
    return view


LAYOUTS = {
    "fortran order": np.asfortranarray,
    "reversed": lambda array: np.flip(np.flip(array).copy()),
    "channels last": lambda array: np.moveaxis(np.moveaxis(array, 1, -1).copy(), -1, 1) if array.ndim > 1 else array,
    "every other": every_other,
    "one image repeated": lambda array: np.broadcast_to(array[:1], array.shape) if array.ndim > 1 else array,
}


# ---------------------------------------------------------------------------------------------------- a case


@dataclass(frozen=True, eq=False)
class Case:
    """One call of an operation: what to draw for its arrays and options, of which type, laid out how."""

    operation: str
    name: str
    arrays: tuple
    options: dict
    torch: bool = True  # whether PyTorch computes the same here
    dtype: str = "float64"
    layout: Callable = field(default=lambda array: array, repr=False)

    @property
    def seed(self):
        return zlib.crc32(f"{self.operation} {self.name}".encode()) % 10_000

    def __str__(self):
        return f"{self.operation}, {self.name}, {self.dtype}, seed {self.seed}"

    def draw(self, dtype=None):
        """Arrays and options; floats are rounded to the case's type, then given as `dtype` if one is named."""
        rng = np.random.default_rng(self.seed)
        arrays = [self._drawn(array, rng, dtype) for array in self.arrays]
        options = {name: self._drawn(value, rng, dtype) for name, value in self.options.items()}
        return arrays, options

    def draw_upstream(self, shape, dtype=None):
        """A random gradient by the output, never all ones."""
        return self._drawn(normal(*shape), np.random.default_rng(self.seed + 1), dtype)

    def _drawn(self, value, rng, dtype):
        if not callable(value):
            return value
        array = np.asarray(value(rng))
        if array.dtype.kind == "f":
            array = array.astype(self.dtype).astype(dtype or self.dtype)
        return self.layout(array) if array.ndim else array

    def forward(self, functional, arrays, options):
        """The operation's outputs as a list, and its cache."""
        function = getattr(functional, f"{self.operation}_forward")
        output, cache = function(arrays, **options) if self.operation == "concat" else function(*arrays, **options)
        return list(output) if isinstance(output, tuple) else [output], cache

    def backward(self, functional, dy, cache):
        """The operation's gradients as a list."""
        gradients = getattr(functional, f"{self.operation}_backward")(dy, cache)
        return list(gradients) if isinstance(gradients, tuple | list) else [gradients]

    @property
    def differentiable(self):
        """Positions of the arrays that are given and have gradients."""
        count = len(self.arrays) if self.operation == "concat" else DIFFERENTIABLE.get(self.operation, 1)
        return [i for i in range(count) if self.arrays[i] is not None]


def cases(operation=None, dtypes=("float64", "float32"), layouts=True, torch=False):
    """Parameters for pytest: the cases of one operation or of all."""
    found = []
    for name in [operation] if operation else OPERATIONS:
        listed = [Case(name, label, arrays, options) for label, arrays, options in TABLE[name]]
        listed = [replace(one, torch=False) if (name, one.name) in NOT_IN_TORCH else one for one in listed]
        if layouts:
            first = listed[0]
            listed += [replace(first, name=label, layout=layout) for label, layout in LAYOUTS.items()]
        found += [replace(one, dtype=dtype) for one in listed for dtype in dtypes if one.torch or not torch]
    return [pytest.param(case, id=str(case)) for case in found]


def case(name, *arrays, **options):
    return name, arrays, options


# ---------------------------------------------------------------------------------------------------- the table

IMAGE = normal(2, 2, 5, 6)
LOGITS = normal(2, 3, 4, 3)
LABELS = labels(2, 4, 3, classes=3)
WITH_IGNORED = labels(2, 4, 3, classes=3, among=(255,))
INSIDE = regions(3, 2, (0, 0), (6, 5))
LARGE = regions(5, 2, (0, 0), (13, 11))

TABLE = {
    "conv2d": [
        case("plain", IMAGE, normal(3, 2, 3, 3), normal(3)),
        case("no bias", IMAGE, normal(3, 2, 3, 3), None),
        case("stride", IMAGE, normal(3, 2, 2, 2), normal(3), stride=2),
        case("padding", IMAGE, normal(3, 2, 3, 3), normal(3), padding=1),
        case("dilation", IMAGE, normal(3, 2, 2, 2), normal(3), dilation=2),
        case("pairs", IMAGE, normal(3, 2, 3, 2), normal(3), stride=(2, 1), padding=(0, 2), dilation=(1, 3)),
        case("lists", IMAGE, normal(1, 2, 2, 3), normal(1), stride=[1, 2], padding=[2, 0], dilation=[2, 1]),
        case("pixels left over", normal(1, 1, 8, 7), normal(2, 1, 3, 3), None, stride=4),
        case("stride over the kernel", IMAGE, normal(2, 2, 1, 2), normal(2), stride=3),
        case("padding over the kernel", normal(1, 2, 3, 3), normal(2, 2, 2, 2), normal(2), padding=3),
        case("kernel over the image", normal(2, 1, 3, 2), normal(2, 1, 5, 4), normal(2), padding=2),
        case("1 x 1", IMAGE, normal(4, 2, 1, 1), normal(4)),
        case("one pixel", normal(1, 2, 1, 1), normal(2, 2, 3, 3), normal(2), padding=1),
        case("empty batch", normal(0, 2, 5, 6), normal(3, 2, 3, 3), normal(3), padding=1),
    ],
    "conv_transpose2d": [
        case("plain", IMAGE, normal(2, 3, 3, 3), normal(3)),
        case("no bias", IMAGE, normal(2, 3, 2, 2), None, stride=2),
        case("doubling", IMAGE, normal(2, 3, 2, 2), normal(3), stride=2),
        case("overlaps", IMAGE, normal(2, 3, 3, 3), normal(3), stride=2),
        case("padding", IMAGE, normal(2, 3, 3, 3), normal(3), padding=1),
        case("output padding", IMAGE, normal(2, 3, 3, 3), normal(3), stride=2, padding=1, output_padding=1),
        case("dilation", IMAGE, normal(2, 1, 2, 2), normal(1), dilation=2, output_padding=1),
        case(
            "pairs", IMAGE, normal(2, 2, 3, 2), normal(2),
            stride=(3, 1), padding=(1, 2), output_padding=(2, 1), dilation=(1, 3),
        ),
        case("gaps", IMAGE, normal(2, 2, 1, 2), normal(2), stride=3),
        case("all but the middle cut", normal(1, 2, 3, 4), normal(2, 2, 3, 3), None, padding=(2, 1)),
        case("one pixel", normal(1, 2, 1, 1), normal(2, 3, 3, 2), normal(3), stride=2),
        case("empty batch", normal(0, 2, 3, 3), normal(2, 3, 2, 2), normal(3), stride=2),
    ],
    "linear": [
        case("plain", normal(3, 4), normal(5, 4), normal(5)),
        case("no bias", normal(3, 4), normal(2, 4), None),
        case("one number", normal(1, 1), normal(1, 1), normal(1)),
        case("empty batch", normal(0, 4), normal(2, 4), normal(2)),
    ],
    "max_pool2d": [
        case("plain", IMAGE, kernel_size=2),
        case("overlapping", IMAGE, kernel_size=3, stride=1),
        case("padding", IMAGE, kernel_size=3, stride=2, padding=1),
        case("dilation", normal(2, 2, 7, 6), kernel_size=2, stride=1, dilation=(3, 2), padding=1),
        case("pairs", IMAGE, kernel_size=(3, 2), stride=(1, 3), padding=(1, 0)),
        case("ceil mode", IMAGE, kernel_size=2, ceil_mode=True),
        case("ceil mode, padding", normal(1, 2, 6, 7), kernel_size=3, stride=2, padding=1, ceil_mode=True),
        case("ceil mode, last window left out", normal(1, 1, 3, 4), kernel_size=1, stride=3, ceil_mode=True),
        case("ceil mode, window over the image", normal(1, 1, 2, 2), kernel_size=3, stride=2, ceil_mode=True),
        case("all negative", uniform(1, 2, 3, 3, low=-2, high=-1), kernel_size=2, stride=1, padding=1),
        case("gaps", normal(1, 2, 7, 8), kernel_size=(1, 2), stride=3),
        case("one pixel", normal(1, 2, 1, 1), kernel_size=2, padding=1),
        case("empty batch", normal(0, 2, 4, 4), kernel_size=2),
    ],
    "avg_pool2d": [
        case("plain", IMAGE, kernel_size=2),
        case("overlapping", IMAGE, kernel_size=3, stride=1),
        case("padding", IMAGE, kernel_size=3, stride=2, padding=1),
        case("padding left out", IMAGE, kernel_size=3, stride=2, padding=1, count_include_pad=False),
        case("pairs", IMAGE, kernel_size=(3, 2), stride=(1, 3), padding=(1, 0)),
        case("ceil mode", IMAGE, kernel_size=2, ceil_mode=True),
        case("ceil mode, padding", normal(2, 1, 6, 7), kernel_size=(3, 4), stride=(2, 3), padding=1, ceil_mode=True),
        case(
            "ceil mode, padding left out", normal(2, 1, 6, 7),
            kernel_size=(3, 4), stride=(2, 3), padding=1, ceil_mode=True, count_include_pad=False,
        ),
        case("ceil mode, window over the image", normal(1, 1, 2, 2), kernel_size=3, stride=2, ceil_mode=True),
        case("one pixel", normal(1, 2, 1, 1), kernel_size=2, padding=1),
        case("empty batch", normal(0, 2, 4, 4), kernel_size=2),
    ],
    "max_unpool2d": [
        case("plain", normal(2, 2, 3, 2), distinct(2, 2, 3, 2, below=24), output_size=(6, 4)),
        case("odd size", normal(2, 2, 2, 3), distinct(2, 2, 2, 3, below=35), output_size=(5, 7)),
        case("int64", normal(1, 2, 2, 2), distinct(1, 2, 2, 2, below=16, dtype="int64"), output_size=4),
        case("uint8", normal(1, 2, 2, 2), distinct(1, 2, 2, 2, below=20, dtype="uint8"), output_size=[4, 5]),
        case("uint64", normal(1, 2, 2, 2), distinct(1, 2, 2, 2, below=16, dtype="uint64"), output_size=4),
        case("full plane", normal(1, 2, 2, 3), distinct(1, 2, 2, 3, below=6), output_size=(2, 3)),
        case("one pixel", normal(1, 1, 1, 1), distinct(1, 1, 1, 1, below=4), output_size=2),
        case("empty batch", normal(0, 2, 2, 2), distinct(0, 2, 2, 2, below=16), output_size=4),
    ],
    "nearest_unpool2d": [
        case("doubling", normal(2, 2, 3, 4), output_size=(6, 8)),
        case("odd size", normal(2, 2, 3, 4), output_size=(7, 5)),
        case("smaller", normal(2, 1, 6, 7), output_size=(4, 3)),
        case("int for both", normal(1, 2, 2, 3), output_size=5),
        case("one pixel", normal(1, 2, 1, 1), output_size=3),
        case("to one pixel", normal(1, 2, 3, 4), output_size=1),
        case("empty batch", normal(0, 2, 3, 4), output_size=6),
    ],
    "bed_of_nails2d": [
        case("plain", normal(2, 2, 3, 4)),
        case("pairs", normal(2, 2, 3, 2), stride=(1, 3)),
        case("larger output", normal(2, 1, 2, 3), stride=2, output_size=(6, 7)),
        case("smallest output", normal(2, 1, 2, 3), stride=3, output_size=(4, 7)),
        case("stride 1", normal(1, 2, 2, 3), stride=1),
        case("one pixel", normal(1, 1, 1, 1), stride=4),
        case("empty batch", normal(0, 2, 2, 2)),
    ],
    "upsample_bilinear2d": [
        case("doubling", normal(2, 2, 3, 4), output_size=(6, 8)),
        case("doubling, corners", normal(2, 2, 3, 4), output_size=(6, 8), align_corners=True),
        case("odd size", normal(2, 2, 3, 4), output_size=(7, 5)),
        case("odd size, corners", normal(2, 2, 3, 4), output_size=(7, 5), align_corners=True),
        case("smaller", normal(2, 1, 7, 6), output_size=(3, 4)),
        case("smaller, corners", normal(2, 1, 7, 6), output_size=(3, 4), align_corners=True),
        case("taller, narrower", normal(1, 2, 3, 6), output_size=(8, 2)),
        case("same size", normal(1, 2, 3, 4), output_size=(3, 4)),
        case("int for both", normal(1, 2, 2, 3), output_size=5),
        case("one pixel", normal(1, 2, 1, 1), output_size=(3, 2)),
        case("one pixel, corners", normal(1, 2, 1, 1), output_size=(3, 2), align_corners=True),
        case("to one pixel", normal(1, 2, 3, 4), output_size=1),
        case("to one pixel, corners", normal(1, 2, 3, 4), output_size=1, align_corners=True),
        case("empty batch", normal(0, 2, 3, 4), output_size=(6, 8)),
    ],
    "reflection_pad2d": [
        case("plain", IMAGE, padding=2),
        case("four sides", IMAGE, padding=(1, 0, 3, 2)),
        case("list", IMAGE, padding=[0, 4, 0, 1]),
        case("nothing", normal(1, 2, 3, 2), padding=0),
        case("two pixels", normal(1, 2, 2, 2), padding=1),
        case("mirrored again and again", normal(1, 2, 3, 2), padding=(5, 4, 7, 3)),
        case("one pixel", normal(1, 2, 1, 1), padding=(2, 0, 1, 3)),
        case("one row", normal(1, 2, 1, 4), padding=1),
        case("empty batch", normal(0, 2, 3, 4), padding=1),
    ],
    "concat": [
        case("channels", normal(2, 2, 3, 4), normal(2, 3, 3, 4)),
        case("three of them", normal(2, 1, 3, 2), normal(2, 2, 3, 2), normal(2, 3, 3, 2)),
        case("batch", normal(2, 2, 3, 2), normal(1, 2, 3, 2), dim=0),
        case("rows", normal(2, 2, 3, 2), normal(2, 2, 1, 2), dim=2),
        case("columns, from the end", normal(2, 2, 3, 2), normal(2, 2, 3, 4), dim=-1),
        case("two dimensions", normal(2, 3), normal(2, 1)),
        case("a single one", normal(2, 2, 3, 2)),
        case("one of no channels", normal(2, 0, 3, 2), normal(2, 2, 3, 2)),
        case("empty batch", normal(0, 2, 3, 2), normal(0, 1, 3, 2)),
    ],
    "crop": [
        case("plain", IMAGE, top=1, left=2, height=3, width=2),
        case("corner", IMAGE, top=3, left=4, height=2, width=2),
        case("everything", IMAGE, top=0, left=0, height=5, width=6),
        case("one pixel", normal(1, 2, 3, 3), top=1, left=1, height=1, width=1),
        case("empty batch", normal(0, 2, 3, 3), top=0, left=1, height=2, width=2),
    ],
    "add": [
        case("images", normal(2, 3, 4, 5), normal(2, 3, 4, 5)),
        case("two dimensions", normal(2, 3), normal(2, 3)),
        case("one value", normal(), normal()),
        case("empty batch", normal(0, 2, 3, 2), normal(0, 2, 3, 2)),
    ],
    "batch_norm2d": [
        case("own statistics", IMAGE, normal(2), normal(2)),
        case("fixed statistics", IMAGE, normal(2), normal(2), mean=normal(2), var=uniform(2, low=0.5, high=2)),
        case("large eps", IMAGE, normal(2), normal(2), eps=0.5),
        case("fixed, large eps", IMAGE, normal(2), normal(2), mean=normal(2), var=uniform(2), eps=0.5),
        case("far from zero", lambda rng: 5 + rng.standard_normal((3, 2, 2, 3)), normal(2), normal(2)),
        case("one image of one row", normal(1, 3, 1, 5), normal(3), normal(3)),
        case("a single value", normal(1, 2, 1, 1), normal(2), normal(2)),
        case("fixed, empty batch", normal(0, 2, 3, 3), normal(2), normal(2), mean=normal(2), var=uniform(2)),
    ],
    "relu": [
        case("image", IMAGE),
        case("matrix", normal(3, 4)),
        case("vector", normal(5)),
        case("number", normal()),
        case("empty batch", normal(0, 2, 3, 3)),
    ],
    "sigmoid": [
        case("image", IMAGE),
        case("very large", normal(3, 4, scale=1000)),
        case("number", normal()),
        case("empty batch", normal(0, 2, 3, 3)),
    ],
    "softmax": [
        case("channels", LOGITS),
        case("last dimension", normal(2, 3, 4), dim=-1),
        case("first dimension", normal(3, 2), dim=0),
        case("very large", normal(2, 3, 2, 2, scale=1000)),
        case("one channel", normal(2, 1, 2, 2)),
        case("empty batch", normal(0, 3, 2, 2)),
        case("empty dimension", normal(2, 0, 2, 2)),
    ],
    "dropout": [
        case("half", normal(2, 3, 4, 5)),
        case("few", normal(2, 3, 4, 5), p=0.1, seed=7),
        case("most", normal(3, 11), p=0.9, seed=2**64 - 1),
        case("none", normal(3, 5), p=0),
        case("all", normal(3, 5), p=1),
        case("vector", normal(5), p=0.3, seed=2**32 + 1),
        case("number", normal(), p=0.3, seed=3),
        case("empty batch", normal(0, 2, 3, 3)),
    ],
    "softmax_cross_entropy": [
        case("mean", LOGITS, LABELS),
        case("sum", LOGITS, LABELS, reduction="sum"),
        case("none", LOGITS, LABELS, reduction="none"),
        case("class weight", LOGITS, LABELS, class_weight=uniform(3, low=0.5, high=2)),
        case("class weight, sum", LOGITS, LABELS, class_weight=uniform(3), reduction="sum"),
        case("class weight, none", LOGITS, LABELS, class_weight=uniform(3), reduction="none"),
        case("ignored", LOGITS, WITH_IGNORED, ignore_index=255),
        case("ignored, none", LOGITS, WITH_IGNORED, ignore_index=255, reduction="none"),
        case("ignored negative", LOGITS, labels(2, 4, 3, classes=3, among=(-1,)), ignore_index=-1),
        case("ignored class", LOGITS, LABELS, ignore_index=1),
        case("pixel weight", LOGITS, LABELS, pixel_weight=uniform(2, 4, 3)),
        case("pixel weight, sum", LOGITS, LABELS, pixel_weight=uniform(2, 4, 3), reduction="sum"),
        case("pixel weight, none", LOGITS, LABELS, pixel_weight=uniform(2, 4, 3), reduction="none"),
        case(
            "all of them", LOGITS, WITH_IGNORED,
            class_weight=uniform(3), ignore_index=255, pixel_weight=uniform(2, 4, 3),
        ),
        case(
            "all of them, none", LOGITS, WITH_IGNORED,
            class_weight=uniform(3), ignore_index=255, pixel_weight=uniform(2, 4, 3), reduction="none",
        ),
        case("no pixels, only classes", normal(5, 3), labels(5, classes=3)),
        case("volumes", normal(1, 3, 2, 2, 2), labels(1, 2, 2, 2, classes=3)),
        case("one class", normal(2, 1, 2, 2), labels(2, 2, 2, classes=1)),
        case("uint8 labels", LOGITS, labels(2, 4, 3, classes=3, among=(255,), dtype="uint8"), ignore_index=255),
        case("int64 labels", LOGITS, labels(2, 4, 3, classes=3, dtype="int64")),
        case("very large", normal(2, 3, 2, 2, scale=1000), labels(2, 2, 2, classes=3)),
        case("all ignored", LOGITS, constant(255, 2, 4, 3), ignore_index=255),
        case("all ignored, sum", LOGITS, constant(255, 2, 4, 3), ignore_index=255, reduction="sum"),
        case("weights all 0", LOGITS, LABELS, pixel_weight=constant(0.0, 2, 4, 3, dtype=float)),
        case("empty batch", normal(0, 3, 2, 2), labels(0, 2, 2, classes=3)),
        case("empty batch, none", normal(0, 3, 2, 2), labels(0, 2, 2, classes=3), reduction="none"),
    ],
    "binary_cross_entropy_with_logits": [
        case("mean", LOGITS, uniform(2, 3, 4, 3)),
        case("sum", LOGITS, uniform(2, 3, 4, 3), reduction="sum"),
        case("none", LOGITS, uniform(2, 3, 4, 3), reduction="none"),
        case("weight", LOGITS, uniform(2, 3, 4, 3), weight=uniform(2, 3, 4, 3)),
        case("weight, sum", LOGITS, uniform(2, 3, 4, 3), weight=uniform(2, 3, 4, 3), reduction="sum"),
        case("weight, none", LOGITS, uniform(2, 3, 4, 3), weight=uniform(2, 3, 4, 3), reduction="none"),
        case("yes or no", normal(3, 4), lambda rng: rng.integers(0, 2, (3, 4)).astype(float)),
        case("very large", normal(3, 4, scale=1000), uniform(3, 4)),
        case("number", normal(), uniform()),
        case("number, none", normal(), uniform(), reduction="none"),
        case("empty batch", normal(0, 3, 2), uniform(0, 3, 2)),
        case("empty batch, none", normal(0, 3, 2), uniform(0, 3, 2), reduction="none"),
    ],
    "smooth_l1": [
        case("mean", LOGITS, normal(2, 3, 4, 3)),
        case("sum", LOGITS, normal(2, 3, 4, 3), reduction="sum"),
        case("none", LOGITS, normal(2, 3, 4, 3), reduction="none"),
        case("small beta", LOGITS, normal(2, 3, 4, 3), beta=0.1),
        case("large beta", LOGITS, normal(2, 3, 4, 3), beta=3, reduction="none"),
        case("boxes", normal(5, 4), normal(5, 4)),
        case("number", normal(), normal()),
        case("number, none", normal(), normal(), reduction="none"),
        case("empty batch", normal(0, 4), normal(0, 4)),
        case("empty batch, none", normal(0, 4), normal(0, 4), reduction="none"),
    ],
    "dice": [
        case("plain", LOGITS, LABELS),
        case("ignored", LOGITS, WITH_IGNORED, ignore_index=255),
        case("ignored class", LOGITS, LABELS, ignore_index=0),
        case("not smooth", LOGITS, LABELS, smooth=0),
        case("very smooth", LOGITS, LABELS, smooth=20.0),
        case("classes that do not occur", LOGITS, constant(1, 2, 4, 3)),
        case("classes that do not occur, not smooth", LOGITS, constant(1, 2, 4, 3), smooth=0.0),
        case("no pixels, only classes", normal(5, 3), labels(5, classes=3)),
        case("uint8 labels", LOGITS, labels(2, 4, 3, classes=3, among=(255,), dtype="uint8"), ignore_index=255),
        case("very large", normal(2, 3, 2, 2, scale=1000), constant(1, 2, 2, 2), smooth=0.0),
        case("all ignored", LOGITS, constant(255, 2, 4, 3), ignore_index=255),
        case("all ignored, not smooth", LOGITS, constant(255, 2, 4, 3), ignore_index=255, smooth=0),
        case("empty batch", normal(0, 3, 2, 2), labels(0, 2, 2, classes=3)),
    ],
    "roi_align": [
        case("two points", IMAGE, INSIDE, output_size=2, sampling_ratio=2),
        case("as many points as the box is large", normal(2, 3, 11, 13), LARGE, output_size=(2, 3)),
        case("PyTorch's defaults", normal(2, 3, 11, 13), LARGE, output_size=(3, 2), sampling_ratio=-1, aligned=False),
        case("not aligned", IMAGE, INSIDE, output_size=[3, 2], sampling_ratio=2, aligned=False),
        case("one point", IMAGE, INSIDE, output_size=(2, 4), sampling_ratio=1),
        case("stride 4", IMAGE, regions(4, 2, (0, 0), (24, 20)), output_size=3, spatial_scale=0.25, sampling_ratio=2),
        case("half a pixel of the image", IMAGE, regions(3, 2, (0, 0), (3, 2.5)), output_size=2, spatial_scale=2),
        case("partly outside", IMAGE, regions(6, 2, (-5, -6), (12, 10)), output_size=3, sampling_ratio=3),
        case("partly outside, adaptive", IMAGE, regions(6, 2, (-5, -6), (12, 10)), output_size=3),
        case("partly outside, not aligned", IMAGE, regions(6, 2, (-5, -6), (12, 10)), output_size=3, aligned=False),
        case("wholly outside", IMAGE, rows([0, 20, 1, 24, 3], [1, 1, -9, 3, -5]), output_size=2),
        case("points where the map ends", IMAGE, rows([0, -1, -1, 1, 1], [1, 5, 4, 7, 6], [0, -3, 0, 1, 9]),
             output_size=2, sampling_ratio=1),
        case("no area", IMAGE, rows([0, 2, 1, 2, 1], [1, 1, 2, 4, 2]), output_size=2, sampling_ratio=2),
        case("no area, adaptive", IMAGE, rows([0, 2, 1, 2, 1], [1, 1, 2, 4, 2]), output_size=2),
        case("no area, not aligned", IMAGE, rows([0, 2, 1, 2, 1], [1, 1, 2, 4, 2]), output_size=2, aligned=False),
        case("the wrong way round", IMAGE, rows([0, 4, 4, 1, 2], [1, 1, 3, 4, 1]), output_size=2, sampling_ratio=2),
        case("the wrong way round, adaptive", IMAGE, rows([0, 4, 4, 1, 2], [1, 1, 3, 4, 1]), output_size=2),
        case("the wrong way round, not aligned", IMAGE, rows([0, 4, 4, 1, 2]), output_size=2, aligned=False),
        case("far larger than the map", IMAGE, rows([0, -40, -32, 56, 48], [1, -90, -1, 9, 5]), output_size=3),
        case("far larger, two points", IMAGE, rows([0, -400, -321, 560, 480]), output_size=14, sampling_ratio=2),
        case("one pixel", normal(1, 2, 1, 1), rows([0, 0, 0, 1, 1], [0, -1, 0, 3, 2]), output_size=2, sampling_ratio=2),
        case("to one pixel", IMAGE, INSIDE, output_size=1),
        case("no boxes", IMAGE, normal(0, 5), output_size=2),
        case("no channels", normal(2, 0, 3, 4), INSIDE, output_size=2),
        case("empty batch", normal(0, 2, 3, 4), normal(0, 5), output_size=2),
    ],
    "roi_pool": [
        case("plain", IMAGE, INSIDE, output_size=2),
        case("large boxes", normal(2, 3, 11, 13), LARGE, output_size=(2, 3)),
        case("more bins than pixels", IMAGE, INSIDE, output_size=[7, 4]),
        case("stride 4", IMAGE, regions(4, 2, (0, 0), (24, 20)), output_size=2, spatial_scale=0.25),
        case("half a pixel of the image", IMAGE, regions(3, 2, (0, 0), (3, 2.5)), output_size=2, spatial_scale=2),
        case("halves", IMAGE, rows([0, 0.5, 1.5, 2.5, 3.5], [1, -0.5, -1.5, 1.5, 2.5]), output_size=2),
        case("partly outside", IMAGE, regions(6, 2, (-5, -6), (12, 10)), output_size=3),
        case("wholly outside", IMAGE, rows([0, 20, 1, 24, 3], [1, 1, -9, 3, -5]), output_size=2),
        case("no area", IMAGE, rows([0, 2, 1, 2, 1], [1, 1, 2, 4, 2]), output_size=2),
        case("the wrong way round", IMAGE, rows([0, 4, 4, 1, 2], [1, 1, 3, 4, 1]), output_size=2),
        case("far larger than the map", IMAGE, rows([0, -400, -321, 560, 480], [1, -90, -1, 9, 5]), output_size=3),
        case("one pixel", normal(1, 2, 1, 1), rows([0, 0, 0, 1, 1], [0, -1, 0, 3, 2]), output_size=2),
        case("to one pixel", IMAGE, INSIDE, output_size=1),
        case("no boxes", IMAGE, normal(0, 5), output_size=2),
        case("no channels", normal(2, 0, 3, 4), INSIDE, output_size=2),
        case("empty batch", normal(0, 2, 3, 4), normal(0, 5), output_size=2),
    ],
}  # fmt: skip

# Cases that PyTorch refuses or answers otherwise: it mirrors an image once at most, normalises no single value, and
# makes 0 / 0 of a mean of nothing.
NOT_IN_TORCH = {
    ("reflection_pad2d", "mirrored again and again"),
    ("reflection_pad2d", "one pixel"),
    ("reflection_pad2d", "one row"),
    ("batch_norm2d", "a single value"),
    ("softmax_cross_entropy", "all ignored"),
    ("softmax_cross_entropy", "weights all 0"),
    ("softmax_cross_entropy", "empty batch"),
    ("binary_cross_entropy_with_logits", "empty batch"),
    ("smooth_l1", "empty batch"),
}
