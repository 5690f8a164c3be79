"""What all tests of Muon share."""

import pytest


@pytest.fixture
def everything(unchanged, numpy_engine):
    """Return a block that must change nothing of Muon, and of its others."""

    def block(optimizer):
        return unchanged(optimizer, optimizer.others)

    return block
