"""What several tests of optimizers share."""

import pytest


@pytest.fixture
def everything(unchanged, numpy_engine):
    """Return a block that must change nothing of Muon, and of its others."""

    def block(optimizer):
        return unchanged(optimizer, optimizer.others)

    return block


@pytest.fixture
def one_thread(torch):
    """Compute on one thread: a second one takes longer to wake than the work takes."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
