"""COCO's average precision, against pycocotools where it is installed and by hand."""

import contextlib
import io

import numpy as np
import pytest

from minisegnet.data.run_length import encode
from minisegnet.errors import BoxError, DtypeError, LabelError, OptionError, ShapeError
from minisegnet.metrics import AveragePrecision, DetectedObjects, TrueObjects

CLASSES = ("background", "cell", "speck", "never")
SIZE = (160, 180)

# What the images of a data set are like; the rest of the options is the default's.
WORLDS = {
    "plain": {},
    "few scores, so that many are equal": {"scores": 4},
    "one score": {"scores": 1},
    "duplicates": {"copies": 4},
    "crowds": {"crowd": 0.4},
    "all crowds": {"crowd": 1.0},
    "equal objects": {"equal": True, "crowd": 0.2},
    "no objects": {"objects": 0},
    "no detections": {"objects": 3, "copies": 0, "strays": 0},
    "more than a hundred detections": {"objects": 9, "copies": 20, "images": 3},
    "other areas": {"areas": True, "crowd": 0.1},
    "many images": {"images": 40, "scores": 12},
}


def world(seed, images=8, objects=6, copies=1, strays=3, scores=None, crowd=0.0, equal=False, areas=False):
    """Images of (true, detected): rectangles, and shaken copies of them beside others; as many of either as may be."""
    rng = np.random.default_rng(seed)
    for _ in range(images):
        count = rng.integers(0, objects + 1)
        boxes = rectangles(rng, count)
        if equal and count:
            boxes[:] = boxes[0]
        labels = rng.integers(1, 3, count)
        masks = [filled(box, rng) for box in boxes]
        true = TrueObjects(
            labels,
            boxes,
            np.array(masks, bool).reshape(-1, *SIZE),
            rng.random(count) < crowd,
            rng.choice([100.0, 32**2, 5000.0, 96**2, 20000.0], count) if areas else None,
        )
        shaken = np.repeat(boxes, copies, axis=0) + rng.integers(-9, 10, (count * copies, 4)) * rng.integers(0, 2)
        found = np.concatenate([in_order(shaken), rectangles(rng, rng.integers(0, strays + 1))])
        kept = rng.random(len(found)) < 0.9
        found, classes = found[kept], np.concatenate([np.repeat(labels, copies), rng.integers(1, 3, 99)])[: len(kept)]
        values = rng.random(len(found)) if scores is None else rng.integers(0, scores, len(found)) / 8
        masks = np.array([filled(box, rng) for box in found], bool).reshape(-1, *SIZE)
        yield true, DetectedObjects(classes[kept], values, found, masks)


def rectangles(rng, count):
    """Boxes of every size, on whole pixels, so that overlaps hit thresholds exactly."""
    corners = rng.integers(0, SIZE[::-1], (count, 2))
    return in_order(np.concatenate([corners, corners + rng.choice([1, 20, 32, 60, 130], (count, 1))], axis=1))


def in_order(boxes):
    corners = np.clip(boxes.reshape(-1, 2, 2), 0, np.array(SIZE[::-1]))
    return np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1).astype(float)


