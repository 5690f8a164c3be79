"""Hyper-parameters and frozen arrays are chosen by name or by pattern."""

import numpy as np
import pytest

import gdopt

pytestmark = pytest.mark.newest

NAMES = ("W1", "b1", "W2", "b2", "bias[1]")


def fresh():
    return {name: np.zeros(2) for name in NAMES}


def rates(lr, params=None, **options):
    """Return what each array moves by in one step with gradients of 1."""
    params = fresh() if params is None else params
    optimizer = gdopt.SGD(params, lr=lr, **options)
    optimizer.step({name: np.ones(2) for name in params})
    return {name: -float(array[0]) for name, array in params.items()}


def test_a_pattern_sets_all_arrays_that_it_matches(engine):
    assert rates({"b*": 2.0, "*": 1.0}) == {
        "W1": 1.0,
        "b1": 2.0,
        "W2": 1.0,
        "b2": 2.0,
        "bias[1]": 2.0,
    }


def test_the_first_matching_pattern_wins(engine):
    assert set(rates({"*": 1.0, "b*": 2.0}).values()) == {1.0}
    assert rates({"?2": 3.0, "W*": 2.0, "*": 1.0})["W2"] == 3.0


def test_an_exact_name_takes_precedence_wherever_it_stands(engine):
    found = rates({"*": 1.0, "b1": 2.0, "bias[1]": 3.0})
    assert found == {"W1": 1.0, "b1": 2.0, "W2": 1.0, "b2": 1.0, "bias[1]": 3.0}


def test_a_name_with_the_signs_of_a_pattern_is_a_name(engine):
    params = {"bias[1]": np.zeros(2), "bias1": np.zeros(2)}
    assert rates({"bias[1]": 2.0, "*": 1.0}, params) == {"bias[1]": 2.0, "bias1": 1.0}


def test_patterns_are_case_sensitive():
    with pytest.raises(gdopt.ArgumentError, match=r"unknown 'w\*'"):
        gdopt.SGD(fresh(), lr={"w*": 1.0, "*": 2.0})


def test_positions_are_names_that_patterns_match(engine):
    params = [np.zeros(2) for _ in range(12)]
    gdopt.SGD(params, lr={"1?": 3.0, "0": 2.0, "*": 1.0}).step([np.ones(2)] * 12)
    assert [-float(array[0]) for array in params] == [2.0] + [1.0] * 9 + [3.0] * 2


def test_a_pattern_that_matches_nothing_is_refused(unchanged):
    message = r"^lr must have .*unknown 'bais\*'; .* 'W1', 'b1', 'W2', 'b2', 'bias\[1\]"
    with pytest.raises(gdopt.ArgumentError, match=message):
        gdopt.SGD(fresh(), lr={"bais*": 1.0, "*": 2.0})
    optimizer = gdopt.SGD(fresh())
    with unchanged(optimizer), pytest.raises(gdopt.ArgumentError, match=message):
        optimizer.hyper["lr"] = {"bais*": 1.0, "*": 2.0}
    with pytest.raises(gdopt.ArgumentTypeError, match=r"names or patterns .* got 0"):
        gdopt.SGD([np.zeros(2)], lr={0: 1.0})


def test_an_array_that_nothing_matches_is_refused():
    message = "lr must have .*: missing 'b1', 'b2', .*; \"\\*\" stands for all others"
    with pytest.raises(gdopt.ArgumentError, match=message):
        gdopt.SGD(fresh(), lr={"W*": 1.0})


def test_arrays_that_nothing_matches_do_not_decay(engine):
    optimizer = gdopt.AdamW(fresh(), weight_decay={"W*": 0.5})
    zeros = {"b1": 0.0, "b2": 0.0, "bias[1]": 0.0}
    assert optimizer.hyper["weight_decay"] == {"W1": 0.5, "W2": 0.5, **zeros}
    plain = gdopt.AdamW(fresh(), weight_decay=dict.fromkeys(NAMES, 0.0))
    for one in (optimizer, plain):
        for array in one.params.values():
            array[...] = 1.0
        one.step({name: np.ones(2) for name in NAMES})
    for name in NAMES:
        same = np.array_equal(optimizer.params[name], plain.params[name])
        assert same == (name in zeros)


