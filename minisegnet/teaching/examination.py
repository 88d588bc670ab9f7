"""The examination that every gradient check is: what backward says against differences, element by element and along
directions.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import closing
from typing import Any, NamedTuple

import numpy as np

from minisegnet.errors import OptionError, ShapeError
from minisegnet.teaching import hints
from minisegnet.teaching.conduct import Fault, Subject, copies, equal, restore, unfit, watched_backward, watched_forward
from minisegnet.teaching.finite_differences import Comparison, compare
from minisegnet.teaching.gradient_report import ArrayReport, Kink, Report, Slope

FLOOR = 1e-3  # smaller gradients count as this large, or rounding would be called an error
NEARBY = 1e-2  # how far off a point nearby is: far enough to leave kinks behind
OWN_SEED = 20240607  # beside the caller's seed, or dy would be the very numbers that default_rng(seed) gave x
TRIES = 3  # points nearby to look for one without kinks


class Point(NamedTuple):
    """The passes at some values of the arrays."""

    output: np.ndarray  # all outputs, flat, one after another
    upstream: np.ndarray  # likewise
    gradients: dict[str, np.ndarray]


class Look(NamedTuple):
    """The elements of an array that were moved one by one, those on kinks left out."""

    positions: np.ndarray  # in the flat array
    analytic: np.ndarray
    numeric: np.ndarray
    wrong: np.ndarray


def examine(subject: Subject, upstream_seed: int, bound: float, elements: int, directions: int) -> Report:
    """Check every array's gradient.

    upstream_seed  of the upstream gradient, the directions, and the choice of elements in large arrays
    bound          relative error allowed, above 0
    elements       how many elements of an array are moved one by one; of a larger array, so many drawn at random
    directions     random directions through each array, and through all of them together

    Raises ShapeError for arrays without any element, OptionError for values that check nothing or hold NaN.
    """
    if not bound > 0 or min(elements, directions) < 0 or elements + directions == 0:
        raise OptionError(
            f"a gradient check needs a bound above 0 and at least one element or direction; got bound {bound}, "
            f"elements {elements}, directions {directions}"
        )
    if not any(array.size for array in subject.arrays.values()):
        raise ShapeError(f"{subject.title}: there is no float array with elements to check; give larger inputs")
    for name, array in subject.watched.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise OptionError(f"{subject.title}: {name} holds NaN or infinity, where no slope is; give finite numbers")
    report = Report(subject.title, upstream_seed, bound)
    with np.errstate(all="ignore"):  # a step may leave the function's domain; NaN agrees with nothing
        try:
            Examination(subject, report, elements, directions).run()
        except Fault as fault:
            report.faults.append(str(fault))
    return report


class Examination:
    """One run of `examine`, writing its report."""

    def __init__(self, subject: Subject, report: Report, elements: int, directions: int) -> None:
        self.subject, self.report = subject, report
        self.elements, self.directions = elements, directions
        self.rng = np.random.default_rng([OWN_SEED, report.upstream_seed])

    def run(self) -> None:
        outputs = watched_forward(self.subject)
        self.shapes = [output.shape for output in outputs]
        upstream = draw_upstream(self.rng, sum(output.size for output in outputs))
        gradients, self.report.faults = watched_backward(self.subject, self._split(upstream))
        for name, array in self.subject.arrays.items():
            fault = unfit(gradients[name], array, self.subject.batch)
            self.report.arrays.append(ArrayReport(name, array.shape, fault=fault, wrong=bool(fault)))
        fit = {found.name: np.asarray(gradients[found.name]) for found in self.report.arrays if not found.fault}
        here = Point(flat(outputs), upstream, fit)
        filled = [found for found in self.report.arrays if not found.fault and fit[found.name].size]
        looks = {found.name: self._look(found, here) for found in filled}
        if self.report.ok and len(fit) > 1 and self.directions:
            self._look_at_all(here)
        self._explain(here, looks)
        if self.report.ok:
            self.report.hints += self.subject.remarks(self._split(upstream))

    def _split(self, upstream: np.ndarray) -> list[np.ndarray]:
        """A fresh copy of the upstream gradient for each output."""
        ends = np.cumsum([int(np.prod(shape)) for shape in self.shapes])
        parts = np.split(upstream, ends[:-1])
        return [part.reshape(shape).copy() for part, shape in zip(parts, self.shapes, strict=True)]

    def _point(self, upstream: np.ndarray) -> Point:
        """The passes at the present values."""
        outputs, cache = self.subject.forward()
        output = flat(outputs)
        gradients = self.subject.backward(self._split(upstream), cache)
        fit = {name: np.array(gradient) for name, gradient in gradients.items() if gradient is not None}
        return Point(output, upstream, fit)

    # ------------------------------------------------------------------------------------------ element by element

    def _look(self, found: ArrayReport, here: Point) -> Look:
        """Check one array."""
        size = self.subject.arrays[found.name].size
        chosen = np.arange(size)
        if size > self.elements:
            chosen = np.sort(self.rng.choice(size, self.elements, replace=False))
        found.checked = len(chosen)
        kept: list[tuple[int, Comparison]] = []
        for position in chosen.tolist():
            comparison = self._settled_element(found, position, here)
            if comparison.verdict != "kink":
                kept.append((position, comparison))
                found.wrong |= comparison.verdict == "wrong"
            if comparison.sides is not None:
                kink = Kink(found.name, at(position, found.shape), comparison.analytic, *comparison.sides)
                if comparison.verdict == "kink":
                    found.kinks.append(kink)
                elif not found.hints:
                    found.hints.append(f"{kink}, which is none of them")
        look = Look(
            np.array([position for position, _ in kept], int),
            np.array([comparison.analytic for _, comparison in kept]),
            np.array([comparison.numeric for _, comparison in kept]),
            np.array([comparison.verdict == "wrong" for _, comparison in kept], bool),
        )
        self._note_elements(found, look)
        for number in range(0 if found.wrong else self.directions):
            self._look_along(found, [found.name], number == 0, here)
        return look

    def _settled_element(self, found: ArrayReport, position: int, here: Point) -> Comparison:
        """The comparison for one element; of a network, where even the smallest step may cross a kink, a wrong one only
        if it is wrong nearby too.
        """
        doubtful = self.subject.several_kinks and not found.wrong
        with closing(self._points(here)) as points:
            for point, last in points:
                comparison = self._element(found.name, at(position, found.shape), point)
                if comparison.verdict != "wrong" or last or not doubtful:
                    break
        return comparison

    def _element(self, name: str, index: tuple[int, ...], point: Point) -> Comparison:
        """The comparison for one element."""
        array, gradient = self.subject.arrays[name], point.gradients[name]
        scale = max(1.0, abs(float(array[index])))  # a step relative to large values
        tolerance = self.report.bound * max(np.abs(gradient).max(), FLOOR) * scale
        line, analytic = self._line([(array, index, scale)]), float(gradient[index]) * scale
        found = compare(line, point.output, point.upstream, analytic, tolerance, self.subject.several_kinks)
        sides = None if found.sides is None else (found.sides[0] / scale, found.sides[1] / scale)
        return Comparison(found.verdict, found.analytic / scale, found.numeric / scale, sides)

    def _note_elements(self, found: ArrayReport, look: Look) -> None:
        if not look.positions.size:
            return
        largest = max(np.abs(look.analytic).max(), np.nan_to_num(np.abs(look.numeric), posinf=0).max(), FLOOR)
        errors = np.nan_to_num(np.abs(look.analytic - look.numeric) / largest, nan=np.inf)
        worst = int(np.argmax(np.where(look.wrong, errors, -1) if found.wrong else errors))
        slopes = float(look.analytic[worst]), float(look.numeric[worst])
        found.error = float(errors[worst])
        found.worst = Slope(found.name, at(int(look.positions[worst]), found.shape), *slopes, found.error)

    # -------------------------------------------------------------------------------------------- along directions

    def _look_along(self, found: ArrayReport, names: list[str], alike: bool, here: Point) -> None:
        """Check along a random direction through the named arrays; nearby, where there are kinks on it here."""
        moves = self._draw_moves(names, alike)
        with closing(self._points(here)) as points:
            for point, last in points:
                comparison, size = self._slope(moves, point)
                doubtful = comparison.verdict == "kink" or self.subject.several_kinks
                if comparison.verdict == "right" or last or not doubtful:
                    self._note_slope(found, moves, comparison, size, point)
                    break
                moves = self._draw_moves(names)

    def _points(self, here: Point) -> Generator[tuple[Point, bool], None, None]:
        """The point here, then some nearby with the arrays moved there, each with whether it is the last."""
        yield here, False
        arrays = self.subject.arrays
        before = copies(arrays)
        for number in range(1, TRIES + 1):
            for name, move in self._draw_moves(list(arrays)).items():
                arrays[name] += NEARBY * move
            try:
                yield self._point(here.upstream), number == TRIES
            finally:
                restore(arrays, before)

    def _slope(self, moves: dict[str, np.ndarray], point: Point) -> tuple[Comparison, float]:
        """The comparison along the moves, and how large the slope along a random direction usually is."""
        arrays = self.subject.arrays
        scales = {name: np.maximum(1, np.abs(arrays[name])) for name in moves}
        size = max(
            float(np.sqrt(sum(np.square(scale * point.gradients[name]).sum() for name, scale in scales.items()))),
            float(np.sqrt(sum(np.square(scale * FLOOR).sum() for scale in scales.values()))),
        )
        analytic = float(sum((point.gradients[name] * move).sum() for name, move in moves.items()))
        line = self._line([(arrays[name], ..., move) for name, move in moves.items()])
        several = self.subject.several_kinks
        return compare(line, point.output, point.upstream, analytic, self.report.bound * size, several), size

    def _note_slope(
        self, found: ArrayReport, moves: dict[str, np.ndarray], comparison: Comparison, size: float, point: Point
    ) -> None:
        error = abs(comparison.analytic - comparison.numeric) / max(size, abs(comparison.numeric))
        error = float(np.nan_to_num(error, nan=np.inf))
        slope = Slope(found.name, None, comparison.analytic, comparison.numeric, error)
        if comparison.verdict == "kink":
            self.report.faults.append(f"{found.name}: no point without kinks was found nearby to check it at")
        elif comparison.verdict == "wrong" and not found.wrong:
            found.wrong = True
            found.worst = (self._locate(found.name, moves[found.name], point) if len(moves) == 1 else None) or slope
            found.error = found.worst.error
        elif comparison.verdict == "right" and error > found.error:
            found.worst, found.error = slope, error

    def _locate(self, name: str, move: np.ndarray, point: Point) -> Slope | None:
        """Halve the direction, each time towards the larger disagreement, down to one element."""
        candidates = np.arange(move.size)
        while len(candidates) > 1:
            halves = np.array_split(candidates, 2)
            gaps = []
            for half in halves:
                part = np.zeros(move.size)
                part[half] = move.reshape(-1)[half]
                comparison, _ = self._slope({name: part.reshape(move.shape)}, point)
                gaps.append(0.0 if comparison.verdict == "right" else abs(comparison.analytic - comparison.numeric))
            candidates = halves[int(np.argmax(np.nan_to_num(gaps, nan=np.inf)))]
        comparison = self._element(name, at(int(candidates[0]), move.shape), point)
        if comparison.verdict != "wrong":
            return None
        largest = max(np.abs(point.gradients[name]).max(), abs(comparison.numeric), FLOOR)
        error = float(abs(comparison.analytic - comparison.numeric) / largest)
        return Slope(name, at(int(candidates[0]), move.shape), comparison.analytic, comparison.numeric, error)

    def _look_at_all(self, here: Point) -> None:
        together = ArrayReport("all arrays together", ())
        for number in range(self.directions):
            self._look_along(together, list(here.gradients), number == 0, here)
        if together.wrong:
            self.report.faults.append(f"each array by itself is right, but moving all together {together.worst}")

    def _draw_moves(self, names: list[str], alike: bool = False) -> dict[str, np.ndarray]:
        """Normal numbers in proportion to the values, as an element's steps are.

        alike   equal values move alike, so that ties stay ties: what is no kink then is checked in its midst
        """
        arrays = {name: self.subject.arrays[name] for name in names}
        values = flat(list(arrays.values()))
        moves = self.rng.standard_normal(values.size)
        if alike:
            _, group = np.unique(values, return_inverse=True)
            moves = moves[group.reshape(-1)]
        moves *= np.maximum(1, np.abs(values))
        parts = np.split(moves, np.cumsum([array.size for array in arrays.values()])[:-1])
        return {name: part.reshape(arrays[name].shape) for name, part in zip(arrays, parts, strict=True)}

    def _line(self, moves: list[tuple[np.ndarray, Any, Any]]) -> Callable[[float], np.ndarray]:
        """The flat output as a function of t, where each array (at an index) is its value + t move."""
        starts = [np.array(array[index]) for array, index, _ in moves]

        def along(t: float) -> np.ndarray:
            for (array, index, move), start in zip(moves, starts, strict=True):
                array[index] = start + t * move
            try:
                return flat(self.subject.forward()[0])
            finally:
                for (array, index, _), start in zip(moves, starts, strict=True):
                    array[index] = start

        return along

    # ------------------------------------------------------------------------------------------------------- hints

    def _explain(self, here: Point, looks: dict[str, Look]) -> None:
        """Tell what the mistakes look like."""
        wrong = [found for found in self.report.arrays if found.name in looks and found.wrong]
        ones = self._point(np.ones_like(here.upstream)) if wrong else here
        for found in wrong:
            look, gradient = looks[found.name], here.gradients[found.name]
            others = {name: other.numeric for name, other in looks.items() if name != found.name}
            if not found.hints:
                found.hints += hints.of_elements(*look, found.shape, self.subject.batch, others)
            if not gradient.any() or found.name not in ones.gradients:
                continue
            if equal(ones.gradients[found.name], gradient):
                found.hints.append("backward gives the same for every dy: multiply by the upstream gradient")
            elif self._slope(self._draw_moves([found.name]), ones)[0].verdict == "right":
                found.hints.append("it is right only for a dy of all ones: each output's own dy counts")


def draw_upstream(rng: np.random.Generator, size: int) -> np.ndarray:
    """Normal numbers; a single one keeps away from 0, which hides mistakes, and from 1, which hides its absence."""
    if size == 1:
        return rng.choice([-1.0, 1.0], 1) * rng.uniform(1.5, 3, 1)
    return rng.standard_normal(size)


def at(position: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The index of an element by its position in the flat array."""
    return tuple(int(i) for i in np.unravel_index(position, shape))


def flat(arrays: list[np.ndarray]) -> np.ndarray:
    """All values one after another, copied."""
    return np.concatenate([array.reshape(-1) for array in arrays])
