"""Training on several ranks: processes, machines or GPUs, with equal bits."""

from gdopt.imports import public_dir
from gdopt.parallel.world import Ranks as Ranks, world as world

__all__ = ["Ranks", "world"]

__dir__ = public_dir(__name__)
