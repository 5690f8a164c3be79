"""A keyword or a choice that there is not is refused, with what there is."""

import numpy as np
import pytest

import gdopt

ARGUMENT, KIND = gdopt.ArgumentError, gdopt.ArgumentTypeError

KEYWORDS = [
    (gdopt.SGD, "momentum", r"did you mean gdopt.Momentum\(beta=...\), gdopt.N"),
    (gdopt.SGD, "nesterov", r"did you mean gdopt.Nesterov\(beta"),
    (gdopt.SGD, "weight_decay", r"did you mean gdopt.AdamW\(weight_decay=...\)"),
    (gdopt.SGD, "learning_rate", "did you mean lr"),
    (gdopt.Momentum, "dampening", 'did you mean gdopt.Momentum.form="ewa".'),
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
    (ARGUMENT, gdopt.SGD, {"non_finite": "warn"}, "non_finite must be .* got 'warn'"),
]


@pytest.mark.parametrize(("error", "kind", "choice", "message"), CHOICES)
def test_a_choice_that_there_is_not_is_refused(error, kind, choice, message):
    with pytest.raises(error, match=message):
        kind(np.ones(3), **choice)


def test_a_rule_of_ones_own_must_be_given_its_scalars():
    def plain(p, g, *, lr):
        return p - lr * g

    with pytest.raises(KIND, match="Optimizer needs lr, a number or a schedule"):
        gdopt.Optimizer(np.ones(3), rule=plain)
