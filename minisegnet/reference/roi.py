"""Regions of a feature map at one size: RoIAlign samples each bin between pixels, RoIPool takes its largest value."""

import numpy as np

from minisegnet.shapes import pair


def roi_align_forward(features, boxes, output_size, spatial_scale=1.0, sampling_ratio=0, aligned=True):
    samples = _samples_of(features, boxes, pair(output_size), spatial_scale, sampling_ratio, aligned)
    y = np.zeros((len(boxes), features.shape[1], *pair(output_size)), features.dtype)
    for r, c, i, j in np.ndindex(y.shape):
        image, rows, columns = samples[r]
        for row, row_weight in rows[i]:
            for column, column_weight in columns[j]:
                y[r, c, i, j] += row_weight * column_weight * features[image, c, row, column]
    return y, (samples, features.shape)


def roi_align_backward(dy, saved):
    samples, shape = saved
    dfeatures = np.zeros(shape, dy.dtype)
    for r, c, i, j in np.ndindex(dy.shape):
        image, rows, columns = samples[r]
        for row, row_weight in rows[i]:
            for column, column_weight in columns[j]:
                dfeatures[image, c, row, column] += row_weight * column_weight * dy[r, c, i, j]
    return dfeatures


def _samples_of(features, boxes, bins, scale, sampling_ratio, aligned):
    """For each box its image, the samples of each row of bins, and those of each column.

    The points of a bin are a grid, and a bilinear weight is a row's weight times a column's: so the rows' weights are
    written down once, whatever the column.
    """
    half = 0.5 if aligned else 0.0
    samples = []
    for image, (x1, y1, x2, y2) in zip(boxes[:, 0], boxes[:, 1:] * boxes.dtype.type(scale) - half, strict=True):
        rows, columns = (
            [_samples(start, stop, i, count, size, sampling_ratio, aligned) for i in range(count)]
            for start, stop, count, size in zip((y1, x1), (y2, x2), bins, features.shape[2:], strict=True)
        )
        samples.append((int(image), rows, columns))
    return samples


def _samples(start, stop, i, bins, size, sampling_ratio, aligned):
    """The rows (or columns) whose weighted sum is the mean over the points of bin i, as pairs (row, weight)."""
    length = stop - start if aligned else max(stop - start, start.dtype.type(1))
    bin_length = length / bins
    points = sampling_ratio if sampling_ratio > 0 else int(np.ceil(bin_length))
    samples = []
    for point in range(points):
        position = start + i * bin_length + (point + 0.5) * bin_length / points
        if -1 <= position <= size:
            position = min(max(position, 0.0), size - 1.0)
            before = int(position)
            after = min(before + 1, size - 1)
            samples += [(before, (before + 1 - position) / points), (after, (position - before) / points)]
    return samples


def roi_pool_forward(features, boxes, output_size, spatial_scale=1.0):
    H, W = features.shape[2:]
    h, w = pair(output_size)
    y = np.zeros((len(boxes), features.shape[1], h, w), features.dtype)
    winner = np.full(y.shape, -1)  # flat over H*W; -1 where a bin holds no pixel
    image = boxes[:, 0].astype(int)
    first_last = _rounded(boxes[:, 1:] * boxes.dtype.type(spatial_scale))
    for r, c, i, j in np.ndindex(y.shape):
        left, top, right, bottom = first_last[r]
        largest = None
        for row in _bin(top, bottom, i, h, H):
            for column in _bin(left, right, j, w, W):
                value = features[image[r], c, row, column]
                # As in max pooling: the first of equals stays, and so does the first NaN, which beats all.
                if largest is None or value > largest or (np.isnan(value) and not np.isnan(largest)):
                    largest = value
                    winner[r, c, i, j] = row * W + column
        if largest is not None:
            y[r, c, i, j] = largest
    return y, (winner, image, features.shape)


def roi_pool_backward(dy, saved):
    winner, image, shape = saved
    dfeatures = np.zeros(shape, dy.dtype)
    for r, c, i, j in np.ndindex(dy.shape):
        if winner[r, c, i, j] >= 0:
            row, column = divmod(winner[r, c, i, j], shape[3])
            dfeatures[image[r], c, row, column] += dy[r, c, i, j]
    return dfeatures


def _bin(first, last, i, bins, size):
    """The rows (or columns) of bin i that lie on the feature map, in order."""
    bin_length = max(last - first + 1, first.dtype.type(1)) / bins
    start = first + np.floor(i * bin_length)
    stop = first + np.ceil((i + 1) * bin_length)
    return range(int(max(start, 0)), int(min(stop, size)))


def _rounded(values):
    """To the nearest whole number, halves away from zero."""
    whole = np.floor(np.abs(values))
    return np.copysign(whole + (np.abs(values) - whole >= 0.5), values)
