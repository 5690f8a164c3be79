"""Training on a device gives what the CPU gives, and NumPy arrays come back."""

import numpy as np
import pytest

pytest.importorskip("sklearn")
from gdopt.estimators import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
@pytest.mark.parametrize("early", [False, True])
def test_a_device_gives_what_the_cpu_gives(kind, early, blobs, cp):
    X, y = blobs
    options = {"max_iter": 4, "early_stopping": early, "random_state": 0}
    here, there = (
        kind(8, batch_size=30, backend=name, **options).fit(X, y)
        for name in ("numpy", "cupy")
    )
    assert there._model.network.params.device == "cuda:0"
    for ours, theirs in zip(here.coefs_, there.coefs_, strict=True):
        assert type(theirs) is np.ndarray
        # Sums in another order, in float64.
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-12)
    found = there.predict(X)
    assert type(found) is np.ndarray
    np.testing.assert_allclose(here.predict(X), found, rtol=1e-9)
