"""Switches take True and False alone; numbers of any library, and arrays as lists."""

import decimal
import fractions
from operator import setitem

import numpy as np
import pytest

import gdopt
from gdopt.nn import Network, layers, losses

X, Y = np.eye(2), np.arange(2)
Z = np.ones((2, 3))


def fit(validate):
    network = Network((2, 2), dtype=float, backend="numpy")
    batches = gdopt.minibatches(X, Y, batch_size=2)
    opt = gdopt.SGD(network.params, 0.5)
    gdopt.fit(network, opt, batches, epochs=1, validate=validate)


def loads(**how):
    opt = gdopt.SGD(np.ones(2), 0.5)
    opt.load_state_dict(opt.state_dict(), **how)


def network(flag):
    made = Network((2, 2), dtype=float, backend="numpy")
    made.loss_and_grads(X, Y, validate=flag)


def backwards(flag):
    arrays = np.ones((2, 2)), np.ones(2), np.ones((2, 2)), np.ones(2)
    layers.dense(X, *arrays, input_gradient=flag)[1](X)


SWITCHES = {
    "EWA": lambda flag: gdopt.EWA(0.5, bias_correction=flag),
    "ewa": lambda flag: gdopt.ewa([1.0], 0.5, bias_correction=flag),
    "softmax": lambda flag: losses.softmax_cross_entropy(X, Y, validate=flag),
    "sigmoid": lambda flag: losses.binary_cross_entropy(X[:, 0], Y, validate=flag),
    "squared": lambda flag: losses.squared_error(X, X, validate=flag),
    "network": network,
    "fit": fit,
    "relu": lambda flag: layers.relu(Z, in_place=flag),
    "tanh": lambda flag: layers.tanh(Z, in_place=flag),
    "sigmoid layer": lambda flag: layers.sigmoid(Z.copy(), in_place=flag),
    "dense": backwards,
    "load: hyper": lambda flag: loads(hyper=flag),
    "load: strict": lambda flag: loads(strict=flag),
    "maximize": lambda flag: gdopt.SGD(np.ones(2), 0.5, maximize=flag),
    "nesterov": lambda flag: gdopt.Muon(np.ones((2, 2)), nesterov=flag),
    "shuffle": lambda flag: gdopt.minibatches(X, batch_size=1, shuffle=flag),
}


@pytest.mark.parametrize("flag", ["no", "", None, 1, 0.0, [], np.array(1)])
@pytest.mark.parametrize("name", SWITCHES)
def test_a_switch_is_true_or_false(name, flag, numpy_engine):
    with pytest.raises(gdopt.ArgumentTypeError, match="must be True or False, got"):
        SWITCHES[name](flag)


@pytest.mark.parametrize("flag", [False, np.False_, np.array(False)])
@pytest.mark.parametrize("name", SWITCHES)
def test_a_switch_is_also_numpy_s(name, flag, numpy_engine):
    SWITCHES[name](flag)


@pytest.mark.parametrize(
    "number",
    [
        *(5, np.float32(5), np.int8(5), np.array(5.0), np.array(5)),
        *(decimal.Decimal(5), fractions.Fraction(5)),
        np.array(fractions.Fraction(5), object),
    ],
)
def test_what_float_takes_is_a_number(number):
    assert gdopt.EWA(0.5).update(number) == 5.0


@pytest.mark.parametrize(
    "number",
    [
        *("5", True, np.True_, None, 1j, np.array("5"), np.timedelta64(5, "ns")),
        *(np.array(5, "m8[s]"), float, np.float32, decimal.Decimal("sNaN")),
    ],
)
def test_what_is_no_number_is_refused(number):
    mean = gdopt.EWA(0.5)
    with pytest.raises(gdopt.ArgumentTypeError, match="x must be a number"):
        mean.update(number)
    assert mean.t == 0
    with pytest.raises(gdopt.ArgumentTypeError, match=r"lr must be a"):
        gdopt.SGD(np.ones(2), number)


