"""Complex parameters: both modes against other libraries, options, state, refusals."""

import copy
import pickle

import numpy as np
import pytest

import gdopt
from gdopt.errors import ArgumentError, ArgumentTypeError, RuleError

MODES = ("split", "modulus")
STEPS, RATE = 50, 0.05
WORKED = {  # after 50 steps on seven unknowns, of torch and of optax
    "split": 0.16444259042133158 + 0.11613920971635742j,
    "modulus": -0.02940768237675833 + 0.2567822860946044j,
}
FIRST = {"split": -1 - 1j, "modulus": -0.6 - 0.8j}  # of size lr: each part, the whole


def draw(seed, shape, dtype=complex):
    parts = np.random.default_rng(seed).standard_normal((2, *shape))
    return np.asarray(parts[0] + 1j * parts[1], dtype)


def problem(seed, n):
    """Return a start, and the gradient of ``|A z - b|**2`` as torch has it."""
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((n, n)) + 1j * rng.standard_normal((n, n))
    b, z = (rng.standard_normal(n) + 1j * rng.standard_normal(n) for _ in range(2))
    return z, lambda z: 2 * A.conj().T @ (A @ z - b)


def descend(kind, seed=0, n=7, **options):
    z, gradient = problem(seed, n)
    optimizer = kind(z, RATE, **options)
    for _ in range(STEPS):
        optimizer.step(gradient(z))
    return z, optimizer


@pytest.mark.parametrize("mode", MODES)
def test_first_step_of_adam(engine, mode):
    z = np.zeros(1, complex)
    gdopt.Adam(z, 1.0, complex_mode=mode).step(np.array([3 + 4j]))
    np.testing.assert_allclose(z, FIRST[mode], rtol=1e-7)  # epsilon


@pytest.mark.parametrize("mode", MODES)
def test_adam_on_seven_unknowns(engine, mode):
    z, _ = descend(gdopt.Adam, complex_mode=mode)
    assert abs(z[0] - WORKED[mode]) < 1e-14


SHAPES = {"W": (3, 5), "b": (5,), "scale": (), "none": (0, 2), "strided": (4, 6)}
AROUND = {
    "clip_norm": 0.7,
    "clip_each": 0.9,
    "weight_decay": 0.1,
    "decay_mode": "coupled",
    "lookahead": (2, 0.5),
    "ema": 0.9,
    "accumulate": 2,
    "maximize": True,
    "loss_scale": 4.0,
}
KINDS = {
    "Adam, split": (gdopt.Adam, {"complex_mode": "split"}),
    "Adam, modulus": (gdopt.Adam, {"complex_mode": "modulus"}),
    "around, split": (gdopt.Adam, {"complex_mode": "split", **AROUND}),
    "around, modulus": (gdopt.Adam, {"complex_mode": "modulus", **AROUND}),
    "momentum": (gdopt.Momentum, {"clip_norm": 0.7}),
}


def arrays(seed, dtypes):
    found = {}
    for k, (name, shape) in enumerate(SHAPES.items()):
        drawn = draw(seed + k, shape)
        for dtype in dtypes:
            real = not dtype.startswith("complex")
            found[f"{name} {dtype}"] = np.array(drawn.real if real else drawn, dtype)
    return found


def strided(array):
    return np.repeat(array, 2, axis=-1)[..., ::2] if array.ndim else array


def run(kind, options, dtypes, layout="apart", steps=6):
    start = arrays(0, dtypes)
    if layout == "arena":
        start = gdopt.Arena.of(start)
    elif layout == "strided":
        start = {name: strided(array) for name, array in start.items()}
    optimizer = kind(start, RATE, **options)
    for step in range(1, steps + 1):
        grads = arrays(100 * step, dtypes)
        optimizer.step(gdopt.Arena.of(grads) if layout == "arena" else grads)
    return optimizer


def bits(optimizer):
    found = {name: np.array(a).tobytes() for name, a in optimizer.params.items()}
    for name, states in optimizer.state.items():
        found |= {f"{name} {s}": np.array(a).tobytes() for s, a in states.items()}
    return found


@pytest.mark.parametrize("name", KINDS)
def test_engines_and_layouts_give_equal_bits(name, monkeypatch):
    found, dtypes = {}, ("complex64", "float32")
    for engine in ("numpy", "numba"):
        monkeypatch.setenv("GDOPT_CPU_ENGINE", engine)
        for layout in ("apart", "strided", "arena"):
            found[engine, layout] = bits(run(*KINDS[name], dtypes, layout))
    first = found.pop(("numpy", "apart"))
    for key, others in found.items():
        assert others == first, key


