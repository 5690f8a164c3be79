"""Every optimizer shows, and takes, the options that all of them share."""

import ast
import inspect
import pydoc
import typing
from pathlib import Path

import numpy as np
import pytest
from oracles import CASES, MATRIX_CASES

import gdopt
from gdopt.optim.options import DecayOptions

KINDS = {case.kind.__name__: case.kind for case in (CASES | MATRIX_CASES).values()}
SHARED = {
    name: parameter
    for name, parameter in inspect.signature(gdopt.Optimizer).parameters.items()
    if parameter.kind is parameter.KEYWORD_ONLY
}


def test_the_types_of_the_shared_options_are_those_that_optimizers_take():
    hints = typing.get_type_hints(gdopt.Optimizer.__init__)
    assert typing.get_type_hints(DecayOptions) == {name: hints[name] for name in SHARED}
    assert set(DecayOptions.__annotations__) == set(SHARED)


@pytest.mark.parametrize("name", KINDS)
def test_a_signature_shows_own_and_shared_options(name):
    shown = inspect.signature(KINDS[name]).parameters
    code = KINDS[name].__init__.__code__
    own = list(code.co_varnames[1 : code.co_argcount + code.co_kwonlyargcount])
    rest = [name for name in SHARED if name not in own]
    if "weight_decay" in own:
        rest.remove("decay_mode")
    assert list(shown) == [*own, *rest]
    assert {name: shown[name] for name in rest} == {name: SHARED[name] for name in rest}


def untyped(tree):
    """Name the functions of a file and its classes that lack an annotation."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            yield from untyped(node)
        elif isinstance(node, ast.FunctionDef):
            taken = node.args
            given = [*taken.args, *taken.kwonlyargs, taken.vararg, taken.kwarg]
            given = [one for one in given if one and one.arg != "self"]
            if node.returns is None or not all(one.annotation for one in given):
                yield node.name


def test_formulas_alone_have_no_annotations():
    folder = Path(gdopt.optim.families.__file__).parent
    trees = [ast.parse(path.read_text("utf-8")) for path in folder.glob("*.py")]
    found = {name for tree in trees for name in untyped(tree)}
    functions = {
        f.name: f for t in trees for f in t.body if isinstance(f, ast.FunctionDef)
    }
    called = {  # parts of formulas
        node.func.id
        for name in functions.keys() & set(gdopt.rules.__all__)
        for node in ast.walk(functions[name])
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    assert found <= set(gdopt.rules.__all__) | called


@pytest.mark.parametrize("name", KINDS)
def test_help_shows_the_shared_options(name):
    assert "clip_norm: 'Any' = None" in pydoc.render_doc(KINDS[name])


def test_a_subclass_shows_its_own_signature():
    class Slow(gdopt.Adam):
        def __init__(self, params, *, pace=0.5):
            super().__init__(params, lr=1e-3 * pace, clip_norm=1.0)

    class Same(gdopt.Adam):
        pass

    assert str(inspect.signature(Slow)) == "(params, *, pace=0.5)"
    assert Slow(np.zeros(2)).hyper["clip_norm"] == 1.0
    assert inspect.signature(Same) == inspect.signature(gdopt.Adam)


@pytest.mark.parametrize("name", KINDS)
def test_shared_options_reach_the_optimizer(name):
    optimizer = KINDS[name](np.zeros((1, 2)), clip_norm=2.0, seed=3)
    assert optimizer.hyper["clip_norm"] == 2.0
    assert optimizer.options.seed == 3
