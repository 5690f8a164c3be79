"""No name that a rule gives to an array or a number meets one of a generated text."""

import contextlib
import re

import numpy as np
import pytest

import gdopt
from gdopt.kernels import trace
from gdopt.kernels.cpu import flush
from gdopt.kernels.cpu.pool import POOL
from gdopt.optim.rule import RESERVED

pytestmark = pytest.mark.newest

WORD = re.compile(r"(?<![\w.\"'])[A-Za-z_]\w*")
FORMULA = """
def formula(p, state, g, *, rate):
    grown = state + g * np.sqrt(np.abs(state)) + np.floor(2.0 * rate)
    grown = np.where(grown > rate, np.minimum(grown, 2.0), np.maximum(g, -2.0))
    grown = grown + np.exp(np.log1p(np.abs(p))) - np.tanh(np.hypot(p, g))
    return p - rate * grown{more}, grown
"""
MORE = {"by element": "", "reducing": " / (1.0 + np.sum(g, axis=-1, keepdims=True))"}


def formula_of(kind, names=None, arrays=(), scalars=()):
    """Return the formula with some names replaced, and more arguments."""
    text = FORMULA.format(more=MORE[kind])
    for old, new in (names or {}).items():
        text = re.sub(rf"(?<!np\.)\b{old}\b", new, text)
    first, second, *lines = text.strip().splitlines()
    first = first.replace(", *", "".join(f", {name}" for name in arrays) + ", *")
    first = first.replace("):", "".join(f", {name}" for name in scalars) + "):")
    second += "".join(f" + 0.0 * {name}" for name in (*arrays, *scalars))
    # NumPy has another name, as an argument may have its own.
    text, scope = "\n".join([first, second, *lines]).replace("np.", "_np_."), {}
    exec(text, scope | {"_np_": np}, scope)  # noqa: S102 - a text of this file
    scope["formula"].__globals__["_np_"] = np
    return scope["formula"]


def printed(monkeypatch):
    """Return the words of all texts that are printed for the formula, on any engine."""
    texts = []

    def run(text, scope):
        texts.append(text)
        exec(text, scope)  # noqa: S102 - gdopt's own text

    monkeypatch.setitem(trace.compile_host.__globals__, "exec", run)
    for kind in MORE:
        kernel = gdopt.Kernel(formula_of(kind))
        texts.append(str(kernel).split("\n\nScalars", 1)[1])
        kernel.step(gdopt.get_backend("numpy"), ["float32"] * 3)
    with contextlib.suppress(ImportError):
        from gdopt.kernels.cpu import loops, row_loops

        program = gdopt.Kernel(formula_of("by element")).program()
        how = {"flush": flush.can_flush()}
        texts.append(loops.print_loop(program, norm="x", **how))
        texts.append(loops.print_loop(program, half=("p",), **how))
        texts.append(row_loops.print_row_loop(program, taken=(2,), **how))
    with contextlib.suppress(ImportError):
        import cuda_text
        import variants

        for storage in variants.STORAGE:
            text = variants.text_of(program, storage)
            texts.append(text.body)
            texts.append(cuda_text.generated_source(text).split("__global__", 1)[1])
    texts = [re.sub('""".*?"""', "", text) for text in texts]
    return {word for text in texts for word in WORD.findall(text)}


def free_names(monkeypatch):
    found = printed(monkeypatch)
    assert {"block", "fabs", "range", "numba", "serial", "np", "fast_multiply"} <= found
    return [
        name
        for name in sorted(found - {"p", "g", "state", "rate", "t", "norm"})
        if not (trace.is_reserved(name) or name in RESERVED)  # of attributes
    ]


def variants_of(names, kind, *, arrays):
    """Yield the formula with words as the names of its arguments, and of more.

    Loops that reduce have a prefix before all names: four words show it.
    """
    reducing = kind == "reducing"
    names = ["rows", "sums", "values", "lanes"] if reducing else names
    for shift in range(0, len(names), len(names) if reducing else len(names) // 2):
        taken = [*names[shift:], *names][:4]
        renamed = dict(zip(("p", "state", "g", "rate"), taken, strict=True))
        others = [name for name in names if name not in taken]
        half = others[shift > 0 :: 2] if arrays else []
        rest = [name for name in others if name not in half]
        values = dict.fromkeys(rest, 1.0) | {taken[3]: 0.5}
        yield formula_of(kind, renamed, half, rest), values


def run_kernel(xp, formula, values):
    """Return the bits of a kernel's results, by one thread and by several."""
    found = []
    for shares in (False, True):
        count = len(gdopt.Kernel(formula).signature.arrays)
        arrays = [xp.full((64, 16), k + 0.25, np.float32) for k in range(count)]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(POOL, "shares", lambda *_, own=shares: own)
            gdopt.Kernel(formula)(*arrays, **values)
        found += [array.tobytes() for array in arrays[:2]]
    return found


def run_steps(xp, formula, values):
    """Return the bits of parameters after steps on all rows and on some."""
    found = []
    for dtype, at in (("float32", None), ("float32", [3, 1]), ("float16", None)):
        p = xp.ones((64, 16), dtype)
        optimizer = gdopt.Optimizer(p, formula, **values)
        g = xp.full(p.shape if at is None else (2, 16), 0.5, dtype)
        for _ in range(2):
            optimizer.step(g, at=at)
        found.append(p.tobytes())
    return found


@pytest.mark.parametrize("run", [run_kernel, run_steps])
@pytest.mark.parametrize("kind", MORE)
def test_every_word_of_a_generated_text_names_an_array_or_a_number(
    kind, run, engine, monkeypatch
):
    with monkeypatch.context() as patch:
        names = free_names(patch)
    assert len(names) > 20
    expected = run(np, formula_of(kind), {"rate": 0.5})
    for formula, values in variants_of(names, kind, arrays=run is run_kernel):
        assert run(np, formula, values) == expected


@pytest.mark.parametrize("run", [run_kernel, run_steps])
@pytest.mark.parametrize("kind", MORE)
def test_every_word_of_a_generated_text_is_a_name_on_a_gpu(kind, run, cp, monkeypatch):
    with monkeypatch.context() as patch:
        names = free_names(patch)
    expected = run(cp, formula_of(kind), {"rate": 0.5})
    for formula, values in variants_of(names, kind, arrays=run is run_kernel):
        assert run(cp, formula, values) == expected
