"""Muon is an optimizer like the others: two rules, one step, all or nothing."""

from functools import partial

import numpy as np
import pytest

import gdopt

SHAPES = {"W1": (6, 4), "b1": (4,), "W2": (4, 3), "gain": (), "b2": (3,)}
MATRICES = ("W1", "W2")


def draw(seed, dtype="float64"):
    generator = np.random.default_rng(seed)
    return {n: np.array(generator.standard_normal(s), dtype) for n, s in SHAPES.items()}


def rate(step):
    return 0.1 / (1 + step)


def after(optimizer, seeds=(1, 2, 3), scale=1.0):
    for seed in seeds:
        optimizer.step({n: np.asarray(g * scale) for n, g in draw(seed).items()})
    return optimizer


def assert_same(one, other, names=SHAPES, rtol=0.0):
    for name in names:
        np.testing.assert_allclose(one.params[name], other.params[name], rtol=rtol)
        assert one.state[name].keys() == other.state[name].keys()
        for state, array in one.state[name].items():
            np.testing.assert_allclose(array, other.state[name][state], rtol=rtol)


def test_other_arrays_are_those_of_adamw_at_the_same_rate(engine):
    optimizer = after(gdopt.Muon(draw(0), rate))
    rest = [name for name in SHAPES if name not in MATRICES]
    alone = gdopt.AdamW({name: draw(0)[name] for name in rest}, rate)
    for seed in (1, 2, 3):
        alone.step({name: draw(seed)[name] for name in rest})
    assert_same(optimizer, alone, rest)
    with pytest.warns(UserWarning, match="lr was a schedule"):
        optimizer.hyper["lr"] = 0.25
    assert optimizer.others.hyper["lr"] == 0.25


def test_others_may_have_a_rule_and_a_rate_of_their_own(numpy_engine):
    def others(params, lr):
        return gdopt.Lion(params, lambda step: lr(step) / 10, weight_decay=0.5)

    optimizer = after(gdopt.Muon(draw(0), rate, others=others))
    assert isinstance(optimizer.others, gdopt.Lion)
    assert optimizer.others.hyper["lr"] == rate(3) / 10
    assert optimizer.others.t == optimizer.t == 3
    assert list(optimizer.state["b1"]) == ["m"]


@pytest.mark.parametrize(
    ("arrays", "chosen"),
    [
        ("*", MATRICES),
        ("W2", ("W2",)),
        ("*1", ("W1",)),
        (["W1", "?2"], MATRICES),
    ],
)
def test_names_and_patterns_choose_the_matrices(arrays, chosen, numpy_engine):
    optimizer = gdopt.Muon(draw(0), arrays=arrays)
    assert {n for n, s in optimizer.state.items() if list(s) == ["m"]} == set(chosen)
    assert list(optimizer.params) == list(optimizer.state) == list(SHAPES)


def test_all_arrays_may_be_matrices(numpy_engine):
    optimizer = gdopt.Muon([np.ones((2, 3))])
    assert optimizer.others is None
    assert optimizer.step([np.ones((2, 3))]) is True
    saved = optimizer.state_dict()
    other = gdopt.Muon([np.ones((2, 3))]).load_state_dict(saved)
    assert other.t == 1


BAD = {
    "half precision": ({}, "float16", "Muon needs float32 or float64, but .* float16"),
    "a state in bfloat16": ({"state_dtype": "bfloat16"}, "float32", "state_dtype"),
    "master weights": ({"master_weights": True}, "float32", "master_weights needs"),
    "no step": ({"ns_steps": 0}, "float64", "ns_steps must be .* at least 1, got 0"),
    "two coefficients": ({"ns_coefficients": (1, 2)}, "float64", "3 numbers"),
    "a ratio": ({"adjust_lr": "original"}, "float64", "adjust_lr must be one of"),
    "correction": (
        {"nesterov": False, "bias_correction": True},
        "float64",
        "bias_correction needs nesterov",
    ),
    "a pattern without a match": ({"arrays": "V*"}, "float64", "'W1', 'W2', got 'V"),
    "a vector": ({"arrays": ["W1", "b1"]}, "float64", "2-d arrays.* got 'b1'"),
    "no name": ({"arrays": [3]}, "float64", "names or patterns, got 3"),
    "others that are none": (
        {"others": lambda params, lr: None},
        "float64",
        r"others\(params, lr\) must be a gdopt.optim.Optimizer, got NoneType",
    ),
    "others of other arrays": (
        {"others": lambda params, lr: gdopt.SGD(np.ones(3), lr)},
        "float64",
        "others must update 'b1', 'gain', 'b2', got SGD",
    ),
    "others that skip": (
        {"others": partial(gdopt.AdamW, non_finite="skip")},
        "float64",
        "non_finite of others must be 'ignore', got 'skip'",
    ),
    "momentum": ({"momentum": 1.0}, "float64", r"momentum must be in \[0, 1\)"),
    "a rate for a vector": ({"lr": {"W1": 1.0, "b1": 1.0}}, "float64", "unknown 'b1'"),
}


