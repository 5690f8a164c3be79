"""The formulas of the built-in rules, as papers write them.

Each is ``f(p, *state, g, *, scalars) -> (p, *state)``, like a rule of the user's; the
ranges of its scalars are in `gdopt.optim.rule`. Corrections of bias are folded into the
rate, as scalars are computed once a step.
"""

import functools
import inspect

import numpy as np


def sgd(p, g, *, lr):
    """Robbins & Monro 1951."""
    return p - lr * g


def sgd_momentum(p, b, g, *, lr, momentum, dampening, t):
    """As in torch: the first gradient is not dampened."""
    b = momentum * b + np.where(t == 1, 1.0, 1 - dampening) * g
    return p - lr * b, b


def sgd_nesterov(p, b, g, *, lr, momentum):
    """As in torch: `nesterov` by another name."""
    return nesterov(p, b, g, lr=lr, beta=momentum)


def momentum(p, v, g, *, lr, beta):
    """Ng, Deep Learning Specialization, course 2, week 2."""
    v = beta * v + (1 - beta) * g
    return p - lr * v, v


def momentum_corrected(p, v, g, *, lr, beta, t):
    """The same without bias, the correction folded into the rate."""
    v = beta * v + (1 - beta) * g
    return p - lr / (1 - beta**t) * v, v


def heavy_ball(p, v, g, *, lr, beta):
    """Polyak 1964, as in torch and optax."""
    v = beta * v + g
    return p - lr * v, v


def keras_momentum(p, v, g, *, lr, beta):
    """The rate inside the velocity, as in Keras and chainer."""
    v = beta * v - lr * g
    return p + v, v


def nesterov(p, v, g, *, lr, beta):
    """Sutskever et al. 2013, with the parameters shifted to where g is taken."""
    v = beta * v + g
    return p - lr * (g + beta * v), v


def asgd(p, a, g, *, lr, lambd, alpha, t0, t):
    """Polyak & Juditsky 1992, with the rate of Bottou 2010, as in torch."""
    eta = lr / (1 + lambd * lr * (t - 1)) ** alpha
    p = (1 - lambd * eta) * p - eta * g
    return p, a + (p - a) / np.maximum(1.0, t - 1 - t0)


def sign_sgd(p, g, *, lr):
    """Bernstein et al. 2018, algorithm 1."""
    return p - lr * np.sign(g)


def lion(p, m, g, *, lr, beta1, beta2, weight_decay):
    """Chen et al. 2023, algorithm 2."""
    c = beta1 * m + (1 - beta1) * g
    p = (1 - lr * weight_decay) * p - lr * np.sign(c)
    return p, beta2 * m + (1 - beta2) * g


def rprop(p, h, s, g, *, lr, eta_minus, eta_plus, min_step_size, max_step_size, t):
    """Riedmiller & Braun 1993, in the form Rprop- of Igel & Huesken 2000; h is g."""
    turn = g * h
    factor = np.where(turn > 0, eta_plus, np.where(turn < 0, eta_minus, 1.0))
    s = np.clip(np.where(t == 1, lr, s) * factor, min_step_size, max_step_size)
    g = np.where(turn < 0, 0.0, g)
    return p - np.sign(g) * s, g, s


def adagrad(p, v, g, *, lr, eps):
    """Duchi, Hazan & Singer 2011, figure 1, with a diagonal matrix."""
    v = v + g * g
    return p - lr * g / (np.sqrt(v) + eps), v


def adagrad_inside(p, v, g, *, lr, eps):
    """The same with epsilon inside the root."""
    v = v + g * g
    return p - lr * g / np.sqrt(v + eps), v


def adadelta(p, v, u, g, *, lr, rho, eps):
    """Zeiler 2012, algorithm 1; lr multiplies the step."""
    v = rho * v + (1 - rho) * (g * g)
    d = np.sqrt(u + eps) / np.sqrt(v + eps) * g
    return p - lr * d, v, rho * u + (1 - rho) * (d * d)


