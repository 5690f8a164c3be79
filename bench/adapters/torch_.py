"""PyTorch: `torch.optim`, fused, foreach or compiled, on all cores, on one or a GPU."""

from __future__ import annotations

import contextlib
import functools
import itertools

import torch
from cases import HYPER, Case, Training
from machine import cores

from adapters import Contender, UnsupportedError, without_gpu

MODES = {"default", "reduce-overhead"}  # of torch.compile


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


@contextlib.contextmanager
def threads(form: str):
    before = torch.get_num_threads()
    torch.set_num_threads(1 if form == "fused 1" else cores())
    try:
        yield
    finally:
        torch.set_num_threads(before)


def find(device: str) -> str:
    """Return the device, or the CPU where a GPU is rehearsed."""
    if device == "cuda" and not torch.cuda.is_available():
        return without_gpu("torch")
    return device


def copy(array, dtype, device: str):
    """Copy an array of NumPy's or CuPy's to a device."""
    if hasattr(array, "get"):  # CuPy's
        array = torch.from_dlpack(array) if device == "cuda" else array.get()
    return torch.asarray(array, dtype=dtype, device=device, copy=True)


def contender(form: str, device: str, step, values, **own) -> Contender:
    waits = {"wait": torch.cuda.synchronize} if device == "cuda" else {}
    setting = functools.partial(threads, form)
    return Contender(
        step,
        lambda: [v.detach().float().cpu().numpy() for v in values],
        setting=setting,
        **waits,
        **own,
    )


def make(form: str, case: Case, device: str) -> Contender:
    """Hold the gradients in the parameters' `grad`, as autograd leaves them."""
    if device == "cpu" and form in MODES:
        message = "torch.compile is measured on the CPU in training alone"
        raise UnsupportedError(message)
    device = find(device)
    place = functools.partial(copy, dtype=getattr(torch, case.dtype), device=device)
    params = [place(array).requires_grad_() for array in case.params()]
    for p, array in zip(params, case.gradients(), strict=True):
        p.grad = place(array)

    def feed(arrays):
        for p, array in zip(params, arrays, strict=True):
            p.grad.copy_(torch.from_numpy(array))

    if case.rule == "ewa":
        step, values = average(form, params)
    else:
        step, values = update(form, case, params), params
    return contender(form, device, step, values, feed=feed)


def update(form: str, case: Case, params):
    """Return a step, with clipping and averages of the parameters where asked for."""
    own = "foreach" if form in MODES else form
    plain = optimizer(own, case.rule, params).step
    if form in MODES:
        plain = torch.compile(plain, mode=form)
    clip, beta = case.options.get("clip_norm"), case.options.get("ema")
    if clip is None and beta is None:
        return plain
    means = [] if beta is None else [p.detach().clone() for p in params]

    def step():
        if clip is not None:  # in place; the same work whatever the norm is
            torch.nn.utils.clip_grad_norm_(params, clip)
        plain()
        if means:
            with torch.no_grad():
                torch._foreach_lerp_(means, params, 1 - beta)

    return step


def average(form: str, params):
    """Return a step that averages the gradients, and the averages."""
    averages = [torch.zeros_like(p, requires_grad=False) for p in params]
    share = 1 - HYPER["ewa"]["beta"]

    def step():
        if form == "foreach":
            torch._foreach_lerp_(averages, [p.grad for p in params], share)
            return
        for v, p in zip(averages, params, strict=True):
            v.lerp_(p.grad, share)

    return step, averages


def train(form: str, training: Training, device: str) -> Contender:
    """Train a `Sequential`: eager, or with its loss compiled."""
    device = find(device)
    weights, layers = training.params(), []
    for W, b in zip(weights[::2], weights[1::2], strict=True):
        linear = torch.nn.Linear(*W.shape)
        with torch.no_grad():
            linear.weight.copy_(torch.tensor(W.T))
            linear.bias.copy_(torch.tensor(b))
        layers += [linear, torch.nn.ReLU()]
    model = torch.nn.Sequential(*layers[:-1]).to(device)
    descent = optimizer(form, "adam", model.parameters())
    data = [
        tuple(torch.from_numpy(array).to(device) for array in batch)
        for batch in training.data()
    ]
    batches = itertools.cycle(data)

    def loss(x, y):
        return torch.nn.functional.cross_entropy(model(x), y)

    if form in MODES:
        loss = torch.compile(loss, mode=form)

    def step():
        x, y = next(batches)
        descent.zero_grad(set_to_none=True)
        loss(x, y).backward()
        descent.step()

    return contender(form, device, step, [p.t() for p in model.parameters()])
