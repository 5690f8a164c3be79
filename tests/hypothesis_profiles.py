"""How many cases hypothesis tries: 300 in all, or those of GDOPT_PROPERTIES=long."""

import os

from hypothesis import HealthCheck, settings

TOTAL = 5000 if os.environ.get("GDOPT_PROPERTIES") == "long" else 300


def cases(share):
    """Return the settings of a test that tries a share of all cases."""
    return settings(
        max_examples=round(TOTAL * share),
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=[*HealthCheck],
    )
