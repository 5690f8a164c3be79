"""What draws the trials: Optuna's samplers, seeded anew for every trial."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from gdopt.extras import load_extra

EXTRA, PURPOSE = "tune", "tuning"
SAMPLERS = {"random": "RandomSampler", "tpe": "TPESampler"}


def sampler(name: str, seed: int) -> Any:
    """Make a sampler whose draws depend on the seed and the trial's number alone.

    With ``"tpe"`` they depend on what the trials before have scored, too. Optuna's own
    samplers draw from one generator that moves on, so that a search that was broken
    off would begin its draws anew.

    Args:
        name: a key of `SAMPLERS`.
        seed: at least 0.

    Raises:
        MissingExtraError: Optuna is not installed.
    """
    return _seeded()(name, seed)


@functools.cache
def _seeded() -> Any:
    """Make the class, when Optuna is first needed."""
    samplers = load_extra("optuna.samplers", EXTRA, PURPOSE)

    base: Any = samplers.BaseSampler

    class Seeded(base):  # type: ignore[misc] # known when Optuna is there
        def __init__(self, name: str, seed: int) -> None:
            self._kind = getattr(samplers, SAMPLERS[name])
            self._seed = seed
            self._number, self._of_trial = -1, None

        def _of(self, trial: Any) -> Any:
            """Give the sampler of one trial."""
            if trial.number != self._number:
                entropy = np.random.SeedSequence(self._seed, spawn_key=(trial.number,))
                seed = int(entropy.generate_state(1)[0])
                self._number, self._of_trial = trial.number, self._kind(seed=seed)
            return self._of_trial

        def infer_relative_search_space(self, study: Any, trial: Any) -> Any:
            return self._of(trial).infer_relative_search_space(study, trial)

        def sample_relative(self, study: Any, trial: Any, space: Any) -> Any:
            return self._of(trial).sample_relative(study, trial, space)

        def sample_independent(
            self, study: Any, trial: Any, name: str, distribution: Any
        ) -> Any:
            return self._of(trial).sample_independent(study, trial, name, distribution)

        def before_trial(self, study: Any, trial: Any) -> None:
            self._of(trial).before_trial(study, trial)

        def after_trial(self, study: Any, trial: Any, state: Any, values: Any) -> None:
            self._of(trial).after_trial(study, trial, state, values)

    return Seeded
