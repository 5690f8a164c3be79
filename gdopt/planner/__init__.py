"""Which mini-batch size to use, by measured memory, speed and gradient noise."""

from gdopt.imports import public_dir
from gdopt.planner.noise import NoiseScale, noise_scale
from gdopt.planner.plan import Plan, Row
from gdopt.planner.request import plan_batch_size
from gdopt.planner.steps import NetworkStep

__all__ = ["NetworkStep", "NoiseScale", "Plan", "Row", "noise_scale", "plan_batch_size"]
__dir__ = public_dir(__name__)
