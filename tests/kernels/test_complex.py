"""Complex values of a formula mean what they mean in NumPy; real ones cost no more."""

import numpy as np
import pytest

import gdopt
from gdopt.errors import RuleError

OPERATIONS = {
    "sum": lambda p, g: p + g,
    "difference": lambda p, g: g - p,
    "with a real value": lambda p, g: 2.0 - p + (g - 3) + (1 - g),
    "NumPy's numbers": lambda p, g: np.float64(2) * g + p * np.float32(3) - np.int8(1),
    "product": lambda p, g: p * g,
    "quotient": lambda p, g: p * np.conj(g) / np.abs(g) ** 2,
    "power": lambda p, g: p**3 + np.square(g) + np.power(g, 2),
    "functions": lambda p, g: np.subtract(np.multiply(p, 2.0), np.negative(g)),
    "modulus": lambda p, g: p * np.abs(g) + abs(p),
    "inverse square": lambda p, g: p * np.abs(g) ** -2,
    "fourth power": lambda p, g: p * np.abs(g) ** 4 + np.abs(g) ** 3,
    "square of the modulus": lambda p, g: p + np.square(np.abs(g)),
    "parts": lambda p, g: p + np.real(g) * np.imag(g) + p.real - p.imag,
    "conjugate": lambda p, g: np.conj(p) + p.conj() * np.conjugate(g),
    "choice": lambda p, g: (
        np.where(np.abs(g) < 1, p, 0.0) + np.where(abs(p) > 2, 1.0, g)
    ),
    "other choice": lambda p, g: np.where(p.real < g.imag, 2.0, p),
}


def draw(seed, dtype):
    parts = np.random.default_rng(seed).standard_normal((2, 1000))
    return (parts[0] + 1j * parts[1]).astype(dtype)


@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
@pytest.mark.parametrize("name", OPERATIONS)
def test_operations_have_numpys_values_and_equal_bits(name, dtype, monkeypatch):
    formula = OPERATIONS[name]

    def own(p, g):
        return formula(p, g)

    found = {}
    for engine in ("numpy", "numba")[: 1 + (dtype is np.complex64)]:
        monkeypatch.setenv("GDOPT_CPU_ENGINE", engine)
        p, g = draw(0, dtype), draw(1, dtype)
        g[:100] = p[:100]
        expected = formula(p, g)
        gdopt.Optimizer(p, own, complex_mode="modulus").step(g)
        found[engine] = p
        q = draw(0, dtype)
        gdopt.Kernel(own)(q, g)
        found[f"{engine}, Kernel"] = q
    # NumPy contracts products, and its modulus is within 2 ulp: parts may cancel.
    size = 1 + np.abs(expected) + np.abs(draw(0, dtype)) ** 3 + np.abs(g) ** 4
    error = np.abs(found["numpy"] - expected) / size
    assert error.max() < 16 * np.finfo(dtype).eps
    assert len({array.tobytes() for array in found.values()}) == 1


def test_real_values_are_their_own_parts(engine):
    def own(y, x):
        return np.real(x) + np.imag(x) + np.conj(x) + x.real + x.imag + x.conj()

    y, x = np.zeros(3), np.array([1.0, -2.0, 3.0])
    gdopt.Kernel(own)(y, x)
    np.testing.assert_array_equal(y, 4 * x)


def test_squared_modulus_of_real_values_is_a_product():
    def modulus(p, g):
        return p + np.abs(g) ** 2 + np.square(abs(g)) + np.abs(g) ** 4

    def product(p, g):
        return p + g * g + g * g + g**4

    programs = [gdopt.Kernel(own).program() for own in (modulus, product)]
    first, second = ([n.operation for n in one.instructions] for one in programs)
    assert first == second == ["multiply", "add"] * 2 + ["multiply"] * 3 + ["add"]
    assert programs[0].loads == 2


def test_squared_modulus_takes_no_root(engine):
    def own(p, g):
        return p * np.abs(g) ** 2

    p = np.ones(1, np.complex64)
    gdopt.Optimizer(p, own, complex_mode="modulus").step(
        np.array([3e-3 + 4e-3j], np.complex64)
    )
    three, four = np.float32(3e-3), np.float32(4e-3)
    assert p.real == three * three + four * four


UNUSABLE = {
    "complex exponent": (lambda p, g: 2.0**g, "exp or log"),
    "negative power": (lambda p, g: g**-1, "powers 1 to 16, got -1"),
    "root by power": (lambda p, g: g**0.5, "powers 1 to 16, got 0.5"),
    "hypot": (lambda p, g: p - np.hypot(g, 1.0), "take np.abs"),
    "real clip": (lambda p, g: p - np.clip(abs(g), g, 1.0), "complex values"),
    "not in NumPy's rules": (lambda p, g: p - np.cbrt(g), "cbrt"),
    "keywords": (lambda p, g: np.add(p, g, where=True), "where="),
    "equal": (lambda p, g: np.where(p == g, p, g), "not compared"),
    "bool": (lambda p, g: p if g else g, "branch"),
}


@pytest.mark.parametrize("name", UNUSABLE)
def test_what_rules_do_not_do_with_complex_values(name):
    formula, message = UNUSABLE[name]

    def own(p, g):
        return formula(p, g)

    with pytest.raises(RuleError, match=message):
        gdopt.Optimizer(np.ones(2, complex), own, complex_mode="modulus")


