"""scikit-learn's own tests of its multilayer perceptrons, with gdopt's in their place.

Its module is executed while gdopt's classes have the names of its own. Each of its
tests is a test here, except those in `LEFT_OUT`, which have a reason each.
"""

import importlib.util
from unittest import mock

import pytest

pytest.importorskip("sklearn", minversion="1.8")
from sklearn import neural_network

from gdopt import estimators

pytestmark = [
    pytest.mark.usefixtures("numpy_engine"),
    pytest.mark.filterwarnings("default"),
]
PRIVATE = "reads or sets private members of scikit-learn's classes"
LEFT_OUT = {
    "test_fit": PRIVATE,
    "test_gradient": PRIVATE,
    "test_learning_rate_warmstart": PRIVATE,
    "test_adaptive_learning_rate": PRIVATE,
    "test_n_iter_no_change": PRIVATE,
    "test_n_iter_no_change_inf": PRIVATE,
    "test_multilabel_classification": "gdopt has no multilabel y",
    "test_predict_proba_multilabel": "gdopt has no multilabel y",
    "test_sparse_matrices": "gdopt has no sparse X",
    "test_mlp_vs_poisson_glm_equivalent": "gdopt has no Poisson loss",
    "test_nonfinite_params": "gdopt raises DivergenceError, which is no ValueError",
    "test_mlp_diverging_loss": "gdopt raises DivergenceError",
    "test_early_stopping_stratified": "gdopt names the user's class, not 'True'",
    "test_preserve_feature_names": "fits a classifier to a single class",
}


def load():
    """Return scikit-learn's tests by name, with gdopt's classes."""
    spec = importlib.util.find_spec("sklearn.neural_network.tests.test_mlp")
    if spec is None:
        return {}  # an installation without tests
    module = importlib.util.module_from_spec(spec)
    names = ("MLPClassifier", "MLPRegressor")
    ours = {name: getattr(estimators, name) for name in names}
    with mock.patch.multiple(neural_network, **ours):
        spec.loader.exec_module(module)
    return {n: test for n, test in vars(module).items() if n.startswith("test_")}


THEIRS = load()
globals().update({n: test for n, test in THEIRS.items() if n not in LEFT_OUT})


@pytest.mark.skipif(not THEIRS, reason="scikit-learn is installed without its tests")
def test_what_is_left_out_is_there():
    assert set(LEFT_OUT) <= set(THEIRS)
