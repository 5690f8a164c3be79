"""What scikit-learn's parameters do, with its own estimators next to gdopt's."""

import inspect

import numpy as np
import pytest

pytest.importorskip("sklearn")
from sklearn import neural_network
from sklearn.exceptions import DataConversionWarning
from sklearn.utils.class_weight import compute_sample_weight

from gdopt import estimators
from gdopt.estimators import MLPClassifier, MLPRegressor

pytestmark = [
    pytest.mark.usefixtures("numpy_engine"),
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]
TAKES_WEIGHTS = (
    "sample_weight" in inspect.signature(neural_network.MLPClassifier.fit).parameters
)
KINDS = ["MLPClassifier", "MLPRegressor"]
SAME = [
    {},
    {"batch_size": 30, "max_iter": 20},
    {"activation": "identity", "shuffle": False, "batch_size": 45},
    {"activation": "logistic", "beta_1": 0.5, "beta_2": 0.9, "max_iter": 50},
    {"solver": "sgd", "activation": "tanh", "learning_rate": "invscaling"},
    {"solver": "sgd", "learning_rate": "invscaling", "power_t": 0.1, "momentum": 0.0},
    {"solver": "sgd", "learning_rate": "adaptive", "tol": 1e-2, "max_iter": 400},
    {"solver": "sgd", "nesterovs_momentum": False, "momentum": 0.5},
    {"early_stopping": True, "n_iter_no_change": 3, "tol": 1e-2},
    {"n_iter_no_change": np.inf, "tol": 10.0, "max_iter": 15},
]


def targets_of(name, y):
    """Return two classes, which scikit-learn stratifies by, or numbers."""
    return y % 2 if name == "MLPClassifier" else y / 2


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("options", SAME)
def test_a_fit_is_that_of_scikit_learn(name, options, weighted, blobs):
    X, y = blobs
    y, weights = targets_of(name, y), ()
    if weighted and not TAKES_WEIGHTS:
        pytest.skip("scikit-learn 1.7 brings sample_weight")
    if weighted:
        weights = (np.random.default_rng(0).uniform(0.5, 2, 90),)
    common = {"hidden_layer_sizes": (7, 6), "learning_rate_init": 0.01, "alpha": 0.1}
    common |= {"random_state": 3} | options
    if weighted and "batch_size" in options:
        common["alpha"] = 0.0  # scikit-learn divides it by the weights of each batch
    ours, theirs = (
        getattr(module, name)(**common).fit(X, y, *weights)
        for module in (estimators, neural_network)
    )
    assert (ours.n_iter_, ours.t_) == (theirs.n_iter_, theirs.t_)
    np.testing.assert_allclose(ours.loss_curve_, theirs.loss_curve_, rtol=1e-7)
    for own, other in zip(ours.coefs_, theirs.coefs_, strict=True):
        np.testing.assert_allclose(own, other, rtol=1e-5, atol=1e-7)
    assert (ours.n_layers_, ours.n_outputs_) == (theirs.n_layers_, theirs.n_outputs_)
    assert ours.out_activation_ == theirs.out_activation_
    if ours.best_loss_ is not None:
        np.testing.assert_allclose(ours.best_loss_, theirs.best_loss_, rtol=1e-7)
    else:
        assert theirs.best_loss_ is None
        found, expected = ours.validation_scores_, theirs.validation_scores_
        np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.newest  # an older one asks SciPy for what it no longer takes
@pytest.mark.parametrize("name", KINDS)
def test_lbfgs_comes_to_the_minimum_of_scikit_learn(name, blobs):
    X, y = blobs
    options = {"solver": "lbfgs", "activation": "identity", "alpha": 1.0, "tol": 1e-7}
    options |= {"hidden_layer_sizes": 3, "max_iter": 2000, "random_state": 0}
    ours, theirs = (
        getattr(module, name)(**options).fit(X, targets_of(name, y))
        for module in (estimators, neural_network)
    )
    np.testing.assert_allclose(ours.loss_, theirs.loss_, rtol=1e-6)
    np.testing.assert_allclose(ours.predict(X), theirs.predict(X), atol=1e-3)
    assert ours.loss_curve_[-1] == ours.loss_ == ours.best_loss_
    assert len(ours.loss_curve_) == ours.n_iter_ < 2000


def test_class_weights_are_sample_weights(blobs):
    X, y = blobs
    X, y = X[10:], np.minimum(y, 1)[10:]
    for given in ("balanced", {0: 3.0, 1: 0.5}):
        weights = compute_sample_weight(given, y) * 0.5
        ours = MLPClassifier(5, class_weight=given, max_iter=5, random_state=0)
        ours.fit(X, y, np.full(80, 0.5))
        plain = MLPClassifier(5, max_iter=5, random_state=0).fit(X, y, weights)
        assert ours.loss_curve_ == plain.loss_curve_


