"""A convolution drawn on squared paper: small matrices with their numbers in the cells, and how they come about."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from minisegnet.errors import ShapeError
from minisegnet.shapes import window

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# A gradient takes the colour of the array that it is the gradient by.
IMAGE, FILTER, OUTPUT, BIAS = "#2f6fab", "#c2572b", "#388e3c", "#7146ad"
INK, FAINT, PADDING = "#263238", "#b0bec5", "#e4e9ec"
SHADE = 0.45  # how much of its colour the largest number's cell takes


class SquaredPaper:
    """A figure on which everything is placed by (row, column) of the upper left corner, in cells; rows run down.

    rows, columns  size of the paper
    cell           side of a cell in inches; the numbers' size follows it
    """

    def __init__(self, rows: float, columns: float, cell: float = 0.42) -> None:
        from matplotlib.figure import Figure

        self.figure = Figure(figsize=(columns * cell, rows * cell), facecolor="white")
        self.axes = self.figure.add_axes((0, 0, 1, 1))
        self.axes.set(xlim=(0, columns), ylim=(rows, 0))
        self.axes.set_axis_off()
        self.size = 27 * cell  # of a number, in points

    def matrix(
        self, values: Any, at: tuple[float, float], colour: str, name: str = "", largest: float = 0.0, edge: str = ""
    ) -> None:
        """Draw numbers (H, W) in cells, the darker the larger; a cell that holds NaN stays empty.

        largest  the number of the darkest cell, where several matrices are to share one scale
        edge     colour of the outer edge, if another
        """
        values = np.asarray(values, float)
        largest = largest or float(np.nanmax(np.abs(np.append(values.ravel(), 0)))) or 1.0
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
        self, at: tuple[float, float], size: Sequence[int], colour: str, thickness: float = 2.8, style: str = "-"
    ) -> None:
        """Draw a frame around `size` (rows, columns) of cells."""
        from matplotlib.patches import Rectangle

        (top, left), (height, width) = at, size
        self.axes.add_patch(
            Rectangle((left, top), width, height, fill=False, edgecolor=colour, linewidth=thickness, linestyle=style)
        )

    def write(
        self, text: str, at: tuple[float, float], colour: str = INK, scale: float = 1.0, align: str = "center", **style: Any
    ) -> None:
        """Write text around a point, or from it on (align "left"), or up to it ("right"); scale 1 is a number's size."""
        row, column = at
        self.axes.text(column, row, text, color=colour, size=scale * self.size, ha=align, va="center_baseline", **style)

    def arrow(self, start: tuple[float, float], end: tuple[float, float], colour: str = INK) -> None:
        """Draw an arrow from point to point."""
        self.axes.annotate(
            "", (end[1], end[0]), (start[1], start[0]), arrowprops={"arrowstyle": "-|>", "color": colour, "linewidth": 1.4}
        )


def draw_matrices(cell: float = 0.42, **matrices: Any) -> Figure:
    """Matrices side by side under their names; the last letter of a name (x, w, b, y) chooses the colour."""
    colours = {"x": IMAGE, "w": FILTER, "b": BIAS, "y": OUTPUT}
    arrays = {name: np.atleast_2d(values) for name, values in matrices.items()}
    rows = max(array.shape[0] for array in arrays.values())
    paper = SquaredPaper(rows + 1.4, sum(array.shape[1] + 1.2 for array in arrays.values()), cell)
    left = 0.6
    for name, array in arrays.items():
        paper.matrix(array, (1.2, left), colours.get(name[-1], INK), name)
        left += array.shape[1] + 1.2
    return paper.figure


