import numpy as np
import pytest

import gdopt

pytest.importorskip("sklearn")
from sklearn.exceptions import ConvergenceWarning

from gdopt.estimators import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.usefixtures("numpy_engine")
no_rest = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def same_bits(one, other):
    pairs = zip(
        one.coefs_ + one.intercepts_, other.coefs_ + other.intercepts_, strict=True
    )
    return all(a.tobytes() == b.tobytes() for a, b in pairs)


@no_rest
@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
def test_the_random_state_decides_every_bit(kind, blobs):
    def fit(state):
        return kind(8, batch_size=20, max_iter=3, random_state=state).fit(*blobs)

    assert same_bits(fit(3), fit(3))
    assert not same_bits(fit(3), fit(4))
    assert same_bits(fit(np.random.RandomState(3)), fit(3))
    moving = np.random.RandomState(3)
    assert not same_bits(fit(moving), fit(moving))


@no_rest
@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_training_is_in_the_dtype_of_the_examples(kind, dtype, blobs):
    X, y = blobs
    model = kind(8, max_iter=2, random_state=0).fit(X.astype(dtype), y)
    assert {array.dtype for array in model.coefs_ + model.intercepts_} == {
        np.dtype(dtype)
    }
    assert model.predict(X).shape == (90,)


def test_classes_may_be_of_any_kind(blobs):
    X, y = blobs
    names = np.array(["pear", "apple", "fig"])[y]
    model = MLPClassifier(16, learning_rate_init=0.05, random_state=0).fit(X, names)
    assert model.classes_.tolist() == ["apple", "fig", "pear"]
    assert (model.predict(X) == names).mean() > 0.95
    assert model.predict_proba(X).shape == (90, 3)
    chosen = model.predict_proba(X).argmax(axis=1)
    assert (model.classes_[chosen] == model.predict(X)).all()


def test_two_classes_have_one_output_and_two_probabilities(blobs):
    X, y = blobs
    X, y = X[y < 2], np.where(y[y < 2], 7, -1)
    model = MLPClassifier(16, learning_rate_init=0.05, random_state=0).fit(X, y)
    assert model.coefs_[-1].shape == (16, 1)
    probabilities = model.predict_proba(X)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-12)
    assert (np.where(probabilities[:, 1] > 0.5, 7, -1) == model.predict(X)).all()
    assert model.score(X, y) > 0.95


@no_rest
def test_one_column_of_targets_is_one_output_with_a_warning(blobs):
    from sklearn.exceptions import DataConversionWarning

    X, y = blobs
    model = MLPRegressor(4, max_iter=2, random_state=0)
    with pytest.warns(DataConversionWarning):
        model.fit(X, y[:, np.newaxis])
    assert model.predict(X).shape == (90,)
    assert model.fit(X, np.stack([y, y], axis=1)).predict(X).shape == (90, 2)


@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
def test_early_stopping_gives_back_the_best_weights(kind, blobs):
    seen = []

    class Watched(kind):
        def _score(self, model, part):
            score = super()._score(model, part)
            assert len(part[0]) == 18
            seen.append((score, [array.copy() for array in model.arrays("W")]))
            return score

    options = {"early_stopping": True, "validation_fraction": 0.2, "random_state": 0}
    model = Watched(8, learning_rate_init=0.1, n_iter_no_change=3, **options)
    X, y = blobs
    noise = np.random.default_rng(1).integers(0, 3, 90)
    model.fit(X, np.where(np.arange(90) % 2, y, noise))
    scores = [score for score, _ in seen]
    best = int(np.argmax(scores))
    assert 0 < best < len(scores) - 1  # or the test shows nothing
    assert model.validation_scores_ == scores
    assert model.best_validation_score_ == scores[best]
    for kept, array in zip(seen[best][1], model.coefs_, strict=True):
        assert kept.tobytes() == array.tobytes()


@no_rest
def test_the_loss_of_an_epoch_is_the_mean_over_its_examples(blobs):
    X, y = blobs
    rate = 1e-12  # weights stay, so that every batch is judged by the same ones
    model = MLPClassifier(5, learning_rate_init=rate, max_iter=1, batch_size=40)
    model.set_params(random_state=0, alpha=0.0).fit(X, y)
    chosen = model.predict_proba(X)[np.arange(90), y]
    np.testing.assert_allclose(model.loss_, -np.log(chosen).mean(), rtol=1e-6)