def test_modulus_reaches_where_squares_overflow(engine):
    def own(p, g):
        return p + np.abs(g)

    p = np.zeros(1, np.complex64)
    optimizer = gdopt.Optimizer(p, own, complex_mode="modulus")
    optimizer.step(np.array([3e25 + 4e25j], np.complex64))
    assert p.real == pytest.approx(5e25, rel=1e-6)


def test_real_factors_multiply_both_parts_by_themselves(engine):
    p = np.zeros(1, complex)
    gdopt.SGD(p, 0.5).step(np.array([complex(1, np.inf)]))
    assert (p.real, p.imag) == (-0.5, -np.inf)
    p = np.zeros(1, complex)  # where NumPy's product has a real part of NaN
    gdopt.SGD(p, 0.5, complex_mode="modulus").step(np.array([complex(1, np.inf)]))
    assert (p.real, p.imag) == (-0.5, -np.inf)


def mixed(z, v, w, x, *, a, b=2.0):
    """Update a complex and a real array by both kinds, and reduce."""
    size = np.abs(w) / (1.0 + np.linalg.norm(w - z))
    return z + a * np.conj(w) * x + b * v, v + x * np.real(w) - np.imag(z) * size


def run_mixed(dtype, a, place=np.ascontiguousarray, send=np.asarray):
    complex_ones = [draw(k, dtype)[:600].reshape(20, 30) for k in range(2)]
    real = [draw(k, dtype).real[:600].reshape(20, 30) for k in (2, 3)]
    z, w, v, x = (place(send(array.copy())) for array in (*complex_ones, *real))
    if np.ndim(a):
        a = place(send(a.astype(dtype)))
    gdopt.Kernel(mixed)(z, v, w, x, a=a)
    return z, v, (w, x)


FACTORS = {
    "a number": 0.5 - 0.25j,
    "NumPy's number": np.complex64(0.5 - 0.25j),
    "0-d": np.array(0.5 - 0.25j),
    "an array": draw(7, complex)[:600].reshape(20, 30),
}


@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
@pytest.mark.parametrize("a", FACTORS.values(), ids=FACTORS)
def test_kernels_take_complex_and_real_arrays(a, dtype, monkeypatch):
    found = set()
    for engine in ("numpy", "numba"):
        monkeypatch.setenv("GDOPT_CPU_ENGINE", engine)
        for place in (
            np.ascontiguousarray,
            np.asfortranarray,
            lambda p: np.repeat(p, 2, 0)[::2],
        ):
            z, v, _ = run_mixed(dtype, a, place)
            found.add((z.tobytes(), v.tobytes()))
    assert len(found) == 1
    z, v, (w, x) = run_mixed(dtype, a)
    start, before = (draw(k, dtype)[:600].reshape(20, 30) for k in (0, 2))
    expected = mixed(start, before.real, w, x, a=a)
    tolerance = {"rtol": 0, "atol": 100 * np.finfo(dtype).eps}  # of values to 20
    np.testing.assert_allclose(z, expected[0], **tolerance)
    np.testing.assert_allclose(v, expected[1], **tolerance)
    assert (z.dtype, v.dtype) == (dtype, before.real.dtype)


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
@pytest.mark.parametrize("a", FACTORS.values(), ids=FACTORS)
def test_kernels_on_a_gpu_have_the_bits_of_the_cpu(a, dtype, cp):
    host = run_mixed(dtype, a)
    for place in (lambda p: p, lambda p: cp.repeat(p, 2, 0)[::2]):
        device = run_mixed(dtype, a, place, cp.asarray)
        for here, there in zip(host[:2], device[:2], strict=True):
            assert cp.asnumpy(there).tobytes() == here.tobytes()


def test_state_of_rows_may_be_complex(engine):
    def add(z, r, w):
        r = r + np.abs(r) * np.linalg.norm(w, axis=1, keepdims=True) * 1.0
        return z - r * w, r

    z, r, w = np.zeros((2, 2), complex), np.array([[1j], [2.0]]), np.ones((2, 2)) + 0j
    gdopt.Kernel(add, per={"r": "row"})(z, r, w)
    root = np.sqrt(2)
    np.testing.assert_allclose(r, [[1j + root], [2 + 2 * root]], rtol=1e-15)
    np.testing.assert_allclose(z, -r * np.ones(2), rtol=1e-15)


REFUSED = {
    "must be a complex array": (np.zeros(2), np.ones(2, complex)),
    "of the float dtype of z, float32, got float64": (
        np.zeros(2, np.complex64),
        np.ones(2, complex),
    ),
    "writeable": (np.broadcast_to(np.zeros(2, complex), 2), np.ones(2, complex)),
    r"shape of z, \(2,\)": (np.zeros(2, complex), np.ones(3, complex)),
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_kernels_do_not_take_changes_nothing(message, numpy_engine):
    z, w = REFUSED[message]
    kernel = gdopt.Kernel(lambda z, w, *, a: z + a * w)
    with pytest.raises(gdopt.GdoptError, match=message):
        kernel(z, w, a=2.0)
    assert not z.any()
    if z.dtype == float:  # another call may still be right
        kernel(z, np.ones(2), a=2.0)
        assert z.tolist() == [2.0, 2.0]
        with pytest.raises(gdopt.GdoptError, match=message):
            kernel(z, np.ones(2), a=2j)
