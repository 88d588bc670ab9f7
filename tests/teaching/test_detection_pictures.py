"""The pictures of a detector's stages: what they draw and write is what they were given."""

import re
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.collections import LineCollection
from matplotlib.colors import to_hex
from PIL import Image

from minisegnet import functional
from minisegnet.data.palettes import default_palette
from minisegnet.detection.stages import Candidates, Instances, Level, Region, Sampled, Stages
from minisegnet.errors import LabelError, OptionError, ShapeError
from minisegnet.teaching import detection_pictures as pictures
from minisegnet.teaching.classes_and_instances import count_regions, draw_classes_and_instances
from minisegnet.teaching.picture_rows import TIMES
from minisegnet.teaching.roi_align_picture import corners, draw_roi_align, sampling_points
from minisegnet.training.instance_pictures import (
    MISTAKEN,
    brightened,
    colours_of_partners,
    draw_instance_panel,
    draw_instances,
    mask_edges,
    object_colours,
)

CLASSES = ("ground", "cell", "speck")
SIZE = (48, 64)


def stages_of(seed=0, objects=3, channels=3, levels=2, anchors=3, sampled=True, masks=True):
    """Stages of a made-up detector: true objects are rectangles, and what it finds is about there."""
    rng = np.random.default_rng(seed)
    corner = rng.integers(0, 24, (objects, 2)).astype(float)
    boxes = np.concatenate([corner, corner + rng.integers(8, 20, (objects, 2))], axis=1)
    inside = np.zeros((objects, *SIZE), bool)
    for mask, (x1, y1, x2, y2) in zip(inside, boxes.astype(int), strict=True):
        mask[y1:y2, x1:x2] = True
    labels = rng.integers(1, 3, objects)
    pyramid = []
    for number in range(levels):
        stride = 8 * 2**number
        h, w = SIZE[0] // stride, SIZE[1] // stride
        y, x = np.meshgrid(np.arange(h) * stride, np.arange(w) * stride, indexing="ij")
        half = np.array([[6, 4], [5, 5], [4, 6]] * 3)[:anchors] * 2**number
        middle = np.stack([x, y], axis=2)[:, :, None]
        boxes_there = np.concatenate([middle - half, middle + half], axis=3).astype(float)
        pyramid.append(Level((stride, stride), rng.random((5, h, w)), boxes_there, rng.random((h, w, anchors))))
    candidates = np.repeat(boxes, 40, axis=0) + rng.normal(0, 2, (40 * objects, 4))
    proposed = Candidates(candidates, rng.random(len(candidates)), rng.integers(0, levels, len(candidates)))
    chosen = rng.permutation(len(candidates))[: 4 * objects]
    kept = Candidates(proposed.boxes[chosen], proposed.scores[chosen], proposed.levels[chosen])
    matches = np.where(rng.random(len(chosen)) < 0.5, chosen // 40, -1)
    return Stages(
        image=rng.random((channels, *SIZE)).astype(np.float32),
        levels=pyramid,
        before_nms=proposed,
        proposals=kept,
        detections=Instances(boxes + 0.5, labels, inside if masks else None, rng.random(objects)),
        region=Region(np.zeros(objects, int), (3, 4), 2, False),
        mask_probabilities=rng.random((objects, 6, 6)) if masks else None,
        sampled=Sampled(kept.boxes, matches) if sampled else None,
        truth=Instances(boxes, labels, inside) if sampled else None,
    )


def written(figure):
    return [text.get_text() for part in (figure, *figure.axes) for text in part.texts]


def boxes_in(ax):
    """Boxes (R, 4) that are drawn on axes, and the colour of each."""
    boxes, colours = [], []
    for lines in ax.collections:
        if isinstance(lines, LineCollection):
            paths = lines.get_paths()
            shades = [to_hex(colour) for colour in lines.get_colors()]
            for number, path in enumerate(paths):
                if len(path.vertices) == 5:
                    boxes.append([*path.vertices.min(axis=0), *path.vertices.max(axis=0)])
                    colours.append(shades[number % len(shades)])
    return np.array(boxes).reshape(-1, 4), colours


def hexes(colours):
    return [to_hex(colour) for colour in colours]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "options",
    [{"objects": 0}, {"objects": 30}, {"channels": 1}, {"sampled": False}, {"objects": 0, "masks": False}],
    ids=str,
)
def test_every_stage_that_there_is(tmp_path, options):
    stages = stages_of(**options)
    figures = pictures.draw_stages(stages, CLASSES, tmp_path / "stages")
    there = {
        "sampled regions": stages.sampled is not None,
        "RoIAlign": len(stages.detections.boxes) > 0,
        "masks": stages.mask_probabilities is not None,
    }
    wanted = ["anchors", "objectness", "proposals", "sampled regions", "RoIAlign", "masks", "result"]
    assert list(figures) == [name for name in wanted if there.get(name, True)]
    files = sorted(file.name for file in (tmp_path / "stages").iterdir())
    assert files == [f"{number} {name}.png" for number, name in enumerate(figures, start=1)]


