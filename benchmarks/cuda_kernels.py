"""Our kernels on a GPU: each rung of convolution beside cuDNN and the roofline, all that moves memory beside copying.

    python benchmarks/cuda_kernels.py [--repeats 20] [--write]

The tables go to results/cuda/<device>.md with --write. Without PyTorch for CUDA the columns of cuDNN stay empty.

A time is the device's own (minisegnet/cuda/device.py): the median over rounds, in each of which the same call runs on
several sets of random arrays in turn, together larger than twice the L2 cache, so that nothing is found there from the
time before.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from math import ceil, prod
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from minisegnet import cuda, shapes
from minisegnet.cuda import arrays, convolution, ladder, optimisers, suppression
from minisegnet.cuda.device import Device
from minisegnet.cuda.ladder import RUNGS
from minisegnet.cuda.precisions import PRECISIONS
from minisegnet.errors import MinisegnetError

RESULTS = Path(__file__).parent.parent / "results" / "cuda"
MOST_SETS = 32  # of arrays; as many small ones never fit into L2

# ------------------------------------------------------------------------------------------------------------- shapes


class Shape(NamedTuple):
    """One convolution of a U-Net of width 64, on 8 images of 256 x 256."""

    name: str
    image: tuple[int, int, int, int]  # N, in_channels, H, W
    weight: tuple[int, int, int, int]  # out_channels, in_channels, kernel_h, kernel_w
    stride: int = 1
    padding: int = 1

    @property
    def output(self) -> tuple[int, ...]:
        return shapes.conv2d(self.image, self.weight, None, self.stride, self.padding, 1)

    @property
    def sizes(self) -> convolution.Sizes:
        weight = np.broadcast_to(np.float32(0), self.weight)
        return convolution.Sizes.of(self.image, self.output[2:], weight, self.stride, self.padding, 1)

    @property
    def operations(self) -> int:
        """Floating-point operations of each of the three products: a multiplication and an addition a tap."""
        return 2 * prod(self.output) * prod(self.weight[1:])

    @property
    def bytes(self) -> int:
        """What each product must move at least: image, filters and output, each read or written once."""
        return 4 * (prod(self.image) + prod(self.weight) + prod(self.output))


SHAPES = (
    Shape("first", (8, 3, 256, 256), (64, 3, 3, 3)),
    Shape("encoder 1", (8, 64, 256, 256), (64, 64, 3, 3)),
    Shape("encoder 2", (8, 128, 128, 128), (128, 128, 3, 3)),
    Shape("encoder 3", (8, 256, 64, 64), (256, 256, 3, 3)),
    Shape("bottom", (8, 512, 16, 16), (1024, 512, 3, 3)),
    Shape("up 1", (8, 64, 256, 256), (128, 64, 2, 2), stride=2, padding=0),  # the transposed one: its gradient by input
    Shape("decoder 1", (8, 128, 256, 256), (64, 128, 3, 3)),
    Shape("score", (8, 64, 256, 256), (21, 64, 1, 1), padding=0),
)
PRODUCTS = ("forward", "gradient by input", "gradient by weight")
LAYOUTS = ("NCHW", "channels last")


class Arrays(NamedTuple):
    """The arrays of one convolution."""

    image: Any
    weight: Any
    output: Any  # or its gradient


def own_call(product: str, given: Arrays, sizes: convolution.Sizes, rung: str) -> Callable[[], Any]:
    """One of our products on these arrays; packing filters and adding the parts of a split sum are part of it."""
    image, weight, output = given
    return {
        "forward": partial(convolution.gather, image, weight, None, sizes, rung),
        "gradient by input": partial(convolution.scatter, output, weight, None, sizes, rung),
        "gradient by weight": partial(convolution.correlate, output, image, sizes, rung),
    }[product]


def cudnn_call(product: str, given: Arrays, shape: Shape, precision: str, layout: str) -> Callable[[], Any]:
    """The same by PyTorch, on copies of the arrays in the precision's type and the layout."""
    import torch

    kind = torch.bfloat16 if precision == "bf16" else torch.float32
    memory = torch.channels_last if layout == "channels last" else torch.contiguous_format
    image, weight, output = (torch.from_dlpack(array).to(kind).contiguous(memory_format=memory) for array in given)
    options = [shape.stride] * 2, [shape.padding] * 2, [1, 1], False, [0, 0], 1

    def call() -> Any:
        torch.backends.cudnn.benchmark = True
        torch.backends.cudnn.allow_tf32 = precision == "tf32"
        if product == "forward":
            return torch.ops.aten.convolution(image, weight, None, *options)
        wanted = [product == "gradient by input", product == "gradient by weight", False]
        return torch.ops.aten.convolution_backward(output, image, weight, None, *options, wanted)

    return call


