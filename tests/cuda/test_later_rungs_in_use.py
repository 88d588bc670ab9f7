"""Operations on shapes large enough for the later rungs: which kernels are launched, and that NumPy finds the same."""

import numpy as np
import pytest
from conftest import assert_close

from minisegnet import cuda, emulator, numpy_ops
from minisegnet.cuda import grids
from minisegnet.errors import ShapeError

pytestmark = pytest.mark.skipif(emulator.compiler_found() is None, reason="the emulator needs g++ or clang++")

BOUND = 1e-5  # as for every operation in float32


def normal(*shape):
    return np.random.default_rng(shape).standard_normal(shape).astype(np.float32)


def distinct(maps, pooled, below):
    rng = np.random.default_rng(pooled)
    return np.array([rng.permutation(below)[:pooled] for _ in range(maps)], np.int64)


LABELS = np.random.default_rng(0).choice([0, 1, 2, 255], (2, 60, 50))
IMAGE = normal(2, 3, 40, 36)
REGIONS = np.float32([[1, -3.25, 4, 30.5, 21], [0, 8, 60, 41, 71.75], [0, 0, 0, 72, 80], [1, 2, 2, 2.5, 3]])

# Operation, arrays, options, the kernels that it launches forward and backward.
TABLE = [
    ("relu", [normal(1001)], {}, "relu_forward_4 relu_backward_4"),
    ("sigmoid", [IMAGE], {}, "sigmoid_forward_4 sigmoid_backward_4"),
    ("softmax", [IMAGE], {}, "softmax_forward_online softmax_backward"),
    ("softmax", [normal(9, 300)], {}, "softmax_forward_warp softmax_backward_warp"),
    ("softmax", [normal(9, 31)], {}, "softmax_forward_online softmax_backward"),
    ("dropout", [IMAGE], {"p": 0.3, "seed": 2**40}, "dropout_4 dropout_4"),
    ("add", [IMAGE, normal(*IMAGE.shape)], {}, "add_forward_4 add_backward_4"),
    ("concat", [[IMAGE, normal(2, 1, 40, 36)]], {}, "concat_put_4 concat_put_4 concat_take_4 concat_take_4"),
    ("concat", [[normal(2, 1, 3, 5), normal(2, 1, 3, 4)]], {"dim": 3}, "concat_put concat_put concat_take concat_take"),
    ("max_pool2d", [IMAGE], {"kernel_size": 2}, "max_pool2d_forward_2x2 max_pool2d_backward_2x2"),
    ("max_pool2d", [normal(2, 3, 40, 38)], {"kernel_size": 2}, "max_pool2d_forward max_pool2d_backward"),
    ("max_pool2d", [normal(2, 3, 41, 36)], {"kernel_size": 2}, "max_pool2d_forward max_pool2d_backward"),
    ("max_pool2d", [IMAGE], {"kernel_size": 2, "stride": 1}, "max_pool2d_forward max_pool2d_backward"),
    ("max_pool2d", [IMAGE], {"kernel_size": 3, "padding": 1, "dilation": 3}, "max_pool2d_forward max_pool2d_backward"),
    ("avg_pool2d", [IMAGE], {"kernel_size": (40, 36)}, "avg_pool2d_forward_warp avg_pool2d_backward_maps"),
    ("avg_pool2d", [IMAGE], {"kernel_size": (9, 5), "stride": (2, 3), "padding": (4, 2), "count_include_pad": False,
                             "ceil_mode": True}, "avg_pool2d_forward_warp avg_pool2d_backward_maps"),
    ("avg_pool2d", [IMAGE], {"kernel_size": 2}, "avg_pool2d_forward avg_pool2d_backward_maps"),
    ("max_unpool2d", [normal(2, 3, 15, 14), distinct(6, 210, 900).reshape(2, 3, 15, 14)], {"output_size": 30},
     "max_unpool2d_scatter_4 max_unpool2d_gather_4"),
    ("nearest_unpool2d", [IMAGE], {"output_size": (80, 72)},
     "nearest_unpool2d_forward_maps nearest_unpool2d_backward_maps"),
    ("nearest_unpool2d", [IMAGE], {"output_size": (13, 7)}, "nearest_unpool2d_forward nearest_unpool2d_backward_maps"),
    ("bed_of_nails2d", [IMAGE], {"stride": (2, 3)}, "bed_of_nails2d_forward_gather bed_of_nails2d_backward"),
    ("upsample_bilinear2d", [IMAGE], {"output_size": (80, 333)},
     "upsample_bilinear2d_forward_maps upsample_bilinear2d_backward_along upsample_bilinear2d_backward_along"),
    ("upsample_bilinear2d", [IMAGE], {"output_size": (61, 20), "align_corners": True},
     "upsample_bilinear2d_forward_maps upsample_bilinear2d_backward_along upsample_bilinear2d_backward_along"),
    ("reflection_pad2d", [IMAGE], {"padding": (92, 1, 7, 130)},
     "reflection_pad2d_forward_maps reflection_pad2d_backward_maps"),
    ("crop", [IMAGE], {"top": 3, "left": 5, "height": 30, "width": 21}, "crop_forward_maps crop_backward_maps"),
    ("crop", [IMAGE], {"top": 3, "left": 5, "height": 9, "width": 21}, "crop_forward crop_backward_maps"),
    ("batch_norm2d", [IMAGE + 3, normal(3), normal(3)], {},
     "batch_norm2d_statistics_parts batch_norm2d_statistics_merge batch_norm2d_forward_4 "
     "batch_norm2d_sums_parts batch_norm2d_sums_merge batch_norm2d_backward_4"),
    ("batch_norm2d", [normal(1, 40, 5, 7), normal(40), normal(40)], {},
     "batch_norm2d_statistics_block batch_norm2d_forward batch_norm2d_sums_parts batch_norm2d_backward"),
    ("batch_norm2d", [IMAGE, normal(3), normal(3)], {"mean": normal(3), "var": np.abs(normal(3))},
     "batch_norm2d_forward_4 batch_norm2d_sums_parts batch_norm2d_sums_merge batch_norm2d_backward_4"),
    ("softmax_cross_entropy", [normal(2, 3, 60, 50), LABELS], {"ignore_index": 255, "class_weight": np.abs(normal(3))},
     "softmax_cross_entropy_parts softmax_cross_entropy_reduce softmax_cross_entropy_backward"),
    ("softmax_cross_entropy", [normal(2, 3, 60, 50), LABELS], {"ignore_index": 255, "reduction": "none"},
     "softmax_cross_entropy_forward softmax_cross_entropy_backward"),
    ("dice", [normal(2, 3, 60, 50), LABELS], {"ignore_index": 255},
     "dice_softmax dice_sums_parts dice_overlap dice_backward"),
    ("binary_cross_entropy_with_logits", [IMAGE, np.abs(normal(*IMAGE.shape))], {},
     "binary_cross_entropy_with_logits_parts sum_block binary_cross_entropy_with_logits_backward"),
    ("smooth_l1", [IMAGE, normal(*IMAGE.shape)], {"beta": 0.5, "reduction": "none"},
     "smooth_l1_forward smooth_l1_backward"),
    ("smooth_l1", [IMAGE, normal(*IMAGE.shape)], {"reduction": "sum"}, "smooth_l1_parts sum_block smooth_l1_backward"),
    ("roi_align", [IMAGE, REGIONS], {"output_size": 7, "spatial_scale": 0.5, "sampling_ratio": 2},
     "roi_align_forward_channels roi_align_backward_gather"),
    ("roi_pool", [IMAGE, REGIONS], {"output_size": 4, "spatial_scale": 0.5},
     "roi_pool_forward roi_pool_backward_gather"),
]  # fmt: skip