def test_a_pattern_takes_every_kind_of_setting(engine):
    rate = np.array(3.0)
    given = {"W1": lambda step: 1.0 + step, "W*": rate, "b?": np.float32(2.0), "*": 4}
    params = fresh()
    optimizer = gdopt.SGD(params, lr=given)
    assert optimizer.hyper["lr"] == {
        "W1": 1.0,
        "b1": 2.0,
        "W2": 3.0,
        "b2": 2.0,
        "bias[1]": 4.0,
    }
    grads = {name: np.ones(2) for name in NAMES}
    optimizer.step(grads)
    rate[...] = 30.0
    optimizer.step(grads)
    moved = [-float(array[0]) for array in params.values()]
    assert moved == [1.0 + 2.0, 4.0, 3.0 + 30.0, 4.0, 8.0]
    optimizer.hyper["lr"] = {"W*": np.array([1.0, 0.0]), "*": 2.0}
    optimizer.step(grads)
    assert params["W2"].tolist() == [-34.0, -33.0]


def test_a_schedule_for_many_arrays_is_read_once_a_step():
    seen = []

    def rate(step):
        seen.append(step)
        return 1.0

    optimizer = gdopt.SGD(fresh(), lr={"W*": rate, "*": 2.0})
    for _ in range(2):
        optimizer.step({name: np.ones(2) for name in NAMES})
    assert seen == [0, 1]


def test_a_pattern_gives_the_bits_of_names_in_every_layout(engine):
    generator = np.random.default_rng(5)
    start = {name: generator.standard_normal((3, 2)) for name in NAMES}
    grads = {name: generator.standard_normal((3, 2)) for name in NAMES}
    by_name = {name: 0.1 if name.startswith("W") else 0.3 for name in NAMES}
    found = []
    for given in (by_name, {"W*": 0.1, "*": 0.3}):
        for params in ({n: a.copy() for n, a in start.items()}, gdopt.Arena.of(start)):
            own = grads if isinstance(params, dict) else params.like()
            for name in NAMES:
                own[name][...] = grads[name]
            optimizer = gdopt.Adam(params, lr=given)
            for _ in range(3):
                optimizer.step(own)
            found.append([array.tobytes() for array in params.values()])
    assert found == found[:1] * 4


def test_settings_print_as_they_were_given():
    optimizer = gdopt.AdamW(
        fresh(), lr={"b*": 1e-2, "*": 1e-3}, weight_decay={"W*": 0.01}
    )
    assert "lr={'b*': 0.01, '*': 0.001}, beta1=0.9" in repr(optimizer)
    assert optimizer.hyper.text().endswith("weight_decay={'W*': 0.01}")


def test_patterns_are_saved_and_loaded_as_they_were_given():
    saved = gdopt.AdamW(fresh(), weight_decay={"W*": 0.5}).state_dict()
    assert saved["hyper"]["weight_decay"] == {"W*": 0.5}
    other = gdopt.AdamW(fresh()).load_state_dict(saved)
    assert "weight_decay={'W*': 0.5}" in repr(other)
    assert other.hyper["weight_decay"]["W2"] == 0.5
    assert other.hyper["weight_decay"]["b2"] == 0.0


def test_an_option_that_is_a_hyper_parameter_takes_patterns(engine):
    params = fresh()
    optimizer = gdopt.SGD(params, lr=1.0, ema={"W*": 0.0, "*": 0.5})
    optimizer.step({name: np.ones(2) for name in NAMES})
    assert optimizer.average["W1"].tolist() == [-1.0, -1.0]
    assert optimizer.average["b1"].tolist() == [-0.5, -0.5]


def test_what_is_one_for_all_arrays_takes_no_pattern():
    with pytest.raises(gdopt.ArgumentTypeError, match="clip_norm must be one value"):
        gdopt.SGD(fresh(), clip_norm={"*": 1.0})


