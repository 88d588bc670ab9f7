"""RoIAlign on one region as a picture: its bins, their points, and the four values that each point is told from."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from minisegnet import functional
from minisegnet.teaching.picture_rows import HEADING, INK, TIMES, heading
from minisegnet.training.instance_pictures import brightened, draw_boxes, show_image
from minisegnet.training.pictures import as_picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

REGION, POINT, FOLLOWED = "#c2572b", "#17365c", "#e6007e"
MARGIN = 2  # places of the map around the region
SIDE, GAP = 3.7, 0.25  # inches
MOST_NUMBERS = 8  # bins a side whose means are written


class Points(NamedTuple):
    """Where RoIAlign reads one region, on the map, whose value (i, j) stands at y = i, x = j.

    region   (x1, y1, x2, y2)
    y        (h, n)  of bin row and point
    x        (w, n)  of bin column and point
    """

    region: tuple[float, float, float, float]
    y: np.ndarray
    x: np.ndarray


def sampling_points(
    box: np.ndarray, spatial_scale: float, output_size: tuple[int, int], sampling_ratio: int, aligned: bool
) -> Points:
    """The points that `functional.roi_align_forward` reads for a box (x1, y1, x2, y2) of the image."""
    x1, y1, x2, y2 = (float(side) * spatial_scale - (0.5 if aligned else 0) for side in box)
    if not aligned:
        x2, y2 = max(x2, x1 + 1), max(y2, y1 + 1)

    def along(low: float, high: float, bins: int) -> np.ndarray:
        size = (high - low) / bins
        count = sampling_ratio if sampling_ratio > 0 else max(ceil(size), 0)
        return low + size * (np.arange(bins)[:, None] + (np.arange(count) + 0.5) / max(count, 1))

    return Points((x1, y1, x2, y2), along(y1, y2, output_size[0]), along(x1, x2, output_size[1]))


def corners(y: float, x: float, shape: tuple[int, int]) -> list[tuple[int, int, float]]:
    """The places (row, column, weight) of a map that a point is interpolated between; none for one far outside."""
    height, width = shape
    if not (-1 <= y <= height and -1 <= x <= width):
        return []
    y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
    top, left = min(int(y), max(height - 2, 0)), min(int(x), max(width - 2, 0))
    return [
        (row, column, (1 - abs(y - row)) * (1 - abs(x - column)))
        for row in sorted({top, min(top + 1, height - 1)})
        for column in sorted({left, min(left + 1, width - 1)})
    ]


def draw_roi_align(
    image: np.ndarray,
    box: np.ndarray,
    features: np.ndarray,
    spatial_scale: float,
    output_size: tuple[int, int] = (7, 7),
    sampling_ratio: int = 2,
    aligned: bool = False,
) -> Figure:
    """Draw the region in the image, its bins and points on the map of features, and the values that come out.

    image     (C, H, W)  float, 0 to 1
    box       (4,)       x1, y1, x2, y2 in pixels of the image
    features  (C, h, w)  of one level; the channel that varies most around the region is shown

    The other arguments are those of `functional.roi_align_forward`. One point, in the bin of the middle, is followed:
    dashed lines lead to the values that it is interpolated between, with their shares.
    """
    from matplotlib.figure import Figure

    points = sampling_points(box, spatial_scale, output_size, sampling_ratio, aligned)
    rows, columns = _window(points, features.shape[1:])
    around = features[:, rows, columns]
    channel = int(around.std(axis=(1, 2)).argmax())
    region = np.array([[0, *box]], features.dtype)
    pooled, _ = functional.roi_align_forward(
        features[None, [channel]], region, output_size, spatial_scale, sampling_ratio, aligned
    )
    size = (3 * SIDE + 4 * GAP, SIDE + HEADING + 0.35)
    figure = Figure(figsize=size, facecolor="white")
    places = [(GAP + i * (SIDE + GAP)) / size[0] for i in range(3)]
    axes = [figure.add_axes((left, 0.35 / size[1], SIDE / size[0], SIDE / size[1])) for left in places]
    limits: dict[str, Any] = {"vmin": float(around[channel].min()), "vmax": float(around[channel].max())}
    _draw_image(axes[0], image, box, spatial_scale, rows, columns)
    _draw_map(axes[1], features[channel], points, rows, columns, limits)
    _draw_result(axes[2], pooled[0, 0], limits)
    h, w = output_size
    n = points.y.shape[1], points.x.shape[1]
    titles = (
        ("the region in the image", f"{box[2] - box[0]:.1f} {TIMES} {box[3] - box[1]:.1f} pixels, none rounded"),
        (
            "on the map of features",
            f"1 / {round(1 / spatial_scale)} of the image; {h} {TIMES} {w} bins of {n[0]} {TIMES} {n[1]} points",
        ),
        ("what comes out", f"of each bin the mean of its points; channel {channel} of {len(features)}"),
    )
    for ax, (title, told) in zip(axes, titles, strict=True):
        ax.set_anchor("NW")
        heading(ax, title, told)
    _legend(figure)
    return figure


def _window(points: Points, shape: tuple[int, ...]) -> tuple[slice, slice]:
    """Rows and columns of the map around the region: a square, as far as the map goes."""
    x1, y1, x2, y2 = points.region
    half = max(x2 - x1, y2 - y1) / 2 + MARGIN

    def around(middle: float, length: int) -> slice:
        first = min(max(int(np.floor(middle - half)), 0), length - 1)
        return slice(first, max(min(int(np.ceil(middle + half)) + 1, length), first + 1))

    return around((y1 + y2) / 2, shape[0]), around((x1 + x2) / 2, shape[1])


def _draw_image(
    ax: Axes, image: np.ndarray, box: np.ndarray, spatial_scale: float, rows: slice, columns: slice
) -> None:
    """The image, the squares of its pixels that the places of the map stand for, and the region."""
    from matplotlib.collections import LineCollection

    show_image(ax, as_picture(brightened(image)))
    pixels = 1 / spatial_scale
    x, y = (np.arange(part.start, part.stop + 1) * pixels for part in (columns, rows))
    grid = [((at, y[0]), (at, y[-1])) for at in x] + [((x[0], at), (x[-1], at)) for at in y]
    ax.add_collection(LineCollection(grid, colors="white", linewidths=0.6, alpha=0.7), autolim=False)
    draw_boxes(ax, box[None], REGION, linewidth=2.2)


def _draw_map(
    ax: Axes, feature: np.ndarray, points: Points, rows: slice, columns: slice, limits: dict[str, Any]
) -> None:
    """The values around the region, with its bins and points, and the corners of the point that is followed."""
    from matplotlib.collections import LineCollection

    extent = (columns.start - 0.5, columns.stop - 0.5, rows.stop - 0.5, rows.start - 0.5)
    ax.imshow(feature[rows, columns], cmap=shades(), interpolation="nearest", extent=extent, **limits)
    ax.set(xlim=extent[:2], ylim=extent[2:], xticks=[], yticks=[])
    ax.set_xticks(np.arange(columns.start, columns.stop) - 0.5, minor=True)
    ax.set_yticks(np.arange(rows.start, rows.stop) - 0.5, minor=True)
    ax.grid(which="minor", color="white", linewidth=0.7)
    ax.tick_params(which="both", length=0)
    ax.spines[:].set_visible(False)
    x1, y1, x2, y2 = points.region
    h, w = len(points.y), len(points.x)
    bins = [((x, y1), (x, y2)) for x in np.linspace(x1, x2, w + 1)[1:-1]]
    bins += [((x1, y), (x2, y)) for y in np.linspace(y1, y2, h + 1)[1:-1]]
    ax.add_collection(LineCollection(bins, colors=REGION, linewidths=0.8, alpha=0.9), autolim=False)
    draw_boxes(ax, np.array([points.region]), REGION, linewidth=2.2)
    x, y = np.meshgrid(points.x.ravel(), points.y.ravel())
    space = SIDE * 72 / max(rows.stop - rows.start, columns.stop - columns.start)  # of a place of the map, in points
    nearest = min((x2 - x1) / max(points.x.size, 1), (y2 - y1) / max(points.y.size, 1)) * space
    ax.plot(x.ravel(), y.ravel(), "o", color=POINT, markersize=float(np.clip(0.4 * nearest, 0.8, 4)), markeredgewidth=0)
    if points.y.size and points.x.size:
        _follow(ax, feature.shape, points.y[h // 2, 0], points.x[w // 2, 0], space)


def _follow(ax: Axes, shape: tuple[int, ...], y: float, x: float, space: float) -> None:
    """Dashed lines from a point to the middles of the places that it is interpolated between, and their shares."""
    from matplotlib.patheffects import withStroke

    for row, column, share in corners(y, x, (shape[0], shape[1])):
        ax.plot([x, column], [y, row], "--", color=FOLLOWED, linewidth=1.1, dashes=(2.5, 1.5))
        ax.plot(column, row, "s", color="white", markeredgecolor=FOLLOWED, markersize=4)
        away = 0.33 if row > y or (row == y and share < 1) else -0.33
        casing = [withStroke(linewidth=2.2, foreground="white")]
        size = float(np.clip(0.3 * space, 5, 9))
        ax.text(
            column, row + away, f"{share:.2f}", fontsize=size, color=FOLLOWED, ha="center", va="center",
            weight="bold", path_effects=casing,
        )  # fmt: skip
    ax.plot(x, y, "o", color=FOLLOWED, markersize=4.5, markeredgecolor="white", markeredgewidth=0.8)


def _draw_result(ax: Axes, pooled: np.ndarray, limits: dict[str, Any]) -> None:
    """The means of the bins, as numbers where they fit, the followed point's bin framed."""
    h, w = pooled.shape
    ax.imshow(pooled, cmap=shades(), interpolation="nearest", **limits)
    ax.set(xlim=(-0.5, w - 0.5), ylim=(h - 0.5, -0.5), xticks=[], yticks=[])
    ax.spines[:].set(color=REGION, linewidth=2.2)
    if max(h, w) <= MOST_NUMBERS:
        for i, j in np.ndindex(h, w):
            ax.text(j, i, f"{pooled[i, j]:.2f}", fontsize=7, color=INK, ha="center", va="center")
    draw_boxes(ax, np.array([[w // 2 - 0.5, h // 2 - 0.5, w // 2 + 0.5, h // 2 + 0.5]]), FOLLOWED, linewidth=1.8)


def shades() -> Any:
    """White to a blue on which dark points are seen."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("features", ["#ffffff", "#dbe8f4", "#8db7de"])


def _legend(figure: Figure) -> None:
    from matplotlib.lines import Line2D

    entries = [
        Line2D([], [], color=REGION, linewidth=2, label="region and bins"),
        Line2D([], [], color=POINT, marker="o", linestyle="", markersize=4, label="sampling points"),
        Line2D([], [], color=FOLLOWED, marker="o", linestyle="--", markersize=4, label="one point, its four values"),
    ]
    figure.legend(handles=entries, loc="lower center", ncols=3, fontsize=8.5, frameon=False, borderaxespad=0.1)