def test_a_fraction_beyond_every_float_is_not_finite():
    for number in (fractions.Fraction(10**400), decimal.Decimal("1e400")):
        with pytest.raises(gdopt.ArgumentError, match=r"lr must .*finite"):
            gdopt.SGD(np.ones(2), number)


HALF = [0.5, np.float32(0.5), np.array(0.5), decimal.Decimal("0.5")]


@pytest.mark.parametrize("share", [*HALF, fractions.Fraction(1, 2)])
def test_a_share_of_the_examples_is_any_number(share):
    assert len(gdopt.split(np.arange(8.0), train=0.25, dev=share, test=0.25).dev) == 4
    tenth = np.float32(0.1)
    assert len(gdopt.split(np.arange(20.0), train=0.8, dev=tenth, test=tenth).dev) == 2


@pytest.mark.parametrize("kind", [int, np.int64, np.array])
def test_numbers_of_numpy_are_counts_and_options(kind, tmp_path, numpy_engine):
    path = tmp_path / "table.csv"
    path.write_text("a,b,y\n1,2,no\n3,4,yes\n5,6,no\n", encoding="utf-8")
    read = gdopt.data.read_csv(path, target=kind(2), columns=[kind(1)])
    assert read.X.tolist() == [[2], [4], [6]]
    assert gdopt.tune.choice([kind(2), kind(4)]).options == (2, 4)
    space = gdopt.tune.course_space(examples=kind(100))
    assert space["batch_size"] == gdopt.tune.power_of_two(8, 64)
    drawn = Network((2, 2), seed=kind(3), backend="numpy").params["W1"]
    np.testing.assert_array_equal(
        drawn, Network((2, 2), seed=3, backend="numpy").params["W1"]
    )


def test_a_masked_number_is_refused():
    with pytest.raises(gdopt.ArgumentTypeError, match="x must be a number"):
        gdopt.EWA(0.5).update(np.ma.masked_equal(5.0, 5.0))


@pytest.mark.parametrize("sizes", [np.array([2, 3, 2]), range(2, 5), [np.int64(2), 3]])
def test_arrays_and_ranges_are_lists(sizes):
    assert Network(sizes, backend="numpy").sizes == tuple(int(k) for k in sizes)


@pytest.mark.parametrize("sizes", [np.array(2), np.ones((2, 2), int), np.ones(2)])
def test_other_arrays_are_no_lists(sizes):
    with pytest.raises(gdopt.ArgumentTypeError, match="sizes"):
        Network(sizes, backend="numpy")


def test_infinity_is_refused_where_nan_is(numpy_engine):
    x = np.array([[1.0, np.inf], [0.0, 1.0]])
    with pytest.raises(gdopt.ArgumentError, match=r"infinity, got 1, .* \[0, 1\]"):
        gdopt.minibatches(x, batch_size=1)
    gdopt.minibatches(x, batch_size=1, allow_nan=True)
    with pytest.raises(gdopt.ArgumentError, match=r"infinity, got 1, .* \[0, 1\]"):
        gdopt.Normalizer.fit(np.eye(2)).transform(x)


MASKED = np.ma.masked_array([1.0, 2.0, 3.0], mask=[0, 1, 0])
WHOLE = np.ma.masked_array([2, 4, 6], mask=[0, 1, 0])
ROWS = np.ma.masked_array(np.eye(3), mask=np.eye(3))


def normalizer_of(mean):
    state = gdopt.Normalizer.fit(np.eye(3)).state_dict()
    return gdopt.Normalizer.from_state_dict(state | {"mean": mean})


def shared(values):
    with gdopt.parallel.world() as ranks:
        ranks.share(values)


def objective(**other):
    train = np.eye(4), np.arange(4) % 2
    given = {"train": train, "dev": train, "classes": 2, "epochs": 1}
    return gdopt.tune.NetworkObjective(**given | other)


def model(**other):
    network, normalizer = Network((2, 3), backend="numpy"), gdopt.Normalizer.fit(X)
    return gdopt.Model(**{"network": network, "normalizer": normalizer} | other)


def normalizer(**other):
    given = {"mean": np.zeros(2), "scale": np.ones(2), "axis": 0, "dtype": "f4"}
    return gdopt.Normalizer(**given | other)


