"""Training on several ranks: processes, machines or GPUs, with equal bits."""

from gdopt.imports import public_dir
from gdopt.parallel.batches import Part, ReplicaBatches
from gdopt.parallel.communicator import Communicator, Single
from gdopt.parallel.mpi import Mpi
from gdopt.parallel.nccl import Nccl
from gdopt.parallel.sharded import Sharded
from gdopt.parallel.world import Ranks, world

__all__ = [
    "Communicator",
    "Mpi",
    "Nccl",
    "Part",
    "Ranks",
    "ReplicaBatches",
    "Sharded",
    "Single",
    "world",
]
__dir__ = public_dir(__name__)
