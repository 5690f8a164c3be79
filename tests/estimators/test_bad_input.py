import pickle

import numpy as np
import pytest

import gdopt

pytest.importorskip("sklearn")
from gdopt.estimators import MLPClassifier, MLPRegressor

pytestmark = [
    pytest.mark.usefixtures("numpy_engine"),
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("hidden_layer_sizes", 0, "hidden_layer_sizes must be a whole number of at"),
        ("hidden_layer_sizes", (8, 2.0), r"hidden_layer_sizes\[1\] must be a whole"),
        ("activation", "sigmoid", "activation must be one of identity, logistic"),
        ("solver", "adamw", "solver must be one of adam, sgd, lbfgs, got 'adamw'"),
        ("solver", None, "solver must be a name or a class, got NoneType"),
        ("learning_rate", "falling", "learning_rate must be one of constant, inv"),
        ("momentum", 1, r"momentum must be in \[0, 1\) and finite, got 1"),
        ("beta_1", 1.0, r"beta_1 must be in \[0, 1\) and finite"),
        ("shuffle", "yes", "shuffle must be True or False"),
        ("verbose", -1, "verbose must be a whole number of at least 0, got -1"),
        ("learning_rate_init", 0, r"learning_rate_init must be in \(0, inf\)"),
        ("learning_rate_init", np.nan, "learning_rate_init must be in"),
        ("alpha", -1, r"alpha must be in \[0, inf\) and finite, got -1"),
        ("batch_size", "all", "batch_size must be a whole number of at least 1"),
        ("max_iter", 0, "max_iter must be a whole number of at least 1, got 0"),
        ("random_state", "seed", "'seed' cannot be used to seed"),
        ("early_stopping", 1, "early_stopping must be True or False, got 1"),
        ("validation_fraction", 1.0, r"validation_fraction must be in \(0, 1\)"),
        ("n_iter_no_change", 0, "n_iter_no_change must be a whole number"),
        ("tol", -1e-4, "tol must be in"),
        ("warm_start", None, "warm_start must be True or False"),
        ("backend", "tpu", "backend must be one of auto, numpy, cupy, got 'tpu'"),
    ],
)
@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
def test_a_bad_parameter_is_refused_and_nothing_changes(
    kind, name, value, message, blobs
):
    X, y = blobs
    model = kind(4, max_iter=2, random_state=0).fit(X, y)
    before = model.predict(X), model.n_iter_, [a.copy() for a in model.coefs_]
    good = model.get_params()[name]
    model.set_params(**{name: value})
    with pytest.raises((ValueError, TypeError), match=message):
        model.fit(X, y)
    model.set_params(**{name: good})
    assert (model.predict(X) == before[0]).all()
    assert model.n_iter_ == before[1]
    for array, kept in zip(model.coefs_, before[2], strict=True):
        assert array.tobytes() == kept.tobytes()


def test_one_class_cannot_be_told_apart(blobs):
    X, _ = blobs
    with pytest.raises(gdopt.ArgumentError, match="2 classes or more, got one class"):
        MLPClassifier().fit(X, np.ones(90))


def test_the_first_partial_fit_needs_all_classes(blobs):
    X, y = blobs
    model = MLPClassifier(4, random_state=0)
    with pytest.raises(gdopt.ArgumentError, match="classes must be passed on the fir"):
        model.partial_fit(X, y)
    with pytest.raises(gdopt.ArgumentError, match="y must hold only 0, 1, got 2"):
        model.partial_fit(X, y, classes=[0, 1])
    model.partial_fit(X[y < 2], y[y < 2], classes=[2, 0, 1])
    assert model.classes_.tolist() == [0, 1, 2]
    before = [array.copy() for array in model.coefs_]
    with pytest.raises(gdopt.ArgumentError, match="must be those of the first call"):
        model.partial_fit(X, y, classes=[0, 1, 2, 3])
    with pytest.raises(gdopt.ArgumentError, match=r"only .*, got 5"):
        model.partial_fit(X, np.where(y == 2, 5, y))
    for array, kept in zip(model.coefs_, before, strict=True):
        assert array.tobytes() == kept.tobytes()


def test_partial_fits_know_no_early_stopping(blobs):
    model = MLPClassifier(early_stopping=True)
    with pytest.raises(gdopt.ArgumentError, match="does not support early_stop"):
        model.partial_fit(*blobs, classes=[0, 1, 2])