@pytest.mark.parametrize(("operation", "arrays", "options", "kernels"), TABLE)
def test_later_rungs(monkeypatch, operation, arrays, options, kernels):
    launched = []

    def launch(source, kernel, *arguments):
        launched.append(kernel)
        return original(source, kernel, *arguments)

    original = grids.launch
    monkeypatch.setattr(grids, "launch", launch)
    results, wanted = [], []
    for module, found, dtype in [(cuda, results, np.float32), (numpy_ops, wanted, np.float64)]:
        y, cache = getattr(module, f"{operation}_forward")(*in_type(arrays, dtype), **in_type(options, dtype))
        found += y if isinstance(y, tuple) else [y]
        dy = np.random.default_rng(1).standard_normal(found[0].shape).astype(np.float32)
        gradients = getattr(module, f"{operation}_backward")(dy.astype(dtype), cache)
        found += gradients if isinstance(gradients, tuple | list) else [gradients]
    assert launched == kernels.split()
    for i, (result, exact) in enumerate(zip(results, wanted, strict=True)):
        assert_close(result, exact.astype(result.dtype), BOUND, f"result {i}")


def in_type(values, dtype):
    """Every float array inside, as dtype."""
    if isinstance(values, dict):
        return dict(zip(values, in_type(list(values.values()), dtype), strict=True))
    if isinstance(values, list):
        return [in_type(value, dtype) for value in values]
    return values.astype(dtype) if isinstance(values, np.ndarray) and values.dtype.kind == "f" else values


def test_an_array_off_the_boundary_goes_value_by_value(monkeypatch):
    """Only what is written in place can lie so: all else is copied to a boundary."""
    launched = []
    monkeypatch.setattr(grids, "launch", lambda source, kernel, *arguments: launched.append(kernel))
    w = np.zeros(101, np.float32)
    for start in range(5):
        grids.four_each("relu.cu", "relu_forward", 90, w[start : start + 90], np.zeros(90, np.float32), 90)
    on_boundary = [(w.ctypes.data + 4 * start) % 16 == 0 for start in range(5)]
    assert launched == ["relu_forward_4" if fits else "relu_forward" for fits in on_boundary]
    assert 0 < sum(on_boundary) < 5


def test_more_values_than_kernels_count_are_refused():
    x = np.broadcast_to(np.float32(0), (2**30 + 1,))
    with pytest.raises(ShapeError, match=r"up to 2\^30 = 1073741824 of them; got 1073741825; use a smaller batch"):
        grids.thread_each("relu.cu", "relu_forward", x.size, x, x, x.size)


@pytest.mark.parametrize("count", [0, 1, 2048, 2049, 10**9])
def test_the_parts_of_a_sum_depend_on_its_length_alone(count):
    parts = grids.parts_of(count, most=64)
    assert 1 <= parts <= 64
    assert parts == 64 or parts * 8 * grids.BLOCK >= count
