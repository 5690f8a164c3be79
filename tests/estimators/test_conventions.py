import copy
import pickle
import subprocess
import sys

import pytest

import gdopt

pytest.importorskip("sklearn")
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from gdopt.estimators import MLPClassifier, MLPRegressor

QUICK = {"max_iter": 60, "learning_rate_init": 0.01}
no_rest = pytest.mark.filterwarnings(
    "ignore:Stochastic Optimizer:sklearn.exceptions.ConvergenceWarning"
)


CHECKS = parametrize_with_checks([MLPClassifier(**QUICK), MLPRegressor(**QUICK)])
NAMES, PAIRS = CHECKS.args  # some versions give a generator, which pytest warns of


@no_rest
@pytest.mark.parametrize(NAMES, list(PAIRS), ids=CHECKS.kwargs["ids"])
def test_it_passes_the_checks_of_scikit_learn(estimator, check, numpy_engine):
    check(estimator)


def pickled(model):
    return pickle.loads(pickle.dumps(model))  # noqa: S301 - made here


@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
@pytest.mark.parametrize("twin_of", [copy.deepcopy, pickled])
def test_a_copy_goes_on_training_with_the_same_bits(kind, twin_of, blobs, numpy_engine):
    X, y = blobs
    options = {"classes": [0, 1, 2]} if kind is MLPClassifier else {}
    model = kind(8, random_state=0).partial_fit(X, y, **options)
    twin = twin_of(model)
    for one in (model, twin):
        one.partial_fit(X, y).partial_fit(X, y)
    for ours, theirs in zip(model.coefs_, twin.coefs_, strict=True):
        assert ours.tobytes() == theirs.tobytes()
    assert model.loss_curve_ == twin.loss_curve_


@no_rest
def test_it_is_searched_in_a_pipeline(blobs, numpy_engine):
    X, y = blobs
    steps = make_pipeline(StandardScaler(), MLPClassifier(random_state=0, max_iter=20))
    rates = {"mlpclassifier__learning_rate_init": [1e-6, 0.05]}
    search = GridSearchCV(steps, rates, cv=3).fit(X, y)
    assert search.best_params_ == {"mlpclassifier__learning_rate_init": 0.05}
    assert search.best_score_ > 0.9


def test_without_scikit_learn_the_error_names_the_extra():
    program = (
        "import sys; sys.modules['sklearn'] = sys.modules['sklearn.base'] = None\n"
        "import gdopt.estimators"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert 'needs sklearn, which is not installed: pip install -e ".[train]"' in (
        done.stderr
    )


@pytest.mark.skipif("sys.platform != 'linux'")
def test_a_gpu_that_is_not_there_is_an_error(blobs, monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    gdopt.arrays.backend._cupy.cache_clear()
    with pytest.raises(gdopt.BackendError):
        MLPClassifier(backend="cupy").fit(*blobs)
    gdopt.arrays.backend._cupy.cache_clear()
