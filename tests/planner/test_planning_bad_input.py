import numpy as np
import pytest

import gdopt
from gdopt.planner import NetworkStep


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"step": 3}, "step must be callable, got int"),
        ({"evaluate": 3}, "evaluate must be callable, got int"),
        ({"gradient": 3}, "gradient must be callable, got int"),
        ({"data": ()}, "at least one array must be given"),
        ({"data": [np.zeros(3), np.zeros(4)]}, "examples"),
        ({"data": ["text"]}, r"data\[0\] must be a NumPy or CuPy array"),
        ({"sizes": [64, 64]}, "sizes must be strictly increasing"),
        ({"sizes": [0, 1]}, r"sizes\[0\] must be a whole number of at least 1"),
        ({"sizes": []}, "sizes must name at least one"),
        ({"batch_size": 0}, "batch_size must be a whole number of at least 1"),
        ({"batch_size": 101}, "batch_size must be at most 100, the examples, got 101"),
        ({"memory": "lots"}, "memory must be bytes, or"),
        ({"margin": -1}, "margin must be a whole number of at least 0"),
        ({"repeats": 1}, "repeats must be a whole number of at least 2"),
        ({"noise_examples": 3}, "noise_examples must be a whole number of at least 4"),
        ({"noise_after": -1}, "noise_after must be a whole number of at least 0"),
        ({"axis": 2}, "axis must be 0"),
        ({"device": "gpu"}, "device must be 'cpu' or like 'cuda:0', got 'gpu'"),
        ({"device": "0"}, "device must be 'cpu' or like 'cuda:0', got '0'"),
        ({"fixed_epochs": 1}, "fixed_epochs must be True or False"),
        ({"state": [object()]}, r"state\[0\] must be an array, an optim"),
    ],
)
def test_bad_arguments_are_refused_before_a_step_is_done(quick, options, message):
    steps = []
    usual = {"step": lambda x: steps.append(1), "data": np.zeros((100, 2))}
    given = usual | options
    with pytest.raises(gdopt.GdoptError, match=message):
        quick(**given)
    assert steps == []


def test_a_networks_step_refuses_what_does_not_fit_it(small, quick):
    step, (X, y) = small(100)
    with pytest.raises(gdopt.ArgumentError, match="must be examples and labels, got 1"):
        quick(step, X)
    with pytest.raises(gdopt.ArgumentError, match="labels must be class numbers"):
        quick(step, (X, y + 5))
    with pytest.raises(gdopt.ArgumentTypeError, match="must be left out with a Netw"):
        quick(step, (X, y), evaluate=lambda: None)
    other = gdopt.nn.Network((10, 16, 3), seed=0, backend="numpy")
    with pytest.raises(gdopt.ArgumentTypeError, match="of other arrays"):
        NetworkStep(other, step.optimizer)
    with pytest.raises(
        gdopt.ArgumentTypeError, match=r"network must be a gdopt\.nn\.Network"
    ):
        NetworkStep(lambda x: x, step.optimizer)
