"""Bias and variance: the course's examples, the limits and the advice."""

import pytest

import gdopt
from gdopt.training.diagnosis import bias_variance


@pytest.mark.parametrize(
    ("train", "dev", "verdict"),
    [  # Ng, "Bias / Variance": a cat classifier, where people make no errors
        (0.01, 0.11, "high variance"),
        (0.15, 0.16, "high bias"),
        (0.15, 0.30, "high bias and high variance"),
        (0.005, 0.01, "neither"),
    ],
)
def test_the_courses_examples(train, dev, verdict):
    assert bias_variance(train, dev).verdict == verdict


def test_what_cannot_be_avoided_is_no_bias():
    # The course's blurred pictures, on which people err in 15 of 100.
    found = bias_variance(0.15, 0.16, base_error=0.15)
    assert found.verdict == "neither"
    assert (found.bias, found.variance) == (0.0, pytest.approx(0.01))
    assert bias_variance(0.10, 0.11, base_error=0.15).verdict == "neither"


def test_bias_and_variance_have_their_own_advice():
    bias, variance = bias_variance(0.15, 0.16), bias_variance(0.01, 0.11)
    assert "bigger network" in bias.advice[0]
    assert "train longer" in bias.advice[1]
    assert "more data" in variance.advice[0]
    assert "regularization" in variance.advice[1]
    assert set(bias.advice) & set(variance.advice) == {"another architecture"}


def test_both_at_once_are_advised_for_once_bias_first():
    found = bias_variance(0.15, 0.30)
    assert found.advice[0] == bias_variance(0.15, 0.16).advice[0]
    assert set(found.advice) == {
        *bias_variance(0.15, 0.16).advice,
        *bias_variance(0.01, 0.11).advice,
    }
    assert len(found.advice) == len(set(found.advice))


def test_the_limits_are_exclusive_and_can_be_moved():
    assert bias_variance(0.25, 0.25, bias_limit=0.25).verdict == "neither"
    assert bias_variance(0.2501, 0.25, bias_limit=0.25).verdict == "high bias"
    assert bias_variance(0.0, 0.25, variance_limit=0.25).verdict == "neither"
    assert bias_variance(0.0, 0.26, variance_limit=0.25).verdict == "high variance"
    assert bias_variance(0.029, 0.058).verdict == "neither"
    assert bias_variance(0.031, 0.0625).verdict == "high bias and high variance"


def test_a_dev_set_that_is_easier_is_reported():
    found = bias_variance(0.02, 0.02 - 0.015)
    assert found.verdict == "neither"
    assert "measure the test error" in found.advice[0]
    found = bias_variance(0.2, 0.1)
    assert found.verdict == "high bias"
    assert "see whether both come from one distribution" in found.advice[-1]


def test_it_reads_as_a_sentence_and_a_list():
    lines = str(bias_variance(0.01, 0.11)).splitlines()
    assert lines[0] == (
        "high variance: training error 1.00%, +1.00% from the base error 0.00%; dev "
        "error 11.00%, +10.00% from the training error"
    )
    assert len(lines) == 4
    assert all(line.startswith("- ") for line in lines[1:])


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"train_error": 15}, gdopt.ArgumentError, r"train_error must be in \[0, 1\]"),
        ({"dev_error": -0.1}, gdopt.ArgumentError, r"dev_error must be in \[0, 1\]"),
        ({"dev_error": float("nan")}, gdopt.ArgumentError, "dev_error must be in"),
        ({"base_error": 2}, gdopt.ArgumentError, "base_error must be in"),
        ({"bias_limit": -1}, gdopt.ArgumentError, "bias_limit must be in"),
        ({"variance_limit": 3}, gdopt.ArgumentError, "variance_limit must be in"),
        (
            {"train_error": "1%"},
            gdopt.ArgumentTypeError,
            "train_error must be a number",
        ),
        (
            {"train_error": True},
            gdopt.ArgumentTypeError,
            "train_error must be a number",
        ),
    ],
)
def test_what_is_no_share_is_refused(given, error, message):
    with pytest.raises(error, match=message):
        bias_variance(**{"train_error": 0.1, "dev_error": 0.1, **given})
