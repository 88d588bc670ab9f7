"""Regions of a feature map at one size: RoIAlign as y = R F C^T on the part under a box, RoIPool as its largest values.

A bilinear weight is a row's times a column's, and so is a mean over a grid of points: hence one matrix of weights for
the rows and one for the columns. Channels lie innermost meanwhile, so that both products run over whole rows.
"""

import numpy as np

from minisegnet.shapes import pair

CHUNK = 64  # boxes whose matrices are made together


def roi_align_forward(features, boxes, output_size, spatial_scale=1.0, sampling_ratio=0, aligned=True):
    N, C, H, W = features.shape
    h, w = pair(output_size)
    half = 0.5 if aligned else 0.0
    image, corners = boxes[:, 0].astype(int), boxes[:, 1:] * boxes.dtype.type(spatial_scale) - half
    down = _matrices(corners[:, 1], corners[:, 3], h, H, sampling_ratio, aligned)
    across = _matrices(corners[:, 0], corners[:, 2], w, W, sampling_ratio, aligned)
    parts = list(zip(image, down, across, strict=True))
    pixels = np.ascontiguousarray(features.transpose(0, 2, 3, 1)).reshape(N, H, W * C)
    y = np.empty((len(boxes), h, w, C), features.dtype)
    for r, (n, (top, bottom, rows), (left, right, columns)) in enumerate(parts):
        bands = rows @ pixels[n, top:bottom, left * C : right * C]
        np.matmul(columns, bands.reshape(h, right - left, C), out=y[r])
    return np.ascontiguousarray(y.transpose(0, 3, 1, 2)), (parts, features.shape)


def roi_align_backward(dy, saved):
    parts, (N, C, H, W) = saved
    h = dy.shape[2]
    dpixels = np.zeros((N, H, W * C), dy.dtype)
    dy = np.ascontiguousarray(dy.transpose(0, 2, 3, 1))
    for r, (n, (top, bottom, rows), (left, right, columns)) in enumerate(parts):
        bands = np.matmul(columns.T, dy[r]).reshape(h, (right - left) * C)
        dpixels[n, top:bottom, left * C : right * C] += rows.T @ bands
    return np.ascontiguousarray(dpixels.reshape(N, H, W, C).transpose(0, 3, 1, 2))


def _matrices(start, stop, bins, size, sampling_ratio, aligned):
    """For each box (first, end, weights): its bins are weights (bins, end - first) times rows first to end - 1."""
    for chunk in range(0, len(start), CHUNK):
        part = slice(chunk, chunk + CHUNK)
        weights = _weights(start[part], stop[part], bins, size, sampling_ratio, aligned)
        used = weights.any(axis=1)
        first = used.argmax(axis=1)
        end = np.where(used.any(axis=1), size - used[:, ::-1].argmax(axis=1), 0)
        for box, low, high in zip(weights, first, end, strict=True):
            yield low, high, np.ascontiguousarray(box[:, low:high])


def _weights(start, stop, bins, size, sampling_ratio, aligned):
    """Weights (R, bins, size) by which each bin of each box is made from the rows (or columns) of the feature map."""
    dtype = start.dtype
    length = stop - start if aligned else np.maximum(stop - start, dtype.type(1))
    bin_length = length / dtype.type(bins)
    points = np.full_like(start, sampling_ratio) if sampling_ratio > 0 else np.maximum(np.ceil(bin_length), 0)
    box, number = _points_near_the_map(start, bin_length / np.maximum(points, 1), bins * points, size)
    i, point = (part.astype(dtype) for part in np.divmod(number, points[box]))
    position = start[box] + i * bin_length[box] + (point + dtype.type(0.5)) * bin_length[box] / points[box]
    inside = (position >= -1) & (position <= size)
    box, i, position = box[inside], i[inside].astype(int), np.clip(position[inside], 0, size - 1)
    before = position.astype(int)
    share = position - before
    row = (box * bins + i) * size
    place = np.concatenate([row + before, row + np.minimum(before + 1, size - 1)])
    weight = np.concatenate([1 - share, share]) / np.tile(points[box], 2)
    weights = np.bincount(place, weight, minlength=len(start) * bins * size)
    return weights.astype(dtype).reshape(len(start), bins, size)


