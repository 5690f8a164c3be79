"""Planted mistakes are found and named, by every element and along directions."""

import re

import numpy as np
import pytest
from gradient_check.checked_functions import (
    cubes,
    double,
    forgotten,
    make,
    one_element,
    sign,
    transposed,
)

import gdopt
from gdopt.gradient_check import GradientCheck, check_gradient


@pytest.mark.parametrize("directions", [None, 6])
@pytest.mark.parametrize(
    ("spoil", "name", "own_error"),
    [
        (sign, "W2", 1.0),
        (double, "b1", 1 / 3),
        (one_element, "W1", None),
        (transposed, "W2", None),
        (forgotten, "b3", 1.0),
    ],
)
def test_planted_mistakes_are_found_and_named(spoil, name, own_error, directions):
    params, loss = make()
    check = check_gradient(lambda p: loss(p, spoil), params, directions=directions)
    assert check.verdict == "wrong"
    assert check.worst.name == name
    assert check.suspects == (name,)
    assert check.worst.error >= 1e-3
    if own_error is not None:
        assert check.parameters[name].error == pytest.approx(own_error, rel=1e-3)
    for other, one in check.parameters.items():
        assert other == name or one.error < 1e-5


def test_one_wrong_element_is_named_by_its_index():
    params, loss = make()
    right = loss(params)[1]["W1"][2, 3]
    check = check_gradient(lambda p: loss(p, one_element), params)
    assert check.worst.index == (2, 3)
    assert check.worst.analytic == pytest.approx(right + 0.01, rel=1e-12)
    assert check.worst.numeric == pytest.approx(right, abs=1e-8)
    assert "at 'W1'[2, 3]: analytic" in str(check)


def test_the_table_shows_each_parameter_and_marks_the_worst():
    params, loss = make()
    text = str(check_gradient(lambda p: loss(p, double), params))
    lines = text.splitlines()
    assert lines[0].startswith("wrong: relative error ")
    assert [line.split()[0] for line in lines[4:10]] == [
        "W1",
        ">",
        "W2",
        "b2",
        "W3",
        "b3",
    ]
    assert re.search(r"^> b1 +\(6,\) +3\.3e-01 +\[\d\] ", text, re.MULTILINE)
    assert "wrong by themselves: 'b1'" in text
    assert max(map(len, lines)) < 110


def test_one_seed_gives_one_result():
    params, loss = make()
    errors = {
        seed: [
            check_gradient(loss, params, directions=3, seed=seed).error for _ in "ab"
        ]
        for seed in (0, 1)
    }
    assert errors[0][0] == errors[0][1] != errors[1][0] == errors[1][1]


def test_directions_take_few_calls():
    params, loss = make()
    check = check_gradient(loss, params, directions=5)
    assert check.calls == 2 + 8 + 2 * 5 + 1
    elements = sum(array.size for array in params.values())
    assert check_gradient(loss, params).calls == 2 + 8 + 2 * elements + 1


def test_along_directions_that_agree_no_parameter_is_looked_at():
    params, loss = make()
    check = check_gradient(loss, params, directions=3)
    assert isinstance(check, GradientCheck)
    assert check.parameters == {}
    assert check.worst is None
    assert len(str(check).splitlines()) == 2


def test_along_directions_a_fine_error_beyond_rounding_is_not_looked_into():
    w = np.array([4.0, 3.0, -2.0])  # off by h^2 = 1e-6 of 12 to 48, and not by rounding
    check = check_gradient(cubes, w, step=2.0**-10, directions=3)
    assert 1e-9 < check.error < 1e-6
    assert check.error > 100 * check.rounding
    assert check.parameters == {}


def test_along_directions_the_larger_mistake_is_named():
    params = {"W": np.ones((20, 20)), "b": np.ones(3)}

    def loss(p):
        grads = {"W": 2 * p["W"], "b": 2 * p["b"]}
        grads["W"][7, 11] += 1  # less than the next one for an average element
        grads["b"][1] += 0.2
        return (p["W"] ** 2).sum() + (p["b"] ** 2).sum(), grads

    check = check_gradient(loss, params, directions=4)
    assert check.worst.name == "W"
    assert check.worst is check.parameters["W"]
    assert check.suspects == ("W", "b")
    assert {one.index for one in check.parameters.values()} == {None}
    assert "largest difference" not in str(check)


def device_check(backend):
    """Check right and wrong gradients on a device, strided and 0-d arrays too."""
    xp = backend.xp
    whole = backend.from_host(np.linspace(0.5, 2, 12).reshape(3, 4))
    params = {"w": whole[:, ::2], "s": backend.from_host(np.array(1.5))}
    before = backend.to_host(whole).copy()

    def loss(p, factor=1.0):
        loss = xp.sum(p["w"] ** 3) + p["s"] ** 2
        grads = {"w": 3 * p["w"] ** 2, "s": 2 * p["s"] + xp.zeros_like(p["s"])}
        grads["w"][1, 1] *= factor
        return loss, grads

    right = [check_gradient(loss, params, directions=d) for d in (None, 3)]
    wrong = [
        check_gradient(lambda p: loss(p, 2.0), params, directions=d) for d in (None, 3)
    ]
    assert (backend.to_host(whole) == before).all()
    return right, wrong


@pytest.mark.usefixtures("cp")
def test_a_device_finds_what_the_host_finds():
    right, wrong = device_check(gdopt.get_backend("cupy"))
    expected_right, expected_wrong = device_check(gdopt.get_backend("numpy"))
    assert {check.verdict for check in right} <= {"great", "fine"}
    assert {check.verdict for check in wrong} == {"wrong"}
    assert [check.worst.index for check in wrong] == [(1, 1), None]
    for found, expected in zip(
        right + wrong, expected_right + expected_wrong, strict=True
    ):
        assert (found.calls, list(found.parameters)) == (
            expected.calls,
            list(expected.parameters),
        )
    for found, expected in zip(wrong, expected_wrong, strict=True):
        assert found.error == pytest.approx(expected.error, rel=1e-4)
