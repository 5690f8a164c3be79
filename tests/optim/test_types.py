"""What type checkers refuse: mypy reads this file, and reports an unused ignore."""

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


def test_shared_options_are_taken() -> None:
    gdopt.Adam(np.zeros(2), clip_norm=1.0, ema=0.9, non_finite="skip", seed=1)
    gdopt.Optimizer(np.zeros(2), lambda p, g, *, rate: p - rate * g, rate=0.1)