def draw_forward(x: np.ndarray, weight: np.ndarray, bias: float, places: Sequence[tuple[int, int]]) -> Figure:
    """The filter at each of the places: the window with its weights, the products, the sum, and y so far.

    x (H, W), weight (kernel_h, kernel_w); y is filled in row order up to the place shown, with stride 1, no padding.
    """
    (H, W), (kernel_h, kernel_w) = x.shape, weight.shape
    height, width = window(H, kernel_h, 1, 0), window(W, kernel_w, 1, 0)
    if min(height, width) < 1:
        raise ShapeError(f"draw_forward: a filter {weight.shape} does not fit an image {x.shape}; give a larger image")
    y = np.array([[(x[i : i + kernel_h, j : j + kernel_w] * weight).sum() + bias for j in range(width)] for i in range(height)])
    largest = max(float(np.abs(x).max() * np.abs(weight).max()), 1e-9)
    step_rows = max(H, kernel_h + 1.8, height) + 1.9
    products_at, y_at = W + 2.4, W + kernel_w + 5.8
    paper = SquaredPaper(step_rows * len(places), y_at + width + 1.2)
    for step, (i, j) in enumerate(places):
        top = step * step_rows + 1.3
        seen = x[i : i + kernel_h, j : j + kernel_w]
        paper.matrix(x, (top, 0.6), IMAGE, "x and the window")
        for p, q in np.ndindex(weight.shape):
            corner = (top + i + p + 0.82, 0.6 + j + q + 0.93)
            paper.write(f"×{number(weight[p, q])}", corner, FILTER, scale=0.56, align="right", weight="bold")
        paper.frame((top + i, 0.6 + j), weight.shape, FILTER)
        paper.arrow((top + kernel_h / 2, W + 0.9), (top + kernel_h / 2, products_at - 0.3))
        paper.matrix(seen * weight, (top, products_at), INK, "products", largest)
        paper.arrow((top + kernel_h / 2, products_at + kernel_w + 0.3), (top + kernel_h / 2, y_at - 0.3), OUTPUT)
        paper.write("sum + b", (top + kernel_h / 2 - 0.5, products_at + kernel_w + 1.6), OUTPUT, scale=0.8)
        so_far = np.where(np.arange(height * width).reshape(height, width) <= i * width + j, y, np.nan)
        paper.matrix(so_far, (top, y_at), OUTPUT, "y", float(np.abs(y).max()))
        paper.frame((top + i, y_at + j), (1, 1), OUTPUT)
        written = f"y[{i}, {j}]  =  {sum_written(seen * weight)}  {term(bias)}  =  {number(y[i, j])}"
        paper.write(written, (top + max(kernel_h, height) + 0.9, products_at), scale=0.9, align="left")
    return paper.figure


def draw_sizes(x: np.ndarray, weight: np.ndarray, bias: float, settings: Sequence[tuple[int, int]]) -> Figure:
    """For each (padding, stride): the padded image with the first window and the next, above the output they go to."""
    panels = []
    for padding, stride in settings:
        padded = np.pad(x, padding)
        kernel_h, kernel_w = weight.shape
        height, width = (window(side, k, stride, padding) for side, k in zip(x.shape, weight.shape, strict=True))
        if min(height, width) < 1:
            raise ShapeError(f"draw_sizes: a filter {weight.shape} leaves nothing of an image {x.shape}; give a larger one")
        y = np.empty((height, width))
        for i, j in np.ndindex(height, width):
            y[i, j] = (padded[i * stride : i * stride + kernel_h, j * stride : j * stride + kernel_w] * weight).sum() + bias
        panels.append((padding, stride, padded, y))
    tallest = max(len(padded) for _, _, padded, _ in panels)
    lowest = max(len(y) for _, _, _, y in panels)
    widths = [max(padded.shape[1], y.shape[1], 6) + 1.6 for _, _, padded, y in panels]
    paper = SquaredPaper(tallest + lowest + 4.6, sum(widths), cell=0.38)
    for (padding, stride, padded, y), left, width in zip(panels, np.cumsum([0, *widths]), widths, strict=False):
        middle = left + width / 2
        at = (1.4 + (tallest - len(padded)) / 2, middle - padded.shape[1] / 2)
        paper.write(f"padding {padding}, stride {stride}", (0.6, middle), weight="bold")
        for row, column in np.ndindex(padded.shape):
            inside = all(padding <= place < side - padding for place, side in zip((row, column), padded.shape, strict=True))
            paper.square((at[0] + row, at[1] + column), PADDING, "" if inside else "0")
        paper.matrix(x, (at[0] + padding, at[1] + padding), IMAGE)
        below = (tallest + 2.6, middle - y.shape[1] / 2)
        paper.arrow((1.5 + (tallest + len(padded)) / 2, middle), (below[0] - 0.15, middle), OUTPUT)
        paper.matrix(y, below, OUTPUT)
        for place, style in ((1, (0, (1.2, 1.0))), (0, "-")):  # the next window under the first
            if place < y.shape[1]:
                paper.frame((at[0], at[1] + place * stride), weight.shape, FILTER, style=style)
                paper.frame((below[0], below[1] + place), (1, 1), FILTER, style=style)
        fraction = rf"\dfrac{{{len(x)} + 2 \cdot {padding} - {len(weight)}}}{{{stride}}}"
        formula = rf"$\left\lfloor {fraction} \right\rfloor + 1 = {len(y)}$"
        paper.write(formula, (below[0] + lowest + 1.1, middle), scale=1.2)
    return paper.figure


