"""Rules with reductions, as one would write them in NumPy."""

import numpy as np

from gdopt.kernels.kernel import reduced_shape


def direction(m, v, g, *, beta1, beta2, eps, t):
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g * g
    return m, v, (m / (1 - beta1**t)) / (np.sqrt(v / (1 - beta2**t)) + eps)


def lamb(p, m, v, g, *, lr, beta1, beta2, eps, decay, t):
    m, v, u = direction(m, v, g, beta1=beta1, beta2=beta2, eps=eps, t=t)
    u = u + decay * p
    w, s = np.linalg.norm(p), np.linalg.norm(u)
    ratio = np.where((w > 0) & (s > 0), w / s, 1.0)
    return p - lr * ratio * u, m, v


def lars(p, m, g, *, lr, beta, decay, trust):
    w, s = np.linalg.norm(p), np.linalg.norm(g)
    rate = np.where((w > 0) & (s > 0), trust * w / (s + decay * w), 1.0)
    m = beta * m + lr * rate * (g + decay * p)
    return p - m, m


def unit_wise(p, m, g, *, lr, beta, clipping, eps):
    """Adaptive gradient clipping: by the norms of rows."""
    axis = tuple(range(1, p.ndim)) or None
    w = np.maximum(np.sqrt(np.sum(p * p, axis=axis, keepdims=True)), eps)
    s = np.sqrt(np.sum(g * g, axis=axis, keepdims=True))
    m = beta * m + g * np.where(s > clipping * w, clipping * w / s, 1.0)
    return p - lr * m, m


def centred(p, g, *, lr):
    if p.ndim > 1:
        g = g - np.mean(g, axis=tuple(range(1, p.ndim)), keepdims=True)
    return p - lr * g


def row_cap(p, g, *, lr, cap):
    p = p - lr * g
    return p * np.minimum(1.0, cap / np.linalg.norm(p, axis=1, keepdims=True))


def unit_ball(p, g, *, lr):
    p = p - lr * g
    return p / np.maximum(1.0, np.linalg.norm(p))


def adafactor(p, r, c, g, *, lr, beta, tiny, floor, d):
    s = g * g + tiny
    r = beta * r + (1 - beta) * np.mean(s, axis=1, keepdims=True)
    c = beta * c + (1 - beta) * np.mean(s, axis=0, keepdims=True)
    u = g / (np.sqrt(r / np.mean(r)) * np.sqrt(c))
    u = u / np.maximum(1.0, np.sqrt(np.mean(u * u)) / d)
    return p - lr * np.maximum(floor, np.sqrt(np.mean(p * p))) * u, r, c


def max_scaled(p, g, *, lr):
    return p - lr / np.max(np.abs(g)) * g


def standardized(p, g, *, lr, eps):
    """Reduce what depends on a reduction."""
    d = g - np.mean(g)
    return p - lr * d / (np.sqrt(np.mean(d * d)) + eps)


def nadam(p, m, v, product, g, *, lr, beta1, beta2, eps, t):
    now = beta1 * (1 - 0.5 * 0.96 ** (0.004 * t))
    coming = beta1 * (1 - 0.5 * 0.96 ** (0.004 * (t + 1)))
    product = product * now
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g * g
    root = np.sqrt(v / (1 - beta2**t)) + eps
    p = p - (lr * (1 - now) / (1 - product)) * g / root
    return p - (lr * coming / (1 - product * coming)) * m / root, m, v, product


def column_normed(p, g, *, lr):
    p = p - lr * g
    return p / np.linalg.norm(p, axis=0, keepdims=True)


def old_momentum(p, m, g, *, lr, beta):
    """Need the old m in the last pass, so m cannot be written before."""
    new = beta * m + g
    return p - lr * m / (1 + np.linalg.norm(new)), new


def largest_mean(p, g, *, lr):
    """Reduce rows, then columns of what is left, then all columns."""
    d = g - np.mean(g, axis=1, keepdims=True)
    return p - lr * d / (1 + np.max(np.linalg.norm(d, axis=0, keepdims=True)))


def by_size(p, g, *, lr):
    rows = p.shape[0]
    return p - lr * g / np.sqrt(p.size + rows)


def own_operand(p, m, g, *, lr):
    """Reduce the old p in a pass that may write the new one."""
    return p - lr * g, m + np.linalg.norm(p) * g


ADAM = {"lr": 1e-2, "beta1": 0.9, "beta2": 0.999, "eps": 1e-6, "t": 3}
# Each rule, with values for its scalars, and the kinds of its state.
RULES = {
    lamb: ({**ADAM, "decay": 0.01}, {}),
    lars: ({"lr": 0.1, "beta": 0.9, "decay": 1e-4, "trust": 0.001}, {}),
    unit_wise: ({"lr": 0.1, "beta": 0.9, "clipping": 0.01, "eps": 1e-3}, {}),
    centred: ({"lr": 0.1}, {}),
    row_cap: ({"lr": 0.1, "cap": 0.5}, {}),
    unit_ball: ({"lr": 0.1}, {}),
    adafactor: (
        {"lr": 1e-2, "beta": 0.9, "tiny": 1e-30, "floor": 1e-3, "d": 1.0},
        {"r": "row", "c": "column"},
    ),
    max_scaled: ({"lr": 0.1}, {}),
    standardized: ({"lr": 0.1, "eps": 1e-5}, {}),
    nadam: (ADAM, {"product": "array"}),
    column_normed: ({"lr": 0.1}, {}),
    old_momentum: ({"lr": 0.1, "beta": 0.9}, {}),
    largest_mean: ({"lr": 0.1}, {}),
    by_size: ({"lr": 0.1}, {}),
    own_operand: ({"lr": 0.1}, {}),
}
OF_MATRICES = (row_cap, adafactor, column_normed, largest_mean)
SHAPES = [
    *((1,), (5,), (129,), (4096,), (4097,), (100_003,), (0,)),
    *((1, 1), (7, 4097), (1000, 3), (130, 70), (65, 1), (1, 300), (0, 4), (3, 4, 5)),
]


def fits(rule, shape):
    """Return whether a rule takes arrays of a shape."""
    return (
        len(shape) == 2
        or (rule not in OF_MATRICES and len(shape) == 1)
        or (rule not in (*OF_MATRICES, by_size))
    )


def draw(program, shape, dtype, seed=0):
    """Draw the arrays of a program; those that are divided by are above zero."""
    generator = np.random.default_rng(seed)
    arrays = []
    for symbol in program.inputs:
        own = reduced_shape(symbol.kind, shape)
        positive = symbol.name in {"v", "r", "c", "product"}
        values = generator.random(own) + 0.1 if positive else generator.normal(size=own)
        arrays.append(np.array(values, dtype if symbol.element else np.float64))
    return arrays