@pytest.mark.parametrize("mode", MODES)
def test_real_parameters_among_complex_ones_are_updated_as_alone(engine, mode):
    mixed = run(gdopt.Adam, {"complex_mode": mode}, ("complex64", "float32"))
    alone = run(gdopt.Adam, {}, ("float32",))
    found = bits(mixed)
    for name, expected in bits(alone).items():
        state = name.endswith(" m") and mode == "modulus"  # whose other part is 0
        assert found[name] == expected or state, name


@pytest.mark.parametrize("kind", [gdopt.SGD, gdopt.Momentum, gdopt.Nesterov])
def test_modes_agree_where_a_rule_is_linear(engine, kind):
    plain, split, modulus = (
        bits(run(kind, options, ("complex64",)))
        for options in ({}, *({"complex_mode": mode} for mode in MODES))
    )
    assert plain == split == modulus


@pytest.mark.parametrize(
    "kind", [gdopt.Adam, gdopt.RMSprop, gdopt.Lion, gdopt.SignSGD, gdopt.Adagrad]
)
def test_mode_must_be_given_where_modes_differ(numpy_engine, kind):
    with pytest.raises(ArgumentError, match=r"complex_mode must be given .*'modulus'"):
        kind(np.zeros(2, complex), 0.1)


def test_conjugation_and_constants_are_seen_by_the_trace(numpy_engine):
    def mirrored(p, g, *, lr):
        return p - lr * np.conj(g)

    def shifted(p, g, *, lr):
        return p - lr * g + 1.0

    for rule in (mirrored, shifted):
        with pytest.raises(ArgumentError, match="complex_mode must be given"):
            gdopt.Optimizer(np.zeros(2, complex), rule, lr=0.1)


def test_modulus_turns_with_the_phase_of_the_problem(numpy_engine):
    turn = np.exp(0.7j)
    grads = [draw(k, (3,)) for k in range(20)]
    found = []
    for factor in (1, turn):
        z = factor * draw(50, (3,))
        optimizer = gdopt.Adam(z, RATE, complex_mode="modulus")
        for g in grads:
            optimizer.step(factor * g)
        found.append(z)
    np.testing.assert_allclose(found[1], turn * found[0], rtol=1e-13)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", [gdopt.SGD, gdopt.Adam])
def test_norm_is_that_of_both_parts(engine, kind, mode):
    z = np.zeros(2, complex)
    optimizer = kind(z, 1.0, clip_norm=1.0, complex_mode=mode)
    optimizer.step(np.array([3 + 4j, 1j]))
    assert optimizer.grad_norm == pytest.approx(5.0990195, rel=1e-8)
    if kind is gdopt.SGD:
        expected = -np.array([3 + 4j, 1j]) / 26**0.5
        np.testing.assert_allclose(z, expected, rtol=1e-15)


def test_norms_of_arrays_and_units_are_those_of_both_parts(engine):
    z = {"a": np.zeros(1, complex), "b": np.zeros(1, complex)}
    optimizer = gdopt.SGD(z, 1.0, clip_each=1.0)
    optimizer.step({"a": np.array([3 + 4j]), "b": np.array([0.3 + 0.4j])})
    np.testing.assert_allclose(z["a"], [-0.6 - 0.8j], rtol=1e-15)
    np.testing.assert_array_equal(z["b"], [-0.3 - 0.4j])
    for axis in (0, 1):  # units are rows, or columns
        p = np.array([[3.0 + 0j, 4j], [3.0 + 0j, 4j]])
        g = np.full((2, 2), 30 + 40j)
        optimizer = gdopt.SGD(p, 1.0, agc=0.01, unit_axis=axis)
        before = p.copy()
        optimizer.step(g)
        moved = np.linalg.norm(before - p, axis=1 - axis)
        size = np.linalg.norm(before, axis=1 - axis)
        np.testing.assert_allclose(moved, 0.01 * size, rtol=1e-13)


@pytest.mark.parametrize("mode", MODES)
def test_infinite_and_huge_gradients(engine, mode):
    z = np.zeros(2, complex)
    optimizer = gdopt.SGD(z, 1.0, clip_norm=1.0, complex_mode=mode)
    optimizer.step(np.array([3e200 + 4e200j, 0j]))
    np.testing.assert_allclose(z, [-0.6 - 0.8j, 0], rtol=1e-13)


