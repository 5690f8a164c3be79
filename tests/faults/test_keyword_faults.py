"""A keyword or a choice that there is not is refused, with what there is."""

import numpy as np
import pytest

import gdopt

ARGUMENT, KIND = gdopt.ArgumentError, gdopt.ArgumentTypeError

KEYWORDS = [
    (gdopt.Adagrad, "momentum", r"did you mean gdopt.SGD\(momentum=...\)"),
    (gdopt.Momentum, "momentum", r"did you mean beta, gdopt.SGD\(momentum=...\)"),
    (gdopt.Adagrad, "nesterov", r"did you mean gdopt.Nesterov\(beta"),
    (gdopt.SGD, "learning_rate", "did you mean lr"),
    (gdopt.Momentum, "dampening", r"did you mean gdopt.SGD\(momentum=...\)"),
    (gdopt.Momentum, "betta", "did you mean beta"),
    (gdopt.RMSprop, "alpha", r"did you mean lr, beta\?"),
    (gdopt.RMSprop, "rho", "did you mean beta"),
    (gdopt.Adam, "betas", r"did you mean beta1, beta2\?"),
    (gdopt.Adam, "beta_1", "did you mean beta1"),
    (gdopt.Adam, "epsilon", "did you mean eps"),
    (gdopt.Adam, "esp", "did you mean eps"),
    (gdopt.AdamW, "weight_decy", "did you mean weight_decay"),
    (gdopt.Adam, "clip_nrm", "did you mean clip_norm"),
    (gdopt.SGD, "clip", "did you mean clip_norm"),
    (gdopt.Nesterov, "master_weight", "did you mean master_weights"),
    (gdopt.Adam, "colour", r"\. Adam takes .* and the options of gdopt\.Opt"),
    (gdopt.Adam, "t", "Adam takes lr, beta1, beta2, eps"),
    (gdopt.Adam, "colour", "Adam takes lr, beta1, beta2, eps"),
]


@pytest.mark.parametrize(("kind", "keyword", "hint"), KEYWORDS)
def test_an_unknown_keyword_is_refused_with_the_nearest_known_one(kind, keyword, hint):
    message = rf"{kind.__name__} got an unknown keyword '{keyword}'.*{hint}"
    with pytest.raises(KIND, match=message):
        kind(np.ones(3), **{keyword: 0.5})


