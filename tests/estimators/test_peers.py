"""The estimators beside scikit-learn's own, step by step and on real data."""

import functools

import numpy as np
import pytest

import gdopt

pytest.importorskip("sklearn")
from sklearn import neural_network
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from gdopt import estimators

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
SGD = {"solver": "sgd", "momentum": 0, "nesterovs_momentum": False}
SAME = [  # our optimizer, and scikit-learn's settings of the same rule
    (gdopt.SGD, 0.1, SGD),
    (gdopt.Nesterov, 0.01, {"solver": "sgd", "momentum": 0.9}),
    (functools.partial(gdopt.Adam, eps_mode="raw"), 0.05, {"solver": "adam"}),
]


@pytest.fixture(params=["classes", "two classes", "one output", "two outputs"])
def task(request):
    """Return the name of an estimator, examples and targets."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((40, 5))
    targets = {
        "classes": np.arange(40) % 3,
        "two classes": np.arange(40) % 2,
        "one output": X @ rng.standard_normal(5),
        "two outputs": X @ rng.standard_normal((5, 2)),
    }[request.param]
    kind = "Classifier" if request.param.endswith("classes") else "Regressor"
    return f"MLP{kind}", X, targets


@pytest.mark.parametrize("activation", ["relu", "tanh", "logistic"])
@pytest.mark.parametrize("same", SAME)
def test_steps_from_the_same_weights_are_the_same(task, activation, same, numpy_engine):
    name, X, y = task
    optimizer, lr, solver = same
    common = {
        "hidden_layer_sizes": (7, 6),
        "activation": activation,
        "learning_rate_init": lr,
        "alpha": 2.0,  # as large as the rest of the loss
        "batch_size": len(X),
        "max_iter": 6,
        "n_iter_no_change": 20,
        "warm_start": True,
        "random_state": 0,
    }
    ours = getattr(estimators, name)(solver=optimizer, **common).fit(X, y)
    theirs = getattr(neural_network, name)(**solver, **common).fit(X, y)
    theirs.coefs_ = [array.copy() for array in ours.coefs_]
    theirs.intercepts_ = [array.copy() for array in ours.intercepts_]
    ours.fit(X, y)
    theirs.fit(X, y)
    pairs = zip(
        ours.coefs_ + ours.intercepts_,
        theirs.coefs_ + theirs.intercepts_,
        strict=True,
    )
    for own, other in pairs:  # 6 steps of rounding in float64
        np.testing.assert_allclose(own, other, rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(ours.predict(X), theirs.predict(X), rtol=1e-9)
    if name == "MLPClassifier":
        probabilities = theirs.predict_proba(X)
        np.testing.assert_allclose(ours.predict_proba(X), probabilities, rtol=1e-9)
    if y.ndim == 1:  # of two outputs theirs is the half of the squared error's part
        np.testing.assert_allclose(
            ours.loss_curve_[6:], theirs.loss_curve_[6:], rtol=1e-9
        )


@pytest.mark.parametrize("patience", [1, 4])
@pytest.mark.parametrize("early", [False, True])
def test_training_without_gain_ends_after_as_many_epochs(patience, early, blobs):
    options = {
        "learning_rate_init": 1e-9,
        "n_iter_no_change": patience,
        "early_stopping": early,
        "random_state": 0,
    }
    counts = [
        module.MLPClassifier(**options).fit(*blobs).n_iter_
        for module in (estimators, neural_network)
    ]
    assert counts == [patience + 2] * 2


@pytest.mark.slow
def test_real_digits_are_told_apart_as_well(numpy_engine):
    X, y = load_digits(return_X_y=True)
    X = (X / 16).astype(np.float32)
    scores = {estimators: [], neural_network: []}
    for seed in range(2):
        train, test, labels, truth = train_test_split(
            X, y, random_state=seed, stratify=y
        )
        for module, found in scores.items():
            model = module.MLPClassifier(max_iter=40, random_state=seed)
            found.append(model.fit(train, labels).score(test, truth))
    ours, theirs = map(np.mean, scores.values())
    assert ours > theirs - 0.01  # 9 of 900 examples
    assert ours > 0.95
