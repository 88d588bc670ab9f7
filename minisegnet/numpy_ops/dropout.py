"""Dropout, its mask from Philox4x32-10: random numbers that are a function of seed and element, in no order."""

import numpy as np

# Salmon et al. 2011, table 2: the multipliers, and the steps of the key from round to round.
MULTIPLIERS = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
KEY_STEPS = 0x9E3779B9, 0xBB67AE85
ROUNDS = 10
WORD = np.uint64(0xFFFFFFFF)
WORD_BITS = np.uint64(32)


def dropout_forward(x, p=0.5, seed=0):
    kept = (philox(seed, x.size) >= p * 2**32).reshape(x.shape)
    scale = x.dtype.type(1 / (1 - p) if p < 1 else 0)
    return _scaled(x, kept, scale), (kept, scale)


def dropout_backward(dy, saved):
    return _scaled(dy, *saved)


def _scaled(x, kept, scale):
    return np.asarray(np.where(kept, x * scale, x.dtype.type(0)), order="C")


def philox(seed, count):
    """The first `count` words of Philox4x32-10 (uint32): word i is word i % 4 of counter i // 4."""
    counter = np.arange(-(-count // 4), dtype=np.uint64)
    zeros = np.zeros_like(counter)
    words = philox_rounds([counter & WORD, counter >> WORD_BITS, zeros, zeros], seed)
    return np.stack(words, axis=1).astype(np.uint32).ravel()[:count]


def philox_rounds(counter, seed):
    """Four arrays of 32-bit words (held in uint64) through ten rounds under a 64-bit key."""
    a, b, c, d = counter
    key = [int(seed) & 0xFFFFFFFF, int(seed) >> 32]
    for _ in range(ROUNDS):
        product_a, product_c = MULTIPLIERS[0] * a, MULTIPLIERS[1] * c
        a = (product_c >> WORD_BITS) ^ b ^ np.uint64(key[0])
        c = (product_a >> WORD_BITS) ^ d ^ np.uint64(key[1])
        b, d = product_c & WORD, product_a & WORD
        key = [(k + step) & 0xFFFFFFFF for k, step in zip(key, KEY_STEPS, strict=True)]
    return a, b, c, d
