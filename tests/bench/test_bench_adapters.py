"""Every contender does the same work: three steps end in the textbook's numbers."""

import importlib.util
import os
import shutil

import numpy as np
import pytest
from adapters import ADAPTERS, ON_GPU, UnsupportedError, check
from cases import CASES, HYPER, Case, Training

SHAPES = ((7, 3), (5,))
TRAINING = Training(sizes=(6, 5, 4, 3), batch=8, batches=2)


def every_adapter(test):
    """Run the test with each adapter, marked where that is a peer's."""
    return pytest.mark.parametrize("name", [*map(parameter, ADAPTERS)])(test)


def parameter(name):
    peers = [package for package in ADAPTERS[name].needs if package != "numba"]
    return pytest.param(name, marks=pytest.mark.peers(*peers) if peers else ())


def installed(name):
    """Return the adapter, or skip the test where Numba, no peer, is what it needs."""
    if "numba" in ADAPTERS[name].needs:
        pytest.importorskip("numba")
    return ADAPTERS[name]


def has(adapter, rule):
    own = adapter.name.endswith("own rule") and rule != "adam"
    fused = adapter.name.startswith("torch fused") and rule == "rmsprop"
    return not (own or fused)


@every_adapter
@pytest.mark.parametrize("rule", HYPER)
def test_takes_the_textbooks_steps(name, rule):
    adapter, case = installed(name), Case("tiny", ((33,),), rule)
    if has(adapter, rule):
        check(adapter.make(case), case)
    else:
        with pytest.raises(UnsupportedError):
            adapter.make(case)


@every_adapter
@pytest.mark.parametrize("memory", ["arena", "copied", "fresh"])
def test_takes_the_textbooks_steps_with_several_arrays(name, memory):
    case = Case("tiny", SHAPES, memory=memory)
    check(installed(name).make(case), case)


@pytest.mark.slow
@every_adapter
def test_trains_as_the_textbook_does(name):
    check(installed(name).make(TRAINING), TRAINING)


@every_adapter
@pytest.mark.parametrize("memory", ["arena", "copied", "fresh"])
def test_feed_replaces_the_gradients_of_later_steps(name, memory):
    case = Case("tiny", SHAPES, "sgd", memory)
    adapter = installed(name)
    if not has(adapter, "sgd"):
        pytest.skip("the rule of one's own is a copy of Adam")
    contender = adapter.make(case)
    contender.feed([np.full(shape, 1000, np.float32) for shape in SHAPES])
    with contender.setting():
        contender.step()
    for before, after in zip(case.params(), contender.values(), strict=True):
        np.testing.assert_allclose(after, before - 1, rtol=1e-6)


@every_adapter
def test_leaves_initial_values_and_gradients_alone(name):
    case = Case("tiny", SHAPES, memory="fresh")
    before = [array.copy() for array in (*case.params(), *case.gradients())]
    check(installed(name).make(case), case)
    for old, now in zip(before, (*case.params(), *case.gradients()), strict=True):
        np.testing.assert_array_equal(now, old)


@pytest.mark.skipif(shutil.which("nvidia-smi") is not None, reason="there is a GPU")
@pytest.mark.parametrize(
    "name",
    [
        pytest.param("torch_fused", marks=pytest.mark.peers("torch")),
        pytest.param("optax", marks=pytest.mark.peers("jax", "optax")),
    ],
)
def test_without_a_gpu_its_peers_are_left_out_or_rehearsed(name, monkeypatch):
    case = Case("tiny", SHAPES, options={"clip_norm": 1.0})
    monkeypatch.delenv("GDOPT_BENCH_REHEARSE", raising=False)
    with pytest.raises(UnsupportedError, match="finds no GPU"):
        ON_GPU[name].make(case)
    monkeypatch.setenv("GDOPT_BENCH_REHEARSE", "1")
    check(ON_GPU[name].make(case), case)


@pytest.mark.parametrize(
    "change", [{"lr": 1.1e-3}, {"beta1": 0.8}, {"beta2": 0.99}, {"eps": 1e-7}]
)
def test_check_refuses_a_contender_that_does_other_work(change, monkeypatch):
    case = Case("tiny", SHAPES)
    check(ADAPTERS["textbook NumPy"].make(case), case)
    monkeypatch.setitem(HYPER, "adam", HYPER["adam"] | change)
    with pytest.raises(AssertionError):
        check(ADAPTERS["textbook NumPy"].make(case), case)


def test_an_engine_is_chosen_for_the_block_alone(monkeypatch):
    monkeypatch.setenv("GDOPT_CPU_ENGINE", "numba")
    contender = ADAPTERS["gdopt NumPy"].make(Case("tiny", SHAPES, memory="arena"))
    with contender.setting():
        assert os.environ["GDOPT_CPU_ENGINE"] == "numpy"
    assert os.environ["GDOPT_CPU_ENGINE"] == "numba"


def test_names_what_is_not_installed(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    assert ADAPTERS["optax under jit"].missing == ["jax", "optax"]


def test_cases_have_the_sizes_in_their_names():
    sizes = {name.split(", ", 1)[1]: case.elements for name, case in CASES.items()}
    assert sizes["one array of 1e7"] == 10_000_000
    assert CASES["300 arrays of 256, in an arena"].elements == 76_800
    assert CASES["100 arrays, 12.5 M, in an arena"].elements == 12_500_000
    network = CASES["6 arrays, 536 k, in an arena"]
    assert network.elements == 784 * 512 + 512 + 512 * 256 + 256 + 256 * 10 + 10
