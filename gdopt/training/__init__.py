"""Training: the loop that yields records, checkpoints, and the folder of a run."""

from gdopt.imports import public_dir
from gdopt.training import diagnosis
from gdopt.training.checkpoint import load, save
from gdopt.training.graph import TrainingGraph
from gdopt.training.loop import Record, fit
from gdopt.training.plateau import ReduceOnPlateau
from gdopt.training.records import History, Result
from gdopt.training.runs import RunFolder, capture, restore
from gdopt.training.stopping import EarlyStopping

__all__ = [
    "EarlyStopping",
    "History",
    "Record",
    "ReduceOnPlateau",
    "Result",
    "RunFolder",
    "TrainingGraph",
    "capture",
    "diagnosis",
    "fit",
    "load",
    "restore",
    "save",
]
__dir__ = public_dir(__name__)