@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
def test_an_example_of_weight_0_is_left_out(kind, blobs):
    X, y = blobs
    used = np.arange(90) % 4 > 0
    options = {"batch_size": 20, "max_iter": 3, "random_state": 0}
    weighted = kind(5, **options).fit(X, y, used)
    left = kind(5, **options).fit(X[used], y[used], np.ones(used.sum()))
    assert weighted.loss_curve_ == left.loss_curve_


def labels():
    """Return labels of the same 3 or 2 classes, by the name of their kind."""
    y = np.arange(90) % 3
    names = np.array(["a", "b", "ö"])
    found = {
        "column": y[:, np.newaxis],
        "booleans": y > 0,
        "whole floats": y.astype(float),
        "objects": names[y].astype(object),
    }
    if hasattr(np.dtypes, "StringDType"):
        found["StringDType"] = names[y].astype(np.dtypes.StringDType())
    return found


@pytest.mark.parametrize("kind", labels())
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.DataConversionWarning")
def test_labels_may_be_of_any_kind(kind, blobs):
    X, y = blobs[0], labels()[kind]
    numbers = np.unique(y.tolist(), return_inverse=True)[1].reshape(-1)
    options = {"max_iter": 4, "random_state": 0, "early_stopping": True}
    model = MLPClassifier(5, **options).fit(X, y)
    plain = MLPClassifier(5, **options).fit(X, numbers)
    assert model.loss_curve_ == plain.loss_curve_
    assert (model.predict(X) == model.classes_[plain.predict(X)]).all()
    assert model.score(X, y) == plain.score(X, numbers)
    part = MLPClassifier(5, random_state=0).partial_fit(X, y, classes=np.unique(y))
    assert part.partial_fit(X[:7], y[:7]).classes_.tolist() == model.classes_.tolist()


def test_a_column_of_labels_is_warned_of(blobs):
    X, y = blobs
    with pytest.warns(DataConversionWarning, match="column-vector y was passed"):
        MLPClassifier(4, max_iter=1).fit(X, y[:, np.newaxis])


@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
def test_a_warm_start_follows_what_was_changed(kind, solver, blobs):
    model = kind(4, max_iter=3, random_state=0).fit(*blobs)
    before = model.coefs_
    model.set_params(warm_start=True, solver=solver, activation="tanh", max_iter=1)
    model.set_params(learning_rate_init=1e-9, alpha=7.0, batch_size=30).fit(*blobs)
    assert model._model.network.activation == "tanh"
    assert model._model.network.l2 == 7
    assert (model.n_iter_, len(model.loss_curve_)) == (1, 4)
    moved = max(abs(a - b).max() for a, b in zip(before, model.coefs_, strict=True))
    assert 0 < moved
    assert moved < 1e-7 or solver == "lbfgs"


@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
def test_a_last_chunk_may_be_smaller_than_a_batch(kind, blobs):
    X, y = blobs
    classes = {"classes": [0, 1, 2]} if kind is MLPClassifier else {}
    model = kind(4, batch_size=40, random_state=0).partial_fit(X, y, **classes)
    assert model.partial_fit(X[:1], y[:1]).t_ == 91
    assert model.n_iter_ == 1
    model.set_params(solver="lbfgs", max_iter=2).fit(X, y)
    assert not hasattr(model, "partial_fit")
    assert model.set_params(solver="sgd").partial_fit(X, y).n_iter_ == 1


def test_verbose_prints_as_scikit_learn_does(blobs, capsys):
    X, y = blobs
    shared = {
        "hidden_layer_sizes": 4,
        "solver": "sgd",
        "max_iter": 40,
        "random_state": 0,
        "verbose": True,
    }
    for options in (
        {"learning_rate": "adaptive", "learning_rate_init": 1e-5, "tol": 0.1},
        {"early_stopping": True, "n_iter_no_change": 2, "tol": 0.5},
    ):
        printed = []
        for module in (estimators, neural_network):
            module.MLPRegressor(**shared, **options).fit(X, y)
            printed.append(capsys.readouterr().out)
        assert printed[0] == printed[1]
        assert "Stopping." in printed[0]


def test_log_probabilities_are_logarithms(blobs):
    X, y = blobs
    model = MLPClassifier(4, max_iter=3, random_state=0).fit(X, y)
    expected = np.log(model.predict_proba(X))
    assert (model.predict_log_proba(X) == expected).all()
    assert (model.predict_log_proba(X * 1e5) == -np.inf).any()