@no_rest
def test_a_warm_start_goes_on_from_the_weights(blobs):
    X, y = blobs
    options = {
        "max_iter": 5,
        "random_state": 0,
        "batch_size": 90,
        "solver": "sgd",
        "momentum": 0,
    }
    twice = MLPClassifier(8, warm_start=True, **options).fit(X, y).fit(X, y)
    once = MLPClassifier(8, **{**options, "max_iter": 10}).fit(X, y)
    # The order within a batch of all examples is of no account but for rounding.
    np.testing.assert_allclose(twice.loss_curve_, once.loss_curve_, rtol=1e-12)
    cold = MLPClassifier(8, **options).fit(X, y).fit(X, y)
    assert cold.n_iter_ == 5
    assert cold.loss_curve_ == once.loss_curve_[:5]


@no_rest
@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
def test_a_partial_fit_is_one_epoch(kind, blobs):
    X, y = blobs
    options = {"classes": [0, 1, 2]} if kind is MLPClassifier else {}
    part = kind(8, random_state=0).partial_fit(X, y, **options)
    assert same_bits(part, kind(8, random_state=0, max_iter=1).fit(X, y))
    losses = [part.partial_fit(X, y).loss_ for _ in range(30)]
    assert (part.n_iter_, len(part.loss_curve_)) == (1, 31)
    assert losses[-1] < 0.9 * losses[0]


def test_a_partial_fit_keeps_the_optimizers_state(blobs):
    X, y = blobs
    model = MLPClassifier(8, random_state=0)
    for _ in range(3):
        model.partial_fit(X, y, classes=[0, 1, 2])
    assert model._model.optimizer.t == 3


@no_rest
def test_batches_of_partial_fits_differ(blobs):
    X, y = blobs
    orders = []

    class Watched(gdopt.SGD):
        def step(self, grads):
            orders.append(grads["b2"].copy())
            return super().step(grads)

    model = MLPClassifier(8, solver=Watched, learning_rate_init=1e-12)
    model.set_params(batch_size=45, random_state=0)
    model.partial_fit(X, y, classes=[0, 1, 2]).partial_fit(X, y)
    assert np.abs(orders[0] - orders[2]).max() > 1e-3


@no_rest
def test_the_optimizer_may_be_ones_own_and_the_rate_a_schedule(blobs):
    rates = gdopt.schedules.halving(0.1, every=1)
    model = MLPRegressor(4, solver=gdopt.Nesterov, learning_rate_init=rates)
    model.set_params(max_iter=3, random_state=0).fit(*blobs)
    assert isinstance(model._model.optimizer, gdopt.Nesterov)
    assert model._model.optimizer.hyper["lr"] == 0.1 / 8


def test_an_end_without_rest_is_warned_of(blobs):
    with pytest.warns(ConvergenceWarning, match=r"iterations \(2\) reached") as caught:
        MLPClassifier(4, max_iter=2, random_state=0).fit(*blobs)
    assert caught[0].filename == __file__


def test_a_loss_without_bounds_is_an_error(blobs):
    X, y = blobs
    model = MLPRegressor(4, solver="sgd", learning_rate_init=1e6, random_state=0)
    with pytest.raises(gdopt.DivergenceError, match="loss must stay finite"):
        model.fit(X, y)
    assert not hasattr(model, "n_iter_")


@no_rest
@pytest.mark.parametrize("last", [1, 31])
@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
def test_alpha_weighs_a_smaller_last_batch_as_the_others(kind, last):
    X, y = np.zeros((64 + last, 3)), np.arange(64 + last) % 2
    options = {
        "solver": "sgd",
        "momentum": 0,
        "learning_rate_init": 0.1,
        "batch_size": 32,
    }
    free, decayed = (
        kind((), alpha=alpha, max_iter=1, random_state=0, **options).fit(X, y)
        for alpha in (0.0, 5.0)
    )
    for before, after in zip(free.coefs_, decayed.coefs_, strict=True):
        np.testing.assert_allclose(after, before * (1 - 0.1 * 5 / 32) ** 3, rtol=1e-12)
