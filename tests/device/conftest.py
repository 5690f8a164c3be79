"""What tests of the device count."""

import pytest


@pytest.fixture
def allocations(cp):
    """Count the allocations of CuPy's pools, and call ``trap(number)`` before each."""

    class Allocations(cp.cuda.MemoryHook):
        name = "allocations of a test"

        def __init__(self):
            self.count, self.trap = 0, None

        def malloc_preprocess(self, **_):
            self.count += 1
            if self.trap is not None:
                self.trap(self.count)

    with Allocations() as hook:
        yield hook