def ftrl(p, v, z, g, *, lr, l1, l2, l2_shrinkage, beta):
    """McMahan et al. 2013, algorithm 1, as Keras scales l2 and shrinks."""
    before, v = v, v + g * g
    sigma = (np.sqrt(v) - np.sqrt(before)) / lr
    z = z + g + 2 * l2_shrinkage * p - sigma * p
    curvature = (beta + np.sqrt(v)) / lr + 2 * l2
    return (np.clip(z, -l1, l1) - z) / curvature, v, z


def ftrl_power(p, v, z, g, *, lr, lr_power, l1, l2, l2_shrinkage, beta):
    """The same with another power of the sum than the root."""
    before, v = v, v + g * g
    sigma = (v**-lr_power - before**-lr_power) / lr
    z = z + g + 2 * l2_shrinkage * p - sigma * p
    curvature = (beta + v**-lr_power) / lr + 2 * l2
    return (np.clip(z, -l1, l1) - z) / curvature, v, z


def rmsprop(p, v, g, *, lr, beta, eps):
    """Tieleman & Hinton 2012, lecture 6.5."""
    v = beta * v + (1 - beta) * (g * g)
    return p - lr * g / (np.sqrt(v) + eps), v


def rmsprop_inside(p, v, g, *, lr, beta, eps):
    """The same with epsilon inside the root."""
    v = beta * v + (1 - beta) * (g * g)
    return p - lr * g / np.sqrt(v + eps), v


def rmsprop_without_eps(p, v, g, *, lr, beta):
    """The same without epsilon: where all gradients were 0, so is the step."""
    v = beta * v + (1 - beta) * (g * g)
    return p - lr * g / np.sqrt(np.where(v == 0, 1.0, v)), v


def rmsprop_centered(p, m, v, g, *, lr, beta, eps):
    """Graves 2013, eq. 38 to 41; v is the variance by a recurrence that stays >= 0."""
    v = beta * (v + (1 - beta) * (g - m) ** 2)
    m = beta * m + (1 - beta) * g
    return p - lr * g / (np.sqrt(v) + eps), m, v


def rmsprop_centered_inside(p, m, v, g, *, lr, beta, eps):
    """The same with epsilon inside the root."""
    v = beta * (v + (1 - beta) * (g - m) ** 2)
    m = beta * m + (1 - beta) * g
    return p - lr * g / np.sqrt(v + eps), m, v


def rmsprop_heavy_ball(p, v, b, g, *, lr, beta, eps, momentum):
    """With momentum, the rate outside of it, as in torch."""
    v = beta * v + (1 - beta) * (g * g)
    b = momentum * b + g / (np.sqrt(v) + eps)
    return p - lr * b, v, b


def rmsprop_heavy_ball_inside(p, v, b, g, *, lr, beta, eps, momentum):
    """The same with epsilon inside the root."""
    v = beta * v + (1 - beta) * (g * g)
    b = momentum * b + g / np.sqrt(v + eps)
    return p - lr * b, v, b


def rmsprop_keras(p, v, b, g, *, lr, beta, eps, momentum):
    """With momentum, the rate inside of it, as in optax."""
    v = beta * v + (1 - beta) * (g * g)
    b = momentum * b + lr * g / (np.sqrt(v) + eps)
    return p - b, v, b


def rmsprop_keras_inside(p, v, b, g, *, lr, beta, eps, momentum):
    """The same with epsilon inside the root, as in Keras and optax."""
    v = beta * v + (1 - beta) * (g * g)
    b = momentum * b + lr * g / np.sqrt(v + eps)
    return p - b, v, b


def rmsprop_centered_heavy_ball(p, m, v, b, g, *, lr, beta, eps, momentum):
    """Centered and with momentum, the rate outside of it, as in torch."""
    v = beta * (v + (1 - beta) * (g - m) ** 2)
    m = beta * m + (1 - beta) * g
    b = momentum * b + g / (np.sqrt(v) + eps)
    return p - lr * b, m, v, b


