import pytest

import gdopt
from gdopt.tune import (
    Space,
    course_space,
    log_one_minus,
    log_uniform,
    power_of_two,
    uniform,
    uniform_int,
)


def test_the_course_has_its_order_and_its_scales():
    assert list(course_space().items()) == [
        ("learning_rate", log_uniform(1e-4, 1)),
        ("beta", log_one_minus(0.9, 0.999)),
        ("hidden_units", uniform_int(50, 100)),
        ("batch_size", power_of_two(64, 512)),
        ("layers", uniform_int(2, 4)),
        ("decay_rate", log_uniform(1e-3, 1)),
    ]


def test_adams_betas_are_left_alone_unless_asked_for():
    assert "beta" not in course_space(momentum=False)
    more = course_space(momentum=False, adam=True)
    assert list(more)[-2:] == ["beta1", "beta2"]
    assert more["beta2"] == log_one_minus(0.9, 0.9999)


@pytest.mark.parametrize(
    ("examples", "sizes"),
    [
        (10_000, power_of_two(64, 512)),
        (512, power_of_two(64, 512)),
        (511, power_of_two(32, 256)),
        (3, power_of_two(1, 2)),
    ],
)
def test_batches_are_no_larger_than_the_examples_are_many(examples, sizes):
    assert course_space(examples=examples)["batch_size"] == sizes


def test_a_space_with_more_is_a_space():
    space = course_space() | {"keep_prob": uniform(0.5, 1), "beta": uniform(0.8, 0.9)}
    assert isinstance(space, Space)
    assert list(space) == [*course_space(), "keep_prob"]
    assert space["beta"] == uniform(0.8, 0.9)
    assert course_space()["beta"] == log_one_minus(0.9, 0.999)


@pytest.mark.parametrize(
    ("scales", "error", "message"),
    [
        ({}, "ArgumentError", "scales must hold at least one, got none"),
        (
            [("a", log_uniform(1, 2))],
            "ArgumentTypeError",
            "must be a mapping .* got list",
        ),
        (
            {1: log_uniform(1, 2)},
            "ArgumentTypeError",
            "name in scales must be text, got 1",
        ),
        (
            {"": log_uniform(1, 2)},
            "ArgumentError",
            "must have names that are not empty",
        ),
        ({"a": (1, 2)}, "ArgumentTypeError", r"scales\['a'\] must be a scale.*\(1, 2"),
        ({"a": log_uniform}, "ArgumentTypeError", r"scales\['a'\] must be a scale"),
        (
            {"size": power_of_two(1, 2), "log2 size": uniform(0, 1)},
            "ArgumentError",
            "must not keep two numbers as 'log2 size'",
        ),
    ],
)
def test_a_space_that_makes_no_sense_is_refused(scales, error, message):
    with pytest.raises(getattr(gdopt, error), match=message):
        Space(scales)


def test_examples_must_be_a_whole_number():
    with pytest.raises(gdopt.ArgumentError, match="examples must be a whole number"):
        course_space(examples=0)
    with pytest.raises(gdopt.ArgumentTypeError, match="adam must be True or False"):
        course_space(adam=1)