STATES = {
    "split": {"m": np.complex64, "v": np.complex64, "average": np.complex64},
    "modulus": {"m": np.complex64, "v": np.float32, "average": np.complex64},
}


@pytest.mark.parametrize("mode", MODES)
def test_state_has_the_dtype_of_its_user_and_is_live(engine, mode):
    z = np.array([1 + 2j, 3 - 1j], np.complex64)
    optimizer = gdopt.Adam(z, 0.1, complex_mode=mode, ema=0.5)
    assert optimizer.average["0"].tolist() == z.tolist()
    optimizer.step(draw(1, (2,), np.complex64))
    saved = optimizer.state_dict()["state"]["0"]
    assert {name: array.dtype for name, array in saved.items()} == STATES[mode]
    optimizer.state["0"]["m"][...] = 0  # what is written there counts
    twin = gdopt.Adam(z.copy(), 0.1, complex_mode=mode, ema=0.5)
    twin.load_state_dict(optimizer.state_dict())
    assert not twin.state["0"]["m"].any()
    for one in (optimizer, twin):
        one.step(draw(2, (2,), np.complex64))
    assert bits(twin) == bits(optimizer)


@pytest.mark.parametrize("mode", MODES)
def test_copies_and_pickles_go_on_alike(numpy_engine, mode):
    optimizer = run(gdopt.Adam, {"complex_mode": mode, **AROUND}, ("complex128",))
    twins = copy.deepcopy(optimizer), pickle.loads(pickle.dumps(optimizer))  # noqa: S301
    grads = arrays(999, ("complex128",))
    for _ in range(2):
        for one in (optimizer, *twins):
            one.step(grads)
    assert bits(twins[0]) == bits(twins[1]) == bits(optimizer)


@pytest.mark.parametrize("mode", MODES)
def test_averaged_shows_complex_averages(numpy_engine, mode):
    z = np.array([1 + 1j])
    optimizer = gdopt.Adam(z, 1.0, complex_mode=mode, ema=0.75)
    optimizer.step(np.array([3 + 4j]))
    after = z.copy()
    with optimizer.averaged():
        np.testing.assert_allclose(z, 0.75 * (1 + 1j) + 0.25 * after, rtol=1e-15)
    assert z == after


@pytest.mark.parametrize("mode", MODES)
def test_hyper_parameters_by_name_and_by_element(engine, mode):
    params = {"a": np.zeros((2, 3), complex), "b": np.zeros(2, complex)}
    rates = np.arange(1.0, 7.0).reshape(2, 3)
    optimizer = gdopt.Adam(
        params, {"a": rates, "b": 0.5}, beta1=0.0, eps=1e-300, complex_mode=mode
    )
    optimizer.step({"a": np.full((2, 3), 3 + 4j), "b": np.full(2, 3 + 4j)})
    np.testing.assert_allclose(params["a"], rates * FIRST[mode], rtol=1e-14)
    np.testing.assert_allclose(params["b"], 0.5 * FIRST[mode] * np.ones(2), rtol=1e-14)
    with pytest.raises(ArgumentError, match=r"of shape \(2, 3\), got shape \(5,\)"):
        optimizer.lr = {"a": np.ones(5), "b": 0.5}


@pytest.mark.parametrize("mode", MODES)
def test_non_finite_parts_are_seen(numpy_engine, mode, unchanged):
    options = {"complex_mode": mode, "non_finite": "raise"}
    optimizer = gdopt.Adam({"z": np.ones(2, complex)}, 0.1, **options)
    with unchanged(optimizer), pytest.raises(ArgumentError, match="'z'"):
        optimizer.step({"z": np.array([1, complex(0, np.inf)])})


REFUSED = {
    "bounds": (gdopt.SGD, {"bounds": (0, 1)}),
    "clip_value": (gdopt.SGD, {"clip_value": 1.0}),
    "state_dtype": (gdopt.Momentum, {"state_dtype": "bfloat16"}),
    "master_weights": (gdopt.SGD, {"master_weights": True}),
    "rprop": (gdopt.Rprop, {}),
    "Muon": (gdopt.Muon, {}),
    "adafactor": (gdopt.Adafactor, {}),
    "lamb": (gdopt.LAMB, {}),
    "lars": (gdopt.LARS, {}),
}


