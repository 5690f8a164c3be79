import numpy as np
import pytest


@pytest.fixture
def blobs():
    """Return 90 examples of 4 features in 3 classes that are easily told apart."""
    rng = np.random.default_rng(0)
    y = np.arange(90) % 3
    X = rng.standard_normal((90, 4)) + 3 * np.eye(4)[y]
    return X, y
