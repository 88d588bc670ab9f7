"""The foreground-restricted Rand score of the ISBI 2012 challenge: are pixels of one cell found to be one segment?"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from minisegnet import checks
from minisegnet.errors import DtypeError, OptionError, ShapeError

# The challenge took the best of many thresholds; steps of 0.05 lose less than the third decimal.
THRESHOLDS = tuple(round(0.05 * i, 2) for i in range(1, 20))


class RandScore(NamedTuple):
    """The Rand score and its two halves, each 0 to 1 with 1 for perfect agreement; nan without true foreground.

    score  V_Rand  the harmonic mean of the two halves; "Rand error" in papers is 1 - score
    split  V_split  of the pairs of pixels that lie in one true segment, the share predicted together (few splits)
    merge  V_merge  of the pairs of pixels predicted together, the share that lies in one true segment (few mergers)
    """

    score: float
    split: float
    merge: float


def rand_score(prediction: np.ndarray, truth: np.ndarray) -> RandScore:
    """Compare two segmentations over the truth's foreground, as the ISBI 2012 challenge did.

        V_Rand = sum p_ij^2 / (sum s_i^2 / 2 + sum t_j^2 / 2)     V_split = sum p_ij^2 / sum t_j^2
                                                                  V_merge = sum p_ij^2 / sum s_i^2

    where p_ij counts the foreground pixels in predicted segment i and true segment j, s_i = sum over j of p_ij and
    t_j = sum over i of p_ij: pairs of pixels drawn with replacement. Two rules decide about borders:

    - pixels that the truth calls border (segment 0) are left out: that is the restriction to the foreground;
    - a foreground pixel that the prediction calls border is a segment of its own, of one pixel. So a thick predicted
      border costs a little, and shifting pixels from a segment to its border never merges anything. This is what the
      challenge's own program does (Fiji's RandError, and SNEMI3D's after it), while scikit-image's
      adapted_rand_error takes all such pixels for one large segment.

    Borders are not thinned first (that came with the challenge's second leaderboard).

    prediction, truth  int (H, W), or (slices, H, W) for a stack; 0 is border. In a stack a segment is within its
                       slice (equal numbers in two slices are two segments), and the sums run over all slices.

    Raises DtypeError or ShapeError for other arrays.
    Source: Arganda-Carreras et al. 2015, "Crowdsourcing the creation of image segmentation algorithms for
    connectomics", Frontiers in Neuroanatomy 9:142.
    """
    checks.integers("prediction", prediction)
    checks.integers("truth", truth)
    _check_stack("prediction", prediction, truth)
    height, width = truth.shape[-2:]
    both = predicted = true = 0.0
    for prediction_slice, truth_slice in zip(
        prediction.reshape(-1, height, width), truth.reshape(-1, height, width), strict=True
    ):
        foreground = truth_slice != 0
        s, t = prediction_slice[foreground], truth_slice[foreground]
        found = s != 0
        singletons = s.size - int(found.sum())
        both += _squares_of_sizes(_intersections(s[found], t[found])) + singletons
        predicted += _squares_of_sizes(s[found]) + singletons
        true += _squares_of_sizes(t)
    if true == 0:
        return RandScore(float("nan"), float("nan"), float("nan"))
    return RandScore(score=both / (0.5 * predicted + 0.5 * true), split=both / true, merge=both / predicted)


def connected_segments(interior: np.ndarray) -> np.ndarray:
    """Number the connected regions of the interior, pixels being neighbours along rows and columns (not diagonally).

    interior  bool (H, W) or (slices, H, W); regions do not reach from one slice to the next

    Returns int32 of the same shape: 0 outside, 1, 2, ... inside, counted through the stack.
    """
    from scipy import ndimage

    neighbours = ndimage.generate_binary_structure(interior.ndim, 1)
    if interior.ndim == 3:
        neighbours[0] = neighbours[2] = False
    return ndimage.label(interior, neighbours, output=np.int32)[0]


def interior_rand_score(probability: np.ndarray, interior: np.ndarray, threshold: float = 0.5) -> RandScore:
    """`rand_score` of the segments found where the interior's probability is above a threshold.

    probability  float (H, W) or (slices, H, W): of a pixel being inside a cell
    interior     bool, same shape: the truth, whose segments are its connected regions
    """
    _check_interior(probability, interior)
    return rand_score(connected_segments(probability > threshold), connected_segments(interior))


def best_rand_score(
    probability: np.ndarray, interior: np.ndarray, thresholds: Iterable[float] = THRESHOLDS
) -> tuple[RandScore, float]:
    """The best `interior_rand_score` over thresholds, and the (first) threshold that reaches it.

    Choose the threshold on validation images and report that one's score: the best over the reported images
    themselves, which the challenge's table shows, flatters.

    Raises OptionError for no thresholds.
    """
    _check_interior(probability, interior)
    thresholds = list(thresholds)
    if not thresholds:
        raise OptionError("best_rand_score needs at least one threshold")
    truth = connected_segments(interior)
    scores = [rand_score(connected_segments(probability > threshold), truth) for threshold in thresholds]
    best = int(np.argmax([score.score for score in scores]))
    return scores[best], thresholds[best]


def pixel_error(probability: np.ndarray, interior: np.ndarray, threshold: float = 0.5) -> float:
    """The share of pixels on the wrong side of the threshold: 1 - pixel accuracy; nan for no pixels.

    probability  float, of a pixel being inside a cell
    interior     bool, same shape
    """
    _check_interior(probability, interior)
    if interior.size == 0:
        return float("nan")
    return float(np.mean((probability > threshold) != interior))


def _squares_of_sizes(segments: np.ndarray) -> float:
    """The sum over segments of their squared number of pixels."""
    _, sizes = np.unique(segments, return_counts=True)
    return float((sizes.astype(np.float64) ** 2).sum())


def _intersections(s: np.ndarray, t: np.ndarray) -> np.ndarray:
    """The segments that two segmentations of the same pixels cut each other into."""
    _, s = np.unique(s, return_inverse=True)
    t_names, t = np.unique(t, return_inverse=True)
    return s * t_names.size + t


def _check_interior(probability: np.ndarray, interior: np.ndarray) -> None:
    checks.floats(probability=probability)
    if not isinstance(interior, np.ndarray) or interior.dtype.kind != "b":
        given = getattr(interior, "dtype", type(interior).__name__)
        raise DtypeError(f"interior must be a bool array, True inside cells; got {given}; use labels == a class")
    _check_stack("probability", probability, interior)


def _check_stack(name: str, array: np.ndarray, truth: np.ndarray) -> None:
    if array.shape != truth.shape or truth.ndim not in (2, 3):
        raise ShapeError(
            f"{name} and truth must have one shape, (H, W) or (slices, H, W); got {array.shape} and {truth.shape}"
        )
