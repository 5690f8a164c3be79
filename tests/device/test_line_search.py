import functools

import numpy as np
import pytest
from descents import NAMES, VALLEY, make

from gdopt.errors import ArgumentTypeError


def device_valley(w, cp):
    x, y = w[:-1], w[1:]
    rise, grad = 200 * (y - x * x), cp.zeros_like(w)
    grad[1:] = rise
    grad[:-1] += -2 * x * rise - 2 * (1 - x)
    return cp.sum(100 * (y - x * x) ** 2 + (1 - x) ** 2), grad


@NAMES
@pytest.mark.parametrize("bounds", [None, (-2.0, 0.9)])
def test_a_device_takes_the_same_steps(name, bounds, cp):
    w = np.clip(VALLEY.start, -2, 0.9)
    v = cp.asarray(w)
    one, other = make(name, w, bounds), make(name, v, bounds)
    one.start(functools.partial(device_valley, w, np))
    other.start(functools.partial(device_valley, v, cp))
    for _ in range(10):
        point = one.update(functools.partial(device_valley, w, np))
        found = other.update(functools.partial(device_valley, v, cp))
        assert found.value == pytest.approx(point.value, rel=1e-6)
    np.testing.assert_allclose(cp.asnumpy(v), w, rtol=1e-5)
    state = other.state_dict()
    host = np.ndarray | float | int | str
    assert all(isinstance(part, host) for part in state.values())
    copy = make(name, v, bounds)
    copy.load_state_dict(state)
    copy.start(functools.partial(device_valley, v, cp))
    points = [copy.update(functools.partial(device_valley, v, cp)) for _ in range(3)]
    assert points[-1].value <= found.value


@pytest.mark.parametrize("name", ["l-bfgs", "cg"])
def test_a_device_is_waited_for_once_an_evaluation_and_once_an_update(
    name, cp, monkeypatch
):
    v = cp.asarray(VALLEY.start)
    method, evaluations, reads = make(name, v), [0], [0]

    def evaluate():
        evaluations[0] += 1
        return device_valley(v, cp)

    method.start(evaluate)
    method.update(evaluate)
    to_host = type(method._backend).to_host

    def counted(self, array):
        reads[0] += 1
        return to_host(self, array)

    monkeypatch.setattr(type(method._backend), "to_host", counted)
    monkeypatch.setattr(cp.ndarray, "__float__", None, raising=False)
    evaluations[0] = 0
    for _ in range(10):
        method.update(evaluate)
    assert reads[0] == evaluations[0] + 10


@NAMES
def test_values_of_another_dtype_are_numbers_too(name, cp):
    v = cp.array([2.0, 3.0], cp.float32)
    for value in (cp.sum(v.astype(cp.float64)), np.float64(5.0), 5, cp.array(5)):
        assert make(name, v).start(lambda value=value: (value, v + 1)).value == 5.0
    for value in (v, cp.array(1j), True, "5", None):
        with pytest.raises(ArgumentTypeError, match="value must be a number"):
            make(name, v).start(lambda value=value: (value, v + 1))
