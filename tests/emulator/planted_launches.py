"""A small launch of a kernel of ours for each planted bug: large enough for edges, warps, blocks and several tiles."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from small_kernels import floats


class Launch(NamedTuple):
    """A kernel of kernels/, and what it is launched with; `arguments()` makes the arrays anew."""

    file: str
    kernel: str
    grid: int | tuple[int, ...]
    block: int
    arguments: Callable[[], list]


def zeros(*shape):
    return np.zeros(shape, np.float32)


def ints(*values):
    return np.array(values, np.int32)


def ceil_div(a, b):
    return -(-a // b)


# --------------------------------------------------------------------------------------------------------- convolutions


def sizes(N=2, in_channels=5, H=7, W=9, out_channels=20, kernel=3, stride=1, padding=1):
    """The numbers that the convolutions' kernels take, in their order."""
    H_out, W_out = ((size + 2 * padding - kernel) // stride + 1 for size in (H, W))
    return (
        N, in_channels, H, W, out_channels, kernel, kernel, H_out, W_out, stride, stride, padding, padding, 1, 1,
    )  # fmt: skip


def arrays(its):
    """x, weight, bias and y of a convolution of these sizes."""
    N, C, H, W, out_channels, p, q, H_out, W_out = its[:9]
    return [
        floats(N, C, H, W), floats(out_channels, C, p, q, seed=1), floats(out_channels, seed=2),
        floats(N, out_channels, H_out, W_out, seed=3),
    ]  # fmt: skip


def forward(rung, tile, threads, file="conv2d_forward.cu", **shape):
    """conv2d_forward: blocks over tiles of places and of out_channels."""
    its = sizes(**shape)
    grid = ceil_div(its[0] * its[7] * its[8], tile), ceil_div(its[4], tile)
    return Launch(file, "conv2d_forward" + rung, grid, threads, lambda: [*arrays(its), *its])


def forward_naive(rung="", **shape):
    its = sizes(**shape)
    count = its[0] * its[4] * its[7] * its[8]
    return Launch("conv2d_forward.cu", "conv2d_forward" + rung, ceil_div(count, 128), 128, lambda: [*arrays(its), *its])


def forward_pipeline(rung, **shape):
    """Filters packed by sixteen channels (any numbers will do here)."""
    its = sizes(**shape)
    blocks = ceil_div(its[0] * its[7] * its[8], 128) * ceil_div(its[4], 64)

    def arguments():
        x, _, bias, y = arrays(its)
        packed = floats(its[4] * ceil_div(its[1], 16) * 16 * its[5] * its[6], seed=1)
        return [x, packed, bias, y, *its]

    return Launch("conv2d_forward_tensor_core.cu", "conv2d_forward" + rung, blocks, 256, arguments)


def backward_input_tile(**shape):
    its = sizes(**shape)
    N, C, H, W = its[:4]
    stride = its[9]
    grid = ceil_div(N * ceil_div(H, stride) * ceil_div(W, stride), 16), ceil_div(C, 16), stride * stride

    def arguments():
        dx, weight, _, dy = arrays(its)
        return [dy, weight, None, dx, *its]

    return Launch("conv2d_backward_input.cu", "conv2d_backward_input_tile", grid, 256, arguments)


def backward_weight(rung, tile, threads, parts, each, **shape):
    """conv2d_backward_weight, its sum split into parts of so many places."""
    its = sizes(**shape)
    taps = its[1] * its[5] * its[6]
    grid = (ceil_div(taps, tile), ceil_div(its[4], tile), parts) if tile else (ceil_div(its[4] * taps, 128), 1, parts)

    def arguments():
        x, _, _, dy = arrays(its)
        return [dy, x, zeros(parts, its[4] * taps), *its, each]

    return Launch("conv2d_backward_weight.cu", "conv2d_backward_weight" + rung, grid, threads, arguments)


def gemm(rung, tile, threads, M=20, N=25, K=178, parts=2, each=96):
    grid = (ceil_div(N, tile), ceil_div(M, tile), parts) if tile else (ceil_div(M * N, 128), 1, parts)
    return Launch(
        "gemm.cu", "gemm" + rung, grid, threads,
        lambda: [floats(M, K), floats(K, N, seed=1), floats(N, seed=2), zeros(parts, M, N), M, N, K, 0, 0, each],
    )  # fmt: skip


# ----------------------------------------------------------------------------------------------------- other operations


def avg_pool(kernel, grid):
    """Windows of 3 x 3 at every second pixel of 2 maps of 7 x 9, padded by 1, so that windows overlap by a pixel."""
    return Launch(
        "avg_pool2d.cu", kernel, grid, 64,
        lambda: [floats(2, 7, 9), zeros(2, 4, 5), 40, 7, 9, 4, 5, 3, 3, 2, 2, 1, 1, 1, 1],
    )  # fmt: skip


def max_pool_backward():
    indices = np.random.default_rng(4).integers(0, 48, 24).astype(np.int32)
    return Launch(
        "max_pool2d.cu", "max_pool2d_backward", 2, 64,
        lambda: [floats(24), indices, zeros(96), 96, 6, 8, 3, 4, 2, 2, 2, 2, 0, 0],
    )  # fmt: skip


def unpool(kernel, count=10, grid=1):
    indices = np.concatenate([np.random.default_rng(seed).permutation(20)[:5] for seed in (5, 6)]).astype(np.int32)
    small, large = floats(10), floats(40, seed=1)
    return Launch(
        "max_unpool2d.cu", kernel, grid, 32,
        lambda: [*([small, indices, large.copy()] if "scatter" in kernel else [large, indices, small.copy()]),
                 count, 5, 20],
    )  # fmt: skip


def cross_entropy(kernel, grid, losses):
    """4 classes on 2 maps of 35 pixels, of which two are ignored and two have labels that are no class."""
    labels = np.random.default_rng(7).integers(0, 4, 70).astype(np.int32)
    labels[[3, 50]], labels[[11, 69]] = -100, (-1, 4)
    return Launch(
        "softmax_cross_entropy.cu", kernel, grid, 64,
        lambda: [
            floats(2, 4, 35), labels, floats(4), None, -100, *(zeros(size) for size in losses), zeros(70), zeros(70),
            zeros(70), ints(0), 70, 4, 35,
        ],
    )  # fmt: skip


def region_boxes():
    """Of two images of 6 x 7: three that overlap, one of them cut by the border, and one of a third image."""
    return np.array([[2, 1, 1, 5, 4], [1, 1, 1, 5, 4], [1, 2, 0.5, 6, 5], [1, 3, 2, 9, 8]], np.float32)


def roi_align(kernel):
    small, large = floats(4, 3, 2, 2), floats(2, 3, 6, 7, seed=1)
    return Launch(
        "roi_align.cu", kernel, 1, 64,
        lambda: [*([small, region_boxes(), zeros(2, 3, 6, 7)] if "backward" in kernel else
                   [large, region_boxes(), zeros(4, 3, 2, 2)]), 48, 2, 3, 6, 7, 2, 2, 1.0, 2, np.uint8(1)],
    )  # fmt: skip


def sorted_boxes(n=40):
    """Boxes that overlap many others."""
    corners = np.random.default_rng(8).integers(0, 6, (n, 2))
    return np.hstack([corners, corners + 4]).astype(np.float32)


def nms_scan():
    """A mask of three words, the last of six boxes, in which every box strikes out some of those that follow."""
    n, words = 70, 3
    mask = np.random.default_rng(9).integers(0, 2**32, (n, words), np.uint32)
    mask &= np.random.default_rng(10).integers(0, 2**32, (n, words), np.uint32)
    return Launch(
        "nms.cu", "nms_scan", 1, 64,
        lambda: [mask, ints(*range(n)), np.zeros(words, np.uint32), ints(*range(n)), ints(0), n],
    )  # fmt: skip


LAUNCHES = {
    "conv2d": forward_naive(),
    "conv2d, tile": forward("_tile", 16, 256, in_channels=10),
    "conv2d, registers": forward("_registers", 64, 64),
    "conv2d, 1 x 1, registers": forward("_registers", 64, 64, H=6, W=6, kernel=1, padding=0),
    "conv2d, tf32": forward("_tf32", 64, 128, file="conv2d_forward_tensor_core.cu"),
    "conv2d, bf16": forward("_bf16", 64, 128, file="conv2d_forward_tensor_core.cu"),
    "conv2d, pipeline": forward_pipeline("_tf32_pipeline_64", in_channels=20),
    "conv2d's dx, tile, stride 2": backward_input_tile(stride=2),
    "conv2d's dweight": backward_weight("", 0, 128, 4, 32),
    "conv2d's dweight, tile": backward_weight("_tile", 16, 256, 4, 32),
    "gemm": gemm("", 0, 128),
    "gemm, tile": gemm("_tile", 16, 256),
    "gemm, registers": gemm("_registers", 64, 64),
    "relu": Launch("relu.cu", "relu_forward", 2, 32, lambda: [floats(45), zeros(45), 45]),
    "relu by four": Launch("relu.cu", "relu_forward_4", 1, 32, lambda: [floats(47), zeros(47), 47]),
    "add by four": Launch("add.cu", "add_forward_4", 1, 32, lambda: [floats(47), floats(47, seed=1), zeros(47), 47]),
    "adam": Launch(
        "adam.cu", "adam_step", 2, 32,
        lambda: [floats(45), floats(45, seed=1), zeros(45), zeros(45), *(0.1, 0.9, 0.1, 0.9, 0.1, 1e-8, 0.0, 1.0), 45],
    ),
    "concat": Launch("concat.cu", "concat_put", 2, 32, lambda: [floats(4, 12), zeros(4, 20), 48, 12, 20, 8]),
    "crop": Launch("crop.cu", "crop_forward", 1, 64, lambda: [floats(2, 6, 7), zeros(2, 4, 5), 40, 6, 7, 2, 1, 4, 5]),
    "add_parts": Launch("add_parts.cu", "add_parts", 1, 64, lambda: [floats(3, 40), zeros(40), 3, 40]),
    "channel_sum": Launch("channel_sum.cu", "channel_sum_parts", (3, 2), 64, lambda: [
        floats(2, 3, 150), zeros(2, 3), 2, 3, 150]),
    "batch norm, statistics": Launch("batch_norm2d.cu", "batch_norm2d_statistics_block", 3, 128, lambda: [
        floats(2, 3, 50), zeros(3), zeros(3), 2, 3, 50]),
    "batch norm, statistics of parts": Launch("batch_norm2d.cu", "batch_norm2d_statistics_parts", (2, 3), 64, lambda: [
        floats(2, 3, 100), zeros(3, 2, 3), 2, 3, 100]),
    "batch norm by four": Launch("batch_norm2d.cu", "batch_norm2d_forward_4", 1, 64, lambda: [
        floats(2, 3, 8), *(floats(3, seed=seed) ** 2 for seed in range(4)), zeros(48), 1e-5, 48, 3, 8]),
    "dice, sums": Launch("dice.cu", "dice_sums_parts", (2, 3), 64, lambda: [
        floats(2, 3, 40), np.arange(80, dtype=np.int32) % 3, zeros(80), floats(80, seed=1) ** 2 + 1, zeros(3, 3, 2),
        80, 3, 40]),
    "softmax by warps": Launch("softmax.cu", "softmax_forward_warp", 2, 64, lambda: [
        floats(3, 20), zeros(3, 20), 3, 20]),
    "average pooling by warps": avg_pool("avg_pool2d_forward_warp", 20),
    "average pooling": avg_pool("avg_pool2d_forward", 1),
    "max pooling, backward": max_pool_backward(),
    "max pooling 2 x 2": Launch("max_pool2d.cu", "max_pool2d_forward_2x2", 1, 32, lambda: [
        floats(3, 4, 8), zeros(24), np.zeros(24, np.int32), 12, 2, 4]),
    "max-unpooling": unpool("max_unpool2d_scatter"),
    "max-unpooling, backward by four": unpool("max_unpool2d_gather_4"),
    "nearest unpooling, backward": Launch("nearest_unpool2d.cu", "nearest_unpool2d_backward_maps", (1, 2), 32, lambda: [
        floats(3, 6, 8), zeros(3, 3, 4), 3, 3, 4, 6, 8]),
    "reflection": Launch("reflection_pad2d.cu", "reflection_pad2d_forward", 3, 64, lambda: [
        floats(2, 4, 5), zeros(2, 8, 9), 2, 4, 5, 8, 9, 2, 2]),
    "cross-entropy": cross_entropy("softmax_cross_entropy_forward", 2, [70]),
    "cross-entropy, parts": cross_entropy("softmax_cross_entropy_parts", 3, [3, 3]),
    "bilinear": Launch("upsample_bilinear2d.cu", "upsample_bilinear2d_forward", 3, 32, lambda: [
        floats(24), zeros(96), 2, 3, 4, 6, 8, 6, -3, 12, 8, -4, 16]),
    "RoIAlign": roi_align("roi_align_forward"),
    "RoIAlign, backward": roi_align("roi_align_backward"),
    "RoIAlign, backward by gathering": Launch("roi_align.cu", "roi_align_backward_gather", (1, 2, 2), 64, lambda: [
        floats(4, 9, 2, 2), region_boxes(), zeros(2, 9, 6, 7), 4, 9, 6, 7, 2, 2, 1.0, 2, np.uint8(1)]),
    "RoI pooling": Launch("roi_pool.cu", "roi_pool_forward", 1, 64, lambda: [
        floats(2, 3, 6, 7), region_boxes(), zeros(4, 3, 2, 2), np.zeros(48, np.int32), 48, 2, 3, 6, 7, 2, 2, 1.0]),
    "RoI pooling, backward": Launch("roi_pool.cu", "roi_pool_backward", 1, 64, lambda: [
        floats(3, 3, 2, 2), ints(*range(36)) % 3 - 1, region_boxes()[1:], zeros(2, 3, 6, 7), 36, 3, 42, 4]),
    "NMS, sorting": Launch("nms.cu", "nms_sort", 1, 64, lambda: [
        sorted_boxes(), np.arange(40, dtype=np.float32) // 2, zeros(40, 4), np.zeros(40, np.int32), 40]),
    "NMS by one block": Launch("nms.cu", "nms_block", 1, 64, lambda: [
        sorted_boxes(), ints(*range(40)), np.zeros(40, np.int32), np.zeros(40, np.int32), ints(0), 0.3, 40]),
    "NMS, mask": Launch("nms.cu", "nms_mask", (2, 1), 64, lambda: [
        sorted_boxes(), np.zeros((40, 2), np.uint32), 0.3, 40]),
    "NMS, scan": nms_scan(),
}  # fmt: skip
