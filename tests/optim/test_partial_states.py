"""A saved state is loaded without its settings, or as far as it fits, if asked."""

import re
import warnings

import numpy as np
import pytest

import gdopt
from gdopt import schedules

pytestmark = pytest.mark.newest

GENERATOR = np.random.default_rng(29)
START = {"W": GENERATOR.standard_normal((3, 2)), "b": GENERATOR.standard_normal(2)}
ROWS = [
    {name: GENERATOR.standard_normal(array.shape) for name, array in START.items()}
    for _ in range(4)
]


def make(kind=gdopt.Adam, **options):
    return kind({name: array.copy() for name, array in START.items()}, **options)


def trained(kind=gdopt.Adam, **options):
    optimizer = make(kind, **options)
    for row in ROWS:
        optimizer.step(row)
    return optimizer


def assert_same_state(one, other, names=("W", "b")):
    for name in names:
        for state, array in other.state[name].items():
            np.testing.assert_array_equal(one.state[name][state], array, strict=True)


OTHER_SETTINGS = {
    "another rate": {"lr": 0.5},
    "a schedule": {"lr": schedules.cosine(0.5, 0, steps=9)},
    "a rate by name": {"lr": {"W": 0.5, "*": 0.1}},
    "an option more": {"lr": 0.5, "clip_norm": 1.0},
}


@pytest.mark.parametrize("case", OTHER_SETTINGS)
@pytest.mark.parametrize("before", [{}, {"loss_scale": 2.0}, {"lr": lambda _: 0.1}])
def test_without_settings_a_state_fits_other_settings(case, before, numpy_engine):
    first, settings = trained(**before), OTHER_SETTINGS[case]
    second = make(**settings)
    text = second.hyper.text()
    assert second.load_state_dict(first.state_dict(), hyper=False) is second
    assert second.t == 4
    assert second.hyper.text() == text
    assert_same_state(second, first)
    for name, array in first.params.items():
        second.params[name][...] = array
    second.step(ROWS[0])
    expected = trained(**before)
    saved = expected.state_dict()
    third = make(**settings)
    for name, array in expected.params.items():
        third.params[name][...] = array
        for state in ("m", "v"):
            third.state[name][state][...] = saved["state"][name][state]
    third._counter.t = 4
    third.step(ROWS[0])
    for name in START:
        np.testing.assert_array_equal(second.params[name], third.params[name])


SUGGESTED = {
    "a schedule for a number": ({}, {"lr": lambda _: 0.5}, "unknown 'lr'"),
    "a number for a schedule": ({"lr": lambda _: 0.5}, {}, "missing 'lr'"),
    "a form more": ({}, {"ema": 0.5}, "must be 'adam_ema' to match, got 'adam'"),
    "a form less": ({"lookahead": (2, 0.5)}, {}, "be 'adam' to match, got 'adam_look"),
    "another form": ({"swa_start": 1}, {"ema": 0.5}, "'adam_ema' .* got 'adam_swa'"),
    "a schedule for the number of an option": (
        {"clip_norm": 1.0},
        {"clip_norm": lambda _: 0.5},
        "unknown 'clip_norm'",
    ),
    "a number for the schedule of a form": (
        {"ema": lambda _: 0.5},
        {"ema": 0.5},
        "missing 'ema'",
    ),
    "names that are not there": (
        {"lr": {"W": 0.1, "b": 0.2}},
        {"params": {"W": np.zeros((3, 2))}},
        "lr must have the names of the parameters: unknown 'b'",
    ),
}


@pytest.mark.parametrize("case", SUGGESTED)
def test_an_error_about_settings_suggests_to_leave_them(case, unchanged, numpy_engine):
    before, after, message = SUGGESTED[case]
    saved = trained(**before).state_dict()
    if "params" in after:
        second = gdopt.Adam(after["params"])
        del saved["state"]["b"]
    else:
        second = make(**after)
    message = f"{message}.*; load_state_dict.state, hyper=False. keeps the settings"
    with unchanged(second), pytest.raises(gdopt.StateError, match=message):
        second.load_state_dict(saved)
    second.load_state_dict(saved, hyper=False)
    assert second.t == 4


NOT_COMPARED = {
    "clip_norm": ({"clip_norm": 1.0}, {}),
    "several": (
        {"clip_value": 1.0, "maximize": True},
        {"agc": 0.1, "unit_axis": 0, "clip_each": 2.0, "loss_scale": 4.0},
    ),
    "weight decay": (
        {"weight_decay": 0.1, "decay_mode": "coupled"},
        {"weight_decay": 0.2, "decay_mode": "decoupled", "bounds": (-1, 1)},
    ),
    "a dynamic loss scale": ({"loss_scale": "dynamic"}, {"non_finite": "skip"}),
    "around a form": (
        {"ema": 0.5, "lookahead": (2, 0.5), "clip_norm": 1.0},
        {"ema": 0.5, "lookahead": (2, 0.5), "maximize": True, "bounds": (-9, 9)},
    ),
    "several gradients": (
        {"accumulate": 2, "loss_scale": 2.0},
        {"accumulate": 2, "clip_value": 1.0},
    ),
}


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("case", NOT_COMPARED)
def test_options_that_do_not_decide_what_state_is_may_differ(
    case, turned, numpy_engine
):
    before, after = NOT_COMPARED[case][:: -1 if turned else 1]
    first, second = trained(lr=0.5, **before), make(**after)
    own = dict(second.hyper)
    assert second.load_state_dict(first.state_dict()) is second
    assert_same_state(second, first)
    assert (second.t, second.lr) == (first.t, 0.5)
    for name in own:  # settings of options on both sides are taken over
        theirs = first.hyper if name in first.hyper else own
        assert second.hyper[name] == theirs[name]