@pytest.mark.parametrize("mistake", BAD)
def test_what_muon_cannot_do_is_refused(mistake):
    options, dtype, message = BAD[mistake]
    with pytest.raises((gdopt.ArgumentError, gdopt.ArgumentTypeError), match=message):
        gdopt.Muon(draw(0, dtype), **options)


def test_arrays_that_share_memory_are_refused():
    whole = np.ones((4, 3))
    with pytest.raises(gdopt.ArgumentError, match="overlap"):
        gdopt.Muon({"W": whole, "b": whole[0]})
    optimizer = gdopt.Muon({"W": whole, "b": np.ones(3)})
    with pytest.raises(gdopt.ArgumentError, match="must not share memory"):
        optimizer.step({"W": np.ones((4, 3)), "b": whole[0]})


def test_the_norm_is_that_of_all_arrays(engine):
    optimizer = after(gdopt.Muon(draw(0), rate, clip_norm=0.5, loss_scale=4.0), (1,))
    norm = np.sqrt(sum((g**2).sum() for g in draw(1).values()))
    np.testing.assert_allclose(optimizer.grad_norm, norm / 4, rtol=1e-15)
    alone = after(gdopt.Muon(draw(0), rate), (1,), scale=0.5 / norm)
    assert_same(optimizer, alone, rtol=1e-12)
    loose = after(gdopt.Muon(draw(0), rate, clip_norm=1e9, loss_scale=4.0), (1,))
    assert_same(loose, after(gdopt.Muon(draw(0), rate), (1,), scale=0.25), rtol=1e-12)


def test_the_average_is_that_of_all_arrays(engine):
    optimizer = gdopt.Muon(draw(0), rate, ema=0.75)
    expected = draw(0)
    for seed in (1, 2):
        after(optimizer, (seed,))
        for name, mean in expected.items():
            expected[name] = 0.75 * mean + 0.25 * optimizer.params[name]
    assert list(optimizer.average) == list(SHAPES)
    for name, mean in optimizer.average.items():
        np.testing.assert_allclose(mean, expected[name], rtol=1e-14)


@pytest.mark.parametrize("name", ["W2", "b2"])
def test_a_gradient_that_is_not_finite_skips_all_or_is_refused(name, everything):
    grads = draw(1)
    grads[name][..., -1] = np.nan
    optimizer = after(gdopt.Muon(draw(0), rate, non_finite="skip"))
    with everything(optimizer):
        assert optimizer.step(grads) is False
    optimizer = gdopt.Muon(draw(0), rate, non_finite="raise")
    with everything(optimizer), pytest.raises(gdopt.ArgumentError, match=repr(name)):
        optimizer.step(grads)
    assert gdopt.Muon(draw(0), rate).step(grads) is True


@pytest.mark.parametrize("of", ["muon", "others"])
def test_a_schedule_that_fails_changes_nothing(of, everything):
    def failing(step):
        return -1.0 if step == 2 else 0.1

    if of == "muon":
        optimizer = gdopt.Muon(draw(0), 0.1, weight_decay=failing)
    else:
        others = partial(gdopt.AdamW, weight_decay=failing)
        optimizer = gdopt.Muon(draw(0), 0.1, others=others)
    after(optimizer, (1, 2))
    with everything(optimizer), pytest.raises(gdopt.ArgumentError, match="at step 2"):
        optimizer.step(draw(3))


def test_a_rate_by_name_cannot_be_followed(everything):
    optimizer = gdopt.Muon(draw(0), {"W1": 0.1, "W2": 0.2})
    with everything(optimizer), pytest.raises(gdopt.ArgumentTypeError, match="follows"):
        optimizer.step(draw(1))
    own = partial(gdopt.Muon, others=lambda params, lr: gdopt.AdamW(params, 0.5))
    by_name = after(own(draw(0), {"W1": 0.1, "W2": 0.2}))
    assert_same(by_name, after(own(draw(0), 0.1)), ["W1", "b1", "gain", "b2"])
    assert_same(by_name, after(own(draw(0), 0.2)), ["W2"])


def test_an_array_of_decays_is_taken_element_by_element(numpy_engine):
    decay = np.array([0.0, 0.5, 1.0])
    params = {"W": np.ones((2, 3)), "b": np.ones(3)}
    optimizer = gdopt.Muon(params, 0.1, weight_decay=decay)
    optimizer.step({"W": np.zeros((2, 3)), "b": np.zeros(3)})
    np.testing.assert_allclose(params["W"], np.tile(1 - 0.1 * decay, (2, 1)))


def test_a_saved_run_goes_on_where_it_was(engine):
    whole = after(gdopt.Muon(draw(0), rate, ema=0.9), range(1, 7))
    half = after(gdopt.Muon(draw(0), rate, ema=0.9), range(1, 4))
    params = {name: array.copy() for name, array in half.params.items()}
    resumed = gdopt.Muon(params, rate, ema=0.9).load_state_dict(half.state_dict())
    assert_same(after(resumed, range(4, 7)), whole)
    assert resumed.t == resumed.others.t == 6


