"""``python -m gdopt``: the command line."""

import sys

from gdopt.cli import main

if __name__ == "__main__":
    sys.exit(main())