@pytest.mark.parametrize("mode", [None, *MODES])
@pytest.mark.parametrize("what", REFUSED)
def test_what_complex_parameters_do_not_have(numpy_engine, what, mode):
    kind, options = REFUSED[what]
    with pytest.raises(ArgumentError, match=f"{what}.* needs .*'z' is complex64"):
        kind({"z": np.ones((2, 2), np.complex64)}, 0.1, complex_mode=mode, **options)


ORDERED = {
    "<": lambda p, g: np.where(g < 0, p, g),
    ">=": lambda p, g: np.where(g >= p, p, g),
    "sign": lambda p, g: p - np.sign(g),
    "minimum": lambda p, g: np.minimum(g, p),
    "maximum": lambda p, g: np.maximum(p, 0.0),
    "clip": lambda p, g: np.clip(g, -1, 1),
    "sqrt": lambda p, g: p - np.sqrt(g),
    "exp": lambda p, g: p - np.exp(g),
    "log": lambda p, g: p - np.log(g),
    "a complex value": lambda p, g: p - 1.0 / g,
    "complex values": lambda p, g: p / g,
}


@pytest.mark.parametrize("what", ORDERED)
def test_what_complex_values_do_not_have(numpy_engine, what):
    formula = ORDERED[what]

    def own(p, g):
        return formula(p, g)

    with pytest.raises(RuleError, match=r"np\.abs\(z\)|write"):
        gdopt.Optimizer(np.ones(2, complex), own, complex_mode="modulus")
    gdopt.Optimizer(np.ones(2, complex), own, complex_mode="split")


def test_only_gradients_of_the_same_kind_are_taken(numpy_engine, unchanged):
    z = gdopt.SGD(np.ones(2, complex), 0.1)
    with unchanged(z), pytest.raises(ArgumentTypeError, match="complex128, got float"):
        z.step(np.ones(2))
    p = gdopt.SGD(np.ones(2), 0.1)
    with unchanged(p), pytest.raises(ArgumentTypeError, match="float64, got complex"):
        p.step(np.ones(2, complex))


def test_modes_are_for_complex_parameters(numpy_engine):
    with pytest.raises(ArgumentError, match="complex_mode needs complex parameters"):
        gdopt.Adam(np.ones(2), 0.1, complex_mode="split")
    with pytest.raises(ArgumentError, match="complex_mode must be"):
        gdopt.Adam(np.ones(2, complex), 0.1, complex_mode="both")
    with pytest.raises(ArgumentTypeError, match="byte order"):
        gdopt.SGD(np.ones(2, ">c16"), 0.1)
    with pytest.raises(ArgumentTypeError, match=r"lr must be a (real )?number"):
        gdopt.SGD(np.ones(2, complex), 0.1j)
    with pytest.raises(ArgumentError, match=r"agc .* needs complex_mode='modulus'"):
        gdopt.Adam(
            np.ones((2, 2), complex), 0.1, agc=0.1, unit_axis=0, complex_mode="split"
        )


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("frozen", "abc")
def test_frozen_arrays_stay_between_others(engine, mode, frozen):
    start = {name: draw(k, (5,)) for k, name in enumerate("abc")}
    options = {"frozen": frozen, "complex_mode": mode, "clip_norm": 1.0}
    arena, apart = gdopt.Arena.of(start), {n: a.copy() for n, a in start.items()}
    grads, twins = arena.like(), [gdopt.Adam(p, 0.1, **options) for p in (arena, apart)]
    for step in range(3):
        for k, name in enumerate("abc"):
            grads[name] = draw(10 * step + k, (5,))
        twins[0].step(grads)
        twins[1].step(dict(grads))
    assert bits(twins[0]) == bits(twins[1])
    np.testing.assert_array_equal(arena[frozen], start[frozen])
    assert all((arena[n] != start[n]).all() for n in "abc" if n != frozen)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("beta", [0.5, np.full((2, 2), 0.5)], ids=["one", "elements"])
def test_schedule_free_averages_are_complex(engine, mode, beta):
    z = draw(0, (2, 2))
    before, g = z.copy(), draw(1, (2, 2))
    optimizer = gdopt.ScheduleFreeAdamW(z, 1.0, beta1=beta, complex_mode=mode)
    optimizer.step(g)
    size = np.abs(g) if mode == "modulus" else 1
    parts = g if mode == "modulus" else np.sign(g.real) + 1j * np.sign(g.imag)
    with optimizer.averaged():  # the first iterate, after a step of size lr
        np.testing.assert_allclose(z, before - parts / size, rtol=1e-6)


