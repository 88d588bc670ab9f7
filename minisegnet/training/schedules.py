"""Schedules: the learning rate as a function of the step alone, so that a resumed run needs no state for it.

A step is counted from 0: `schedule(step)` is the rate of the update that is about to be made. Every schedule raises
OptionError for a negative step or a value outside its range.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from minisegnet import checks
from minisegnet.errors import OptionError

Schedule = Callable[[int], float]


@dataclass(frozen=True)
class Constant:
    """lr at every step."""

    lr: float

    def __post_init__(self) -> None:
        checks.not_negative("Constant", lr=self.lr)

    def __call__(self, step: int) -> float:
        _check_step(step)
        return self.lr


@dataclass(frozen=True)
class Poly:
    """lr (1 - step / steps)^power: from lr down to 0 at `steps`, and 0 after it.

    Source: Chen et al. 2018, DeepLab, section 4.1.2.
    """

    lr: float
    steps: int
    power: float = 0.9

    def __post_init__(self) -> None:
        checks.not_negative("Poly", lr=self.lr, power=self.power)
        checks.positive("Poly", steps=self.steps)

    def __call__(self, step: int) -> float:
        _check_step(step)
        return self.lr * (1 - step / self.steps) ** self.power if step < self.steps else 0.0


@dataclass(frozen=True)
class Cosine:
    """lr (1 + cos(pi step / steps)) / 2: from lr down to 0 at `steps`, and 0 after it.

    Source: Loshchilov and Hutter 2017, SGDR, equation 5, without restarts.
    """

    lr: float
    steps: int

    def __post_init__(self) -> None:
        checks.not_negative("Cosine", lr=self.lr)
        checks.positive("Cosine", steps=self.steps)

    def __call__(self, step: int) -> float:
        _check_step(step)
        return self.lr * (1 + math.cos(math.pi * min(step, self.steps) / self.steps)) / 2


@dataclass(frozen=True)
class Step:
    """lr gamma^k, where k counts the drops so far.

    every       drop at every so many steps: k = floor(step / every)
    milestones  or at these steps: k = how many of them are at most `step`
    """

    lr: float
    gamma: float = 0.1
    every: int | None = None
    milestones: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        checks.not_negative("Step", lr=self.lr, gamma=self.gamma)
        if (self.every is None) == (self.milestones is None):
            raise OptionError("Step: give either every or milestones, to say when the rate drops")
        if self.every is not None:
            checks.positive("Step", every=self.every)

    def __call__(self, step: int) -> float:
        _check_step(step)
        if self.every is not None:
            return self.lr * self.gamma ** (step // self.every)
        return self.lr * self.gamma ** sum(milestone <= step for milestone in self.milestones or ())


@dataclass(frozen=True)
class WarmUp:
    """then(step) min(1, (step + 1) / steps): another schedule, reached along a ramp over the first `steps` steps.

    The ramp multiplies: `then` goes by the same step numbers as without it, and ends where it would have ended.
    Source: Goyal et al. 2017, "Accurate, large minibatch SGD", section 2.2.
    """

    steps: int
    then: Schedule

    def __post_init__(self) -> None:
        checks.positive("WarmUp", steps=self.steps)

    def __call__(self, step: int) -> float:
        _check_step(step)
        return self.then(step) * min(1, (step + 1) / self.steps)


def _check_step(step: int) -> None:
    if step < 0:
        raise OptionError(f"a step of training is counted from 0; got {step}")
