"""The formulas of the built-in rules, as papers write them.

Each is ``f(p, *state, g, *, scalars) -> (p, *state)``, like a rule of the user's; the
ranges of its scalars are in `gdopt.optim.classes`, next to its class.
"""

import numpy as np


def sgd(p, g, *, lr):
    """Robbins & Monro 1951."""
    return p - lr * g


def momentum(p, v, g, *, lr, beta):
    """Ng, Deep Learning Specialization, course 2, week 2."""
    v = beta * v + (1 - beta) * g
    return p - lr * v, v


def momentum_corrected(p, v, g, *, lr, beta, t):
    """The same without bias, the correction folded into the rate."""
    v = beta * v + (1 - beta) * g
    return p - lr / (1 - beta**t) * v, v


def heavy_ball(p, v, g, *, lr, beta):
    """Polyak 1964, as torch and optax have it."""
    v = beta * v + g
    return p - lr * v, v


def keras_momentum(p, v, g, *, lr, beta):
    """The rate inside the velocity, as Keras and chainer have it."""
    v = beta * v - lr * g
    return p + v, v


def nesterov(p, v, g, *, lr, beta):
    """Sutskever et al. 2013, with the parameters shifted to where g is taken."""
    v = beta * v + g
    return p - lr * (g + beta * v), v


def rmsprop(p, v, g, *, lr, beta, eps):
    """Tieleman & Hinton 2012, lecture 6.5."""
    v = beta * v + (1 - beta) * (g * g)
    return p - lr * g / (np.sqrt(v) + eps), v


def rmsprop_inside(p, v, g, *, lr, beta, eps):
    """The same with epsilon inside the root."""
    v = beta * v + (1 - beta) * (g * g)
    return p - lr * g / np.sqrt(v + eps), v


def adam(p, m, v, g, *, lr, beta1, beta2, eps, t):
    """Kingma & Ba 2015, algorithm 1, both corrections folded into the rate."""
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * (g * g)
    correction = (1 - beta2**t) ** 0.5
    root = np.sqrt(v) + eps * correction
    return p - lr * correction / (1 - beta1**t) * m / root, m, v


def adam_raw(p, m, v, g, *, lr, beta1, beta2, eps, t):
    """Kingma & Ba 2015, end of section 2: epsilon next to the uncorrected root."""
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * (g * g)
    correction = (1 - beta2**t) ** 0.5
    return p - lr * correction / (1 - beta1**t) * m / (np.sqrt(v) + eps), m, v


def adam_inside(p, m, v, g, *, lr, beta1, beta2, eps, t):
    """Algorithm 1 with epsilon inside the root."""
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * (g * g)
    correction = (1 - beta2**t) ** 0.5
    root = np.sqrt(v + eps * (correction * correction))
    return p - lr * correction / (1 - beta1**t) * m / root, m, v


def adam_uncorrected(p, m, v, g, *, lr, beta1, beta2, eps, t):
    """Algorithm 1 with m and v in place of their corrected values."""
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * (g * g)
    return p - lr * m / (np.sqrt(v) + eps), m, v


def adam_inside_uncorrected(p, m, v, g, *, lr, beta1, beta2, eps, t):
    """The same with epsilon inside the root."""
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * (g * g)
    return p - lr * m / np.sqrt(v + eps), m, v


def decoupled(adam):
    """Loshchilov & Hutter 2019, algorithm 2: AdamW, for any form of Adam."""

    def adamw(p, m, v, g, *, lr, beta1, beta2, eps, weight_decay, t):
        p = (1 - lr * weight_decay) * p
        return adam(p, m, v, g, lr=lr, beta1=beta1, beta2=beta2, eps=eps, t=t)

    adamw.__name__ = adam.__name__.replace("adam", "adamw")
    return adamw
