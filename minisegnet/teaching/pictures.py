"""A convolution drawn on squared paper: small matrices with their numbers in the cells, and how they come about."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from minisegnet import functional
from minisegnet.errors import ShapeError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# A gradient takes the colour of the array that it is the gradient by.
IMAGE, FILTER, OUTPUT, BIAS = "#2f6fab", "#c2572b", "#388e3c", "#7146ad"
INK, FAINT, PADDING = "#263238", "#b0bec5", "#e4e9ec"
SHADE = 0.45  # the share of its colour that the largest number's cell takes
MINUS, TIMES = "\N{MINUS SIGN}", "\N{MULTIPLICATION SIGN}"


class SquaredPaper:
    """A figure on which everything is placed by (row, column) of its upper left corner, in cells; rows run down.

    rows, columns  size of the paper
    cell           side of a cell in inches; the size of what is written follows it
    """

    def __init__(self, rows: float, columns: float, cell: float = 0.42) -> None:
        from matplotlib.figure import Figure

        self.figure = Figure(figsize=(columns * cell, rows * cell), facecolor="white")
        self.axes = self.figure.add_axes((0, 0, 1, 1))
        self.axes.set(xlim=(0, columns), ylim=(rows, 0))
        self.axes.set_axis_off()
        self.points = 27 * cell  # size of a number in a cell

    def matrix(
        self, values: Any, at: tuple[float, float], colour: str, name: str = "", largest: float = 0.0, edge: str = ""
    ) -> None:
        """Draw numbers (H, W) in cells, the darker the larger; a cell that holds NaN stays empty.

        largest  the number of the darkest cell, where several matrices are to share one scale
        edge     colour of the outer edge, if another
        """
        values = np.asarray(values, float)
        largest = largest or np.abs(np.nan_to_num(values)).max(initial=0) or 1.0
        top, left = at
        for row, column in np.ndindex(values.shape):
            value = values[row, column]
            if np.isnan(value):
                self.square((top + row, left + column))
            else:
                self.square((top + row, left + column), mixed(colour, SHADE * abs(value) / largest), number(value))
        self.frame(at, values.shape, edge or colour, thickness=1.2)
        if name:
            self.write(name, (top - 0.5, left + values.shape[1] / 2), colour, weight="bold")

    def square(self, at: tuple[float, float], fill: str | tuple = "white", text: str = "") -> None:
        """Draw one cell and what is written in it."""
        from matplotlib.patches import Rectangle

        self.axes.add_patch(Rectangle((at[1], at[0]), 1, 1, facecolor=fill, edgecolor=FAINT, linewidth=0.6))
        self.write(text, (at[0] + 0.47, at[1] + 0.5))

    def frame(
        self, at: tuple[float, float], size: Sequence[int], colour: str, thickness: float = 2.8, dotted: bool = False
    ) -> None:
        """Draw a frame around `size` (rows, columns) of cells."""
        from matplotlib.patches import Rectangle

        (top, left), (height, width) = at, size
        frame = Rectangle((left, top), width, height, fill=False, edgecolor=colour, linewidth=thickness)
        if dotted:
            frame.set_linestyle((0, (1.2, 1.0)))
        self.axes.add_patch(frame)

    def write(
        self,
        text: str,
        at: tuple[float, float],
        colour: str = INK,
        scale: float = 1.0,
        align: str = "center",
        weight: str = "normal",
    ) -> None:
        """Write text around a point, from it on (align "left") or up to it ("right"); scale 1 is a number's size."""
        row, column = at
        size = scale * self.points
        self.axes.text(column, row, text, color=colour, size=size, ha=align, va="center_baseline", weight=weight)

    def arrow(self, start: tuple[float, float], end: tuple[float, float], colour: str = INK) -> None:
        """Draw an arrow from point to point."""
        style = {"arrowstyle": "-|>", "color": colour, "linewidth": 1.4}
        self.axes.annotate("", (end[1], end[0]), (start[1], start[0]), arrowprops=style)


def draw_matrices(**matrices: Any) -> Figure:
    """Matrices (H, W) side by side under their names; the last letter of a name (x, w, b, y) chooses the colour."""
    colours = {"x": IMAGE, "w": FILTER, "b": BIAS, "y": OUTPUT}
    arrays = {name: np.atleast_2d(values) for name, values in matrices.items()}
    tallest = max(len(array) for array in arrays.values())
    paper = SquaredPaper(tallest + 1.8, sum(array.shape[1] + 1.2 for array in arrays.values()))
    left = 0.6
    for name, array in arrays.items():
        paper.matrix(array, (1.2, left), colours.get(name[-1], INK), name.replace("_", " "))
        left += array.shape[1] + 1.2
    return paper.figure


