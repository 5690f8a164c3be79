"""The bench is no package: its scripts find each other beside them, as do its tests."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "bench"))
