"""A gradient that does not fit is refused; nothing changes, and the next step works."""

import numpy as np
import pytest

import gdopt

ARGUMENT, KIND = gdopt.ArgumentError, gdopt.ArgumentTypeError
DEVICE = gdopt.BackendError


def make_params():
    return {"W": np.arange(6.0).reshape(2, 3), "b": np.ones(3)}


def make_grads(**changes):
    return {"W": np.full((2, 3), 0.5), "b": np.ones(3), **changes}


class Foreign:
    """An array of a library that gdopt does not know."""

    shape, dtype = (3,), np.dtype("float64")

    def __array__(self, dtype=None, copy=None):
        return np.ones(self.shape, dtype)


def fixed(grads):
    """Make the case of a gradient that has nothing to do with the optimizer."""
    return lambda _optimizer: grads


WRONG_NAMES = "grads must have the names of the parameters: "
WRONG = {
    "None at all": (KIND, fixed(None), "step needs grads: only torch's parameters"),
    "one missing": (
        ARGUMENT,
        fixed({"W": np.ones((2, 3))}),
        WRONG_NAMES + "missing 'b'",
    ),
    "one unknown": (ARGUMENT, fixed(make_grads(c=1)), WRONG_NAMES + "unknown 'c'"),
    "another name": (
        ARGUMENT,
        fixed({"W": np.ones((2, 3)), "B": np.ones(3)}),
        WRONG_NAMES + "missing 'b'; unknown 'B'",
    ),
    "none": (ARGUMENT, fixed({}), WRONG_NAMES + "missing 'W', 'b'"),
    "an empty list": (ARGUMENT, fixed([]), "grads must hold at least one array"),
    "a list too short": (
        ARGUMENT,
        fixed([np.ones((2, 3))]),
        "grads must hold 2 arrays, one for each parameter, got 1",
    ),
    "one array for two": (ARGUMENT, fixed(np.ones((2, 3))), "grads must hold 2 arrays"),
    "a set": (KIND, fixed({1}), "grads must be .* got an unordered set"),
    "None alone": (ARGUMENT, fixed([None, None]), "must hold .* got None for all"),
    "a list of numbers": (
        KIND,
        fixed(make_grads(b=[1.0] * 3)),
        "'b' must be a numpy array, .*list",
    ),
    "a number": (KIND, fixed(make_grads(b=1.0)), "'b' must be a numpy array, .*float"),
    "another library's": (
        DEVICE,
        fixed(make_grads(b=Foreign())),
        "'b' must be a numpy array on cpu, got a .*Foreign",
    ),
    "masked": (
        KIND,
        fixed(make_grads(b=np.ma.ones(3))),
        "'b' must be a plain array, got MaskedArray",
    ),
    "a matrix": (
        KIND,
        fixed(make_grads(W=np.ones((2, 3)).view(np.matrix))),
        "'W' must be a plain array, got matrix",
    ),
    **{
        f"shape {array.shape} for 'b'": (
            ARGUMENT,
            fixed(make_grads(b=array)),
            r"the gradient of 'b' must have shape \(3,\), got \(",
        )
        for array in (np.ones(1), np.ones((1, 3)), np.ones((2, 3)), np.ones(()))
    },
    "a turned matrix": (
        ARGUMENT,
        fixed(make_grads(W=np.ones((3, 2)))),
        r"'W' must have shape \(2, 3\), got \(3, 2\)",
    ),
    **{
        dtype: (
            KIND,
            fixed(make_grads(b=np.ones(3, dtype))),
            f"the gradient of 'b' must be float64, got {dtype}",
        )
        for dtype in ("float32", "float16", "int64", "bool", "complex128", ">f8")
    },
    "a gradient that is the parameter": (
        ARGUMENT,
        lambda o: dict(o.params),
        "the gradient of 'W' must not share memory with the parameter 'W'",
    ),
    "all parameters": (
        ARGUMENT,
        lambda o: o.params,
        "the gradient of 'W' must not share memory with the parameter 'W'",
    ),
    "a view of the parameter": (
        ARGUMENT,
        lambda o: make_grads(b=o.params["b"][::-1]),
        "the gradient of 'b' must not share memory with the parameter 'b'",
    ),
    "a view of another parameter": (
        ARGUMENT,
        lambda o: (
            make_grads(b=o.params["W"][:, 1:].reshape(-1)[:3] + 0)
            | {"b": o.params["W"][1]}
        ),
        "the gradient of 'b' must not share memory with the parameter 'W'",
    ),
    "the parameter's memory by another owner": (
        ARGUMENT,
        lambda o: make_grads(b=np.frombuffer(memoryview(o.params["b"]))),
        "the gradient of 'b' must not share memory with the parameter 'b'",
    ),
    "a state": (
        ARGUMENT,
        lambda o: make_grads(b=o.state["b"]["v"]),
        "the gradient of 'b' must not share memory with the state 'v'",
    ),
    "another parameter's state": (
        ARGUMENT,
        lambda o: make_grads(b=o.state["W"]["m"][0]),
        "the gradient of 'b' must not share memory with the state 'm'",
    ),
}


