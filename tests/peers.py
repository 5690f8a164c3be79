"""Libraries that tests compare with; such a test names them in its marker."""

import importlib.util

import pytest

PEERS = {  # and the extras that bring them
    "jax": "bench",
    "keras": "bench",
    "optax": "bench",
    "pandas": "pandas",
    "torch": "bench-torch",
}


def skip_without_peers(item):
    """Skip a test whose marker names what is not installed, and say how to get it."""
    for marker in item.iter_markers("peers"):
        for name in marker.args:
            if importlib.util.find_spec(name) is None:
                pytest.skip(f"needs {name}: pip install -e '.[{PEERS[name]}]'")
