"""What tests draw with hypothesis, and how many: 300 cases in all.

With ``GDOPT_PROPERTIES=long`` in the environment there are 5,000.
"""

import os

import pytest

hypothesis = pytest.importorskip("hypothesis")
given, strategies = hypothesis.given, hypothesis.strategies
TOTAL = 5000 if os.environ.get("GDOPT_PROPERTIES") == "long" else 300


def cases(share):
    """Return the settings of a test that tries a share of all cases."""
    return hypothesis.settings(
        max_examples=round(TOTAL * share),
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=[*hypothesis.HealthCheck],
    )