SPACE = gdopt.tune.Space({"x": gdopt.tune.uniform(0, 1)})
OTHERS = {  # what is made wrongly, and the argument that the message names
    "shapes": (lambda: normalizer(mean=np.zeros(3)), "mean and scale must"),
    "no scale": (lambda: normalizer(scale=np.zeros(2)), "scale positive"),
    "a mean of text": (lambda: normalizer(mean=["a", "b"]), "mean and scale must"),
    "axis": (lambda: normalizer(axis=True), "axis must"),
    "dtype": (lambda: normalizer(dtype="O"), "dtype must"),
    "no dtype": (lambda: normalizer(dtype=None), "dtype must"),
    "no dtype of a network": (
        lambda: Network((2, 2), dtype=None, backend="numpy"),
        "dtype must be float32 or float64, got None",
    ),
    "two of three classes": (lambda: model(classes=["a", "b"]), "classes must"),
    "one text for classes": (lambda: model(classes="abc"), "classes must"),
    "a scaler": (lambda: model(normalizer=object()), "normalizer must"),
    "a network": (lambda: model(network="net"), "network must"),
    "outputs": (lambda: model().in_units(["a"]), "outputs must be real numbers"),
    "scores": (lambda: gdopt.training.Evaluation([1, 2], [1]), "of one shape"),
    "train alone": (lambda: objective(train=X), "train"),
    "flat examples": (lambda: objective(dev=(X[0], Y)), "dev must be examples"),
    "classes": (lambda: objective(classes="2"), "classes must"),
    "epochs": (lambda: objective(epochs=0), "epochs must"),
    "an optimizer by name": (lambda: objective(optimizer="adam"), "optimizer must"),
    "direction": (lambda: gdopt.tune.Study(SPACE, [], "up"), "direction must"),
    "trials": (lambda: gdopt.tune.Study(SPACE, [1]), r"trials\[0\] must"),
    "a range": (lambda: gdopt.tune.uniform(-1.7e308, 1.7e308), "high - low must"),
    "a mark": (lambda: gdopt.data.read_csv(__file__, decimal=["."]), "decimal must"),
    "a class as a dtype": (lambda: gdopt.averages.average(np.ndarray, 1, beta=0), "v "),
}


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_made_of_other_parts_is_refused(name, numpy_engine):
    make, message = OTHERS[name]
    with pytest.raises(gdopt.GdoptError, match=message):
        make()


def test_parts_of_other_libraries_make_a_normalizer():
    made = normalizer(mean=[1, 2], scale=np.ones(2, np.float32), dtype=np.dtype("f4"))
    x = np.eye(2, dtype=np.float32)
    np.testing.assert_array_equal(made.transform(x), x - [1, 2])


@pytest.mark.parametrize("value", [decimal.Decimal("sNaN"), float, object(), [], {1}])
def test_what_is_no_choice_is_refused(value):
    with pytest.raises(gdopt.ArgumentError, match="form must be one of"):
        gdopt.Momentum(np.ones(2), form=value)


@pytest.mark.parametrize("dtype", ["S", "U"])
def test_text_is_no_target_of_a_regression(dtype, numpy_engine):
    pytest.importorskip("sklearn")
    with pytest.raises(gdopt.ArgumentTypeError, match="y must be numbers, got"):
        gdopt.MLPRegressor().fit(X, Y.astype(dtype))


UNPRINTABLE = {
    "a name of a scale": lambda t: gdopt.tune.Space({t: gdopt.tune.uniform(0, 1)}),
    "a search": lambda t: gdopt.tune.tune(len, SPACE, trials=1, name=t),
}


@pytest.mark.parametrize("name", UNPRINTABLE)
def test_text_that_utf_8_cannot_hold_is_refused(name):
    with pytest.raises(gdopt.ArgumentError, match="must be text that UTF-8 can hold"):
        UNPRINTABLE[name]("\udcff")