def test_anchors_of_a_place_are_those_of_the_level():
    stages = stages_of()
    figure = pictures.draw_anchors(stages.image, stages.levels, centres=[(17, 22), (17, 22), (60, 9)])
    assert len(figure.axes) == len(stages.levels)
    for ax, level in zip(figure.axes, stages.levels, strict=True):
        drawn, colours = boxes_in(ax)
        stride = level.stride[0]
        places = [(round(22 / stride), round(17 / stride)), (round(9 / stride), round(60 / stride))]
        h, w = level.anchors.shape[:2]
        places = [(min(i, h - 1), min(j, w - 1)) for i, j in places]
        np.testing.assert_allclose(drawn, np.concatenate([level.anchors[place] for place in places]))
        assert colours == hexes(object_colours(3)) * 2
        dots = ax.lines[0].get_xydata()
        np.testing.assert_allclose(dots, (level.anchors[:, :, 0, :2] + level.anchors[:, :, 0, 2:]).reshape(-1, 2) / 2)
    told = [text.replace(TIMES, "x") for text in written(figure)]
    assert {"12 x 8", "10 x 10", "8 x 12", "24 x 16", "6 x 8 places x 3 anchors"} <= set(told)


def test_nine_anchors_are_all_told():
    stages = stages_of(anchors=9)
    told = [text for text in written(pictures.draw_anchors(stages.image, stages.levels[:1])) if len(text) < 8]
    assert len(told) == 9


def test_anchors_beyond_the_image_are_shown():
    stages = stages_of()
    figure = pictures.draw_anchors(stages.image, stages.levels, centres=[(0, 0)])
    x, y = zip(*[(ax.get_xlim(), ax.get_ylim()) for ax in figure.axes], strict=True)
    assert set(x) == {(-12, 64)} and set(y) == {(48, -12)}  # the coarser level's, to one scale


def test_objectness_is_that_of_the_best_anchor_where_it_stands():
    stages = stages_of()
    figure = pictures.draw_objectness(stages.image, stages.levels, stages.truth)
    maps = figure.axes[1 : 1 + len(stages.levels)]
    for ax, level in zip(maps, stages.levels, strict=True):
        shown = ax.images[0]
        np.testing.assert_allclose(shown.get_array(), level.objectness.max(axis=2))
        assert shown.get_clim() == (0, 1)
        left, right, bottom, top = shown.get_extent()
        middles = (level.anchors[..., 0, :2] + level.anchors[..., 0, 2:]) / 2
        h, w = middles.shape[:2]
        np.testing.assert_allclose(left + (right - left) * (np.arange(w) + 0.5) / w, middles[0, :, 0])
        np.testing.assert_allclose(top + (bottom - top) * (np.arange(h) + 0.5) / h, middles[:, 0, 1])
        assert ax.get_xlim() == (0, SIZE[1]) and ax.get_ylim() == (SIZE[0], 0)
    drawn = np.concatenate([boxes_in(ax)[0] for ax in maps])
    assert sorted(map(tuple, drawn)) == sorted(map(tuple, stages.truth.boxes))


@pytest.mark.parametrize("most", [10, 10**6])
def test_proposals_are_the_surest_and_what_is_left_of_them(most):
    stages = stages_of(objects=4)
    figure = pictures.draw_proposals(stages, most)
    (before, _), (after, colours) = (boxes_in(ax) for ax in figure.axes)
    surest = np.argsort(-stages.before_nms.scores)[:most]
    left = stages.proposals.scores >= stages.before_nms.scores[surest].min()
    np.testing.assert_allclose(before, stages.before_nms.boxes[surest])
    np.testing.assert_allclose(after, stages.proposals.boxes[left])
    assert colours == [pictures.LEVEL_COLOURS[level] for level in stages.proposals.levels[left]]
    told = written(figure)
    assert f"{left.sum()} of them are left (of all, 16)" in told
    assert ("the surest 10 of 160 candidates" if most == 10 else "all 160 candidates") in told


def test_sampled_regions_have_the_colour_of_their_object():
    stages = stages_of()
    truth, positive, negative = (boxes_in(ax) for ax in pictures.draw_sampled(stages).axes)
    matched = stages.sampled.matches >= 0
    colours = hexes(object_colours(3))
    np.testing.assert_allclose(truth[0], stages.truth.boxes)
    np.testing.assert_allclose(positive[0], stages.sampled.boxes[matched])
    np.testing.assert_allclose(negative[0], stages.sampled.boxes[~matched])
    assert positive[1] == [colours[match] for match in stages.sampled.matches[matched]]
    assert not set(negative[1]) & set(colours)