def draw_forward(x: np.ndarray, weight: np.ndarray, bias: float, places: Sequence[tuple[int, int]]) -> Figure:
    """The filter at each of the places: the window with its weights, the products, their sum, and y so far.

    x (H, W), weight (kernel_h, kernel_w), places (i, j) of y; y fills in row order, with stride 1 and no padding.
    Raises ShapeError for a filter larger than the image.
    """
    y = convolved(x, weight, bias, padding=0, stride=1)
    (H, W), (kernel_h, kernel_w), (height, width) = x.shape, weight.shape, y.shape
    middle = kernel_h / 2
    products_at, y_at = W + 2.4, W + kernel_w + 5.8
    step_rows = max(H, kernel_h + 1.8, height + 1.8) + 1.9
    largest = float(np.abs(x).max() * np.abs(weight).max())
    paper = SquaredPaper(step_rows * len(places), y_at + width + 1.2)
    for step, (i, j) in enumerate(places):
        top = step * step_rows + 1.3
        paper.matrix(x, (top, 0.6), IMAGE, "x and the window")
        for p, q in np.ndindex(weight.shape):
            corner = (top + i + p + 0.82, 0.6 + j + q + 0.93)
            paper.write(f"{TIMES}{number(weight[p, q])}", corner, FILTER, 0.56, align="right", weight="bold")
        paper.frame((top + i, 0.6 + j), weight.shape, FILTER)
        paper.arrow((top + middle, W + 0.9), (top + middle, products_at - 0.3))
        products = x[i : i + kernel_h, j : j + kernel_w] * weight
        paper.matrix(products, (top, products_at), INK, "products", largest)
        paper.arrow((top + middle, products_at + kernel_w + 0.3), (top + middle, y_at - 0.3), OUTPUT)
        paper.write("sum + b", (top + middle - 0.5, products_at + kernel_w + 1.6), OUTPUT, 0.8)
        so_far = np.where(np.arange(y.size).reshape(y.shape) <= i * width + j, y, np.nan)
        paper.matrix(so_far, (top, y_at), OUTPUT, "y", float(np.abs(y).max()))
        paper.frame((top + i, y_at + j), (1, 1), OUTPUT)
        written = f"y[{i}, {j}]  =  {sum_written(products)}  {term(bias)}  =  {number(y[i, j])}"
        paper.write(written, (top + max(kernel_h, height) + 0.9, products_at), scale=0.9, align="left")
    return paper.figure


def draw_sizes(x: np.ndarray, weight: np.ndarray, bias: float, settings: Sequence[tuple[int, int]]) -> Figure:
    """For each (padding, stride) the first two windows on the padded image, above the output that they begin.

    x (H, W), weight (kernel_h, kernel_w). Raises ShapeError for a filter larger than the padded image.
    """
    outputs = [convolved(x, weight, bias, padding, stride) for padding, stride in settings]
    tallest = len(x) + 2 * max(padding for padding, _ in settings)
    lowest = max(len(y) for y in outputs)
    widths = [max(x.shape[1] + 2 * padding, 6) + 1.6 for padding, _ in settings]
    paper = SquaredPaper(tallest + lowest + 4.6, sum(widths), cell=0.38)
    left = 0.0
    for (padding, stride), y, width in zip(settings, outputs, widths, strict=True):
        rows, columns = (side + 2 * padding for side in x.shape)
        middle = left + width / 2
        paper.write(f"padding {padding}, stride {stride}", (0.6, middle), weight="bold")
        image_at = (1.4 + (tallest - rows) / 2, middle - columns / 2)
        for row, column in np.ndindex(rows, columns):
            if not (padding <= row < rows - padding and padding <= column < columns - padding):
                paper.square((image_at[0] + row, image_at[1] + column), PADDING, "0")
        paper.matrix(x, (image_at[0] + padding, image_at[1] + padding), IMAGE)
        output_at = (tallest + 2.6, middle - y.shape[1] / 2)
        paper.arrow((image_at[0] + rows + 0.1, middle), (output_at[0] - 0.15, middle), OUTPUT)
        paper.matrix(y, output_at, OUTPUT)
        for place in reversed(range(min(2, y.shape[1]))):  # the first window on top of the second
            paper.frame((image_at[0], image_at[1] + place * stride), weight.shape, FILTER, dotted=place > 0)
            paper.frame((output_at[0], output_at[1] + place), (1, 1), FILTER, dotted=place > 0)
        fraction = rf"\dfrac{{{len(x)} + 2 \cdot {padding} - {len(weight)}}}{{{stride}}}"
        formula = rf"$\left\lfloor {fraction} \right\rfloor + 1 = {len(y)}$"
        paper.write(formula, (output_at[0] + lowest + 1.1, middle), scale=1.1)
        left += width
    return paper.figure


