"""One example for each operation that can be checked by head, several of them the lecture's own."""

import numpy as np
import pytest
from conftest import assert_close

POOLED = [[1, 2, 6, 3], [3, 5, 2, 1], [1, 2, 2, 1], [7, 3, 4, 8]]
log = np.log


def image(rows):
    return np.array(rows, float)[None, None]


def vector(*numbers):
    return np.array(numbers, float)


def is_exactly(array, rows):
    assert_close(array, np.array(rows, array.dtype).reshape(array.shape), 1e-15)


def test_conv2d(backend):
    """The filter is not flipped: 37 = 1 1 + 2 2 + 3 4 + 4 5."""
    x, weight = image([[1, 2, 3], [4, 5, 6], [7, 8, 9]]), image([[1, 2], [3, 4]])
    y, cache = backend.conv2d_forward(x, weight, vector(100))
    is_exactly(y, [[137, 147], [167, 177]])
    dx, dweight, dbias = backend.conv2d_backward(image([[1, 0], [0, 10]]), cache)
    is_exactly(dx, [[1, 2, 0], [3, 14, 20], [0, 30, 40]])
    is_exactly(dweight, [[51, 62], [84, 95]])
    is_exactly(dbias, [11])


def test_conv_transpose2d(backend):
    """The lecture's row: a [x y z] and b [x y z], two apart, overlap in one place, az + bx."""
    a, b, x, y, z = 2, 3, 5, 7, 11
    result, _ = backend.conv_transpose2d_forward(image([[a, b]]), image([[x, y, z]]), None, stride=(1, 2))
    is_exactly(result, [[a * x, a * y, a * z + b * x, b * y, b * z]])


def test_linear(backend):
    y, cache = backend.linear_forward(vector(1, 2)[None], np.array([[3.0, 4.0], [5.0, 6.0]]), vector(10, 20))
    is_exactly(y, [[21, 37]])
    dx, dweight, dbias = backend.linear_backward(vector(1, 10)[None], cache)
    is_exactly(dx, [[53, 64]])
    is_exactly(dweight, [[1, 2], [10, 20]])
    is_exactly(dbias, [1, 10])


def test_max_pool2d_and_max_unpool2d(backend):
    (y, indices), cache = backend.max_pool2d_forward(image(POOLED), 2)
    is_exactly(y, [[5, 6], [7, 8]])
    assert indices.tolist() == [[[[5, 2], [12, 15]]]] and indices.dtype == np.int32
    spread = [[0, 0, 2, 0], [0, 1, 0, 0], [0, 0, 0, 0], [3, 0, 0, 4]]
    is_exactly(backend.max_pool2d_backward(image([[1, 2], [3, 4]]), cache), spread)
    up, cache = backend.max_unpool2d_forward(image([[1, 2], [3, 4]]), indices, (4, 4))
    is_exactly(up, spread)
    is_exactly(backend.max_unpool2d_backward(image(POOLED), cache), [[5, 6], [7, 8]])


def test_avg_pool2d(backend):
    y, cache = backend.avg_pool2d_forward(image(POOLED), 2)
    is_exactly(y, [[2.75, 3], [3.25, 3.75]])
    dx = backend.avg_pool2d_backward(image([[4, 8], [12, 16]]), cache)
    is_exactly(dx, [[1, 1, 2, 2], [1, 1, 2, 2], [3, 3, 4, 4], [3, 3, 4, 4]])


def test_avg_pool2d_counts(backend):
    """At the corner of a padded image of ones, a 3 x 3 window sees 4 pixels and 5 zeros of padding."""
    ones = np.ones((1, 1, 3, 3))
    y, _ = backend.avg_pool2d_forward(ones, 3, stride=3, padding=1)
    is_exactly(y, [[4 / 9]])
    y, _ = backend.avg_pool2d_forward(ones, 3, stride=3, padding=1, count_include_pad=False)
    is_exactly(y, [[1]])
    y, _ = backend.avg_pool2d_forward(ones, 2, stride=2, ceil_mode=True)  # what hangs over the edge never counts
    is_exactly(y, [[1, 1], [1, 1]])


