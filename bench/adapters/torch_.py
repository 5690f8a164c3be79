"""PyTorch: `torch.optim`, fused or foreach, on all cores or on one."""

from __future__ import annotations

import contextlib
import itertools

import torch
from cases import HYPER, Case, Training
from machine import cores

from adapters import Contender, UnsupportedError


def optimizer(form: str, rule: str, params):
    h = HYPER[rule]
    kind = {"foreach": True} if form == "foreach" else {"fused": True}
    if rule in {"adam", "adamw"}:
        decay = {"weight_decay": h["weight_decay"]} if rule == "adamw" else {}
        betas = (h["beta1"], h["beta2"])
        make = torch.optim.AdamW if rule == "adamw" else torch.optim.Adam
        return make(params, lr=h["lr"], betas=betas, eps=h["eps"], **decay, **kind)
    if rule == "rmsprop":
        if form != "foreach":
            message = "torch has no fused RMSprop"
            raise UnsupportedError(message)
        own = {"alpha": h["beta"], "eps": h["eps"]}
        return torch.optim.RMSprop(params, lr=h["lr"], **own, **kind)
    return torch.optim.SGD(params, lr=h["lr"], momentum=h.get("beta", 0.0), **kind)


def threads(form: str):
    @contextlib.contextmanager
    def setting():
        before = torch.get_num_threads()
        torch.set_num_threads(1 if form == "fused 1" else cores())
        try:
            yield
        finally:
            torch.set_num_threads(before)

    return setting


def make(form: str, case: Case) -> Contender:
    """Hold the gradients in the parameters' `grad`, as autograd leaves them."""
    params = [torch.tensor(array, requires_grad=True) for array in case.params()]

    def feed(arrays):
        for p, array in zip(params, arrays, strict=True):
            p.grad = torch.tensor(array)

    feed(case.gradients())
    if case.rule == "ewa":
        return average(form, params, feed)
    step = optimizer(form, case.rule, params).step
    return Contender(
        step, lambda: [p.detach().numpy() for p in params], feed, threads(form)
    )


def average(form: str, params, feed) -> Contender:
    averages = [torch.zeros_like(p, requires_grad=False) for p in params]
    share = 1 - HYPER["ewa"]["beta"]

    def step():
        if form == "foreach":
            torch._foreach_lerp_(averages, [p.grad for p in params], share)
            return
        for v, p in zip(averages, params, strict=True):
            v.lerp_(p.grad, share)

    return Contender(step, lambda: [v.numpy() for v in averages], feed, threads(form))


def train(form: str, training: Training) -> Contender:
    """Train a `Sequential`, eager."""
    weights, layers = training.params(), []
    for W, b in zip(weights[::2], weights[1::2], strict=True):
        linear = torch.nn.Linear(*W.shape)
        with torch.no_grad():
            linear.weight.copy_(torch.tensor(W.T))
            linear.bias.copy_(torch.tensor(b))
        layers += [linear, torch.nn.ReLU()]
    model = torch.nn.Sequential(*layers[:-1])
    descent = optimizer(form, "adam", model.parameters())
    data = [tuple(map(torch.from_numpy, batch)) for batch in training.data()]
    batches = itertools.cycle(data)

    def step():
        x, y = next(batches)
        descent.zero_grad(set_to_none=True)
        torch.nn.functional.cross_entropy(model(x), y).backward()
        descent.step()

    def values():
        return [p.detach().numpy().T for p in model.parameters()]

    return Contender(step, values, setting=threads(form))