# -------------------------------------------------------------------------------------------- what only moves memory


def moving(draw: Callable, draw_labels: Callable, size: tuple[int, int, int, int]) -> Iterator[tuple]:
    """(name, bytes that must be moved, function that makes a call on new arrays) of what computes next to nothing."""
    N, C, H, W = size
    half, below = (N, C // 2, H, W), (N, C, H // 2, W // 2)
    image = 4 * prod(size)

    def forward(operation: str, *options: Any, given: Sequence = (size,)) -> Callable[[], Callable]:
        return lambda: partial(getattr(cuda, f"{operation}_forward"), *(draw(*shape) for shape in given), *options)

    def backward(operation: str, upstream: tuple, *options: Any, given: Sequence = (size,)) -> Callable[[], Callable]:
        def make() -> Callable:
            _, saved = forward(operation, *options, given=given)()()
            return partial(getattr(cuda, f"{operation}_backward"), draw(*upstream), saved)

        return make

    for name, reads, writes in [("relu", 1, 1), ("sigmoid", 1, 1), ("softmax", 1, 1)]:
        yield f"{name} forward", (reads + writes) * image, forward(name)
        yield f"{name} backward", (reads + writes + 1) * image, backward(name, size)
    yield "dropout", 2 * image, forward("dropout", 0.5, 7)
    yield "add forward", 3 * image, forward("add", given=(size, size))
    yield "add backward", 3 * image, backward("add", size, given=(size, size))
    yield "concat forward", 2 * image, lambda: partial(cuda.concat_forward, [draw(*half), draw(*half)])
    yield "crop forward", image / 2, forward("crop", H // 4, W // 4, H // 2, W // 2)
    yield "crop backward", image * 5 / 4, backward("crop", below, H // 4, W // 4, H // 2, W // 2)
    yield "reflection_pad2d forward", 4 * N * C * (H * W + (H + 8) * (W + 8)), forward("reflection_pad2d", 4)
    yield "max_pool2d forward", image * 3 / 2, forward("max_pool2d", 2)  # values and indices, a quarter each
    yield "max_pool2d backward", image * 3 / 2, backward("max_pool2d", below, 2)
    yield "avg_pool2d forward", image * 5 / 4, forward("avg_pool2d", 2)
    yield "avg_pool2d backward", image * 5 / 4, backward("avg_pool2d", below, 2)

    def unpooled() -> Callable:
        (y, indices), _ = cuda.max_pool2d_forward(draw(*size), 2)
        return partial(cuda.max_unpool2d_forward, y, indices, (H, W))

    yield "max_unpool2d forward", image * 3 / 2, unpooled
    for name in ("nearest_unpool2d", "upsample_bilinear2d"):
        yield f"{name} forward", image * 5 / 4, forward(name, (H, W), given=(below,))
        yield f"{name} backward", image * 5 / 4, backward(name, size, (H, W), given=(below,))
    # The mean must be known before the values are changed by it: x is read twice, and on the way back dy too.
    yield "batch_norm2d forward", 3 * image, forward("batch_norm2d", given=(size, (C,), (C,)))
    yield "batch_norm2d backward", 5 * image, backward("batch_norm2d", size, given=(size, (C,), (C,)))

    def loss() -> Callable:
        return partial(cuda.softmax_cross_entropy_forward, draw(*size), draw_labels(C, N, H, W))

    def slopes() -> Callable:
        y, saved = loss()()
        return partial(cuda.softmax_cross_entropy_backward, y, saved)

    pixels = 4 * N * H * W  # of labels; and of the weight, the largest logit and the sum kept for the way back
    yield "softmax_cross_entropy forward", image + 4 * pixels, loss
    yield "softmax_cross_entropy backward", 2 * image + 4 * pixels, slopes
    yield "bias's gradient", image, lambda: partial(ladder.channel_sum, draw(*size))
    yield "sgd", 5 * image, lambda: partial(optimisers.sgd_step, *(draw(*size) for _ in range(3)), 1e-3, 0.9)

    def adam() -> Callable:
        w, gradient, mean = (draw(*size) for _ in range(3))
        return partial(optimisers.adam_step, w, gradient, mean, abs(draw(*size)), 1, 1e-3)

    yield "adam", 7 * image, adam


def regions(draw: Callable, draw_labels: Callable, size: tuple[int, int, int, int]) -> Iterator[tuple]:
    """The same of what takes boxes: some that tile the images, so that each pixel lies under one.

    Suppression holds every box against all that follow; the bits that tell which overlap are written and read again.
    """
    N, C, H, W = size
    side, bins = min(16, H, W), (7, 7)
    tiles = [
        (n, left, top, left + side, top + side)
        for n in range(N)
        for top in range(0, H, side)
        for left in range(0, W, side)
    ]
    image, pooled, count = 4 * prod(size), (len(tiles), C, *bins), H * W // 8

    def given() -> tuple:
        boxes = draw(len(tiles), 5)
        arrays.fill(boxes, tiles)
        return draw(*size), boxes, bins

    def backward(operation: str, *options: Any) -> Callable:
        _, saved = getattr(cuda, f"{operation}_forward")(*given(), *options)
        return partial(getattr(cuda, f"{operation}_backward"), draw(*pooled), saved)

    def suppressed() -> Callable:
        boxes = 100 * draw(count, 4)
        boxes[:, 2:] = boxes[:, :2] + 20
        return partial(suppression.suppress, boxes, draw(count), 0.5)

    values = 4 * prod(pooled)
    yield "roi_align forward", image + values, lambda: partial(cuda.roi_align_forward, *given(), 1.0, 2)
    yield "roi_align backward", image + values, partial(backward, "roi_align", 1.0, 2)
    yield "roi_pool forward", image + 2 * values, lambda: partial(cuda.roi_pool_forward, *given())
    yield "roi_pool backward", image + 2 * values, partial(backward, "roi_pool")
    yield f"nms of {count}", count * (24 + count / 8), suppressed


def cudnn() -> str | None:
    """PyTorch and cuDNN with their versions, where they can use the GPU."""
    if importlib.util.find_spec("torch") is None:
        return None
    import torch

    if not (torch.cuda.is_available() and torch.backends.cudnn.is_available()):
        return None
    return f"PyTorch {torch.__version__}, cuDNN {torch.backends.cudnn.version()}"


def sets_for(bytes_of_one: float, cache: int) -> int:
    """How many sets of arrays are larger than twice the cache; at least two, since one would follow itself."""
    return min(MOST_SETS, max(2, ceil(2 * cache / bytes_of_one)))


def roof(operations: float, moved: float, most: float | None, bandwidth: float) -> float | None:
    """Operations a second that the roofline allows: the arithmetic's most, or what memory feeds."""
    return None if most is None else min(most, bandwidth * operations / moved)


# ------------------------------------------------------------------------------------------------------- the tables


class Convolved(NamedTuple):
    """One rung's time of one product, beside cuDNN's in each layout."""

    shape: Shape
    product: str
    rung: str
    seconds: float
    roof: float | None  # operations a second
    cudnn: dict[str, float]  # seconds

    @property
    def of_cudnn(self) -> float | None:
        """Its speed as a share of cuDNN's in its faster layout."""
        return min(self.cudnn.values()) / self.seconds if self.cudnn else None


class Moved(NamedTuple):
    """What one operation took to move its bytes."""

    name: str
    bytes: float
    seconds: float
    of_copy: float  # its bandwidth as a share of a copy's


def measure_convolutions(device: Any, bandwidth: float, given: Sequence[Shape], beside: bool) -> Iterator[Convolved]:
    """Every rung that runs on the device, at every shape, in every product."""
    for shape in given:
        count = sets_for(shape.bytes, device.cache)
        sets = [Arrays(*(device.draw(*s) for s in (shape.image, shape.weight, shape.output))) for _ in range(count)]
        for product in PRODUCTS:
            for precision in PRECISIONS:
                if precision != "float32" and device.architecture < ladder.TENSOR_CORES:
                    continue
                theirs = {
                    layout: device.seconds([cudnn_call(product, one, shape, precision, layout) for one in sets])
                    for layout in LAYOUTS
                    if beside
                }
                limit = roof(shape.operations, shape.bytes, device.most_operations(precision), bandwidth)
                for rung in (name for name, rung in RUNGS.items() if rung.precision == precision):
                    ours = device.seconds([own_call(product, one, shape.sizes, rung) for one in sets])
                    yield Convolved(shape, product, rung, ours, limit, theirs)


def measure_moving(
    device: Any, bandwidth: float, size: tuple[int, int, int, int], listed: Callable = moving
) -> Iterator[Moved]:
    """Every operation that computes next to nothing, or each of another list, on images of one size."""
    for name, least, make in listed(device.draw, device.draw_labels, size):
        seconds = device.seconds([make() for _ in range(sets_for(least, device.cache))])
        yield Moved(name, least, seconds, least / seconds / bandwidth)


def convolution_table(rows: Sequence[Convolved]) -> list[str]:
    titles = ["shape", "product", "rung", "ms", "TFLOP/s", "GB/s", "% of roofline"]
    titles += [f"% of cuDNN, {layout}" for layout in LAYOUTS]
    lines = [f"| {' | '.join(titles)} |", "|---|---|---|---:|---:|---:|---:|---:|---:|"]
    for row in rows:
        speed = row.shape.operations / row.seconds
        theirs = [percent(row.cudnn[layout] / row.seconds if layout in row.cudnn else None) for layout in LAYOUTS]
        cells = [
            row.shape.name, row.product, row.rung, f"{row.seconds * 1e3:.3f}", f"{speed / 1e12:.2f}",
            f"{row.shape.bytes / row.seconds / 1e9:.0f}", percent(row.roof and speed / row.roof), *theirs,
        ]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def moving_table(rows: Sequence[Moved]) -> list[str]:
    lines = ["| operation | MB | ms | GB/s | % of copying |", "|---|---:|---:|---:|---:|"]
    for row in rows:
        moved = f"{row.bytes / 1e6:.0f} | {row.seconds * 1e3:.3f} | {row.bytes / row.seconds / 1e9:.0f}"
        lines.append(f"| {row.name} | {moved} | {percent(row.of_copy)} |")
    return lines


def summary(convolved: Sequence[Convolved], moved: Sequence[Moved]) -> list[str]:
    """The slowest of what is to be fast, each beside its bar."""
    lines = []
    for precision in ("tf32", "bf16"):
        best: dict[tuple, float] = {}  # of the pipelined rungs that a product has
        for row in convolved:
            rung, share = RUNGS[row.rung], row.of_cudnn
            if rung.precision == precision and rung.pipelined and min(row.shape.weight[:2]) >= 64 and share:
                best[row.shape.name, row.product] = max(share, best.get((row.shape.name, row.product), 0.0))
        if best:
            (shape, product), share = min(best.items(), key=lambda item: item[1])
            lines.append(
                f"- Pipelined {precision}, 64 channels or more: at least {percent(share)} % of cuDNN's faster layout, "
                f"at {shape}, {product}" + (" (to be 60)" if precision == "tf32" else "")
            )
    if moved:
        last = min(moved, key=lambda row: row.of_copy)
        lines.append(f"- Moving memory: at least {percent(last.of_copy)} % of a copy, at {last.name} (to be 80)")
    return lines


def report(
    device: Any,
    bandwidth: float,
    beside: str | None,
    convolved: Sequence[Convolved],
    moved: Sequence[Moved],
    of_regions: Sequence[Moved],
) -> list[str]:
    """The whole page: what was measured on, the summary, the tables."""
    return [
        f"# Kernels on {device.name}",
        "",
        f"{device};",
        f"{beside or 'no PyTorch for CUDA to compare with'}. A copy reads and writes {bandwidth / 1e9:.0f} GB/s.",
        "Made by `python benchmarks/cuda_kernels.py --write`, whose head says how it is measured.",
        "",
        *summary(convolved, moved),
        "",
        "## Convolutions",
        "",
        "Eight of a U-Net of width 64, 8 images of 256 x 256. GB/s counts each array once, in float32. cuDNN computes",
        "in the rung's precision; for bf16 its arrays are bf16 too, half the bytes of ours, which are rounded inside.",
        "",
        *convolution_table(convolved),
        "",
        "## Moving memory",
        "",
        "Arrays of 8 x 64 x 256 x 256 float32, each counted once for each time that it must be read or written.",
        "",
        *moving_table(moved),
        "",
        "## Regions",
        "",
        "512 boxes of 16 x 16 that tile 2 images of 256 x 256 in 256 channels, pooled to 7 x 7, by 2 x 2 points a bin;",
        "each array counted once. Suppression of so many boxes: their overlaps, a bit a pair, written and read again.",
        "",
        *moving_table(of_regions),
        "",
    ]


def percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.0f}"


def file_name(device: str) -> str:
    """NVIDIA_H100_80GB_HBM3.md for an NVIDIA H100 80GB HBM3."""
    return "_".join("".join(c if c.isalnum() or c in "-." else " " for c in device).split()) + ".md"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=20, help="rounds of each measurement")
    parser.add_argument("--write", action="store_true", help=f"write the tables to {RESULTS.name}/<device>.md too")
    options = parser.parse_args(arguments)
    try:
        device = Device(options.repeats)
    except MinisegnetError as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 1

    bandwidth, beside = device.copying(), cudnn()
    convolved = []
    for row in measure_convolutions(device, bandwidth, SHAPES, beside is not None):
        print(f"{row.shape.name:10} {row.product:18} {row.rung:16} {row.seconds * 1e3:9.3f} ms", file=sys.stderr)
        convolved.append(row)
    moved = list(measure_moving(device, bandwidth, (8, 64, 256, 256)))
    of_regions = list(measure_moving(device, bandwidth, (2, 256, 256, 256), regions))
    lines = report(device, bandwidth, beside, convolved, moved, of_regions)
    print("\n".join(lines))
    if options.write:
        RESULTS.mkdir(parents=True, exist_ok=True)
        path = RESULTS / file_name(device.name)
        path.write_text("\n".join(lines), encoding="utf-8")
        print(f"written to {path}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
