"""Hyper-parameter search over Optuna, as the course has it; Optuna is not imported."""

from gdopt.tune.discrete import choice, power_of_two, uniform_int
from gdopt.tune.engine.trial import Pruned, Trial
from gdopt.tune.networks import NetworkObjective
from gdopt.tune.nurse import Change, Nurse
from gdopt.tune.scales import Scale, log, log_one_minus, uniform
from gdopt.tune.search import tune
from gdopt.tune.space import Space, course_space
from gdopt.tune.study import Outcome, Study, zoom

__all__ = [
    "Change",
    "NetworkObjective",
    "Nurse",
    "Outcome",
    "Pruned",
    "Scale",
    "Space",
    "Study",
    "Trial",
    "choice",
    "course_space",
    "log",
    "log_one_minus",
    "power_of_two",
    "tune",
    "uniform",
    "uniform_int",
    "zoom",
]
