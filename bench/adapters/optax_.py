"""Optax: parameters and state are donated to a step under `jax.jit`."""

from __future__ import annotations

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
from cases import HYPER, Case, Training

from adapters import Contender


def optimizer(rule: str):
    h = HYPER[rule]
    if rule in {"adam", "adamw"}:
        decay = {"weight_decay": h["weight_decay"]} if rule == "adamw" else {}
        own = {"b1": h["beta1"], "b2": h["beta2"], "eps": h["eps"], **decay}
        return (optax.adamw if rule == "adamw" else optax.adam)(h["lr"], **own)
    if rule == "rmsprop":
        own = {"decay": h["beta"], "eps": h["eps"], "eps_in_sqrt": False}
        return optax.rmsprop(h["lr"], **own)
    return optax.sgd(h["lr"], momentum=h.get("beta"))


def make(_form: str, case: Case) -> Contender:
    """Hold the arrays in a list, a tree as any other."""
    params = [jnp.array(array) for array in case.params()]
    grads = [jnp.array(array) for array in case.gradients()]
    if case.rule == "ewa":
        params = [jnp.zeros_like(array) for array in params]
        state, share = (), 1 - HYPER["ewa"]["beta"]

        def update(params, state, grads):
            return optax.incremental_update(grads, params, share), state
    else:
        descent = optimizer(case.rule)
        state = descent.init(params)

        def update(params, state, grads):
            updates, state = descent.update(grads, state, params)
            return optax.apply_updates(params, updates), state

    update = jax.jit(update, donate_argnums=(0, 1))

    def step():
        nonlocal params, state
        params, state = jax.block_until_ready(update(params, state, grads))

    def feed(arrays):
        nonlocal grads
        grads = [jnp.array(array) for array in arrays]

    return Contender(step, lambda: list(map(np.asarray, params)), feed)


def train(_form: str, training: Training) -> Contender:
    """Put gradient and update under one `jit`."""
    params = [jnp.array(array) for array in training.params()]
    descent = optimizer("adam")
    state = descent.init(params)
    data = [tuple(map(jnp.array, batch)) for batch in training.data()]
    batches = itertools.cycle(data)

    def cost(params, x, y):
        *hidden, (W, b) = zip(params[::2], params[1::2], strict=True)
        for weights, bias in hidden:
            x = jax.nn.relu(x @ weights + bias)
        losses = optax.softmax_cross_entropy_with_integer_labels(x @ W + b, y)
        return losses.mean()

    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def update(params, state, x, y):
        updates, state = descent.update(jax.grad(cost)(params, x, y), state, params)
        return optax.apply_updates(params, updates), state

    def step():
        nonlocal params, state
        params, state = jax.block_until_ready(update(params, state, *next(batches)))

    return Contender(step, lambda: list(map(np.asarray, params)))
