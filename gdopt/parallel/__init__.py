"""Training on several ranks: processes, machines or GPUs, with equal bits."""

from gdopt.imports import public_dir
from gdopt.parallel.batches import Part, ReplicaBatches
from gdopt.parallel.communicator import Communicator as Communicator, Single as Single
from gdopt.parallel.mpi import Mpi as Mpi
from gdopt.parallel.nccl import Nccl as Nccl
from gdopt.parallel.sharded import Sharded
from gdopt.parallel.world import Ranks, world

__all__ = ["Part", "Ranks", "ReplicaBatches", "Sharded", "world"]
__dir__ = public_dir(__name__)