CHOICES = [
    (ARGUMENT, gdopt.Momentum, {"form": "nesterov"}, "form must be one of ewa, heav"),
    (ARGUMENT, gdopt.RMSprop, {"eps_mode": "raw"}, "eps_mode must be one of outside"),
    (ARGUMENT, gdopt.Adam, {"eps_mode": "outside"}, "eps_mode must be one of correc"),
    (ARGUMENT, gdopt.AdamW, {"eps_mode": None}, "eps_mode must be .* got None"),
    (ARGUMENT, gdopt.AdamW, {"eps_mode": ["raw"]}, "eps_mode must be .* got"),
    (
        ARGUMENT,
        gdopt.Momentum,
        {"form": "keras", "bias_correction": True},
        "bias_correction must be False for form 'keras'",
    ),
    (KIND, gdopt.Adam, {"bias_correction": "no"}, "bias_correction must be .* 'no'"),
    (KIND, gdopt.AdamW, {"bias_correction": "no"}, "bias_correction must be .* 'no'"),
    (KIND, gdopt.Momentum, {"bias_correction": 2}, "bias_correction must be .* got 2"),
    (KIND, gdopt.SGD, {"nesterov": 1}, "nesterov must be True or False, got 1"),
    (ARGUMENT, gdopt.SGD, {"nesterov": True}, "nesterov needs momentum .* got 0.0 and"),
    (
        ARGUMENT,
        gdopt.SGD,
        {"nesterov": True, "momentum": 0.9, "dampening": 0.5},
        "nesterov needs momentum .* got 0.9 and 0.5",
    ),
    (ARGUMENT, gdopt.SGD, {"dampening": 0.5}, "dampening needs momentum .* got 0.0"),
    (KIND, gdopt.SGD, {"momentum": True}, "momentum must be a number, got True"),
    (ARGUMENT, gdopt.RMSprop, {"form": "ewa"}, "form must be one of heavy_ball, keras"),
    (KIND, gdopt.RMSprop, {"centered": "yes"}, "centered must be .* got 'yes'"),
    (ARGUMENT, gdopt.RMSprop, {"eps": 0, "centered": True}, r"eps must be in \(0, inf"),
    (ARGUMENT, gdopt.RMSprop, {"eps": 0, "momentum": 0.9}, r"eps must be in \(0, inf"),
    (ARGUMENT, gdopt.RMSprop, {"eps": np.zeros(())}, r"eps must be in \(0, inf\)"),
    (ARGUMENT, gdopt.Adagrad, {"eps": 0.0}, r"eps must be in \(0, inf\)"),
    (ARGUMENT, gdopt.Adagrad, {"eps_mode": "raw"}, "eps_mode must be one of outside"),
    (
        ARGUMENT,
        gdopt.Adagrad,
        {"initial_accumulator": -0.1},
        r"initial_accumulator must be in \[0, inf\)",
    ),
    (
        ARGUMENT,
        gdopt.Adagrad,
        {"initial_accumulator": 1e-60, "eps": 0.0},
        "initial_accumulator must be 0 or at least 1.18e-38, got 1e-60",
    ),
    (ARGUMENT, gdopt.FTRL, {"initial_accumulator": 0.0}, r"beta must be in \(0, inf\)"),
    (ARGUMENT, gdopt.FTRL, {"lr": 0.0}, r"lr must be in \(0, inf\)"),
    (ARGUMENT, gdopt.FTRL, {"lr_power": 0.5}, r"lr_power must be in \(-inf, 0\]"),
    (ARGUMENT, gdopt.Adamax, {"eps_mode": "raw"}, "eps_mode must be one of inside"),
    (ARGUMENT, gdopt.Adam, {"amsgrad_form": "keras"}, "amsgrad_form must be one of to"),
    (
        ARGUMENT,
        gdopt.Adam,
        {"amsgrad": True, "nesterov": True},
        "nesterov must be False with amsgrad",
    ),
    (
        ARGUMENT,
        gdopt.AdamW,
        {"amsgrad": True, "eps_mode": "inside"},
        "amsgrad, form torch, needs bias_correction True and eps_mode corrected or raw",
    ),
    (
        ARGUMENT,
        gdopt.Adam,
        {"nesterov": True, "bias_correction": False},
        "nesterov needs bias_correction True and eps_mode corrected, got False and cor",
    ),
    (KIND, gdopt.Yogi, {"bias_correction": 1}, "bias_correction must be .* got 1"),
    (KIND, gdopt.ADOPT, {"clip": 1.0}, "clip must be True or False, got 1.0"),
    (ARGUMENT, gdopt.Rprop, {"eta_plus": 1.0}, r"eta_plus must be in \(1, inf\)"),
    (ARGUMENT, gdopt.SGD, {"non_finite": "warn"}, "non_finite must be .* got 'warn'"),
]


@pytest.mark.parametrize(("error", "kind", "choice", "message"), CHOICES)
def test_a_choice_that_there_is_not_is_refused(error, kind, choice, message):
    with pytest.raises(error, match=message):
        kind(np.ones(3), **choice)


def test_a_rule_of_ones_own_must_be_given_its_scalars():
    def plain(p, g, *, lr):
        return p - lr * g

    optimizer = gdopt.Optimizer(np.ones(3), rule=plain)
    with pytest.raises(KIND, match="step needs lr: the rule takes it and it was not"):
        optimizer.step(np.ones(3))


def test_zero_is_an_epsilon_where_nothing_is_divided_by_zero(engine):
    gradient = np.array([0.0, 2.0])
    p = np.ones(2)
    optimizer = gdopt.RMSprop(p, 0.5, beta=0.75, eps=0)
    optimizer.step(gradient)
    assert p.tolist() == [1.0, 0.0]  # 0 / 0 gives no step; 2 / sqrt(.25 4) is 2
    assert "eps" not in optimizer.hyper
    p = np.ones(2)
    optimizer = gdopt.Adagrad(p, 0.5, eps=0.0, initial_accumulator=4.0)
    optimizer.step(np.array([0.0, np.sqrt(12.0)]))
    np.testing.assert_allclose(p, [1.0, 1 - 0.5 * np.sqrt(12) / 4], rtol=1e-15)
    optimizer.hyper["eps"] = 0.0


@pytest.mark.parametrize("kind", gdopt.optim.OPTIMIZERS.values())
def test_the_rate_may_come_second(kind):
    assert kind(np.ones((1, 3)), 0.25).hyper["lr"] == 0.25
    with pytest.raises(TypeError, match="positional argument"):
        kind(np.ones((1, 3)), 0.25, 0.5)
