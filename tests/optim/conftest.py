"""The libraries that rules are compared with, in the precision of a test."""

import os

import pytest


@pytest.fixture
def torch():
    import torch

    before = torch.get_default_dtype()
    yield torch
    torch.set_default_dtype(before)


@pytest.fixture
def jax():
    import jax

    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", True)
    yield jax
    jax.config.update("jax_enable_x64", before)


@pytest.fixture
def keras(jax, tmp_path_factory):
    """Let Keras, which reads its settings once, compute with JAX: NumPy rounds more."""
    os.environ.setdefault("KERAS_BACKEND", "jax")
    os.environ.setdefault("KERAS_HOME", str(tmp_path_factory.getbasetemp() / "keras"))
    import keras

    assert keras.config.backend() == "jax"
    before = keras.config.floatx()
    yield keras
    keras.config.set_floatx(before)


@pytest.fixture
def everything(unchanged, numpy_engine):
    """Return a block that must change nothing of Muon, and of its others."""

    def block(optimizer):
        return unchanged(optimizer, optimizer.others)

    return block
