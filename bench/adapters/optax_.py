"""Optax: parameters and state are donated to a step under `jax.jit`."""

from __future__ import annotations

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
from cases import HYPER, Case, Training

from adapters import Contender, UnsupportedError, without_gpu

MOST = 1000  # arrays: XLA takes more than 22 GB of memory to compile 10,000

# All contenders multiply in float32; on a GPU JAX alone would round its factors.
jax.config.update("jax_default_matmul_precision", "highest")


def optimizer(rule: str, clip_norm: float | None = None):
    h = HYPER[rule]
    if rule in {"adam", "adamw"}:
        decay = {"weight_decay": h["weight_decay"]} if rule == "adamw" else {}
        own = {"b1": h["beta1"], "b2": h["beta2"], "eps": h["eps"], **decay}
        descent = (optax.adamw if rule == "adamw" else optax.adam)(h["lr"], **own)
    elif rule == "rmsprop":
        own = {"decay": h["beta"], "eps": h["eps"], "eps_in_sqrt": False}
        descent = optax.rmsprop(h["lr"], **own)
    else:
        descent = optax.sgd(h["lr"], momentum=h.get("beta"))
    if clip_norm is None:
        return descent
    return optax.chain(optax.clip_by_global_norm(clip_norm), descent)


def placing(device: str):
    """Return what copies an array of NumPy's or CuPy's to a device."""
    try:
        home = jax.devices(device)[0]
    except RuntimeError:
        home = jax.devices(without_gpu("jax"))[0]

    def place(array, dtype=None):
        host = array.get() if hasattr(array, "get") else array
        return jnp.array(host, dtype=dtype, device=home)

    return place


def contender(update, trees, inputs, device: str, **own) -> Contender:
    """Bind a step of parameters, state and the next of the inputs.

    On the CPU each step is waited for; a GPU is given the next one meanwhile.
    """
    update = jax.jit(update, donate_argnums=(0, 1))
    done = jax.block_until_ready if device == "cpu" else lambda found: found

    def step():
        nonlocal trees
        trees = done(update(*trees, *next(inputs)))

    def values():
        return [np.asarray(array, np.float32) for array in trees[0]]

    return Contender(step, values, wait=lambda: jax.block_until_ready(trees), **own)


def make(_form: str, case: Case, device: str) -> Contender:
    """Hold the arrays in a list, a tree as any other."""
    if len(case.shapes) > MOST:
        message = f"XLA is not asked to compile more than {MOST} arrays"
        raise UnsupportedError(message)
    place = functools.partial(placing(device), dtype=case.dtype)
    params, grads = (list(map(place, a)) for a in (case.params(), case.gradients()))
    beta = case.options.get("ema")
    if case.rule == "ewa":
        params = [jnp.zeros_like(array) for array in params]
        state, share = (), 1 - HYPER["ewa"]["beta"]

        def update(params, state, grads):
            return optax.incremental_update(grads, params, share), state
    else:
        descent = optimizer(case.rule, case.options.get("clip_norm"))
        means = [] if beta is None else [jnp.array(array) for array in params]
        state = descent.init(params), means

        def update(params, state, grads):
            inner, means = state
            updates, inner = descent.update(grads, inner, params)
            params = optax.apply_updates(params, updates)
            if means:
                means = optax.incremental_update(params, means, 1 - beta)
            return params, (inner, means)

    def feed(arrays):
        grads[:] = map(place, arrays)

    inputs = itertools.repeat((grads,))
    return contender(update, (params, state), inputs, device, feed=feed)


def train(_form: str, training: Training, device: str) -> Contender:
    """Put gradient and update under one `jit`."""
    place = placing(device)
    params = list(map(place, training.params()))
    descent = optimizer("adam")
    data = [tuple(map(place, batch)) for batch in training.data()]

    def loss(params, x, y):
        *hidden, (W, b) = zip(params[::2], params[1::2], strict=True)
        for weights, bias in hidden:
            x = jax.nn.relu(x @ weights + bias)
        losses = optax.softmax_cross_entropy_with_integer_labels(x @ W + b, y)
        return losses.mean()

    def update(params, state, x, y):
        updates, state = descent.update(jax.grad(loss)(params, x, y), state, params)
        return optax.apply_updates(params, updates), state

    trees = params, descent.init(params)
    return contender(update, trees, itertools.cycle(data), device)
