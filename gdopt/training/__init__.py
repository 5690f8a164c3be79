"""Training: the loop that yields records, its callbacks, and files."""

from gdopt.imports import public_dir
from gdopt.training import diagnosis
from gdopt.training.checkpoint import load, save
from gdopt.training.graph import TrainingGraph
from gdopt.training.loop import fit, minimize, steps
from gdopt.training.model import Evaluation, Model
from gdopt.training.plateau import ReduceOnPlateau
from gdopt.training.range_test import RangeTest, lr_finder
from gdopt.training.records import History, Record, Result
from gdopt.training.stopping import EarlyStopping

__all__ = [
    "EarlyStopping",
    "Evaluation",
    "History",
    "Model",
    "RangeTest",
    "Record",
    "ReduceOnPlateau",
    "Result",
    "TrainingGraph",
    "diagnosis",
    "fit",
    "load",
    "lr_finder",
    "minimize",
    "save",
    "steps",
]
__dir__ = public_dir(__name__)
