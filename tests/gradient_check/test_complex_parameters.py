"""Gradients of complex parameters: both parts move, and usual mistakes are named."""

import numpy as np
import pytest

import gdopt
from gdopt.errors import ArgumentError, ArgumentTypeError

USUAL = {
    "conjugate": (np.conj, "the conjugate of .* as jax.grad gives it: pass np.conj"),
    "half": (lambda g: g / 2, r"half of .* by conj\(z\): pass 2 \* g"),
    "half of the conjugate": (
        lambda g: np.conj(g) / 2,
        r"Wirtinger's derivative by z: pass 2 \* np.conj",
    ),
}


def problem(change):
    """Return ``|A z - b|**2 + |w|**2`` with its gradient, and parameters."""
    rng = np.random.default_rng(0)
    A = rng.standard_normal((3, 3)) + 1j * rng.standard_normal((3, 3))
    b, z = (rng.standard_normal(3) + 1j * rng.standard_normal(3) for _ in range(2))

    def loss_and_grads(p):
        r = A @ p["z"] - b
        grads = {"z": change(2 * A.conj().T @ r), "w": 2 * p["w"]}
        return (r @ r.conj()).real + (p["w"] ** 2).sum(), grads

    return loss_and_grads, {"z": z, "w": np.ones(2)}


@pytest.mark.parametrize("directions", [None, 3])
def test_right_gradients_are_right(directions):
    function, params = problem(lambda g: g)
    before = params["z"].tobytes()
    check = gdopt.check_gradient(function, params, directions=directions)
    assert check.verdict == "great"
    assert "the gradient of" not in str(check)
    assert params["z"].tobytes() == before
    if directions is None:  # each part is moved up and down
        assert check.calls >= 2 * (2 * 3 + 2)


@pytest.mark.parametrize("name", USUAL)
def test_usual_mistakes_are_named(name):
    change, words = USUAL[name]
    function, params = problem(change)
    check = gdopt.check_gradient(function, params)
    assert (check.verdict, check.suspects) == ("wrong", ("z",))
    along = gdopt.check_gradient(function, params, directions=3)
    assert (along.verdict, along.suspects) == ("wrong", ("z",))
    for one in (check, along):
        with pytest.raises(AssertionError, match=f"the gradient of 'z' is {words}"):
            raise AssertionError(str(one))


def test_other_mistakes_are_located_and_not_named():
    def change(g):
        g[1] += 3j
        return g

    check = gdopt.check_gradient(*problem(change))
    assert (check.worst.name, check.worst.index) == ("z", (1,))
    assert check.worst.shape == (3,)
    assert check.worst.analytic - check.worst.numeric == pytest.approx(3j, abs=1e-5)
    along = gdopt.check_gradient(*problem(change), directions=3)
    assert "the gradient of" not in str(check) + str(along)


def test_arrays_of_any_strides_and_no_axes():
    z = {"strided": np.ones((2, 4), complex)[:, ::2], "scale": np.array(1 + 2j)}

    def function(p):
        loss = sum((np.abs(a) ** 2).sum() for a in p.values())
        return loss, {name: 2 * a for name, a in p.items()}

    check = gdopt.check_gradient(function, z)
    assert check.verdict in {"great", "fine"}
    assert check.parameters["scale"].index == ()


def test_bad_input_is_named_by_its_part():
    with pytest.raises(ArgumentTypeError, match="'z' is complex64"):
        gdopt.check_gradient(lambda p: (0.0, p), {"z": np.ones(1, np.complex64)})
    with pytest.raises(ArgumentTypeError, match="must be complex128, got float64"):
        gdopt.check_gradient(
            lambda p: (0.0, {"z": p["z"].real}), {"z": np.ones(1) + 0j}
        )
    with pytest.raises(ArgumentError, match=r"got \(?1\+nanj\)? at \[0\]"):
        gdopt.check_gradient(
            lambda p: (0.0, {"z": np.array([complex(1, np.nan)])}),
            {"z": np.ones(1) + 0j},
        )

    def infinite(p):
        far = abs(p["z"][0].imag) > 0
        return np.inf if far else 1.0, {"z": np.zeros(1, complex)}

    with pytest.raises(ArgumentError, match=r"'z'\[0\]\.imag moved by \+1e-07"):
        gdopt.check_gradient(infinite, {"z": np.ones(1) + 0j})
