"""Training on a device gives what the CPU gives, and NumPy arrays come back."""

import importlib
import os
import shutil

import fake_cupy
import numpy as np
import pytest

pytest.importorskip("sklearn")
from gdopt.estimators import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture(params=["stand-in", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request, numpy_engine):
    """Run the test on a GPU, and on what stands in its place."""
    if request.param == "cuda":
        yield importlib.import_module("cupy")
        return
    if shutil.which("g++") is None:
        message = "the stand-in for a GPU compiles kernels with g++: not installed"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    with fake_cupy.installed() as module:
        yield module


@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
@pytest.mark.parametrize("early", [False, True])
def test_a_device_gives_what_the_cpu_gives(kind, early, blobs, device):
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