@pytest.mark.gpu
def test_patterns_hold_on_a_gpu(cp):
    params = {name: cp.zeros(2) for name in NAMES}
    optimizer = gdopt.SGD(params, lr={"b1": 4.0, "b*": cp.array(2.0), "*": 1.0})
    for factor in (1.0, 0.5):
        optimizer.hyper["lr"] = {"b1": 4.0, "b*": cp.array(2 * factor), "*": factor}
        optimizer.step({name: cp.ones(2) for name in NAMES})
    moved = {name: -float(array[0]) for name, array in params.items()}
    assert moved == {"W1": 1.5, "b1": 8.0, "W2": 1.5, "b2": 3.0, "bias[1]": 3.0}


@pytest.mark.parametrize("kind", [gdopt.AdamW, gdopt.Muon, gdopt.Optimizer])
def test_torch_s_groups_are_answered_with_the_line_to_write(kind, numpy_engine):
    groups = [
        {"params": [np.ones((2, 2)), np.ones(2)], "lr": 0.5},
        {"params": (np.ones(2) for _ in range(2)), "weight_decay": 0.0},
    ]
    more = {"lr": 0.25}
    if kind is gdopt.Optimizer:
        more |= {"rule": scaled, "weight_decay": 0.1}
    elif kind is gdopt.Muon:
        groups = [{**group, "params": [np.ones((2, 2))]} for group in groups]
    with pytest.raises(gdopt.ArgumentTypeError) as caught:
        kind(groups, **more)
    _, line = str(caught.value).split("got torch's groups: write ")
    names = {"groups": groups, kind.__name__: kind, "rule": scaled}
    optimizer = eval(line, names)  # noqa: S307 - the line that a user would write
    rates = {name: 0.5 if name.startswith("0") else 0.25 for name in optimizer.params}
    assert optimizer.lr == rates
    assert optimizer.hyper["weight_decay"]["1.0"] == 0.0
    assert optimizer.hyper["weight_decay"]["0.0"] > 0.0


def scaled(p, g, *, lr, weight_decay):
    return p - lr * (g + weight_decay * p)


OPTIONS = {  # by pattern, and the same for each of the arrays W1, b1, W2, b2, bias[1]
    "clip_value": ({"W*": 0.5, "*": 2.0}, [0.5, 2.0, 0.5, 2.0, 2.0]),
    "clip_each": ({"*2": 0.5, "*": 2.0}, [2.0, 2.0, 0.5, 0.5, 2.0]),
    "agc": ({"b*": 0.5, "*": 1.0}, [1.0, 0.5, 1.0, 0.5, 0.5]),
    "ema": ({"W1": 0.5, "*": 0.25}, [0.5, 0.25, 0.25, 0.25, 0.25]),
    "weight_decay": ({"W*": 0.5}, [0.5, 0.0, 0.5, 0.0, 0.0]),
    "bounds": (
        {"W*": (-1, 0), "*": (-2, 9)},
        [(-1, 0), (-2, 9), (-1, 0), *[(-2, 9)] * 2],
    ),
}
NEEDED = {"agc": {"unit_axis": 0}, "weight_decay": {"decay_mode": "coupled"}}


@pytest.mark.parametrize("name", OPTIONS)
def test_an_option_by_pattern_is_that_option_by_name(name, numpy_engine):
    by_pattern, each = OPTIONS[name]
    found = []
    for given in (by_pattern, dict(zip(NAMES, each, strict=True)), each[0]):
        params = {key: np.full(2, 3.0) for key in NAMES}
        more = {name: given} | NEEDED.get(name, {})
        optimizer = gdopt.SGD(params, lr=1.0, **more)
        optimizer.step({key: np.array([3.0, -3.0]) for key in NAMES})
        averages = optimizer.average if name == "ema" else {}
        found.append([a.tolist() for a in (*params.values(), *averages.values())])
    assert found[0] == found[1] != found[2]
