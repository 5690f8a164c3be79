"""A step may be told the norm of all gradients, and whether they are finite."""

import numpy as np
import pytest

import gdopt

SHAPES = {"W": (5, 13), "b": (13,), "scale": (), "U": (70, 80)}


def arrays(seed=0, dtype="float32"):
    generator = np.random.default_rng(seed)
    return {n: np.array(generator.normal(size=s), dtype) for n, s in SHAPES.items()}


@gdopt.rule
def normalized(p, g, *, lr, norm):
    return p - lr * g / norm


MAKERS = {
    "clip_norm": lambda p, **o: gdopt.Momentum(p, clip_norm=0.5, **o),
    "a rule": lambda p, **o: gdopt.Optimizer(p, normalized, lr=0.1, **o),
    "reductions": lambda p, **o: gdopt.LAMB(p, clip_norm=0.5, **o),
    "loss_scale": lambda p, **o: gdopt.Adam(p, clip_norm=0.5, loss_scale=8.0, **o),
    "Muon": lambda p, **o: gdopt.Muon(p, clip_norm=0.5, **o),
}
PLACES = {"apart": dict, "arena": gdopt.Arena.of}


def same(one, other):
    assert one.t == other.t
    for name, array in one.params.items():
        np.testing.assert_array_equal(other.params[name], array)
        for state, held in one.state[name].items():
            np.testing.assert_array_equal(other.state[name][state], held)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("make", MAKERS)
def test_the_norm_that_is_given_has_the_place_of_the_one_computed(make, place, engine):
    plain, told = (MAKERS[make](PLACES[place](arrays())) for _ in range(2))
    for seed in range(1, 4):
        grads = PLACES[place](arrays(seed))
        plain.step(grads)
        scale = 8.0 if make == "loss_scale" else 1.0
        assert told.step(grads, norm=plain.grad_norm * scale) is True
        assert told.grad_norm == plain.grad_norm
    same(plain, told)
    before = {name: array.copy() for name, array in told.params.items()}
    told.step(grads, norm=1e30)  # so that it is that which counts
    moved = [abs(told.params[n] - before[n]).max() for n in before]
    plain.step(grads)
    expected = [abs(plain.params[n] - before[n]).max() for n in before]
    assert moved != expected
    told.step(grads)
    assert told.grad_norm != 1e30


@pytest.mark.parametrize(
    "norm", [3, np.float32(3), np.array(3.0), np.array(3, "int64"), np.float64(3)]
)
def test_kinds_of_numbers(norm):
    told = gdopt.SGD(np.zeros(2), lr=1.0, clip_norm=1.5)
    told.step(np.array([2.0, 4.0]), norm=norm)
    assert told.params["0"].tolist() == [-1, -2]
    assert (told.grad_norm, type(told.grad_norm)) == (3, float)


@pytest.mark.parametrize("norm", [np.nan, np.inf])
def test_a_norm_that_is_not_finite_is_taken(norm, engine):
    plain, told = (gdopt.SGD(np.zeros(3), clip_norm=1.0) for _ in range(2))
    plain.step(np.array([1.0, 2.0, norm]))
    told.step(np.array([1.0, 2.0, norm]), norm=norm)
    assert plain.params["0"].tobytes() == told.params["0"].tobytes()


def test_a_norm_that_nothing_takes_is_reported(engine):
    for params in (np.ones(3), gdopt.Arena.of(np.ones(3))):
        optimizer = gdopt.SGD(params, lr=1.0)
        assert optimizer.step(np.ones(3), norm=7.0)
        assert optimizer.grad_norm == 7
        assert optimizer.params["0"].tolist() == [0, 0, 0]


def test_a_norm_goes_with_hyper_parameters_for_one_step_and_missing_gradients(engine):
    told = gdopt.SGD(arrays(), lr=1.0, clip_norm=1.0)
    plain = gdopt.SGD(arrays(), lr=1.0, clip_norm=1.0)
    grads = arrays(1) | {"b": None}
    plain.step(grads, lr=0.25)
    told.step(grads, lr=0.25, norm=plain.grad_norm)
    assert told.grad_norm == plain.grad_norm
    same(plain, told)
    plain.step(grads)
    told.step(grads, norm=plain.grad_norm)
    same(plain, told)
    for given in ({"lr": 0.25}, {}):
        told.step(grads, norm=1e3, **given)
        assert told.grad_norm == 1e3


@pytest.mark.parametrize("mode", ["split", "modulus"])
def test_complex_parameters(mode, engine):
    z = np.array([1 + 1j, 2.0])
    plain, told = (gdopt.Adam(z.copy(), complex_mode=mode) for _ in range(2))
    plain.step(z)
    told.step(z, norm=4.0)
    assert told.grad_norm == 4
    np.testing.assert_array_equal(told.params["0"], plain.params["0"])