def draw_stamps(dy: np.ndarray, weight: np.ndarray, follow: tuple[int, int]) -> Figure:
    """dx as the sum of stamps: for each place, the filter scaled by dy, laid where its window was.

    dy (h, w), weight (kernel_h, kernel_w); `follow` is the pixel of x that is framed in every stamp.
    """
    height, width = dy.shape
    kernel_h, kernel_w = weight.shape
    stamps = np.full((*dy.shape, height + kernel_h - 1, width + kernel_w - 1), np.nan)
    for i, j in np.ndindex(dy.shape):
        stamps[i, j, i : i + kernel_h, j : j + kernel_w] = dy[i, j] * weight
    return _draw_sum(dy, stamps, follow, FILTER, IMAGE, "dx")


def draw_windows(dy: np.ndarray, x: np.ndarray, follow: tuple[int, int]) -> Figure:
    """dw as the sum of windows: for each place, what the filter saw there, scaled by dy.

    dy (h, w), x (H, W); `follow` is the weight that is framed in every window.
    """
    kernel = tuple(side - places + 1 for side, places in zip(x.shape, dy.shape, strict=True))
    if min(kernel) < 1:
        raise ShapeError(f"draw_windows: dy {dy.shape} is larger than x {x.shape}; give the dy of a convolution of x")
    windows = np.empty((*dy.shape, *kernel))
    for i, j in np.ndindex(dy.shape):
        windows[i, j] = dy[i, j] * x[i : i + kernel[0], j : j + kernel[1]]
    return _draw_sum(dy, windows, follow, IMAGE, FILTER, "dw")


def _draw_sum(
    dy: np.ndarray, panels: np.ndarray, follow: tuple[int, int], colour: str, sum_colour: str, sum_name: str
) -> Figure:
    """Panels (h, w, rows, columns), laid out as dy is, then their sum; NaN counts as nothing."""
    height, width, rows, columns = panels.shape
    pitch_rows, pitch_columns = rows + 1.6, max(columns + 1.1, 5)
    total = np.nansum(panels, axis=(0, 1))
    largest = float(np.nanmax(np.abs(panels)))
    sum_left = width * pitch_columns + 1.9
    paper = SquaredPaper(height * pitch_rows + 1.7, sum_left + columns + 0.6, cell=0.34)
    for i, j in np.ndindex(height, width):
        top, left = 1.2 + i * pitch_rows, 0.6 + j * pitch_columns
        filled = np.argwhere(~np.isnan(panels[i, j]))
        first, size = filled.min(axis=0), np.ptp(filled, axis=0) + 1
        paper.write(f"dy[{i}, {j}] = {number(dy[i, j])}", (top - 0.5, left + columns / 2), OUTPUT, scale=0.95)
        paper.matrix(panels[i, j], (top, left), colour, "", largest, edge=FAINT)
        paper.frame((top + first[0], left + first[1]), size, colour, thickness=1.8)
        if not np.isnan(panels[(i, j, *follow)]):
            paper.frame((top + follow[0], left + follow[1]), (1, 1), INK, thickness=2.2)
    top = 1.2 + (height * pitch_rows - 1.6 - rows) / 2
    paper.write("=", (top + rows / 2, sum_left - 1.35), scale=1.9)
    paper.matrix(total, (top, sum_left), sum_colour, f"{sum_name}, the sum")
    paper.frame((top + follow[0], sum_left + follow[1]), (1, 1), INK, thickness=2.2)
    met = panels[:, :, follow[0], follow[1]]
    written = sum_written(met[~np.isnan(met)])
    place = f"{sum_name}[{follow[0]}, {follow[1]}]"
    paper.write(f"{place}  =  {written}  =  {number(total[follow])}", (height * pitch_rows + 0.9, 0.6), align="left", scale=1.1)
    return paper.figure


def number(value: float) -> str:
    """A number as it stands in a cell: whole numbers plain, others to three digits, with a real minus sign."""
    return f"{value + 0.0:.3g}".replace("-", "−")


def term(value: float) -> str:
    """A number as the next term of a sum."""
    return f"− {number(-value)}" if value < 0 else f"+ {number(value)}"


def sum_written(values: np.ndarray) -> str:
    """A sum written out: 2 + 0 − 1."""
    first, *rest = np.ravel(values)
    return " ".join([number(first), *(term(value) for value in rest)])


def mixed(colour: str, share: float) -> tuple[float, ...]:
    """A share of a colour on white paper."""
    from matplotlib.colors import to_rgb

    return tuple(1 - share * (1 - part) for part in to_rgb(colour))
