"""Optax on the GPU: parameters and state are donated to a step under `jax.jit`."""

from __future__ import annotations

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
from adapters import optax_
from cases import HYPER
from cases_gpu import GpuCase, GpuTraining
from contenders import Contender


def optimizer(case: GpuCase):
    rule = "adam" if case.rule == "own" else case.rule
    chain = optax_.optimizer(rule)
    if "clip_norm" in case.options:
        chain = optax.chain(optax.clip_by_global_norm(case.options["clip_norm"]), chain)
    return chain


def make(_name: str, case: GpuCase) -> Contender:
    """Hold the arrays in a list, a tree as any other."""
    params = [jnp.asarray(array, case.dtype) for array in case.arrays(0)]
    grads = [jnp.asarray(array, case.dtype) for array in case.arrays(1)]
    beta = case.options.get("ema")
    if case.rule == "ewa":
        state, share = (), 1 - HYPER["ewa"]["beta"]

        def update(params, state, grads):
            return optax.incremental_update(grads, params, share), state
    else:
        descent = optimizer(case)
        state = (
            descent.init(params),
            [] if beta is None else list(map(jnp.array, params)),
        )

        def update(params, state, grads):
            inner, means = state
            updates, inner = descent.update(grads, inner, params)
            params = optax.apply_updates(params, updates)
            if means:
                means = optax.incremental_update(params, means, 1 - beta)
            return params, (inner, means)

    update = jax.jit(update, donate_argnums=(0, 1))

    def step():
        nonlocal params, state
        params, state = update(params, state, grads)

    return Contender(
        step,
        lambda: jax.block_until_ready(params),
        lambda: [np.asarray(p, np.float32) for p in params],
    )


def train(_name: str, training: GpuTraining) -> Contender:
    """Put gather, gradient and update under one `jit`."""
    X, y = (jnp.asarray(array) for array in training.data())
    key = jax.random.key(0)
    params = []
    for width, size in itertools.pairwise(training.sizes):
        key, own = jax.random.split(key)
        spread = (2 / width) ** 0.5
        params.append((spread * jax.random.normal(own, (width, size)), jnp.zeros(size)))
    descent = optax_.optimizer("adam")
    state = descent.init(params)
    numbers = itertools.cycle(range(training.batches))

    def cost(params, x, labels):
        *hidden, (W, b) = params
        for weights, bias in hidden:
            x = jax.nn.relu(x @ weights + bias)
        losses = optax.softmax_cross_entropy_with_integer_labels(x @ W + b, labels)
        return losses.mean()

    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def update(params, state, number):
        first = number * training.batch
        x = jax.lax.dynamic_slice_in_dim(X, first, training.batch)
        labels = jax.lax.dynamic_slice_in_dim(y, first, training.batch)
        grads = jax.grad(cost)(params, x, labels)
        updates, state = descent.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    def step():
        nonlocal params, state
        params, state = update(params, state, next(numbers))

    return Contender(
        step,
        lambda: jax.block_until_ready(params),
        lambda: [np.asarray(part) for layer in params for part in layer],
    )