def filled(box, rng):
    """A mask of the box, at times with a part left out."""
    mask = np.zeros(SIZE, bool)
    x1, y1, x2, y2 = box.astype(int)
    mask[y1:y2, x1 : x2 - rng.integers(0, 2) * (x2 - x1) // 3] = True
    return mask


def by_pycocotools(images, kind):
    """precision (T, 101, K, A), recall (T, K, A, M) and the twelve numbers, with -1 for what there is not."""
    coco = pytest.importorskip("pycocotools.coco")
    from pycocotools import mask as run_lengths
    from pycocotools.cocoeval import COCOeval

    def entry(image, objects, i):
        x1, y1, x2, y2 = objects.boxes[i]
        text = run_lengths.encode(np.asfortranarray(objects.masks[i].astype(np.uint8)))
        shape = {"bbox": [x1, y1, x2 - x1, y2 - y1]} if kind == "boxes" else {"segmentation": text}
        own = run_lengths.area(text) if kind == "masks" else (x2 - x1) * (y2 - y1)
        return {"image_id": image, "category_id": int(objects.labels[i]), **shape}, float(own), text

    annotations, results = [], []
    for image, (true, detected) in enumerate(images):
        for i in range(len(true.labels)):
            told, _, text = entry(image, true, i)
            area = float(run_lengths.area(text) if true.areas is None else true.areas[i])
            told |= {"id": len(annotations) + 1, "iscrowd": int(true.crowd[i]), "area": area}
            annotations.append(told)
        for i in range(len(detected.labels)):
            told, area, _ = entry(image, detected, i)
            told |= {"id": len(results) + 1, "iscrowd": 0, "area": area, "score": float(detected.scores[i])}
            results.append(told)
    described = {
        "images": [{"id": image, "height": SIZE[0], "width": SIZE[1]} for image in range(len(images))],
        "categories": [{"id": label, "name": CLASSES[label]} for label in range(1, len(CLASSES))],
    }
    with contextlib.redirect_stdout(io.StringIO()):
        sets = []
        for entries in (annotations, results):
            sets.append(coco.COCO())
            sets[-1].dataset = {**described, "annotations": entries}
            sets[-1].createIndex()
        evaluation = COCOeval(*sets, "bbox" if kind == "boxes" else "segm")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.eval["precision"][..., -1], evaluation.eval["recall"], evaluation.stats


def evaluated(images, kind):
    evaluation = AveragePrecision(CLASSES, kind)
    for true, detected in images:
        evaluation.add(true, detected)
    return evaluation.result()


@pytest.mark.parametrize("kind", ["boxes", "masks"])
@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("name", sorted(WORLDS))
def test_equal_to_pycocotools(name, seed, kind):
    images = list(world(seed, **WORLDS[name]))
    precision, recall, stats = by_pycocotools(images, kind)
    result = evaluated(images, kind)
    close = {"rtol": 0, "atol": 1e-9}
    np.testing.assert_allclose(np.nan_to_num(result.precision, nan=-1), precision.transpose(2, 3, 0, 1), **close)
    np.testing.assert_allclose(np.nan_to_num(result.recall, nan=-1), recall.transpose(1, 2, 0, 3), **close)
    np.testing.assert_allclose(np.nan_to_num(list(result.mean.values()), nan=-1), stats, **close)


def one(boxes, labels=None, scores=None, **known):
    """True objects, or with scores detected ones, of boxes."""
    boxes = np.array(boxes, float).reshape(-1, 4)
    labels = np.ones(len(boxes), int) if labels is None else np.array(labels)
    if scores is None:
        return TrueObjects(labels, boxes, **known)
    return DetectedObjects(labels, np.array(scores, float), boxes, **known)


def result_of(*images, classes=CLASSES):
    evaluation = AveragePrecision(classes)
    for true, detected in images:
        evaluation.add(true, detected)
    return evaluation.result()


def test_by_hand():
    """Right, wrong, right of two objects: precision 1 up to recall 1/2, then 2/3."""
    true = one([[0, 0, 10, 10], [20, 0, 30, 10]])
    detected = one([[20, 0, 30, 10], [50, 50, 60, 60], [0, 0, 10, 10]], scores=[0.9, 0.8, 0.7])
    result = result_of((true, detected))
    assert [result.ap, result.ap50, result.ap75] == pytest.approx([(51 * 1 + 50 * 2 / 3) / 101] * 3, abs=1e-12)
    assert result.mean["AR 1"] == 0.5 and result.mean["AR 10"] == result.mean["AR 100"] == 1
    assert result.mean["AP small"] == result.ap and np.isnan(result.mean["AP large"])


def test_a_second_detection_of_an_object_is_wrong():
    true = one([[0, 0, 10, 10]])
    twice = one([[0, 0, 10, 10], [0, 0, 10, 10]], scores=[0.5, 0.6])
    assert result_of((true, twice)).ap == 1  # after all objects are found, wrong ones cost nothing
    assert result_of((true, twice), (true, one([[0, 0, 10, 10]], scores=[0.1]))).ap == pytest.approx(
        (51 + 50 * 2 / 3) / 101
    )


def test_overlap_at_a_threshold_reaches_it():
    half = result_of((one([[0, 0, 10, 10]]), one([[0, 0, 10, 5]], scores=[1])))
    assert half.ap50 == 1 and half.ap == 0.1


@pytest.mark.parametrize("swapped", [False, True])
def test_of_equal_overlaps_the_last_object_is_taken(swapped):
    """The surer detection lies between two objects, the other on one of them, which may be taken by then."""
    boxes = [[0, 0, 10, 10], [4, 0, 14, 10]]
    true = one(boxes[::-1] if swapped else boxes)
    detected = one([[2, 0, 12, 10], boxes[1]], scores=[0.9, 0.8])
    recall = result_of((true, detected)).mean["AR 100"]
    assert recall == pytest.approx(0.4 * 1 + 0.6 * 0.5 if swapped else 0.5)  # 4 of the 10 thresholds are below 8 / 12


@pytest.mark.filterwarnings("error")
def test_classes_without_objects_have_no_score():
    true = one([[0, 0, 10, 10]])
    detected = one([[0, 0, 10, 10], [0, 0, 5, 5]], labels=[1, 2], scores=[0.5, 0.9])
    result = result_of((true, detected))
    np.testing.assert_array_equal(result.by_class["AP"], [1, np.nan, np.nan])
    assert result.ap == 1
    assert "speck" in result.table() and result.table().splitlines()[3].split()[1] == "-"


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("images", [0, 1])
def test_nothing_at_all(images):
    nothing = one([]), one([], scores=[])
    result = result_of(*[nothing] * images)
    assert np.isnan(result.ap) and np.isnan(list(result.mean.values())).all()
    assert result.objects.sum() == 0
    assert "nan" not in result.table()


def test_run_lengths_and_arrays_are_the_same_masks():
    images = list(world(3, crowd=0.2))
    as_runs = [
        (
            TrueObjects(true.labels, None, [encode(mask) for mask in true.masks], true.crowd),
            DetectedObjects(detected.labels, detected.scores, None, [encode(mask) for mask in detected.masks]),
        )
        for true, detected in images
    ]
    np.testing.assert_array_equal(evaluated(images, "masks").precision, evaluated(as_runs, "masks").precision)


def test_merged_evaluations_are_one():
    images = list(world(4, scores=3))
    first, second = AveragePrecision(CLASSES), AveragePrecision(CLASSES)
    for evaluation, part in ((first, images[:3]), (second, images[3:])):
        for true, detected in part:
            evaluation.add(true, detected)
    first.merge(second)
    np.testing.assert_array_equal(first.result().precision, evaluated(images, "boxes").precision)
    with pytest.raises(OptionError, match="same classes and kind"):
        first.merge(AveragePrecision(CLASSES, "masks"))


def test_no_mask_is_kept():
    """An image leaves some bytes a detection behind: 4 areas by 10 thresholds, twice."""
    evaluation = AveragePrecision(CLASSES, "masks")
    for true, detected in world(5):
        evaluation.add(true, detected)
    kept = [outcome for outcomes in evaluation._outcomes for outcome in outcomes]
    held = sum(array.nbytes for outcome in kept for array in outcome)
    found = sum(len(outcome.scores) for outcome in kept)
    assert found > 10 and held <= found * 88 + len(kept) * 32


def test_table_has_a_line_for_each_class_and_the_mean():
    result = evaluated(list(world(0)), "boxes")
    lines = result.table().splitlines()
    assert [line.split()[0] for line in lines] == ["boxes", lines[1], "cell", "speck", "never", lines[1], "mean"]
    assert lines[0].split()[1:4] == ["AP", "AP50", "AP75"] and lines[-1].split()[1] == f"{result.ap:.4f}"
    assert len({len(line) for line in lines}) == 1 and len(lines[0]) <= 120


BOX = [[0.0, 0.0, 4.0, 4.0]]
WRONG = {
    "label of the background": (lambda: result_of((one(BOX, labels=[0]), one([], scores=[]))), LabelError, "label 0"),
    "label beyond": (lambda: result_of((one([]), one(BOX, labels=[4], scores=[1]))), LabelError, "label 4, outside 1"),
    "labels of float": (lambda: one(BOX, labels=[1.0]), DtypeError, "integers"),
    "scores missing": (lambda: one(BOX, scores=[]), ShapeError, r"scores of detected objects must have shape \(1,\)"),
    "NaN score": (lambda: one(BOX, scores=[np.nan]), BoxError, "finite"),
    "NaN box": (lambda: one([[0, np.nan, 4, 4]]), BoxError, "finite"),
    "width and height": (lambda: one([[5, 5, 3, 3]]), BoxError, "must be converted"),
    "boxes of five": (lambda: TrueObjects(np.ones(1, int), np.zeros((1, 5))), ShapeError, r"\(1, 4\)"),
    "masks of float": (lambda: one(BOX, masks=np.ones((1, 4, 4))), DtypeError, "masks > 0.5"),
    "masks too many": (lambda: one(BOX, masks=np.ones((2, 4, 4), bool)), ShapeError, r"\(2, 4, 4\)"),
    "crowd too many": (lambda: one(BOX, crowd=np.ones(2, bool)), ShapeError, "crowd of true objects"),
    "kind": (lambda: AveragePrecision(CLASSES, "bbox"), OptionError, "'boxes' or 'masks'"),
    "background alone": (lambda: AveragePrecision(["ground"]), OptionError, "background"),
    "no masks": (lambda: AveragePrecision(CLASSES, "masks").add(one(BOX), one(BOX, scores=[1])), OptionError, "masks"),
    "threshold": (lambda: result_of().average_precision(0.52), OptionError, "0.52"),
    "area": (lambda: result_of().average_recall(area="tiny"), OptionError, "all, small, medium, large; got 'tiny'"),
}


@pytest.mark.parametrize("name", sorted(WRONG))
def test_what_does_not_fit_is_told(name):
    call, error, told = WRONG[name]
    with pytest.raises(error, match=told):
        call()


def test_a_wrong_image_counts_for_nothing():
    evaluation = AveragePrecision(CLASSES)
    with pytest.raises(LabelError):
        evaluation.add(one([*BOX, *BOX], labels=[1, 9]), one([], scores=[]))
    assert evaluation.result().objects.sum() == 0


@pytest.mark.parametrize("dtype", ["uint8", "int32", "float16", "float32"])
def test_scores_of_any_type(dtype):
    true, detected = one([[0, 0, 10, 10]]), one([[0, 0, 10, 10], [50, 50, 60, 60]], scores=[3, 1])
    given = DetectedObjects(detected.labels, detected.scores.astype(dtype), detected.boxes)
    assert result_of((true, given)).ap == 1