@pytest.mark.parametrize(
    ("norm", "error", "message"),
    [
        (-1.0, gdopt.ArgumentError, "norm must be at least 0, got -1.0"),
        ("2", gdopt.ArgumentTypeError, "norm must be a number, got '2'"),
        (True, gdopt.ArgumentTypeError, "norm must be a number, got True"),
        (np.ones(1), gdopt.ArgumentTypeError, "norm must be a number, got array"),
        (1j, gdopt.ArgumentTypeError, "norm must be a number, got 1j"),
    ],
)
def test_what_is_not_a_norm_is_refused_and_changes_nothing(norm, error, message):
    optimizer = gdopt.SGD(np.ones(2), clip_norm=1.0)
    with pytest.raises(error, match=message):
        optimizer.step(np.ones(2), norm=norm)
    assert (optimizer.t, optimizer.params["0"].tolist()) == (0, [1, 1])


@pytest.mark.parametrize(
    "options",
    [
        {"clip_value": 1.0},
        {"clip_each": 1.0},
        {"agc": 1.0, "unit_axis": 0},
        {"accumulate": 2},
    ],
)
def test_a_norm_is_refused_where_gradients_change_before_it_is_taken(options):
    optimizer = gdopt.SGD(np.ones(2), clip_norm=1.0, **options)
    with pytest.raises(gdopt.ArgumentError, match="norm must not be given here"):
        optimizer.step(np.ones(2), norm=1.0)
    gdopt.SGD(np.ones(2), **options).step(np.ones(2), norm=1.0)


def test_rows_of_a_part_of_all_gradients(engine):
    optimizer = gdopt.SGD(np.ones((3, 2)), lr=1.0, clip_norm=1.0, non_finite="skip")
    assert optimizer.step(np.full((1, 2), 4.0), at=[1], norm=8.0)
    assert optimizer.params["0"].tolist() == [[1, 1], [0.5, 0.5], [1, 1]]
    assert optimizer.grad_norm == 8
    assert not optimizer.step(np.ones((1, 2)), at=[1], finite=False)
    optimizer.step(np.full((1, 2), np.nan), at=[2], finite=True)
    assert np.isnan(optimizer.params["0"][2]).all()


@pytest.mark.parametrize("place", PLACES)
def test_a_step_is_skipped_by_what_it_is_told(place, engine):
    params = PLACES[place](arrays())
    optimizer = gdopt.Adam(params, non_finite="skip", clip_norm=1.0)
    grads = PLACES[place](arrays(1))
    assert optimizer.step(grads, finite=False) is False
    assert optimizer.t == 0
    assert all((params[name] == array).all() for name, array in arrays().items())
    assert optimizer.step(grads, finite=np.bool_(True)) is True
    grads["b"][3] = np.nan
    assert optimizer.step(grads) is False
    assert optimizer.step(grads, finite=True) is True  # it does not look
    assert optimizer.t == 2
    assert np.isnan(params["b"]).any()


def test_what_it_is_told_counts_for_a_dynamic_loss_scale():
    optimizer = gdopt.SGD(np.ones(2), loss_scale="dynamic")
    assert not optimizer.step(np.ones(2), finite=False)
    assert optimizer.loss_scale == 32768


def test_a_step_is_refused_by_what_it_is_told():
    optimizer = gdopt.Adam(np.ones(2), non_finite="raise")
    with pytest.raises(gdopt.ArgumentError, match="finite, got finite=False"):
        optimizer.step(np.ones(2), finite=False)
    assert optimizer.t == 0
    assert optimizer.step(np.array([1.0, np.inf]), finite=True)


def test_a_step_that_computes_with_all_gradients_goes_on():
    optimizer = gdopt.Adam(np.ones(2))
    assert optimizer.step(np.ones(2), finite=False)


def test_gradients_too_large_for_the_state_are_not_looked_for():
    optimizer = gdopt.Adam(np.ones(2, "f"), non_finite="skip")
    huge = np.full(2, 1e30, "f")
    assert optimizer.step(huge) is False
    assert optimizer.step(huge, finite=True) is True


@pytest.mark.parametrize("finite", ["yes", 1, np.ones(2, bool)])
def test_what_is_not_a_truth_value_is_refused(finite):
    optimizer = gdopt.Adam(np.ones(2), non_finite="skip")
    with pytest.raises(gdopt.ArgumentTypeError, match="finite must be True or False"):
        optimizer.step(np.ones(2), finite=finite)


def test_a_rule_s_own_name_for_it_is_refused():
    def rule(p, g, *, finite):
        return p - finite * g

    with pytest.raises(gdopt.RuleError, match="'finite' is a member or an option"):
        gdopt.Optimizer(np.ones(2), rule, finite=1.0)
