import functools
import operator
import os

import numpy as np
import pytest

import gdopt
from gdopt.planner import NetworkStep

X = np.zeros((100, 2))


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Keep plans in an empty folder."""
    monkeypatch.setenv("GDOPT_CACHE_DIR", str(tmp_path))
    return tmp_path / "plans"


@pytest.fixture
def cached(quick):
    """Give ``cached(...)``: a plan with the cache in use."""
    return functools.partial(quick, cache=True)


def make_step(scale=2.0):
    def step(x):
        return x * scale

    return step


def test_the_second_plan_is_read_from_the_cache(cached, folder):
    calls = []

    def step(x):
        calls.append(1)

    first = cached(step, X)
    count = len(calls)
    second = cached(step, X)
    assert len(calls) == count
    assert (first.cached, second.cached) == (False, True)
    assert second.to_dict() == {**first.to_dict(), "cached": True}
    assert f"(from the cache, measured {first.date})" in str(second)
    assert len(list(folder.iterdir())) == 1


def test_the_cache_may_be_ignored(cached):
    cached(make_step(), X)
    assert not cached(make_step(), X, cache=False).cached
    assert cached(make_step(), X).cached


@pytest.mark.parametrize(
    ("data", "options"),
    [
        (np.zeros((101, 2)), {}),
        (np.zeros((100, 3)), {}),
        (X.astype(np.float32), {}),
        (X, {"sizes": (8, 16)}),
        (X, {"margin": 0}),
        (X, {"memory": "1TB"}),
        (X, {"small_data_rule": False}),
        (X, {"repeats": 3}),
        (X, {"evaluate": lambda: None}),
    ],
)
def test_other_data_and_settings_are_another_plan(cached, data, options):
    cached(make_step(), X)
    assert not cached(make_step(), data, **options).cached


def test_another_step_is_another_plan(cached):
    cached(make_step(2.0), X)
    assert cached(make_step(2.0), X).cached
    assert not cached(make_step(3.0), X).cached
    assert not cached(lambda x: x + 2.0, X).cached


def test_another_version_or_machine_is_another_plan(cached, monkeypatch):
    cached(make_step(), X)
    for module, name, value in (
        (gdopt, "__version__", "0.0.1"),
        (np, "__version__", "9.9"),
        (os, "cpu_count", lambda: 1234),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(module, name, value)
            assert not cached(make_step(), X).cached


def network_step(hidden=4, **options):
    network = gdopt.nn.Network((2, hidden, 2), seed=0, backend="numpy")
    kind = options.pop("kind", gdopt.Adam)
    return NetworkStep(network, kind(network.params, lr=0.1), **options)


def test_a_network_is_known_by_its_sizes_and_its_optimizer(cached):
    data = np.zeros((100, 2), np.float32), np.zeros(100, int)
    cached(network_step(), data)
    assert cached(network_step(), data).cached
    for step in (
        network_step(hidden=5),
        network_step(l2=0.5),
        network_step(kind=gdopt.SGD),
        network_step(dev=data),
        network_step(checked=True),
    ):
        assert not cached(step, data).cached


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda text: text[:-10], "JSONDecodeError"),
        (lambda text: text.replace('"size": ', '"size": 1'), "its checksum is wrong"),
        (lambda text: "[]", "TypeError"),
        (lambda text: '{"sha256": "x"}', "KeyError"),
        (lambda text: "\x00\xff", "JSONDecodeError"),
    ],
)
def test_a_damaged_plan_is_ignored_with_a_notice(cached, folder, damage, reason):
    cached(make_step(), X)
    path = next(folder.iterdir())
    path.write_text(damage(path.read_text()), encoding="utf-8")
    plan = cached(make_step(), X)
    assert not plan.cached
    assert f"the cached plan {path} is ignored: " in plan.notices[0]
    assert reason in plan.notices[0]
    assert cached(make_step(), X).cached  # it has been measured anew


def test_a_folder_that_cannot_be_written_is_told_of(cached, folder):
    folder.write_text("a file")
    plan = cached(make_step(), X)
    assert "the plan could not be cached" in " ".join(plan.notices)


def test_a_cached_plan_that_no_longer_fits_is_ignored(cached, free):
    free.bytes = 1 << 32
    assert cached(make_step(), X).size == 100
    free.bytes = 1 << 20
    with pytest.raises(gdopt.PlanError):
        cached(make_step(), X)
    free.bytes = (256 << 20) + 2000  # too little for what the plan foresaw
    plan = cached(make_step(), X, margin=0)
    assert not plan.cached
    free.bytes = 100
    with pytest.raises(gdopt.PlanError):
        cached(make_step(), X, margin=0)


def test_an_infinite_noise_scale_survives(cached):
    rng = np.random.default_rng(0)

    def gradient(x):
        return rng.normal(size=1000)

    first = cached(make_step(), np.zeros((3000, 2)), gradient=gradient)
    assert first.noise_scale.high == float("inf")
    second = cached(make_step(), np.zeros((3000, 2)), gradient=gradient)
    assert second.cached
    assert second.noise_scale == first.noise_scale


def test_a_step_without_code_is_not_cached_and_says_so(cached, folder):
    plan = cached(operator.methodcaller("sum"), X)
    assert not folder.exists()
    assert "the plan is not cached: a methodcaller has no code" in plan.notices[0]