def test_nearest_unpool2d(backend):
    y, cache = backend.nearest_unpool2d_forward(image([[1, 2], [3, 4]]), (4, 4))
    is_exactly(y, [[1, 1, 2, 2], [1, 1, 2, 2], [3, 3, 4, 4], [3, 3, 4, 4]])
    is_exactly(backend.nearest_unpool2d_backward(image(POOLED), cache), [[11, 12], [13, 15]])
    y, _ = backend.nearest_unpool2d_forward(image([[1, 2, 3]]), (1, 5))  # columns 0, 3/5, 6/5, 9/5, 12/5, rounded down
    is_exactly(y, [[1, 1, 2, 2, 3]])


def test_bed_of_nails2d(backend):
    y, cache = backend.bed_of_nails2d_forward(image([[1, 2], [3, 4]]))
    is_exactly(y, [[1, 0, 2, 0], [0, 0, 0, 0], [3, 0, 4, 0], [0, 0, 0, 0]])
    is_exactly(backend.bed_of_nails2d_backward(image(POOLED), cache), [[1, 6], [1, 2]])


def test_upsample_bilinear2d(backend):
    y, cache = backend.upsample_bilinear2d_forward(image([[0, 4]]), (1, 4))  # columns -1/4 (held at 0), 1/4, 3/4, 5/4
    is_exactly(y, [[0, 1, 3, 4]])
    is_exactly(backend.upsample_bilinear2d_backward(image([[1, 10, 100, 1000]]), cache), [[33.5, 1077.5]])
    y, _ = backend.upsample_bilinear2d_forward(image([[0, 4]]), (1, 5), align_corners=True)
    is_exactly(y, [[0, 1, 2, 3, 4]])


def test_reflection_pad2d(backend):
    y, cache = backend.reflection_pad2d_forward(image([[1, 2, 3]]), (2, 3, 0, 0))
    is_exactly(y, [[3, 2, 1, 2, 3, 2, 1, 2]])
    is_exactly(backend.reflection_pad2d_backward(image([[1, 2, 4, 8, 16, 32, 64, 128]]), cache), [[68, 170, 17]])


def test_concat_and_crop(backend):
    y, cache = backend.concat_forward([image([[1, 2]]), image([[3, 4]])])
    is_exactly(y, [[[[1, 2]], [[3, 4]]]])
    first, second = backend.concat_backward(y, cache)
    is_exactly(first, [[1, 2]])
    is_exactly(second, [[3, 4]])
    y, cache = backend.crop_forward(image(POOLED), top=1, left=2, height=2, width=1)
    is_exactly(y, [[2], [2]])
    dx = backend.crop_backward(image([[5], [7]]), cache)
    is_exactly(dx, [[0, 0, 0, 0], [0, 0, 5, 0], [0, 0, 7, 0], [0, 0, 0, 0]])


def test_batch_norm2d(backend):
    """1 and 3 have mean 2 and (divided by 2, not by 1) variance 1."""
    (y, mean, var), _ = backend.batch_norm2d_forward(image([[1, 3]]), vector(5), vector(7), eps=0)
    is_exactly(y, [[2, 12]])
    is_exactly(mean, [2])
    is_exactly(var, [1])
    (y, mean, var), cache = backend.batch_norm2d_forward(
        image([[1, 3]]), vector(5), vector(7), mean=vector(4), var=vector(3), eps=1
    )
    is_exactly(y, [[-0.5, 4.5]])
    is_exactly(mean, [4])
    is_exactly(var, [3])
    dx, dweight, dbias = backend.batch_norm2d_backward(image([[2, 10]]), cache)
    is_exactly(dx, [[5, 25]])
    is_exactly(dweight, [-8])
    is_exactly(dbias, [12])


