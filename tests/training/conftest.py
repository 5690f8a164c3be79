from types import SimpleNamespace

import numpy as np
import pytest

import gdopt
from gdopt.data import minibatches
from gdopt.nn import Network


@pytest.fixture(params=["cpu", pytest.param("gpu", marks=pytest.mark.gpu)])
def device(request):
    return {"cpu": "numpy", "gpu": "cupy"}[request.param]


@pytest.fixture
def make_run(device):
    """Return ``make_run(...)``: a network, its optimizer and its mini-batches."""

    def make(
        *,
        size=8,
        lr=0.05,
        optimizer=gdopt.Adam,
        seed=0,
        examples=40,
        l2=0.0,
        **options,
    ):
        generator = np.random.default_rng(5)
        X = generator.standard_normal((examples, 3)).astype(np.float32)
        y = (X[:, 0] > X[:, 1]).astype(np.int64) + (X[:, 2] > 1)
        network = Network((3, 16, 3), l2=l2, seed=seed, backend=device)
        put = network.params.backend.from_host
        X, y = put(X), put(y)
        return SimpleNamespace(
            network=network,
            optimizer=optimizer(network.params, lr=lr),
            batches=minibatches(X, y, batch_size=size, seed=seed, **options),
            X=X,
            y=y,
        )

    return make