def test_a_warm_start_keeps_sizes_and_outputs(blobs):
    X, y = blobs
    model = MLPRegressor(4, max_iter=2, warm_start=True, random_state=0).fit(X, y)
    with pytest.raises(gdopt.ArgumentError, match="y must have 1 outputs, as before"):
        model.fit(X, np.stack([y, y], axis=1))
    model.set_params(hidden_layer_sizes=(4, 4))
    with pytest.raises(gdopt.ArgumentError, match=r"must stay \(4,\) if training"):
        model.fit(X, y)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_examples_that_are_not_finite_are_refused(value, blobs):
    X, y = blobs
    X[3, 2] = value
    with pytest.raises(ValueError, match=r"contains (NaN|infinity)"):
        MLPClassifier().fit(X, y)


def test_an_estimator_that_was_not_fitted_says_so(blobs):
    from sklearn.exceptions import NotFittedError

    for question in ("predict", "predict_proba"):
        with pytest.raises(NotFittedError, match="not fitted yet"):
            getattr(MLPClassifier(), question)(blobs[0])
    with pytest.raises(NotFittedError):
        _ = MLPRegressor().coefs_


def state_of(model):
    """Return all that an estimator holds, as text and bytes."""
    return {name: pickle.dumps(value) for name, value in vars(model).items()}


@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
@pytest.mark.parametrize("early", [False, True])
@pytest.mark.parametrize("how", ["first", "warm", "part"])
def test_a_fit_that_diverges_changes_nothing(kind, early, how, blobs):
    X, y = blobs
    model = kind(4, max_iter=2, random_state=np.random.RandomState(0))
    if how == "part":
        classes = {"classes": [0, 1, 2]} if kind is MLPClassifier else {}
        model.set_params(solver="sgd").partial_fit(X, y, **classes)
    elif how == "warm":
        model.fit(X, y)
    model.set_params(
        solver="sgd",
        alpha=1e200,  # the second batch has an infinite loss
        batch_size=40,
        early_stopping=early and how != "part",
        warm_start=how == "warm",
    )
    before = state_of(model)
    train = model.partial_fit if how == "part" else model.fit
    with pytest.raises(gdopt.DivergenceError, match=f"^{kind.__name__}: .*at step 2"):
        train(X, y)
    assert state_of(model) == before


def test_an_interrupted_fit_changes_nothing(blobs):
    class Interrupted(MLPClassifier):
        def _score(self, model, kept):
            raise KeyboardInterrupt

    model = Interrupted(4, early_stopping=True, random_state=np.random.RandomState(0))
    before = state_of(model)
    with pytest.raises(KeyboardInterrupt):
        model.fit(*blobs)
    assert state_of(model) == before


def test_too_few_examples_to_judge_by_are_refused_at_the_start(blobs):
    X, y = blobs
    model = MLPRegressor(early_stopping=True, validation_fraction=0.01)
    with pytest.raises(gdopt.ArgumentError, match="validation set is too small"):
        model.fit(X, y)
    model = MLPClassifier(early_stopping=True, validation_fraction=0.02)
    with pytest.raises(gdopt.ArgumentError, match="equal to the number of classes = 3"):
        model.fit(X, y)
    names = np.array(["b"] * 89 + ["a"])
    with pytest.raises(gdopt.ArgumentError, match="too few"):  # scikit-learn's words
        MLPClassifier(early_stopping=True).fit(X, names)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.zeros(90), "one (above 0|non-zero)"),
        (-np.ones(90), "no negative number"),
        (np.ones(3), r"sample_weight.shape == \(3,\)"),
        (np.full(90, np.nan), "contains NaN"),
    ],
)
def test_bad_weights_are_refused(weights, message, blobs):
    for train in (MLPClassifier().fit, MLPRegressor().partial_fit):
        with pytest.raises(ValueError, match=message):
            train(*blobs, weights)


def test_class_weights_are_checked(blobs):
    model = MLPClassifier(class_weight="equal")
    with pytest.raises(gdopt.ArgumentError, match="class_weight must be one of balanc"):
        model.fit(*blobs)
    model.set_params(class_weight="balanced")
    with pytest.raises(gdopt.ArgumentError, match="must hold weights for partial_fit"):
        model.partial_fit(*blobs, classes=[0, 1, 2])


def test_a_schedule_leaves_no_rate_to_lower(blobs):
    rates = gdopt.schedules.halving(0.1, every=1)
    model = MLPClassifier(solver="sgd", learning_rate="adaptive")
    model.set_params(learning_rate_init=rates)
    with pytest.raises(gdopt.ArgumentError, match="learning_rate must be 'constant'"):
        model.fit(*blobs)


def test_a_batch_larger_than_the_data_is_cut_with_a_warning(blobs):
    X, y = blobs
    whole = MLPClassifier(4, batch_size=90, max_iter=2, random_state=0).fit(X, y)
    model = MLPClassifier(4, batch_size=91, max_iter=2, random_state=0)
    with pytest.warns(UserWarning, match="It is going to be clipped") as caught:
        model.fit(X, y)
    assert caught[0].filename == __file__
    assert whole.loss_curve_ == model.loss_curve_
