"""Two ranks, the second of which has another version of gdopt."""

import os

from gdopt import parallel
from gdopt.parallel import launch

if __name__ == "__main__":
    if os.environ.get("OMPI_COMM_WORLD_RANK", os.environ.get("PMI_RANK")) == "1":
        launch.__version__ = "0.0.1"
    with parallel.world(timeout=60):
        pass