def _points_near_the_map(start, spacing, count, size):
    """(box, number) of the sampling points 0 to count - 1 of each box, less those that surely lie off the map.

    A box may be larger than the map by any factor, and have as many more points.
    """
    start, spacing, count = (array.astype(float) for array in (start, spacing, count))
    spread = np.where(spacing > 0, spacing, np.inf)
    first = np.where(spacing > 0, np.clip(np.floor((-1 - start) / spread) - 2, 0, count), 0).astype(int)
    end = np.where(spacing > 0, np.clip(np.ceil((size - start) / spread) + 2, 0, count), count).astype(int)
    box = np.repeat(np.arange(len(start)), end - first)
    number = np.arange(len(box)) - np.repeat(np.cumsum(end - first) - end, end - first)
    return box, number


def roi_pool_forward(features, boxes, output_size, spatial_scale=1.0):
    H, W = features.shape[2:]
    h, w = pair(output_size)
    image, corners = boxes[:, 0].astype(int), _rounded(boxes[:, 1:] * boxes.dtype.type(spatial_scale))
    rows, columns = _bins(corners[:, 1], corners[:, 3], h, H), _bins(corners[:, 0], corners[:, 2], w, W)
    pixels = np.ascontiguousarray(features.transpose(0, 2, 3, 1))
    y = np.empty((len(boxes), h, w, features.shape[1]), features.dtype)
    winner = np.full(y.shape, -1, np.int32)  # flat over H*W, -1 where a bin holds no pixel
    for r, n in enumerate(image):
        top, bottom = rows[r].min(), rows[r].max()
        # Along each row first, then down: so of equal values the first in row order wins.
        largest, column = _first_largest(pixels[n, top:bottom].transpose(1, 0, 2), columns[r])
        y[r], row = _first_largest(largest.transpose(1, 0, 2), rows[r] - top)
        if bottom > top:
            column = np.take_along_axis(column.transpose(1, 0, 2), np.maximum(row, 0), axis=0)
            winner[r] = np.where((row >= 0) & (column >= 0), (row + top) * W + column, -1)
    return np.ascontiguousarray(y.transpose(0, 3, 1, 2)), (winner, image, features.shape)


def _first_largest(values, bins):
    """Along the first axis, the largest value of each bin and where it is first met; 0 and -1 where a bin is empty."""
    largest = np.zeros((len(bins), *values.shape[1:]), values.dtype)
    place = np.full(largest.shape, -1, np.int32)
    for i, (first, end) in enumerate(bins):
        if first < end:
            np.maximum.reduce(values[first:end], axis=0, out=largest[i])
            for k in range(end - 1, first - 1, -1):
                won = (values[k] == largest[i]) | (values[k] != values[k])  # NaN, or the largest, and the first so far
                place[i] += (np.int32(k) - place[i]) * won
    return largest, place


def roi_pool_backward(dy, saved):
    winner, image, (N, C, H, W) = saved
    dy = dy.transpose(0, 2, 3, 1)
    filled = winner >= 0
    place = ((image * (H * W))[:, None, None, None] + winner) * C + np.arange(C)
    dpixels = np.zeros(N * H * W * C, dy.dtype)
    np.add.at(dpixels, place[filled], dy[filled])
    return np.ascontiguousarray(dpixels.reshape(N, H, W, C).transpose(0, 3, 1, 2))


def _bins(first, last, bins, size):
    """The rows (or columns) of each bin that lie on the feature map, (R, bins, 2): the first, and the first beyond."""
    dtype = first.dtype
    bin_length = np.maximum(last - first + 1, dtype.type(1)) / dtype.type(bins)
    edge = np.arange(bins + 1, dtype=dtype) * bin_length[:, None]
    start, stop = np.floor(edge[:, :-1]), np.ceil(edge[:, 1:])
    return np.clip(np.stack([start, stop], axis=2) + first[:, None, None], 0, size).astype(int)


def _rounded(values):
    """To the nearest whole number, halves away from zero."""
    whole = np.floor(np.abs(values))
    return np.copysign(whole + (np.abs(values) - whole >= 0.5), values)