def test_relu(backend):
    y, cache = backend.relu_forward(vector(-1, 0, 2))
    is_exactly(y, [0, 0, 2])
    is_exactly(backend.relu_backward(vector(5, 6, 7), cache), [0, 0, 7])


def test_sigmoid(backend):
    y, cache = backend.sigmoid_forward(vector(0, log(3)))
    is_exactly(y, [1 / 2, 3 / 4])
    is_exactly(backend.sigmoid_backward(vector(4, 16), cache), [1, 3])


def test_softmax(backend):
    y, cache = backend.softmax_forward(vector(log(1), log(3))[None])
    is_exactly(y, [[1 / 4, 3 / 4]])
    is_exactly(backend.softmax_backward(vector(16, 0)[None], cache), [[3, -3]])


def test_dropout(backend):
    """The first words of seed 0 are 0.40, 0.88, 0.74 and 0.61 of 2^32 (see test_operations_dropout.py)."""
    y, cache = backend.dropout_forward(vector(1, 2, 3, 4), p=0.5, seed=0)
    is_exactly(y, [0, 4, 6, 8])
    is_exactly(backend.dropout_backward(vector(1, 1, 1, 1), cache), [0, 2, 2, 2])
    y, _ = backend.dropout_forward(vector(1, 2, 3, 4), p=0.75, seed=0)
    is_exactly(y, [0, 8, 0, 0])


def test_softmax_cross_entropy(backend):
    """Probabilities 1/4 and 3/4, first with label 1 and then with label 0, which weighs 3 times as much."""
    logits, labels = np.array([[0, log(3)], [0, log(3)]]), np.array([1, 0])
    one, other = -log(3 / 4), -log(1 / 4)
    loss, cache = backend.softmax_cross_entropy_forward(logits, labels)
    is_exactly(loss, (one + other) / 2)
    is_exactly(backend.softmax_cross_entropy_backward(8.0, cache), [[1, -1], [-3, 3]])
    loss, cache = backend.softmax_cross_entropy_forward(logits, labels, class_weight=vector(3, 1))
    is_exactly(loss, (one + 3 * other) / 4)
    is_exactly(backend.softmax_cross_entropy_backward(16.0, cache), [[1, -1], [-9, 9]])
    loss, cache = backend.softmax_cross_entropy_forward(logits, labels, ignore_index=0)
    is_exactly(loss, one)
    is_exactly(backend.softmax_cross_entropy_backward(4.0, cache), [[1, -1], [0, 0]])


def test_binary_cross_entropy_with_logits(backend):
    loss, cache = backend.binary_cross_entropy_with_logits_forward(vector(log(3), log(3)), vector(1, 0))
    is_exactly(loss, (-log(3 / 4) - log(1 / 4)) / 2)
    is_exactly(backend.binary_cross_entropy_with_logits_backward(8.0, cache), [-1, 3])


def test_smooth_l1(backend):
    """A distance of 1/2 lies on the parabola, one of 3 on the line."""
    loss, cache = backend.smooth_l1_forward(vector(1.5, 4), vector(1, 7), reduction="none")
    is_exactly(loss, [1 / 8, 2.5])
    is_exactly(backend.smooth_l1_backward(vector(10, 100), cache), [5, -100])
    loss, _ = backend.smooth_l1_forward(vector(1.5, 4), vector(1, 7), beta=4, reduction="sum")
    is_exactly(loss, 1 / 32 + 9 / 8)


@pytest.mark.parametrize("smooth", [0, 1])
def test_dice(backend, smooth):
    """One pixel of class 1, to which the logits give 3/4."""
    loss, _ = backend.dice_forward(vector(log(1), log(3))[None], np.array([1]), smooth=smooth)
    overlaps = smooth / (1 / 4 + smooth), (2 * 3 / 4 + smooth) / (3 / 4 + 1 + smooth)
    is_exactly(loss, 1 - sum(overlaps) / 2)
