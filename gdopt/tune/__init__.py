"""Hyper-parameter search with Optuna, as in the course; Optuna is not imported."""

from gdopt.imports import public_dir
from gdopt.tune.networks import NetworkObjective
from gdopt.tune.scales import (
    Scale,
    choice,
    log_one_minus,
    log_uniform,
    log_uniform_int,
    power_of_two,
    uniform,
    uniform_int,
)
from gdopt.tune.search import tune
from gdopt.tune.space import Space, course_space
from gdopt.tune.study import Outcome, Pruned, Study, Trial, zoom

__all__ = [
    "NetworkObjective",
    "Outcome",
    "Pruned",
    "Scale",
    "Space",
    "Study",
    "Trial",
    "choice",
    "course_space",
    "log_one_minus",
    "log_uniform",
    "log_uniform_int",
    "power_of_two",
    "tune",
    "uniform",
    "uniform_int",
    "zoom",
]
__dir__ = public_dir(__name__)
