"""The course's gradients, named dW1 and db1 for W1 and b1."""

import numpy as np
import pytest

import gdopt


def make():
    params = {"W1": np.ones((2, 3)), "b1": np.zeros((2, 1))}
    return params, gdopt.SGD(params, lr=0.5)


def test_a_d_before_every_name_is_the_gradient_of_the_name(engine):
    params, optimizer = make()
    optimizer.step({"db1": np.full((2, 1), 4.0), "dW1": np.full((2, 3), 2.0)})
    np.testing.assert_array_equal(params["W1"], np.zeros((2, 3)))
    np.testing.assert_array_equal(params["b1"], np.full((2, 1), -2.0))


def test_the_course_gives_the_gradients_of_what_lies_between_as_well():
    params, optimizer = make()
    given = {"dZ1": np.ones((2, 9)), "dW1": np.ones((2, 3)), "db1": np.ones((2, 1))}
    optimizer.step(given)
    assert params["W1"][0, 0] == params["b1"][0, 0] + 1 == 0.5


@pytest.mark.parametrize(
    "names",
    [("dW1", "b1"), ("dW1",), ("W1", "db1"), ("W1", "b1", "dZ1"), ("DW1", "Db1")],
)
def test_half_of_the_names_with_a_d_are_refused(names):
    _, optimizer = make()
    shapes = {"W": (2, 3), "b": (2, 1), "Z": (2, 9)}
    given = {name: np.ones(shapes[name[-2]]) for name in names}
    with pytest.raises(gdopt.ArgumentError, match="must have the names"):
        optimizer.step(given)
    assert optimizer.t == 0


def test_parameters_whose_own_names_begin_with_d_are_matched_as_they_are():
    params = {"W": np.zeros(2), "dW": np.zeros(2)}
    optimizer = gdopt.SGD(params, lr=1.0)
    optimizer.step({"W": np.ones(2), "dW": np.full(2, 2.0)})
    assert (params["W"][0], params["dW"][0]) == (-1, -2)


def test_the_gradient_of_a_frozen_array_may_be_missing():
    params = {"W1": np.zeros(2), "b1": np.zeros(2)}
    optimizer = gdopt.SGD(params, lr=1.0, frozen="b1")
    optimizer.step({"dW1": np.ones(2)})
    optimizer.step({"dW1": np.ones(2), "db1": np.ones(2)})
    assert (params["W1"][0], params["b1"][0]) == (-2, 0)
