"""The command line as a rank: command.py ARGUMENT ...; RANK becomes its number."""

import os
import sys

from gdopt.cli import main

names = "OMPI_COMM_WORLD_RANK", "PMI_RANK"
rank = next((os.environ[name] for name in names if name in os.environ), "0")
sys.exit(main([argument.replace("RANK", rank) for argument in sys.argv[1:]]))
