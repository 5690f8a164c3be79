"""What type checkers see: mypy reads this file, and reports an ignore without need."""

from typing import Any, assert_type

import numpy as np
import pytest

import gdopt


def test_unknown_keywords_are_refused() -> None:
    p = np.zeros(2)
    with pytest.raises(gdopt.ArgumentTypeError, match="did you mean lr"):
        gdopt.Adam(p, learning_rate=1)  # type: ignore[call-arg]
    with pytest.raises(gdopt.ArgumentTypeError, match="did you mean clip_norm"):
        gdopt.SGD(p, clip_nrm=1)  # type: ignore[call-arg]
    with pytest.raises(gdopt.ArgumentTypeError, match="did you mean clip_norm"):
        gdopt.Momentum(p, clip_nrm=1)  # type: ignore[call-arg]
    with pytest.raises(gdopt.ArgumentTypeError, match="did you mean clip_norm"):
        gdopt.Nesterov(p, clip_nrm=1)  # type: ignore[call-arg]
    with pytest.raises(gdopt.ArgumentTypeError, match="did you mean clip_norm"):
        gdopt.RMSprop(p, clip_nrm=1)  # type: ignore[call-arg]
    with pytest.raises(gdopt.ArgumentTypeError, match="did you mean clip_norm"):
        gdopt.Adam(p, clip_nrm=1)  # type: ignore[call-arg]
    with pytest.raises(gdopt.ArgumentTypeError, match="did you mean clip_norm"):
        gdopt.AdamW(p, clip_nrm=1)  # type: ignore[call-arg]


def test_wrong_types_of_shared_options_are_refused() -> None:
    with pytest.raises(gdopt.ArgumentTypeError, match="seed must be a whole number"):
        gdopt.Adam(np.zeros(2), seed="0")  # type: ignore[arg-type]


def test_names_of_other_libraries_are_refused() -> None:
    with pytest.raises(AttributeError, match="write exponential"):
        gdopt.StepLR  # type: ignore[attr-defined] # noqa: B018 - not there
    with pytest.raises(AttributeError, match="write exponential"):
        gdopt.schedules.StepLR  # type: ignore[attr-defined] # noqa: B018 - not there


def test_shared_options_are_taken() -> None:
    gdopt.Adam(np.zeros(2), clip_norm=1.0, ema=0.9, non_finite="skip", seed=1)
    gdopt.Optimizer(np.zeros(2), lambda p, g, *, rate: p - rate * g, rate=0.1)


def test_results_have_the_types_that_arrays_allow() -> None:
    p: np.ndarray = np.zeros(10)
    optimizer = gdopt.Adam(p, lr={"0": 0.5}, beta1=0.25)
    assert assert_type(optimizer.step(np.ones(10)), bool | Any) is True
    value = assert_type(optimizer.hyper["lr"], float | Any | dict[str, float | Any])
    assert value == {"0": 0.5}
    assert optimizer.hyper["beta1"] == 0.25
    optimizer.beta1 = 0.75  # any: a rule of your own has other names
    assert assert_type(optimizer.beta1, Any) == 0.75
    assert assert_type(gdopt.rules.adam, gdopt.Rule).states == ("m", "v")
    assert len(assert_type(gdopt.split(p).train, np.ndarray)) == 6
    assert len(assert_type(gdopt.split(p, p).train, tuple[Any, ...])) == 2
    assert gdopt.split(p, dev=None).dev is None
