"""ReLU, sigmoid and softmax: the functions between the layers."""

import numpy as np


def relu_forward(x):
    y = np.zeros(x.shape, x.dtype)
    for place in np.ndindex(x.shape):
        if x[place] > 0 or np.isnan(x[place]):
            y[place] = x[place]
    return y, x


def relu_backward(dy, x):
    dx = np.zeros(x.shape, x.dtype)
    for place in np.ndindex(x.shape):
        if x[place] > 0:
            dx[place] = dy[place]
    return dx


def sigmoid_forward(x):
    y = np.zeros(x.shape, x.dtype)
    for place in np.ndindex(x.shape):
        y[place] = sigmoid(x[place])
    return y, y


def sigmoid_backward(dy, y):
    dx = np.zeros(y.shape, y.dtype)
    for place in np.ndindex(y.shape):
        dx[place] = dy[place] * y[place] * (1 - y[place])
    return dx


def softmax_forward(x, dim=1):
    y = np.zeros(x.shape, x.dtype)
    scores, probabilities = np.moveaxis(x, dim, -1), np.moveaxis(y, dim, -1)  # views, the dimension last
    for place in np.ndindex(scores.shape[:-1]):
        probabilities[place] = softmax(scores[place])
    return y, (y, dim)


def softmax_backward(dy, saved):
    y, dim = saved
    dx = np.zeros(y.shape, y.dtype)
    p, dp, dscores = (np.moveaxis(array, dim, -1) for array in (y, dy, dx))
    for place in np.ndindex(p.shape[:-1]):
        dscores[place] = through_softmax(dp[place], p[place])
    return dx


def sigmoid(value):
    """1 / (1 + exp(-value)) of one number, with exp of nothing above 0, which could overflow."""
    small = np.exp(-abs(value))
    return 1 / (1 + small) if value >= 0 else small / (1 + small)


def softmax(scores):
    """Probabilities of one vector of scores; the largest is taken off first, so that exp cannot overflow."""
    exponentials = np.exp(scores - scores.max(initial=-np.inf))
    return exponentials / exponentials.sum()


def through_softmax(dp, p):
    """Gradient by the scores, of one vector: a score raises its own p and lowers all in proportion."""
    return p * (dp - (dp * p).sum())
