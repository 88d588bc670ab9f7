"""What pooling must get right beyond numbers: ties, NaN, padding, and the ways back."""

import numpy as np
import pytest
from conftest import assert_close

nan, inf = np.nan, np.inf


def image(rows):
    return np.array(rows, np.float32)[None, None]


def test_of_equal_values_the_first_in_row_order_wins(backend):
    x = image([[1, 2, 2], [2, 2, 2], [2, 2, 3]])
    (_, indices), cache = backend.max_pool2d_forward(x, 2, stride=1)
    assert indices[0, 0].tolist() == [[1, 1], [3, 8]]
    dx = backend.max_pool2d_backward(image([[1, 10], [100, 1000]]), cache)
    assert dx[0, 0].tolist() == [[0, 11, 0], [100, 0, 0], [0, 0, 1000]]


def test_ties_do_not_share_the_gradient(backend):
    (_, indices), cache = backend.max_pool2d_forward(np.zeros((1, 1, 4, 4), np.float32), 2)
    assert indices[0, 0].tolist() == [[0, 2], [8, 10]]
    assert backend.max_pool2d_backward(image([[1, 2], [3, 4]]), cache).sum() == 10


def test_nan_wins_and_the_first_of_them_stays(backend):
    (y, indices), _ = backend.max_pool2d_forward(image([[nan, inf, 3, nan], [nan, 1, nan, 9]]), 2)
    assert np.isnan(y).all()
    assert indices[0, 0].tolist() == [[0, 3]]


@pytest.mark.parametrize("dilation", [1, 2])
def test_padding_never_wins(backend, dilation):
    """Not even where the whole image is minus infinity, which is what the padding counts as."""
    (y, indices), cache = backend.max_pool2d_forward(
        np.full((1, 1, 3, 3), -inf, np.float32), 3, stride=1, padding=1, dilation=dilation
    )
    assert (y == -inf).all()
    wanted = [[0, 0, 1], [0, 0, 1], [3, 3, 4]] if dilation == 1 else [[4]]
    assert indices[0, 0].tolist() == wanted
    dx = backend.max_pool2d_backward(np.ones_like(y), cache)
    assert dx.sum() == y.size


def test_overlapping_windows_add_their_gradients(backend):
    _, cache = backend.max_pool2d_forward(image([[0, 0, 0], [0, 9, 0], [0, 0, 0]]), 2, stride=1)
    dx = backend.max_pool2d_backward(image([[1, 2], [3, 4]]), cache)
    assert dx[0, 0].tolist() == [[0, 0, 0], [0, 10, 0], [0, 0, 0]]


@pytest.mark.parametrize("seed", range(3))
def test_max_unpooling_undoes_max_pooling(backend, seed):
    """Pooling, unpooling and pooling again finds the same values at the same places, on odd sizes too."""
    x = np.random.default_rng(seed).uniform(1, 2, (2, 3, 5, 7)).astype(np.float32)
    (y, indices), _ = backend.max_pool2d_forward(x, 2)
    up, _ = backend.max_unpool2d_forward(y, indices, (5, 7))
    (again, indices_again), _ = backend.max_pool2d_forward(up, 2)
    assert (again == y).all() and (indices_again == indices).all()
    assert (up[up != 0] == x[up != 0]).all()


@pytest.mark.parametrize("seed", range(3))
def test_nearest_unpooling_is_undone_by_average_pooling(backend, seed):
    x = np.random.default_rng(seed).standard_normal((2, 2, 3, 4))
    up, _ = backend.nearest_unpool2d_forward(x, (6, 12))
    y, _ = backend.avg_pool2d_forward(up, (2, 3))
    assert_close(y, x, 1e-15)


def test_average_pooling_of_a_constant_is_the_constant(backend):
    """Where the padding is left out of the count, whatever the window."""
    x = np.full((1, 1, 5, 6), 3.0)
    for options in ({"padding": 1}, {"padding": 1, "stride": 2, "ceil_mode": True}, {"ceil_mode": True}):
        y, _ = backend.avg_pool2d_forward(x, 3, **options, count_include_pad=False)
        assert_close(y, np.full(y.shape, 3.0), 1e-15)