def rmsprop_centered_heavy_ball_inside(p, m, v, b, g, *, lr, beta, eps, momentum):
    """The same with epsilon inside the root."""
    v = beta * (v + (1 - beta) * (g - m) ** 2)
    m = beta * m + (1 - beta) * g
    b = momentum * b + g / np.sqrt(v + eps)
    return p - lr * b, m, v, b


def rmsprop_centered_keras(p, m, v, b, g, *, lr, beta, eps, momentum):
    """Centered and with momentum, the rate inside of it, as in optax."""
    v = beta * (v + (1 - beta) * (g - m) ** 2)
    m = beta * m + (1 - beta) * g
    b = momentum * b + lr * g / (np.sqrt(v) + eps)
    return p - b, m, v, b


def rmsprop_centered_keras_inside(p, m, v, b, g, *, lr, beta, eps, momentum):
    """The same with epsilon inside the root, as in Keras and Graves."""
    v = beta * (v + (1 - beta) * (g - m) ** 2)
    m = beta * m + (1 - beta) * g
    b = momentum * b + lr * g / np.sqrt(v + eps)
    return p - b, m, v, b


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


def adam_nesterov(p, m, v, g, *, lr, beta1, beta2, eps, t):
    """Dozat 2016, algorithm 2, with a constant beta1, as in optax."""
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * (g * g)
    correction = (1 - beta2**t) ** 0.5
    ahead = beta1 / (1 - beta1 ** (t + 1)) * m + (1 - beta1) / (1 - beta1**t) * g
    return p - lr * correction * ahead / (np.sqrt(v) + eps * correction), m, v


def amsgrad(p, m, v, v_max, g, *, lr, beta1, beta2, eps, t):
    """Reddi, Kale & Kumar 2018, algorithm 2, corrected as torch does."""
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * (g * g)
    v_max = np.maximum(v_max, v)
    correction = (1 - beta2**t) ** 0.5
    root = np.sqrt(v_max) + eps * correction
    return p - lr * correction / (1 - beta1**t) * m / root, m, v, v_max


def amsgrad_raw(p, m, v, v_max, g, *, lr, beta1, beta2, eps, t):
    """The same with epsilon next to the uncorrected root, as Keras and chainer do."""
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * (g * g)
    v_max = np.maximum(v_max, v)
    correction = (1 - beta2**t) ** 0.5
    root = np.sqrt(v_max) + eps
    return p - lr * correction / (1 - beta1**t) * m / root, m, v, v_max


def amsgrad_optax(p, m, v, v_max, g, *, lr, beta1, beta2, eps, t):
    """The same with the maximum of the corrected v, as in optax."""
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * (g * g)
    v_max = np.maximum(v_max, v / (1 - beta2**t))
    return p - lr / (1 - beta1**t) * m / (np.sqrt(v_max) + eps), m, v, v_max


@functools.cache
def decoupled(formula):
    """Loshchilov & Hutter 2019, algorithm 2: AdamW, for any form of Adam."""

    def decayed(p, *arrays, lr, weight_decay, **scalars):
        return formula((1 - lr * weight_decay) * p, *arrays, lr=lr, **scalars)

    *before, t = inspect.signature(formula).parameters.values()
    decay = inspect.Parameter("weight_decay", inspect.Parameter.KEYWORD_ONLY)
    signature = inspect.Signature([*before, decay, t])
    decayed.__signature__ = signature  # type: ignore[attr-defined]
    name = formula.__name__
    decayed.__name__ = name.replace("adam", "adamw") if "adam" in name else f"{name}_w"
    return decayed


def adamax(p, m, u, g, *, lr, beta1, beta2, eps, t):
    """Kingma & Ba 2015, algorithm 2, with epsilon in the norm, as in torch."""
    m = beta1 * m + (1 - beta1) * g
    u = np.maximum(beta2 * u, abs(g) + eps)
    return p - lr / (1 - beta1**t) * m / u, m, u