@pytest.mark.parametrize("arena", [False, True], ids=["apart", "arena"])
@pytest.mark.parametrize("case", WRONG)
def test_a_gradient_that_does_not_fit_is_refused(case, arena, unchanged, numpy_engine):
    error, make, message = WRONG[case]
    params, control = make_params(), make_params()
    if arena:
        params = gdopt.Arena.of(params)
    optimizer, other = gdopt.Adam(params), gdopt.Adam(control)
    optimizer.step(make_grads())
    with unchanged(optimizer), pytest.raises(error, match=message):
        optimizer.step(make(optimizer))
    optimizer.step(make_grads())
    other.step(make_grads())
    other.step(make_grads())
    for name, array in control.items():
        np.testing.assert_array_equal(params[name], array)


def test_an_arena_of_other_shapes_or_dtypes_is_refused(unchanged, numpy_engine):
    params = gdopt.Arena.of(make_params())
    optimizer = gdopt.Adam(params)
    turned = gdopt.Arena.of(make_grads(W=np.ones((3, 2))))
    with unchanged(optimizer), pytest.raises(ARGUMENT, match=r"\(2, 3\), got \(3, 2\)"):
        optimizer.step(turned)
    message = "'W' must be float64, got float32"
    with unchanged(optimizer), pytest.raises(KIND, match=message):
        optimizer.step(
            gdopt.Arena.of({n: a.astype(np.float32) for n, a in params.items()})
        )


def test_a_number_for_a_0d_parameter_is_refused_as_a_number(unchanged, numpy_engine):
    optimizer = gdopt.SGD({"s": np.array(1.0, np.float32)})
    message = r"'s' must be a numpy array, got builtins.float: write np.float32\(g\)"
    with unchanged(optimizer), pytest.raises(KIND, match=message):
        optimizer.step({"s": 2.0})
    with (
        unchanged(optimizer),
        pytest.raises(KIND, match="must be float32, got float64"),
    ):
        optimizer.step({"s": np.float64(2.0)})


def test_memory_beside_a_parameter_is_not_shared(engine):
    base = np.arange(6.0)
    gdopt.SGD(base[::2], lr=1.0).step(base[1::2])
    assert base.tolist() == [-1, 1, -1, 3, -1, 5]


def test_memory_between_the_elements_of_strided_parameters_is_told_apart(numpy_engine):
    matrix = np.zeros((3, 4))
    params = {"a": matrix[:, 0], "b": matrix[:, 2], "after": np.zeros(2)}
    optimizer = gdopt.SGD(params, lr=1.0)
    foreign = np.frombuffer(memoryview(matrix)).reshape(3, 4)
    after = np.ones(2)
    foreign[:, 1], foreign[:, 3] = 1.0, 2.0
    optimizer.step({"a": foreign[:, 1], "b": foreign[:, 3], "after": after})
    assert matrix.tolist() == [[-1, 1, -2, 2]] * 3
    message = "the gradient of 'b' must not share memory with the parameter 'a'"
    with pytest.raises(ARGUMENT, match=message):
        optimizer.step({"a": foreign[:, 1], "b": foreign[:, 0], "after": after})


def test_foreign_gradients_are_compared_with_their_neighbours_alone(monkeypatch):
    count = 200
    block = np.zeros((count, 2, 4))
    params = [block[k, 0] for k in range(count)]
    foreign = np.frombuffer(memoryview(block)).reshape(block.shape)
    optimizer = gdopt.SGD(params, lr=1.0)
    calls = []
    bounds = gdopt.optim.gradients.byte_bounds
    monkeypatch.setattr(
        gdopt.optim.gradients,
        "byte_bounds",
        lambda *arguments: calls.append(1) or bounds(*arguments),
    )
    optimizer.step([foreign[k, 1, ::-1] for k in range(count)])
    assert count <= len(calls) <= 3 * count


def test_foreign_gradients_are_compared_whatever_their_strides(unchanged, engine):
    block = np.zeros((3, 4))
    foreign = np.frombuffer(memoryview(block)).reshape(3, 4)
    optimizer = gdopt.SGD([block[0], block[1]], lr=1.0)
    message = r"the gradient of params\[1\] must not .* with the parameter params\[0\]"
    for shared in (foreign[0], foreign[0, ::-1]):
        with unchanged(optimizer), pytest.raises(ARGUMENT, match=message):
            optimizer.step([foreign[2], shared])
    foreign[2] = 1.0
    optimizer.step([foreign[2], foreign[2, ::-1]])
    assert block[:2].tolist() == [[-1] * 4] * 2