def test_masks_are_the_surest_in_order():
    stages = stages_of(objects=12)
    figure = pictures.draw_masks(stages, CLASSES, most=5)
    order = np.argsort(-stages.detections.scores)[:5]
    shown = [ax.images[0].get_array() for ax in figure.axes if ax.images and ax.images[0].get_array().shape == (6, 6)]
    np.testing.assert_allclose(shown, stages.mask_probabilities[order])
    titles = [ax.get_title() for ax in figure.axes if ax.get_title()]
    labels, scores = stages.detections.labels[order], stages.detections.scores[order]
    assert titles == [f"{CLASSES[label]} {score:.2f}" for label, score in zip(labels, scores, strict=True)]


REGIONS = {
    "within": (5.3, 7.1, 30.2, 40.9),
    "small": (20.0, 20.0, 21.0, 22.5),
    "over the border": (50.0, 30.0, 90.0, 60.0),
    "in the corner": (-3.0, -5.0, 9.0, 7.0),
    "far outside": (200.0, 200.0, 230.0, 230.0),
    "of no area": (10.0, 10.0, 10.0, 10.0),
}


@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize("ratio", [0, 1, 3])
@pytest.mark.parametrize("name", sorted(REGIONS))
def test_points_and_corners_give_what_roi_align_gives(name, ratio, aligned):
    rng = np.random.default_rng(0)
    feature, box = rng.normal(size=(6, 8)), np.array(REGIONS[name])
    wanted, _ = functional.roi_align_forward(feature[None, None], np.array([[0, *box]]), (3, 2), 1 / 8, ratio, aligned)
    points = sampling_points(box, 1 / 8, (3, 2), ratio, aligned)
    means = np.zeros((3, 2))
    for i, j in np.ndindex(3, 2):
        values = [
            sum(share * feature[row, column] for row, column, share in corners(y, x, feature.shape))
            for y in points.y[i]
            for x in points.x[j]
        ]
        means[i, j] = np.mean(values) if values else 0
    np.testing.assert_allclose(means, wanted[0, 0], atol=1e-12)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", sorted(REGIONS))
def test_roi_align_shows_its_points_and_its_means(name):
    stages = stages_of()
    box, level = np.array(REGIONS[name]), stages.levels[0]
    figure = draw_roi_align(stages.image, box, level.features, 1 / 8, (3, 4), 2, True)
    figure.canvas.draw()
    image, on_map, result = figure.axes
    np.testing.assert_allclose(boxes_in(image)[0], [box])
    np.testing.assert_allclose(boxes_in(on_map)[0], [box / 8 - 0.5])
    points = sampling_points(box, 1 / 8, (3, 4), 2, True)
    x, y = np.meshgrid(points.x.ravel(), points.y.ravel())
    np.testing.assert_allclose(on_map.lines[0].get_xydata(), np.stack([x.ravel(), y.ravel()], axis=1))
    told = next(text for text in written(figure) if "channel" in text)
    channel = int(told.split("channel ")[1].split()[0])
    region = np.array([[0, *box]])
    wanted, _ = functional.roi_align_forward(level.features[None], region, (3, 4), 1 / 8, 2, True)
    np.testing.assert_allclose(result.images[0].get_array(), wanted[0, channel])
    numbers = [float(text.get_text()) for text in result.texts[:12]]
    np.testing.assert_allclose(numbers, wanted[0, channel].ravel(), atol=0.00501)
    shares = [text.get_text() for text in on_map.texts if re.fullmatch(r"[01]\.\d\d", text.get_text())]
    followed = corners(points.y[1, 0], points.x[2, 0], level.features.shape[1:])
    assert shares == [f"{share:.2f}" for _, _, share in followed]


def test_edges_of_a_mask_are_the_sides_of_its_pixels():
    mask = np.zeros((4, 5), bool)
    mask[0, 0] = mask[2, 3] = mask[2, 4] = True
    edges = {tuple(map(tuple, edge)) for edge in mask_edges(mask).astype(int)}
    around_first = {((0, 0), (1, 0)), ((0, 1), (1, 1)), ((0, 0), (0, 1)), ((1, 0), (1, 1))}
    upright = {((3, 2), (3, 3)), ((5, 2), (5, 3))}
    level = {((x, y), (x + 1, y)) for x in (3, 4) for y in (2, 3)}
    assert edges == around_first | upright | level
    assert {tuple(map(tuple, edge)) for edge in mask_edges(np.roll(mask, 1, axis=0)).astype(int)} == {
        ((x1, y1 + 1), (x2, y2 + 1)) for (x1, y1), (x2, y2) in edges
    }
    assert mask_edges(np.zeros((4, 5), bool)).shape == (0, 2, 2)


