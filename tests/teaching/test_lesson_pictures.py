"""The drawn convolution: what is written in the pictures are the numbers that the operation computes."""

import numpy as np
import pytest

from minisegnet import functional
from minisegnet.errors import ShapeError
from minisegnet.teaching import pictures


@pytest.fixture(params=[0, 1], ids="seed{}".format)
def numbers(request):
    """x (5, 6), w (3, 2), b and dy (3, 5), whole numbers."""
    rng = np.random.default_rng(request.param)
    x, w, dy = (rng.integers(-4, 5, shape).astype(float) for shape in [(5, 6), (3, 2), (3, 5)])
    return x, w, 2.0, dy


def written(figure):
    return [text.get_text() for text in figure.axes[0].texts]


def results(figure):
    """The number after the last equals sign of each written sum, by what stands before the first."""
    sums = [text.split("  =  ") for text in written(figure) if "  =  " in text]
    return {parts[0]: float(parts[-1].replace(pictures.MINUS, "-")) for parts in sums}


def passes(x, w, b, dy):
    y, cache = functional.conv2d_forward(x[None, None], w[None, None], np.array([b]))
    dx, dw, _ = functional.conv2d_backward(dy[None, None], cache)
    return y[0, 0], dx[0, 0], dw[0, 0]


def test_forward_writes_y_at_each_place(numbers):
    x, w, b, _ = numbers
    y, _, _ = passes(*numbers)
    places = [(0, 0), (1, 3), (2, 4)]
    figure = pictures.draw_forward(x, w, b, places)
    assert results(figure) == {f"y[{i}, {j}]": y[i, j] for i, j in places}


def test_a_written_sum_has_the_products_of_the_window_and_the_bias(numbers):
    x, w, b, _ = numbers
    [line] = [text for text in written(pictures.draw_forward(x, w, b, [(1, 2)])) if "  =  " in text]
    _, terms, total = line.replace(pictures.MINUS, "-").split("  =  ")
    terms = [float(term) for term in terms.replace("+ ", "+").replace("- ", "-").split()]
    assert terms == [*(x[1:4, 2:4] * w).ravel(), b]
    assert sum(terms) == float(total)


@pytest.mark.parametrize("follow", [(0, 0), (2, 2), (3, 5)], ids=str)
def test_stamps_add_up_to_dx(numbers, follow):
    _, w, _, dy = numbers
    _, dx, _ = passes(*numbers)
    assert results(pictures.draw_stamps(dy, w, follow)) == {f"dx[{follow[0]}, {follow[1]}]": dx[follow]}


@pytest.mark.parametrize("follow", [(0, 0), (2, 1)], ids=str)
def test_windows_add_up_to_dw(numbers, follow):
    x, _, _, dy = numbers
    _, _, dw = passes(*numbers)
    assert results(pictures.draw_windows(dy, x, follow)) == {f"dw[{follow[0]}, {follow[1]}]": dw[follow]}


def test_sizes_are_those_of_the_operation(numbers):
    x, w, b, _ = numbers
    figure = pictures.draw_sizes(x, w, b, [(0, 1), (1, 2)])
    heights = [int(text.rstrip("$").rpartition("= ")[2]) for text in written(figure) if "lfloor" in text]
    for height, (padding, stride) in zip(heights, [(0, 1), (1, 2)], strict=True):
        y, _ = functional.conv2d_forward(x[None, None], w[None, None], None, stride, padding)
        assert y.shape[2] == height


def test_a_filter_larger_than_the_image_is_refused():
    image, weight = np.ones((2, 2)), np.ones((3, 3))
    for draw in (pictures.draw_forward, pictures.draw_sizes):
        with pytest.raises(ShapeError, match="3 x 3 kernel"):
            draw(image, weight, 0.0, [(0, 1)])
    with pytest.raises(ShapeError, match=r"dy \(3, 3\) is larger than x \(2, 2\)"):
        pictures.draw_windows(weight, image, (0, 0))


def test_numbers_of_every_kind_can_be_drawn():
    figure = pictures.draw_matrices(x=np.zeros((2, 3)), careless_dx=[[-0.0, -1.25], [1e-9, np.nan]], b=7)
    assert {"x", "careless dx", "b", f"{pictures.MINUS}1.25", "7"} <= set(written(figure))
    assert f"{pictures.MINUS}0" not in written(figure)
