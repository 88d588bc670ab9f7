"""Philox4x32-10 against its authors' known answers, and the dropout mask made of it."""

import numpy as np
import pytest
from conftest import computed_in

import minisegnet
from minisegnet import functional, numpy_ops, reference
from minisegnet.numpy_ops.dropout import philox_rounds
from minisegnet.reference.dropout import philox4x32

# Random123, tests/kat_vectors: counter, key and the four words that come out.
KNOWN_ANSWERS = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
]
SEEDS = [0, 1, 2**32 - 1, 2**32, 2**63 + 12345, 2**64 - 1]


def words(text):
    return [int(word, 16) for word in text.split()]


@pytest.mark.parametrize("counter, key, answer", KNOWN_ANSWERS)
def test_reference_gives_the_known_answers(counter, key, answer):
    assert philox4x32(words(counter), words(key)) == words(answer)


@pytest.mark.parametrize("counter, key, answer", KNOWN_ANSWERS)
def test_numpy_gives_the_known_answers(counter, key, answer):
    low, high = words(key)
    drawn = philox_rounds([np.array([word], np.uint64) for word in words(counter)], low + 2**32 * high)
    assert [int(word[0]) for word in drawn] == words(answer)


@pytest.mark.parametrize("module", [reference, numpy_ops])
def test_the_stream_begins_with_the_known_answer(module):
    drawn = module.dropout.philox(0, 6)
    assert drawn.dtype == np.uint32
    assert drawn[:4].tolist() == words(KNOWN_ANSWERS[0][2])
    assert drawn[4:].tolist() == philox4x32((1, 0, 0, 0), (0, 0))[:2], "word 4 comes from counter 1"


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("count", [0, 1, 3, 4, 5, 402])
def test_both_streams_are_the_same(seed, count):
    one, other = (module.dropout.philox(seed, count) for module in (reference, numpy_ops))
    assert one.shape == other.shape == (count,) and (one == other).all()


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("p", [0, 0.1, 1 / 3, 0.5, 0.9, 1])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_backend_drops_the_same_bit_for_bit(backend, seed, p, dtype):
    dtype = computed_in(dtype)
    x = np.random.default_rng(0).standard_normal((2, 3, 3, 5)).astype(dtype)
    dy = np.random.default_rng(1).standard_normal((2, 3, 3, 5)).astype(dtype)
    y, cache = backend.dropout_forward(x, p, seed)
    dx = backend.dropout_backward(dy, cache)
    with minisegnet.backend("reference"):
        wanted, cache = functional.dropout_forward(x, p, seed)
        wanted_dx = functional.dropout_backward(dy, cache)
    assert np.array_equal(y, wanted) and np.array_equal(dx, wanted_dx)


@pytest.mark.parametrize("p", [0.05, 0.5, 0.8])
@pytest.mark.parametrize("seed", [0, 1, 12345])
def test_the_share_of_zeros_and_the_mean_are_as_promised(p, seed):
    """Within five standard deviations, on 100 000 ones."""
    count = 100_000
    y, _ = functional.dropout_forward(np.ones(count), p, seed)
    deviation = np.sqrt(p * (1 - p) / count)
    assert abs((y == 0).mean() - p) < 5 * deviation
    assert abs(y.mean() - 1) < 5 * deviation / (1 - p)
    assert set(np.unique(y)) == {0, 1 / (1 - p)}


def test_masks_of_neighbouring_seeds_and_elements_are_independent():
    masks = np.array([functional.dropout_forward(np.ones(50_000), 0.5, seed)[0] > 0 for seed in range(8)])
    assert np.abs(np.corrcoef(masks) - np.eye(8)).max() < 5 / np.sqrt(50_000)
    for distance in (1, 2, 3, 4, 8, 64):
        correlation = np.corrcoef(masks[0, :-distance], masks[0, distance:])[0, 1]
        assert abs(correlation) < 5 / np.sqrt(50_000), f"elements {distance} apart"


def test_the_mask_is_a_function_of_the_logical_index(backend):
    """Not of strides, nor of shape."""
    x = np.ones((2, 3, 4, 5))
    y, _ = backend.dropout_forward(x, 0.5, 9)
    assert (backend.dropout_forward(np.asfortranarray(x), 0.5, 9)[0] == y).all()
    assert (backend.dropout_forward(x.ravel(), 0.5, 9)[0] == y.ravel()).all()


def test_p_0_changes_nothing_and_p_1_leaves_nothing(backend):
    x = np.random.default_rng(0).standard_normal((3, 4)).astype(computed_in("float64"))
    y, cache = backend.dropout_forward(x, 0.0, 5)
    assert (y == x).all() and (backend.dropout_backward(x, cache) == x).all()
    y, cache = backend.dropout_forward(x, 1.0, 5)
    assert (y == 0).all() and (backend.dropout_backward(x, cache) == 0).all()


@pytest.mark.parametrize("kind", [np.int64, np.uint64, np.uint8])
def test_a_seed_may_be_of_any_integer_type(backend, kind):
    x = np.ones(20)
    assert (backend.dropout_forward(x, 0.5, kind(77))[0] == backend.dropout_forward(x, 0.5, 77)[0]).all()