def test_a_state_names_neither_options_nor_their_rule(numpy_engine):
    options = {"clip_norm": 1.0, "maximize": True, "loss_scale": 2.0}
    saved = trained(**options).state_dict()
    assert (saved["rule"], "inner_rule" in saved) == ("adam", False)
    saved = trained(**options, ema=0.5).state_dict()
    assert (saved["rule"], saved["inner_rule"]) == ("adam_ema", "adam")


def test_the_decay_that_a_rule_has_of_its_own_is_compared(unchanged, numpy_engine):
    saved = trained(gdopt.AdamW).state_dict()
    second = make(gdopt.AdamW, weight_decay=lambda _: 0.1)
    with unchanged(second), pytest.raises(gdopt.StateError, match="unknown 'weight_d"):
        second.load_state_dict(saved)
    saved = second.state_dict()
    with pytest.raises(gdopt.StateError, match="missing 'weight_decay'"):
        make(gdopt.AdamW).load_state_dict(saved)


FORMAT_1 = {
    "adam_clip_norm_loss_scale": {"clip_norm": 1.0, "loss_scale": 2.0},
    "adam_accumulate_decoupled_weight_decay_ema": {
        "accumulate": 2,
        "weight_decay": 0.1,
        "decay_mode": "decoupled",
        "ema": 0.5,
    },
    "adam_agc_bounds_clip_each_clip_value_lookahead_maximize_swa": {
        "agc": 1.0,
        "unit_axis": 0,
        "bounds": (-9, 9),
        "clip_each": 1.0,
        "clip_value": 1.0,
        "lookahead": (2, 0.5),
        "maximize": True,
        "swa_start": 1,
    },
}


@pytest.mark.parametrize("rule", FORMAT_1)
def test_a_state_of_format_1_that_names_all_options_is_loaded(
    rule, unchanged, numpy_engine
):
    first = trained(**FORMAT_1[rule])
    assert first.rule.name == rule
    saved = first.state_dict() | {"format": 1, "rule": rule, "inner_rule": "adam"}
    second = make(**FORMAT_1[rule]).load_state_dict(saved)
    assert_same_state(second, first)
    other = make(beta1=0.5, ema=0.25, lookahead=(3, 0.5), accumulate=3)
    wanted = "must be 'adam_accumulate_ema_lookahead' to match, got 'adam"
    with unchanged(other), pytest.raises(gdopt.StateError, match=wanted):
        other.load_state_dict(saved)


@pytest.mark.parametrize("rule", ["adamw", "adam_more", "adam_", 3, None])
def test_a_damaged_name_of_a_rule_is_refused(rule, unchanged, numpy_engine):
    saved = trained(clip_norm=1.0).state_dict()
    for damage in ({"rule": rule}, {"rule": rule, "inner_rule": "adam"}):
        second = make(clip_norm=1.0)
        with unchanged(second), pytest.raises(gdopt.StateError, match="rule of the sa"):
            second.load_state_dict(saved | damage)


@pytest.mark.parametrize(
    "how", [{"hyper": False}, {"strict": False}, {"hyper": False, "strict": False}]
)
@pytest.mark.parametrize("options", [{}, {"ema": 0.5}])
def test_another_rule_is_refused_all_the_same(how, options, unchanged, numpy_engine):
    saved = trained(gdopt.AdamW, **options).state_dict()
    for after in ({}, {"ema": 0.5}):
        second = make(**after)
        message = "rule of the saved state must be 'adam' to match, got 'adamw'$"
        with unchanged(second), pytest.raises(gdopt.StateError, match=message):
            second.load_state_dict(saved, **how)


OPTIONS = {
    "ema": 0.5,
    "lookahead": (2, 0.5),
    "accumulate": 2,
    "loss_scale": "dynamic",
    "clip_norm": 1.0,
    "swa_start": 1,
}


@pytest.mark.parametrize("name", OPTIONS)
def test_without_settings_a_state_fits_other_options(name, numpy_engine):
    plain, option = trained(), {name: OPTIONS[name]}
    second = make(**option)
    before = second.state_dict()
    second.load_state_dict(plain.state_dict(), hyper=False)
    assert second.t == 4
    for key in START:
        for state, array in second.state[key].items():
            source = plain.state[key].get(state, before["state"][key].get(state))
            np.testing.assert_array_equal(array, source)
    first = trained(**option)
    third = make().load_state_dict(first.state_dict(), hyper=False)
    assert third.t == first.t
    for key in START:
        for state in ("m", "v"):
            same = first.state[key][state]
            np.testing.assert_array_equal(third.state[key][state], same)
    fourth = make(**option, lr=0.5).load_state_dict(first.state_dict(), hyper=False)
    assert_same_state(fourth, first)