DAMAGED = {
    "no others": lambda saved: saved.pop("others"),
    "an array of others": lambda saved: saved["others"]["state"].pop("b2"),
    "a matrix": lambda saved: saved["state"].pop("W2"),
    "steps of others": lambda saved: saved["others"].update(t=2),
    "a decay out of range": lambda saved: saved["hyper"].update(weight_decay=-1.0),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_state_changes_nothing(damage, everything):
    saved = after(gdopt.Muon(draw(0), rate)).state_dict()
    DAMAGED[damage](saved)
    optimizer = after(gdopt.Muon(draw(5), rate), (6,))
    with everything(optimizer), pytest.raises(gdopt.StateError):
        optimizer.load_state_dict(saved)


def test_a_state_of_another_form_is_refused(numpy_engine):
    saved = gdopt.Muon(draw(0), nesterov=False).state_dict()
    with pytest.raises(gdopt.StateError, match=r"rule .* must be 'muon' to match"):
        gdopt.Muon(draw(0)).load_state_dict(saved)


def test_float32_stays_float32_where_gradients_are_clipped(numpy_engine):
    rule = gdopt.Muon(draw(0, "float32"), clip_norm=0.5).rule
    p, m, g = np.ones((3, 2, 2), np.float32)
    hyper = {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.1, "eps": 1e-7, "t": 1}
    results = rule(p, m, g, **hyper, clip_norm=0.5, norm=np.float64(2.0))
    assert {result.dtype.name for result in results} == {"float32"}


def test_arenas_are_taken(engine):
    params = gdopt.Arena.of(draw(0))
    optimizer, grads = gdopt.Muon(params, rate), params.like()
    for seed in (1, 2, 3):
        for name, g in draw(seed).items():
            grads[name] = g
        optimizer.step(grads)
    assert optimizer.params is params
    assert_same(optimizer, after(gdopt.Muon(draw(0), rate)))


def test_a_snapshot_restores_both_rules(numpy_engine):
    optimizer = after(gdopt.Muon(draw(0), 0.1, clip_norm=1.0), (1,))
    norm, restore = optimizer.grad_norm, optimizer.snapshot()
    optimizer.hyper["lr"] = 0.5
    optimizer.others.hyper["beta1"] = 0.5
    after(optimizer, (2,))
    restore()
    assert (optimizer.t, optimizer.others.t, optimizer.grad_norm) == (1, 1, norm)
    assert (optimizer.hyper["lr"], optimizer.others.hyper["beta1"]) == (0.1, 0.9)


def test_the_bytes_of_the_state_are_those_of_both_rules(numpy_engine):
    optimizer = gdopt.Muon(draw(0))
    parts = optimizer.state_arenas
    assert list(parts) == ["m", "others.m", "others.v"]
    assert optimizer.state_bytes == sum(arena.nbytes for arena in parts.values())


def test_the_rule_is_printed_with_its_source():
    text = str(gdopt.Muon(draw(0)).rule)
    assert "x = orthogonalize(" in text
    assert "momentum * m + (1 - momentum) * g" in text


def test_an_array_of_no_elements_is_left_alone(numpy_engine):
    params = {"none": np.zeros((0, 3)), "no columns": np.zeros((2, 0))}
    optimizer = gdopt.Muon(params)
    assert optimizer.step({n: np.zeros_like(p) for n, p in params.items()}) is True


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"clip_norm": 0.5, "loss_scale": 2.0},
        {"ema": 0.5, "non_finite": "skip", "bias_correction": True},
        {"non_finite": "raise", "nesterov": False, "adjust_lr": "match_rms_adamw"},
    ],
    ids=["plain", "clip", "skip", "raise"],
)
def test_on_the_device_steps_agree_to_rounding(options, dtype, cp):
    host = gdopt.Muon(draw(0, dtype), rate, **options)
    moved = {name: cp.asarray(array) for name, array in draw(0, dtype).items()}
    device = gdopt.Muon(moved, rate, **options)
    bad = draw(1, dtype)
    bad["b1"][0] = np.nan
    rows = [draw(seed, dtype) for seed in (1, 2, 3)]
    for row in [*rows, bad] if "ema" in options else rows:
        done = host.step(row)
        assert device.step({n: cp.asarray(g) for n, g in row.items()}) is done
    assert host.t == device.t == 3
    # The iteration multiplies a rounding by up to 500.
    atol = {"float32": 2e-5, "float64": 1e-13}[dtype]
    for name, array in host.params.items():
        np.testing.assert_allclose(device.params[name].get(), array, rtol=0, atol=atol)
        for state, expected in host.state[name].items():
            found = device.state[name][state].get()
            np.testing.assert_allclose(found, expected, rtol=1e-5, atol=atol)
    if "clip_norm" in options:
        np.testing.assert_allclose(float(device.grad_norm), host.grad_norm, rtol=1e-6)