def draw_stamps(dy: np.ndarray, weight: np.ndarray, follow: tuple[int, int]) -> Figure:
    """dx as the sum of stamps: for each place, the filter times dy, laid where its window was.

    dy (h, w), weight (kernel_h, kernel_w); `follow` is the (row, column) of x that is framed in every stamp.
    """
    (height, width), (kernel_h, kernel_w) = dy.shape, weight.shape
    stamps = np.full((height, width, height + kernel_h - 1, width + kernel_w - 1), np.nan)
    for i, j in np.ndindex(height, width):
        stamps[i, j, i : i + kernel_h, j : j + kernel_w] = dy[i, j] * weight
    return _draw_sum(dy, stamps, follow, FILTER, IMAGE, "dx")


def draw_windows(dy: np.ndarray, x: np.ndarray, follow: tuple[int, int]) -> Figure:
    """dw as the sum of windows: for each place, what the filter saw there, times dy.

    dy (h, w), x (H, W); `follow` is the (row, column) of the filter that is framed in every window.
    Raises ShapeError where dy is larger than x.
    """
    (height, width), (H, W) = dy.shape, x.shape
    kernel_h, kernel_w = H - height + 1, W - width + 1
    if min(kernel_h, kernel_w) < 1:
        raise ShapeError(f"draw_windows: dy {dy.shape} is larger than x {x.shape}; give the dy of a convolution of x")
    windows = np.empty((height, width, kernel_h, kernel_w))
    for i, j in np.ndindex(height, width):
        windows[i, j] = dy[i, j] * x[i : i + kernel_h, j : j + kernel_w]
    return _draw_sum(dy, windows, follow, IMAGE, FILTER, "dw")


def _draw_sum(
    dy: np.ndarray, panels: np.ndarray, follow: tuple[int, int], colour: str, sum_colour: str, sum_name: str
) -> Figure:
    """Panels (h, w, rows, columns), laid out as dy is, then their sum; NaN counts as nothing."""
    height, width, rows, columns = panels.shape
    total = np.nansum(panels, axis=(0, 1))
    largest = float(np.nanmax(np.abs(panels)))
    pitch_rows, pitch_columns = rows + 1.6, max(columns + 1.1, 5)
    paper = SquaredPaper(height * pitch_rows + 1.7, width * pitch_columns + columns + 2.5, cell=0.34)
    for i, j in np.ndindex(height, width):
        top, left = 1.2 + i * pitch_rows, 0.6 + j * pitch_columns
        filled = np.argwhere(~np.isnan(panels[i, j]))
        first, size = filled.min(axis=0), np.ptp(filled, axis=0) + 1
        paper.write(f"dy[{i}, {j}] = {number(dy[i, j])}", (top - 0.5, left + columns / 2), OUTPUT, 0.95)
        paper.matrix(panels[i, j], (top, left), colour, "", largest, edge=FAINT)
        paper.frame((top + first[0], left + first[1]), size, colour, thickness=1.8)
        if not np.isnan(panels[i, j][follow]):
            paper.frame((top + follow[0], left + follow[1]), (1, 1), INK, thickness=2.2)
    top, left = 1.2 + (height * pitch_rows - 1.6 - rows) / 2, width * pitch_columns + 1.9
    paper.write("=", (top + rows / 2, left - 1.35), scale=1.9)
    paper.matrix(total, (top, left), sum_colour, f"{sum_name}, the sum")
    paper.frame((top + follow[0], left + follow[1]), (1, 1), INK, thickness=2.2)
    met = panels[:, :, follow[0], follow[1]]
    written = f"{sum_name}[{follow[0]}, {follow[1]}]  =  {sum_written(met[~np.isnan(met)])}  =  {number(total[follow])}"
    paper.write(written, (height * pitch_rows + 0.9, 0.6), scale=1.1, align="left")
    return paper.figure


def convolved(x: np.ndarray, weight: np.ndarray, bias: float, padding: int, stride: int) -> np.ndarray:
    """The convolution of one image (H, W) by one filter (kernel_h, kernel_w)."""
    x, weight = np.asarray(x, float), np.asarray(weight, float)
    y, _ = functional.conv2d_forward(x[None, None], weight[None, None], np.array([float(bias)]), stride, padding)
    return y[0, 0]


def number(value: float) -> str:
    """A number as it stands in a cell: whole numbers plain, others to three digits, with a minus sign of full width."""
    return f"{value + 0.0:.3g}".replace("-", MINUS)


def term(value: float) -> str:
    """A number as the next term of a sum."""
    return f"{MINUS} {number(-value)}" if value < 0 else f"+ {number(value)}"


def sum_written(values: np.ndarray) -> str:
    """Numbers written out as a sum."""
    first, *rest = np.ravel(values)
    return " ".join([number(first), *(term(value) for value in rest)])


def mixed(colour: str, share: float) -> tuple[float, ...]:
    """A share of a colour on white paper."""
    from matplotlib.colors import to_rgb

    return tuple(1 - share * (1 - part) for part in to_rgb(colour))
