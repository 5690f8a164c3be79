"""PyTorch on the GPU: `torch.optim`, fused or foreach, and compiled training."""

from __future__ import annotations

import itertools

import torch
from adapters import torch_
from cases import HYPER
from cases_gpu import GpuCase, GpuTraining
from contenders import Contender

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"  # the CPU to rehearse


MODES = {"torch_compiled": "default", "torch_reduce_overhead": "reduce-overhead"}


def wait():
    if DEVICE == "cuda":
        torch.cuda.synchronize()


def tensors(case: GpuCase, seed: int):
    dtype = getattr(torch, case.dtype)
    arrays = case.arrays(seed)
    return [torch.tensor(array, device=DEVICE).to(dtype) for array in arrays]


def optimizer(name: str, case: GpuCase, params):
    rule = "adam" if case.rule == "own" else case.rule
    return torch_.optimizer(name.removeprefix("torch_"), rule, params)


def make(name: str, case: GpuCase) -> Contender:
    """Hold the gradients in the parameters' `grad`, as autograd leaves them."""
    params = [torch.nn.Parameter(tensor) for tensor in tensors(case, 0)]
    grads = tensors(case, 1)

    def values():
        return [p.detach().float().cpu().numpy() for p in params]

    if case.rule == "ewa":
        return average(name, params, grads, values)
    for p, g in zip(params, grads, strict=True):
        p.grad = g
    if name in MODES:
        compiled = optimizer("torch_foreach", case, params)
        update = torch.compile(compiled.step, mode=MODES[name])
    else:
        update = optimizer(name, case, params).step
    clip, beta = case.options.get("clip_norm"), case.options.get("ema")
    means = [p.detach().clone() for p in params] if beta is not None else []

    def step():
        if clip is not None:  # in place; the same work whatever the norm is
            torch.nn.utils.clip_grad_norm_(params, clip)
        update()
        if means:
            with torch.no_grad():
                torch._foreach_lerp_(means, params, 1 - beta)

    return Contender(step, wait, values)


def average(name: str, params, grads, values) -> Contender:
    share = 1 - HYPER["ewa"]["beta"]

    @torch.no_grad()
    def step():
        if name == "torch_foreach":
            torch._foreach_lerp_(params, grads, share)
            return
        for v, g in zip(params, grads, strict=True):
            v.lerp_(g, share)

    return Contender(step, wait, values)


def train(name: str, training: GpuTraining) -> Contender:
    """Train a `Sequential`: eager, or with its cost compiled, Adam fused."""
    layers = []
    for width, size in itertools.pairwise(training.sizes):
        layers += [torch.nn.Linear(width, size), torch.nn.ReLU()]
    model = torch.nn.Sequential(*layers[:-1]).to(DEVICE)
    h = HYPER["adam"]
    descent = torch.optim.Adam(
        model.parameters(), lr=h["lr"], betas=(h["beta1"], h["beta2"]), fused=True
    )
    X, y = (torch.tensor(array, device=DEVICE) for array in training.data())

    def cost(x, labels):
        return torch.nn.functional.cross_entropy(model(x), labels)

    if name in MODES:
        cost = torch.compile(cost, mode=MODES[name])
    numbers = itertools.cycle(range(training.batches))

    def step():
        rows = slice(k := next(numbers) * training.batch, k + training.batch)
        descent.zero_grad(set_to_none=True)
        cost(X[rows], y[rows]).backward()
        descent.step()

    def values():
        return [p.detach().cpu().numpy() for p in model.parameters()]

    return Contender(step, wait, values)