def test_a_real_state_that_depends_on_both_parts_is_seen(numpy_engine):
    with pytest.raises(ArgumentError, match="must be given for adopt"):
        gdopt.ADOPT(np.zeros(2, complex), 0.1)
    gdopt.ASGD(np.zeros(2, complex), 0.1)  # whose real state depends on steps alone


ROWS = {
    "SGD": (gdopt.SGD, {"clip_norm": 1.0}),
    "Adam, split": (gdopt.Adam, {"complex_mode": "split", "clip_norm": 1.0}),
    "Adam, modulus": (gdopt.Adam, {"complex_mode": "modulus", "clip_norm": 1.0}),
    "around": (gdopt.Adam, {"complex_mode": "modulus", "clip_each": 0.1, "ema": 0.5}),
    "units": (gdopt.SGD, {"agc": 0.01, "unit_axis": 0}),
}


@pytest.mark.parametrize("place", [np.copy, lambda z: np.repeat(z, 2, 1)[:, ::2]])
@pytest.mark.parametrize("name", ROWS)
def test_rows_are_updated_as_by_dense_steps(engine, name, place):
    kind, options = ROWS[name]
    start, g = {"z": draw(0, (4, 3)), "x": draw(2, (2, 2)).real}, draw(1, (4, 3))
    whole, named = (
        kind({n: place(a) for n, a in start.items()}, 0.1, **options) for _ in range(2)
    )
    order, x = [2, 0, 3, 1], draw(3, (2, 2)).real
    whole.step({"z": g, "x": x})
    named.step({"z": g[order], "x": x}, at={"z": order})
    assert bits(named) == bits(whole)
    repeats = draw(4, (3, 3))
    named.step({"z": repeats, "x": x}, at={"z": [1, 1, 3]})  # they are summed
    twice = np.zeros((4, 3), complex)
    twice[[1, 3]] = repeats[0] + repeats[1], repeats[2]
    whole.step({"z": twice, "x": x})
    found, expected = named.params["z"], whole.params["z"]
    np.testing.assert_array_equal(found[[1, 3]], expected[[1, 3]])
    np.testing.assert_array_equal(named.params["x"], whole.params["x"])
    assert (found[[0, 2]] != expected[[0, 2]]).all() or kind is gdopt.SGD
    named.step({"z": g[:2], "x": x[:1]}, at={"z": slice(2), "x": slice(1)})
    assert named.t == 3


def test_arrays_of_a_step_are_real_and_hold_for_both_parts(engine, mode_and_at):
    mode, at = mode_and_at
    start, g = draw(0, (4, 3)), {"z": draw(1, (4, 3)), "x": np.ones(2)}
    rates = {"z": np.arange(1.0, 13.0).reshape(4, 3), "x": np.array([1.0, 2.0])}
    given, spread = (
        gdopt.Adam({"z": start.copy(), "x": np.ones(2)}, 0.1, complex_mode=mode)
        for _ in range(2)
    )
    spread.lr = rates
    where = {} if at is None else {"at": {"z": at}}
    part = slice(None) if at is None else at
    g["z"], rows = g["z"][part], {**rates, "z": rates["z"][part].copy()}
    for form in (dict, gdopt.Arena.of):
        given.step(form(g), lr=form(rows), **where)
        spread.step(g, **where)
    assert bits(given) == bits(spread)


@pytest.fixture(
    params=[(mode, at) for mode in MODES for at in (None, [3, 1], slice(2))],
    ids=str,
)
def mode_and_at(request):
    return request.param


@pytest.mark.parametrize("mode", MODES)
def test_arrays_of_a_step_that_do_not_fit_are_refused(numpy_engine, mode, unchanged):
    z = np.ones((2, 3), complex)
    optimizer = gdopt.Adam(z, 0.1, complex_mode=mode)
    refused = {
        "must be float64, got complex128": np.ones((2, 3), complex),
        r"must have shape \(2, 3\), got \(2, 3, 2\)": np.ones((2, 3, 2)),
        "must not share memory with the parameter": z.real,
        "must not share memory with the state 'm'": optimizer.state["0"]["m"].real,
    }
    for message, rates in refused.items():
        with unchanged(optimizer), pytest.raises(gdopt.GdoptError, match=message):
            optimizer.step(np.ones((2, 3), complex), lr=rates)