def adamax_outside(p, m, u, g, *, lr, beta1, beta2, eps, t):
    """The same with epsilon next to the norm, as in Keras."""
    m = beta1 * m + (1 - beta1) * g
    u = np.maximum(beta2 * u, abs(g))
    return p - lr / (1 - beta1**t) * m / (u + eps), m, u


def radam(p, m, v, g, *, lr, beta1, beta2, eps, t):
    """Liu et al. 2020, algorithm 2, rectified from a length of 5, as torch does."""
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * (g * g)
    most = 2 / (1 - beta2) - 1
    length = most - 2 * t * beta2**t / (1 - beta2**t)
    shares = (length - 4) * (length - 2) * most / ((most - 4) * (most - 2) * length)
    r = np.where(length > 5, shares, 0.0) ** 0.5
    adaptive = r * (1 - beta2**t) ** 0.5 / (np.sqrt(v) + eps)
    return p - lr / (1 - beta1**t) * m * np.where(length > 5, adaptive, 1.0), m, v


def yogi(p, m, v, g, *, lr, beta1, beta2, eps):
    """Zaheer et al. 2018, algorithm 2."""
    m = beta1 * m + (1 - beta1) * g
    v = v - (1 - beta2) * np.sign(v - g * g) * (g * g)
    return p - lr * m / (np.sqrt(v) + eps), m, v


def yogi_corrected(p, m, v, g, *, lr, beta1, beta2, eps, t):
    """The same with Adam's corrections, as in optax."""
    m = beta1 * m + (1 - beta1) * g
    v = v - (1 - beta2) * np.sign(v - g * g) * (g * g)
    correction = (1 - beta2**t) ** 0.5
    root = np.sqrt(v) + eps * correction
    return p - lr * correction / (1 - beta1**t) * m / root, m, v


def adabelief(p, m, s, g, *, lr, beta1, beta2, eps, t):
    """Zhuang et al. 2020, algorithm 2."""
    m = beta1 * m + (1 - beta1) * g
    s = beta2 * s + (1 - beta2) * (g - m) ** 2 + eps
    correction = (1 - beta2**t) ** 0.5
    root = np.sqrt(s) + eps * correction
    return p - lr * correction / (1 - beta1**t) * m / root, m, s


def adan(p, m, v, u, h, g, *, lr, beta1, beta2, beta3, eps, weight_decay, t):
    """Xie et al. 2022, algorithm 1, corrected as the authors' code does; h is g."""
    change = np.where(t == 1, 0.0, g - h)
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * change
    u = beta3 * u + (1 - beta3) * (g + beta2 * change) ** 2
    correction = (1 - beta3**t) ** 0.5
    ahead = lr / (1 - beta1**t) * m + lr * beta2 / (1 - beta2**t) * v
    p = p - correction * ahead / (np.sqrt(u) + eps * correction)
    return p / (1 + lr * weight_decay), m, v, u, g


def adopt(p, m, v, g, *, lr, beta1, beta2, eps, t):
    """Taniguchi et al. 2024, algorithm 2; the first step has no v to divide by."""
    u = g / np.maximum(np.sqrt(v), eps)
    m = np.where(t == 1, 0.0, beta1 * m + (1 - beta1) * u)
    v = np.where(t == 1, g * g, beta2 * v + (1 - beta2) * (g * g))
    return p - lr * m, m, v


def adopt_clipped(p, m, v, g, *, lr, beta1, beta2, eps, t):
    """The same with a bound on what is averaged, as the authors' code has it."""
    bound = (t - 1) ** 0.25
    u = np.clip(g / np.maximum(np.sqrt(v), eps), -bound, bound)
    m = np.where(t == 1, 0.0, beta1 * m + (1 - beta1) * u)
    v = np.where(t == 1, g * g, beta2 * v + (1 - beta2) * (g * g))
    return p - lr * m, m, v
