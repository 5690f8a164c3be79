"""What tests ask the device, and what they set."""

import ctypes
import importlib.util
import os
import sys
from pathlib import Path


class Device:
    """The runtime's own side: counts, schedules, errors made to order."""

    def __init__(self, libraries):
        library, _, cublas, _ = libraries
        self._library = library
        for name in ("sim_launched", "sim_nodes", "sim_fault"):
            getattr(library, name).restype = ctypes.c_char_p
        library.sim_count.restype = ctypes.c_long
        library.sim_used.restype = ctypes.c_size_t
        library.sim_set_capacity.argtypes = [ctypes.c_size_t]
        library.sim_take_elsewhere.argtypes = [ctypes.c_size_t]
        blas = _find_blas()
        if blas is not None:
            cublas.sim_use_blas(str(blas).encode())
        self.reset()

    def reset(self):
        """Hide the devices, forget counts, set memory and schedule to what is asked."""
        self.show(0)
        self.allow_peers(allowed=True)
        self.spill(allowed=False)
        self.take_elsewhere(0)
        self.set_capacity(int(os.environ.get("GDOPT_CUDA_MEMORY", str(4 << 30))))
        self.schedule = os.environ.get("GDOPT_CUDA_SCHEDULE", "eager")
        self.forget()

    @property
    def schedule(self):
        """When work is done: ``eager``, ``lazy``, or ``random`` with ``:seed``."""
        return self._schedule

    @schedule.setter
    def schedule(self, value):
        name, _, seed = value.partition(":")
        if name not in {"eager", "lazy", "random"}:
            message = f"a schedule is eager, lazy or random[:seed], got {value!r}"
            raise ValueError(message)
        self._schedule = value
        self._library.sim_set_schedule(name.encode(), int(seed or 0))

    def show(self, devices):
        """Have that many devices, none to hide them."""
        self._library.sim_set_devices(devices)
        sys.modules["cupy.cuda"]._available = None  # which CuPy asks for once

    def allow_peers(self, *, allowed):
        """Let devices reach each other's memory."""
        self._library.sim_set_peers(allowed)

    def set_capacity(self, size):
        """Set the memory of every device, in bytes."""
        self._library.sim_set_capacity(size)

    def take_elsewhere(self, size):
        """Have other processes take that many bytes of every device."""
        self._library.sim_take_elsewhere(size)

    def spill(self, *, allowed=True):
        """Let allocations go on where the device's memory ends, as some drivers do."""
        self._library.sim_spill(allowed)

    def used(self, device=0):
        """Return the bytes that are taken from the device, in whole pages."""
        return self._library.sim_used(device)

    def count(self, name):
        """Return how often something happened since `forget`.

        Args:
            name: of a call, as ``cudaMalloc``; or ``launches``, ``waits``,
                ``products``, or ``copies`` and ``bytes`` followed by ``to device``,
                ``to host`` or ``on device``.
        """
        return self._library.sim_count(name.encode())

    @property
    def launches(self):
        """The names of the kernels that were launched since `forget`."""
        return self._library.sim_launched().decode().splitlines()

    @property
    def nodes(self):
        """The names of the nodes of the graph that was captured last."""
        return self._library.sim_nodes().decode().splitlines()

    @property
    def capturing(self):
        """Whether a stream captures."""
        return bool(self._library.sim_capturing())

    def forget(self):
        """Set all counts to zero."""
        self._library.sim_forget()

    def fail(self, name, code, *, after=0):
        """Have a later call fail once.

        Args:
            name: of the call, as ``cudaMalloc``; with ``run`` and a kernel's name, the
                kernel fails while it runs, which later calls report.
            code: CUDA's number of the error.
            after: how many such calls go well before.
        """
        self._library.sim_fail(name.encode(), code, after)

    def recover(self):
        """Finish all work, forget errors and plans; return what went wrong, if any."""
        code = self._library.sim_recover()
        fault = self._library.sim_fault().decode()
        self._library.sim_clear_fault()
        return f"error {code}: {fault}" if code else None


def _find_blas():
    """Find the OpenBLAS that NumPy's wheel brings."""
    folder = Path(importlib.util.find_spec("numpy").origin).parents[1]
    return next(folder.glob("numpy.libs/libscipy_openblas64_*.so"), None)
