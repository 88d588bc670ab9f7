"""A bank of wrong backward passes, as students write them, with the arrays and the words that a check must name."""

from collections.abc import Callable
from dataclasses import dataclass

from minisegnet import functional as F
from minisegnet.teaching import check_operation


@dataclass(frozen=True)
class WrongAnswer:
    """`check(rng, seed)` returns the report, which must call exactly `arrays` wrong and hold `words`."""

    name: str
    check: Callable
    arrays: tuple[str, ...]
    words: str = ""


BANK: list[WrongAnswer] = []


def wrong(name, arrays=(), words=""):
    """Put a check into the bank."""
    arrays = (arrays,) if isinstance(arrays, str) else tuple(arrays)

    def add(check):
        BANK.append(WrongAnswer(name, check, arrays, words))
        return check

    return add


def bent(operation, change, *inputs, **options):
    """A bank entry's check: the operation with the list of its gradients changed by `change(gradients, dy)`.

    inputs   functions of the generator, or what else the operation takes
    """
    forward, backward = getattr(F, f"{operation}_forward"), getattr(F, f"{operation}_backward")

    def wrong_backward(dy, cache):
        gradients = backward(dy, cache)
        several = list(gradients) if isinstance(gradients, tuple | list) else [gradients]
        several = change(several, dy) or several
        return tuple(several) if len(several) > 1 else several[0]

    def check(rng, seed):
        drawn = [drawn_input(rng) if callable(drawn_input) else drawn_input for drawn_input in inputs]
        return check_operation(forward, wrong_backward, *drawn, upstream_seed=seed, **options)

    return check


def own(forward, backward, *inputs, **options):
    """A bank entry's check of a pair of its own."""

    def check(rng, seed):
        drawn = [drawn_input(rng) if callable(drawn_input) else drawn_input for drawn_input in inputs]
        return check_operation(forward, backward, *drawn, upstream_seed=seed, **options)

    return check


def normal(*shape):
    return lambda rng: rng.standard_normal(shape)


def labels(*shape, classes=3):
    return lambda rng: rng.integers(0, classes, shape)


IMAGE = normal(2, 3, 5, 6)
CONV = (IMAGE, normal(4, 3, 3, 3), normal(4))
