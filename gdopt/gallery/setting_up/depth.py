"""What twenty layers make of a signal, by the size of the weights at the start."""

from __future__ import annotations

from gdopt.gallery.parts.picture import Numbers, Path, Picture
from gdopt.plots.depth import initializations
from gdopt.training.diagnosis import initialization_norms

LAYERS, EXAMPLES = 20, 200
NAMES = {"tanh": "tanh", "relu": "ReLU"}


def _measure() -> Numbers:
    """Measure networks of 20 layers of 100 units before training, by initialization.

    ``norms`` are `gdopt.training.diagnosis.LayerNorms` by activation and
    initialization. All weights are the same random numbers, scaled.

    Source: Ng, Improving deep neural networks, week 1, "Weight initialization".
    """
    norms = {
        activation: initialization_norms(
            activation, layers=LAYERS, examples=EXAMPLES, backend="numpy"
        )
        for activation in NAMES
    }
    return {"norms": norms}


def _paint(numbers: Numbers, path: Path, claim: str) -> None:
    columns = {}
    for activation, lines in numbers["norms"].items():
        left = [f"{name} {lines[name].forward:.2g}" for name in ("he", "xavier")]
        columns[f"{NAMES[activation]}, left of a signal: {', '.join(left)}"] = lines
    initializations(columns, path, title=claim)


depth = Picture(
    "depth",
    "Through 20 layers of ReLU a signal lasts with He's weights, not with Xavier's",
    _measure,
    _paint,
)