def test_what_does_not_fit_is_refused_without_settings(unchanged, numpy_engine):
    saved, second = trained().state_dict(), make()
    for damaged in (
        {**saved, "more": 1},
        {**saved, "state": {"W": saved["state"]["W"]}},
        {**saved, "state": {**saved["state"], "b": {"m": np.zeros(2)}}},
    ):
        with unchanged(second), pytest.raises(gdopt.StateError, match="keys"):
            second.load_state_dict(damaged, hyper=False)


def test_what_matches_is_loaded_and_the_rest_named(numpy_engine):
    first = trained(clip_norm=1.0, lr=0.5, beta1=0.8)
    params = {
        "W": np.zeros((3, 2)),
        "b": np.zeros(2, np.float32),
        "c": np.zeros(5),
    }
    second = gdopt.Adam(params, lr=lambda _: 0.25)
    with pytest.warns(gdopt.StateWarning) as caught:
        assert second.load_state_dict(first.state_dict(), strict=False) is second
    (found,) = [warning.message for warning in caught]
    assert set(found.missing) == {"state.b.m", "state.b.v", "state.c"}
    assert set(found.unexpected) == {
        "hyper.lr",
        "hyper.clip_norm",
        "state.b.m",
        "state.b.v",
    }
    assert re.search("in part: missing .*state.c.*; unexpected .*hyper.lr", str(found))
    assert_same_state(second, first, ["W"])
    assert not any(second.state[name]["m"].any() for name in ("b", "c"))
    assert (second.t, second.lr, second.beta1) == (4, 0.25, 0.8)


def test_a_setting_by_name_is_loaded_as_a_whole(numpy_engine):
    saved = make(gdopt.AdamW, weight_decay={"W": 0.5}).state_dict()
    second = make(gdopt.AdamW, weight_decay={"b": 0.25, "W": 0.125})
    second.load_state_dict(saved, strict=False)
    assert second.hyper["weight_decay"] == {"W": 0.5, "b": 0.0}


def test_a_state_that_fits_is_loaded_without_a_warning(numpy_engine):
    first = trained(ema=0.5)
    second = make(ema=0.5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        second.load_state_dict(first.state_dict(), strict=False)
    assert_same_state(second, first)
    assert second.t == 4


def test_an_option_s_state_may_be_missing_or_too_many(numpy_engine):
    plain, averaging = trained(), trained(ema=0.5)
    second = make()
    with pytest.warns(gdopt.StateWarning, match="unexpected .*state.W.average"):
        second.load_state_dict(averaging.state_dict(), strict=False)
    assert_same_state(second, plain)
    second = make(ema=0.5)
    with pytest.warns(gdopt.StateWarning, match="missing .*state.W.average"):
        second.load_state_dict(plain.state_dict(), strict=False)
    assert_same_state(second, plain, ["W"][:0])
    np.testing.assert_array_equal(second.state["W"]["m"], plain.state["W"]["m"])
    np.testing.assert_array_equal(second.average["W"], START["W"])


def test_damage_is_refused_even_where_not_all_must_fit(unchanged, numpy_engine):
    saved, second = trained().state_dict(), make()
    for damaged in (
        None,
        {**saved, "t": -1},
        {**saved, "format": 3},
        {**saved, "state": None},
        {**saved, "hyper": {**saved["hyper"], "lr": -1.0}},
    ):
        with unchanged(second), pytest.raises(gdopt.StateError):
            second.load_state_dict(damaged, strict=False)


def test_parameters_saved_beside_averages_come_back(numpy_engine):
    first = trained(ema=0.5)
    trained_to = {name: array.copy() for name, array in first.params.items()}
    with first.averaged():
        saved = first.state_dict()
    second = make(ema=0.5).load_state_dict(saved, strict=False)
    for name, array in trained_to.items():
        np.testing.assert_array_equal(second.params[name], array)


def test_muon_and_its_others_are_loaded_in_part(numpy_engine):
    first = trained(gdopt.Muon, lr=0.1)
    second = make(gdopt.Muon, lr=0.2)
    second.load_state_dict(first.state_dict(), hyper=False)
    assert_same_state(second, first)
    assert (second.lr, second.others.lr, second.others.t) == (0.2, 0.2, 4)
    third = gdopt.Muon({"W": np.zeros((3, 2)), "b": np.zeros(7)})
    with pytest.warns(gdopt.StateWarning, match="missing others.state.b.m, .*b.v; "):
        third.load_state_dict(first.state_dict(), strict=False)
    assert_same_state(third, first, ["W"])
    assert (third.lr, third.t, third.others.t) == (0.1, 4, 4)
