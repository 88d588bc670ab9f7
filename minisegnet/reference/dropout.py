"""Dropout, with the random numbers of Philox4x32-10 (Salmon et al. 2011), which any backend can draw alike."""

import numpy as np


def dropout_forward(x, p=0.5, seed=0):
    scale = x.dtype.type(1 / (1 - p)) if p < 1 else x.dtype.type(0)
    words = philox(seed, x.size)
    keep = np.zeros(x.shape, bool)
    y = np.zeros(x.shape, x.dtype)
    for i, place in enumerate(np.ndindex(x.shape)):
        keep[place] = int(words[i]) >= p * 2**32
        if keep[place]:
            y[place] = x[place] * scale
    return y, (keep, scale)


def dropout_backward(dy, saved):
    keep, scale = saved
    dx = np.zeros(dy.shape, dy.dtype)
    for place in np.ndindex(dy.shape):
        if keep[place]:
            dx[place] = dy[place] * scale
    return dx


def philox(seed, count):
    """The first `count` random words, uint32, of the stream that a seed (0 to 2**64 - 1) names."""
    seed = int(seed)
    words = []
    for block in range(-(-count // 4)):
        words += philox4x32((block % 2**32, block // 2**32, 0, 0), (seed % 2**32, seed // 2**32))
    return np.array(words[:count], np.uint32)


def philox4x32(counter, key):
    """Ten rounds of multiplying and mixing turn a counter of four 32-bit words into four random ones."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        high0, low0 = divmod(0xD2511F53 * c0, 2**32)
        high1, low1 = divmod(0xCD9E8D57 * c2, 2**32)
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
        k0 = (k0 + 0x9E3779B9) % 2**32  # the key moves on by the golden ratio
        k1 = (k1 + 0xBB67AE85) % 2**32  # and by the square root of 3
    return [c0, c1, c2, c3]
