"""The optimisers' updates of one parameter, in place: see `minisegnet.training.optimisers` for what they compute."""

from minisegnet.cuda.arrays import float32_arrays
from minisegnet.cuda.grids import four_each


def sgd_step(w, gradient, velocity, lr, momentum=0.0, weight_decay=0.0, nesterov=False):
    """Change w and velocity, float32 and C-contiguous as the gradient is, by a step of SGD."""
    float32_arrays("SGD", weights=w)
    options = lr, momentum, weight_decay, bool(nesterov), w.size
    four_each("sgd.cu", "sgd_step", w.size, w, gradient, velocity, *options)


def adam_step(w, gradient, mean, square, steps, lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, decoupled=False):
    """Change w, mean and square, float32 and C-contiguous as the gradient is, by step number `steps` (from 1) of Adam.

    decoupled   weight decay shrinks the weights themselves (AdamW), and stays out of mean and square
    """
    float32_arrays("Adam", weights=w)
    beta1, beta2 = betas
    rate, root = lr / (1 - beta1**steps), (1 - beta2**steps) ** 0.5
    decay, keep = (0.0, 1 - lr * weight_decay) if decoupled else (weight_decay, 1.0)
    options = rate, root, 1 - beta1, beta2, 1 - beta2, eps, decay, keep, w.size
    four_each("adam.cu", "adam_step", w.size, w, gradient, mean, square, *options)
