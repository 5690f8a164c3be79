"""How initializations differ in a deep network."""

from __future__ import annotations

import numpy as np

from gdopt.arrays import get_backend
from gdopt.checks import whole
from gdopt.nn import Network
from gdopt.nn.initialization import INITIALIZATIONS
from gdopt.training.diagnosis.layers import LayerNorms, layer_norms

CLASSES = 10


def initialization_norms(
    activation: str,
    *,
    layers: int = 10,
    width: int = 100,
    examples: int = 500,
    seed: int = 0,
    backend: str | None = None,
) -> dict[str, LayerNorms]:
    """Measure a deep network before training, with each initialization.

    Examples are standard normal, as normalized data are, and labels are drawn from 10
    classes. All initializations scale the same random numbers.

    Args:
        activation: of the hidden layers, as in `gdopt.nn.Network`.
        layers: how many, the output included; at least 2.
        width: of the input and of every hidden layer, at least 1.
        examples: how many are run through, at least 1.
        seed: of weights and examples, at least 0.
        backend: as in `gdopt.nn.Network`.

    Returns:
        What `layer_norms` measures, by initialization; `gdopt.plots.initializations`
        draws it.

    Raises:
        ArgumentError: a number or name breaks its rule.
        ArgumentTypeError: a number is not whole.

    >>> for name, norms in initialization_norms("relu", backend="numpy").items():
    ...     print(name, norms.verdict)
    he healthy
    xavier healthy
    glorot healthy
    zeros vanishing
    """
    sizes = (whole("width", width, least=1),) * whole("layers", layers, least=2)
    generator = np.random.default_rng(whole("seed", seed, least=0))
    shape = (whole("examples", examples, least=1), width)
    home = get_backend(backend)
    x = home.from_host(generator.standard_normal(shape).astype(np.float32))
    y = home.from_host(generator.integers(0, CLASSES, examples))
    return {
        name: layer_norms(
            Network(
                (*sizes, CLASSES),
                activation=activation,
                initialization=name,
                seed=seed,
                backend=backend,
            ),
            x,
            y,
        )
        for name in INITIALIZATIONS
    }
