"""RoIAlign, RoIPool and non-maximum suppression in plain PyTorch, point by point, for its autograd to go through.

They stand in for torchvision's operators, which a PyTorch for the CPU alone does not load.
"""


def roi_align(features, boxes, output_size, spatial_scale=1.0, sampling_ratio=-1, aligned=False):
    import torch

    h, w = as_pair(output_size)
    C, H, W = features.shape[1:]
    results = []
    for box in boxes:
        x1, y1, x2, y2 = box[1:] * spatial_scale - (0.5 if aligned else 0.0)
        width, height = x2 - x1, y2 - y1
        if not aligned:
            width, height = width.clamp(min=1), height.clamp(min=1)
        y, per_row = points(y1, height, h, sampling_ratio)
        x, per_column = points(x1, width, w, sampling_ratio)
        samples = interpolated(features[int(box[0])], y[:, None], x[None, :])
        inside = ((y >= -1) & (y <= H))[:, None] & ((x >= -1) & (x <= W))[None, :]
        samples = torch.where(inside, samples, 0).reshape(C, h, per_row, w, per_column)
        results.append(samples.sum((2, 4)) / max(per_row * per_column, 1))
    return torch.stack([features.new_zeros(C, h, w), *results])[1:] + 0 * features.sum()


def points(start, length, bins, sampling_ratio):
    """Where the samples of all bins lie along one direction, and how many each bin has."""
    import torch

    size = length / bins
    number = sampling_ratio if sampling_ratio > 0 else max(int(torch.ceil(size)), 0)
    point = torch.arange(number).to(start) + 0.5
    places = start + torch.arange(bins).to(start)[:, None] * size + point * size / max(number, 1)
    return places.flatten(), number


def interpolated(image, y, x):
    """image (C, H, W) at the points (y, x), from the four pixels around each; beyond the edge, its value."""
    import torch

    H, W = image.shape[1:]
    y, x = y.clamp(0, H - 1), x.clamp(0, W - 1)
    top, left = y.floor().long(), x.floor().long()
    bottom, right = (top + 1).clamp(max=H - 1), (left + 1).clamp(max=W - 1)
    above = torch.lerp(image[:, top, left], image[:, top, right], x - left)
    below = torch.lerp(image[:, bottom, left], image[:, bottom, right], x - left)
    return torch.lerp(above, below, y - top)


def roi_pool(features, boxes, output_size, spatial_scale=1.0):
    import torch

    h, w = as_pair(output_size)
    H, W = features.shape[2:]
    y = features.new_zeros(len(boxes), features.shape[1], h, w) + 0 * features.sum()
    for r, box in enumerate(boxes):
        corners = box[1:] * spatial_scale
        left, top, right, bottom = torch.where(corners < 0, (corners - 0.5).ceil(), (corners + 0.5).floor())
        height, width = (bottom - top + 1).clamp(min=1) / h, (right - left + 1).clamp(min=1) / w
        for i in range(h):
            rows = clipped(top + (i * height).floor(), top + ((i + 1) * height).ceil(), H)
            for j in range(w):
                columns = clipped(left + (j * width).floor(), left + ((j + 1) * width).ceil(), W)
                part = features[int(box[0]), :, rows, columns]
                if part.shape[1] * part.shape[2]:
                    y[r, :, i, j] = part.flatten(1).max(dim=1).values
    return y


def clipped(start, stop, size):
    return slice(min(max(int(start), 0), size), min(max(int(stop), 0), size))


def nms(boxes, scores, iou_threshold):
    overlap = (intersection_over_union(boxes).double() > iou_threshold).tolist()
    keep = []
    for candidate in scores.sort(descending=True, stable=True).indices.tolist():
        if not any(overlap[candidate][kept] for kept in keep):
            keep.append(candidate)
    return keep


def intersection_over_union(boxes):
    """Of each box with each."""
    import torch

    start, end = boxes[:, :2], boxes[:, 2:]
    sides = (torch.minimum(end[:, None], end) - torch.maximum(start[:, None], start)).clamp(min=0)
    shared, area = sides[..., 0] * sides[..., 1], (end - start)[:, 0] * (end - start)[:, 1]
    return shared / (area[:, None] + area - shared)


def as_pair(value):
    return (value, value) if isinstance(value, int) else tuple(value)