def test_dark_images_are_brightened_and_others_left():
    dark = np.linspace(0, 0.2, 100, dtype=np.float32).reshape(1, 10, 10)
    assert brightened(dark).max() == 1 and brightened(dark)[0, 5, 0] == pytest.approx(0.5, abs=0.02)
    for image in (4 * dark, 0 * dark, dark[:, :0]):
        np.testing.assert_array_equal(brightened(image), image)


def test_detections_take_the_colour_of_what_they_found():
    true = stages_of(seed=2).truth
    order = np.array([2, 0, 1, 2])
    found = Instances(true.boxes[order], true.labels[order], true.masks[order], np.array([0.5, 0.4, 0.9, 0.8]))
    colours = object_colours(3)
    assert colours_of_partners(true, found) == [MISTAKEN, colours[0], colours[1], colours[2]]
    other = replace(found, labels=3 - found.labels)
    assert colours_of_partners(true, other) == [MISTAKEN] * 4
    assert MISTAKEN not in object_colours(50)


def colour_count(path, colour):
    with Image.open(path) as picture:
        wanted = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)])
        return int((np.abs(np.asarray(picture.convert("RGB")).astype(int) - wanted).max(axis=2) < 12).sum())


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("objects", "kind"), [(0, "masks"), (0, "boxes"), (3, "boxes"), (300, "masks")])
def test_instances_of_any_number(tmp_path, objects, kind):
    found = stages_of(objects=objects, masks=kind == "masks").detections
    image = np.full((1, *SIZE), 0.7, np.float32)
    path = tmp_path / "instances.png"
    draw_instances(image, found.boxes, found.labels, found.scores, found.masks, CLASSES, path)
    assert (colour_count(path, object_colours(1)[0]) > 100) == (objects > 0)
    with Image.open(path) as picture:
        assert picture.width / picture.height == pytest.approx(SIZE[1] / SIZE[0], rel=0.01)


@pytest.mark.filterwarnings("error")
def test_panel_marks_what_is_wrong_in_red(tmp_path):
    stages = stages_of()
    empty = Instances(np.zeros((0, 4)), np.zeros(0, int), np.zeros((0, *SIZE), bool), np.zeros(0))
    right, wrong = tmp_path / "right.png", tmp_path / "wrong.png"
    images = [stages.image, stages.image[:1, :30]]
    cut = replace(empty, masks=empty.masks[:, :30])
    draw_instance_panel(images, [stages.truth, cut], [stages.detections, cut], CLASSES, right, ["a", "b"], ["1", "2"])
    draw_instance_panel([stages.image], [replace(empty, scores=None)], [stages.detections], CLASSES, wrong)
    assert colour_count(right, MISTAKEN) == 0 < colour_count(wrong, MISTAKEN)


@pytest.mark.filterwarnings("error")
def test_classes_beside_instances():
    stages = stages_of()
    labels = np.zeros(SIZE, int)
    labels[:5, :5] = labels[:5, 6:9] = 1
    labels[5:9, :5] = 2
    assert count_regions(labels) == 3 and count_regions(np.zeros(SIZE, int)) == 0
    palette = default_palette(3)
    figure = draw_classes_and_instances(stages.image, labels, stages.detections, palette, CLASSES)
    told = written(figure)
    assert {"U-Net: a class for each pixel", "3 regions", "Mask R-CNN: an object each", "3 objects"} <= set(told)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["cell", "speck"]
    shown = figure.axes[1].images[0].get_array().astype(float)
    grey = shown[20, 20]
    assert np.ptp(grey) == 0  # the background shows the image
    assert np.abs(shown[2, 2] - palette[1]).sum() < np.abs(shown[2, 2] - palette[2]).sum()


def test_what_cannot_be_drawn_is_told(tmp_path):
    stages, path = stages_of(), tmp_path / "no.png"
    found = stages.detections
    with pytest.raises(ShapeError, match=r"\(3, 48, 64\).*got \(3, 48, 63\)"):
        draw_instances(stages.image, found.boxes, found.labels, found.scores, found.masks[:, :, 1:], CLASSES, path)
    with pytest.raises(OptionError, match="has no name in ground"):
        draw_instances(stages.image, found.boxes, found.labels + 9, found.scores, found.masks, CLASSES, path)
    with pytest.raises(OptionError, match="target"):
        pictures.draw_sampled(replace(stages, truth=None))
    with pytest.raises(OptionError, match="mask_rcnn"):
        pictures.draw_masks(replace(stages, mask_probabilities=None), CLASSES)
    with pytest.raises(LabelError):
        draw_classes_and_instances(stages.image, np.full(SIZE, 7), found, default_palette(3), CLASSES)