MASKS = {
    "normalizer's mean": lambda: gdopt.Normalizer(MASKED, np.ones(3), 0, "f8"),
    "scored": lambda: gdopt.training.Evaluation(WHOLE, np.ones(3)),
    "shared": lambda: shared(MASKED),
    "series": lambda: gdopt.ewa(MASKED, 0.9),
    "times": lambda: gdopt.ewa([1.0, 2.0, 3.0], times=MASKED, halflife=1.0),
    "variance": lambda: gdopt.averages.ewa_var(MASKED, 0.9),
    "EWA": lambda: gdopt.EWA(0.9).update(MASKED),
    "initial": lambda: gdopt.ewa(np.eye(3), 0.9, initial=MASKED),
    "normalizer": lambda: gdopt.Normalizer.fit(ROWS),
    "gaps": lambda: gdopt.Normalizer.fit(ROWS, skipna=True),
    "transform": lambda: gdopt.Normalizer.fit(np.eye(3)).transform(ROWS),
    "normalizer's state": lambda: normalizer_of(MASKED),
    "network": lambda: Network((3, 2), backend="numpy").predict(ROWS),
    "labels": lambda: losses.softmax_cross_entropy(np.eye(3), WHOLE // 2 - 1),
    "one_hot": lambda: losses.one_hot(WHOLE, 9),
    "targets": lambda: losses.squared_error(np.eye(3), ROWS),
    "layers": lambda: layers.relu(ROWS),
    "sizes": lambda: Network(WHOLE, backend="numpy"),
    "minibatches": lambda: gdopt.minibatches(ROWS, batch_size=1),
    "split": lambda: gdopt.split(ROWS, dev=0.5),
    "stratify": lambda: gdopt.split(np.eye(3), train=1, dev=1, test=1, stratify=WHOLE),
    "boundaries": lambda: gdopt.schedules.piecewise(WHOLE, [1, 2, 3, 4]),
    "values": lambda: gdopt.schedules.interpolate([1, 2, 3], MASKED),
    "save": lambda: gdopt.save("masked.npz", {"a": MASKED}),
    "params": lambda: gdopt.SGD(MASKED, 0.1),
    "arena": lambda: gdopt.Arena.of({"a": MASKED}),
    "arena's array": lambda: setitem(gdopt.Arena.of({"a": np.ones(3)}), "a", MASKED),
    "as_array": lambda: gdopt.as_array(MASKED),
    "grads": lambda: gdopt.SGD(np.ones(3), 0.1).step(MASKED),
    "at": lambda: gdopt.SGD(np.ones((9, 3)), 0.1).step(np.eye(3), at=WHOLE),
    "lr": lambda: gdopt.SGD(np.ones(3), MASKED),
    "one lr": lambda: gdopt.SGD(np.ones(3), np.ma.masked_array(0.1, mask=True)),
    "bounds": lambda: gdopt.SGD(np.ones(3), 0.1, bounds=(MASKED, 9)),
    "options": lambda: gdopt.tune.choice(WHOLE),
    "Kernel": lambda: gdopt.Kernel(lambda x: x * 2)(MASKED),
    "checked": lambda: gdopt.check_gradient(lambda p: (p @ p, 2 * p), MASKED),
    "checked gradient": lambda: gdopt.check_gradient(
        lambda p: (p @ p, np.ma.masked_array(2 * p, mask=[0, 1, 0])), np.ones(3)
    ),
    "minimize": lambda: gdopt.minimize(lambda p: (p @ p, 2 * p), MASKED),
    "classifier": lambda: gdopt.MLPClassifier().fit(ROWS, [0, 1, 0]),
    "classes": lambda: gdopt.MLPClassifier().fit(np.eye(3), WHOLE),
    "weights": lambda: gdopt.MLPRegressor().fit(
        np.eye(3), np.ones(3), sample_weight=MASKED
    ),
}


@pytest.mark.parametrize("name", MASKS)
def test_no_mask_is_dropped(name, numpy_engine, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if name in {"classifier", "classes", "weights"}:
        pytest.importorskip("sklearn")
    with pytest.raises(gdopt.GdoptError, match=r"mask|Masked"):
        MASKS[name]()
    assert not list(tmp_path.iterdir())
