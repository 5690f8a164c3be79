"""The memory of a device that is not there: pools, limits, hooks, and other users."""

import contextlib
import weakref


class FakeOutOfMemoryError(MemoryError):
    """What CuPy's pool raises."""


class Pool:
    """A memory pool: what is freed is kept, and given out again.

    Free memory is one heap without gaps, or, where the device is `fragmenting`, so
    full of gaps that nothing is ever given out again.
    """

    def __init__(self, device):
        self.device = device
        self.used = self.free = self.limit = 0
        device.pools.add(self)

    def malloc(self, size):
        """Name the allocator; arrays ask `take`."""
        raise NotImplementedError(size)

    def take(self, size):
        rounded = -(-size // 512) * 512
        reused = 0 if self.device.fragmenting else min(self.free, rounded)
        missing = rounded - reused
        if self.limit and self.total_bytes() + missing > self.limit:
            raise FakeOutOfMemoryError
        if missing > self.device.left():
            for pool in self.device.pools:
                pool.free_all_blocks()
            reused, missing = 0, rounded
            if missing > self.device.left():
                raise FakeOutOfMemoryError
        self.free -= reused
        self.used += rounded
        return rounded

    def give(self, rounded):
        self.used -= rounded
        self.free += rounded

    def free_all_blocks(self):
        self.free = 0

    def used_bytes(self):
        return self.used

    def free_bytes(self):
        return self.free

    def total_bytes(self):
        return self.used + self.free

    def get_limit(self):
        return self.limit

    def set_limit(self, size=None):
        self.limit = size


class DeviceMemory:
    """So many bytes, of which other processes have some."""

    def __init__(self):
        self.capacity = 1 << 40
        self.others = 0
        self.fragmenting = False
        self.pools = weakref.WeakSet()  # one that is gone has given all back
        self.hooks = {}
        self.pointers = 0
        self.default = Pool(self)
        self.current = self.default

    def left(self):
        taken = sum(pool.total_bytes() for pool in self.pools)
        return self.capacity - self.others - taken

    def take(self, size):
        """Allocate; give the pool, the size and the pointer to be given back."""
        pool = self.current
        rounded = pointer = 0
        try:
            rounded = pool.take(size)
            self.pointers += 1
            pointer = self.pointers
        finally:
            for hook in self.hooks.values():
                hook.malloc_postprocess(
                    device_id=0,
                    size=size,
                    mem_size=-(-size // 512) * 512,
                    mem_ptr=pointer,
                    pmem_id=pointer,
                )
        return pool, rounded, pointer

    def give(self, pool, rounded, pointer):
        pool.give(rounded)
        for hook in self.hooks.values():
            hook.free_postprocess(
                device_id=0, mem_size=rounded, mem_ptr=pointer, pmem_id=pointer
            )

    @contextlib.contextmanager
    def using(self, allocator):
        before, self.current = self.current, allocator.__self__
        try:
            yield
        finally:
            self.current = before


def make_hook(memory):
    """Make CuPy's base class of hooks."""

    class MemoryHook:
        def __enter__(self):
            assert self.name not in memory().hooks
            memory().hooks[self.name] = self

        def __exit__(self, *_):
            del memory().hooks[self.name]

    return MemoryHook
