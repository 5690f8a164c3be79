"""Arrays of a device that is not there: what gdopt uses of CuPy's, kept by NumPy.

They are no NumPy arrays and are not mixed with them. Work is done at once, or, while a
stream captures, written down and done when the graph is launched, as CUDA does it.
"""

import operator
from types import SimpleNamespace

import numpy as np
from fake_memory import DeviceMemory, FakeOutOfMemoryError


class State:
    """What the device is doing: who is capturing, and how much memory is left."""

    make_device = None  # set where devices are made

    def __init__(self):
        self.recording = None
        self.device = 0
        self.waited = 0  # how often the host has waited
        self.allocations = 0
        self.fail_at = None  # the number of the allocation that fails
        self.launches = []  # names of kernels
        self.memory = DeviceMemory()
        self.trap = None  # called with the number of each allocation

    def allocate(self):
        self.allocations += 1
        if self.trap is not None:
            self.trap(self.allocations)
        if self.fail_at is not None and self.allocations >= self.fail_at:
            raise FakeOutOfMemoryError

    def submit(self, work):
        if self.recording is None:
            work()
        else:
            self.recording.append(work)

    def wait(self):
        if self.recording is not None:
            message = "operation not permitted when stream is capturing"
            raise RuntimeError(message)
        self.waited += 1


STATE = State()


class Memory:
    """Owns a block of memory, of which arrays are views."""

    def __init__(self, host, size):
        STATE.allocate()
        self.host = host
        self.device = STATE.memory
        self.place = self.device.take(size)

    def __del__(self):
        if hasattr(self, "place"):
            self.device.give(*self.place)


def aligned(shape, dtype):
    """Make an empty array on 512 bytes, as CuPy's pool does, full of garbage."""
    dtype = np.dtype(dtype)
    count = int(np.prod(shape, dtype=np.int64))
    raw = np.full(count * dtype.itemsize + 1024, 0xA5, np.uint8)
    start = -raw.ctypes.data % 512
    host = raw[start : start + count * dtype.itemsize].view(dtype).reshape(shape)
    return host, raw


class FakeArray(np.lib.mixins.NDArrayOperatorsMixin):
    """An array on the device: operators and methods as gdopt uses them."""

    __array_priority__ = 100

    def __init__(self, host, memory, device=None, base=None):
        self.host, self.base = host, base
        self.memory = memory
        self.device_id = STATE.device if device is None else device

    @classmethod
    def new(cls, shape, dtype):
        host, raw = aligned(shape, dtype)
        return cls(host, Memory(raw, host.nbytes))

    def view_of(self, host):
        base = self if self.base is None else self.base
        return FakeArray(host, self.memory, self.device_id, base)

    @property
    def data(self):
        place = SimpleNamespace(mem=self.memory, device_id=self.device_id)
        place.ptr = self.host.__array_interface__["data"][0]
        return place

    @property
    def device(self):
        return STATE.make_device(self.device_id)

    @property
    def __cuda_array_interface__(self):
        return {**self.host.__array_interface__, "version": 3}

    def __array__(self, *_, **__):
        message = "Implicit conversion to a NumPy array is not allowed; use .get()"
        raise TypeError(message)

    def __array_ufunc__(self, ufunc, method, *inputs, out=None, **options):
        out = out[0] if out else None
        return call(getattr(ufunc, method), *inputs, out=out, **options)

    def __getattr__(self, name):
        if name in PLAIN:
            return getattr(self.host, name)
        if name in METHODS:
            return lambda *a, **k: call(getattr(np.ndarray, name), self, *a, **k)
        raise AttributeError(name)

    @property
    def T(self):
        return self.view_of(self.host.T)

    def copy(self):
        return call(np.copy, self)

    def get(self):
        STATE.wait()
        return self.host.copy()

    def tolist(self):
        return self.get().tolist()

    def item(self):
        return self.get().item()

    def set(self, host, stream=None):
        STATE.submit(lambda: np.copyto(self.host, host))

    def __getitem__(self, key):
        key = key if isinstance(key, tuple) else (key,)
        if any(isinstance(part, FakeArray) and part.ndim for part in key):
            return call(lambda a, *k: a[k], self, *key)
        return self.view_of(self.host[key if Ellipsis in key else (*key, ...)])

    def __setitem__(self, key, value):
        key = key if isinstance(key, tuple) else (key,)
        refuse_numpy([value])
        write = lambda: operator.setitem(self.host, unwrap(key), unwrap(value))  # noqa: E731
        STATE.submit(write)

    def __len__(self):
        return len(self.host)

    def __bool__(self):
        return bool(self.get())

    def __float__(self):
        return float(self.get())

    def __int__(self):
        return int(self.get())

    def __hash__(self):
        return id(self)

    def __repr__(self):
        return f"FakeArray({self.host!r})"


PLAIN = {"shape", "dtype", "strides", "size", "ndim", "flags", "nbytes", "itemsize"}
METHODS = {"reshape", "sum", "max", "min", "mean", "argmax", "argmin", "any", "all"}
METHODS |= {"astype", "view", "swapaxes", "dot", "ravel", "transpose", "squeeze"}


def unwrap(value):
    if isinstance(value, FakeArray):
        return value.host
    if isinstance(value, tuple):
        return tuple(map(unwrap, value))
    if isinstance(value, list):
        return list(map(unwrap, value))
    return value


def refuse_numpy(values):
    for value in values:
        if isinstance(value, np.ndarray) and value.ndim:
            message = f"Unsupported type {type(value)}"
            raise TypeError(message)


def call(function, *arguments, out=None, **options):
    """Run a NumPy function on the device's arrays: now, or with the graph."""
    refuse_numpy(arguments)

    def run():
        given = [unwrap(argument) for argument in arguments]
        return function(*given, **{k: unwrap(v) for k, v in options.items()})

    if out is not None:
        STATE.submit(lambda: np.copyto(out.host, run(), casting="same_kind"))
        return out
    with np.errstate(all="ignore"):
        result = run()  # while capturing, for its shape alone
    if not isinstance(result, np.ndarray | np.generic):
        return result
    for argument in arguments:
        both = isinstance(argument, FakeArray) and isinstance(result, np.ndarray)
        if both and result.size and np.shares_memory(result, argument.host):
            return argument.view_of(result)
    made = FakeArray.new(result.shape, result.dtype)
    np.copyto(made.host, result)
    if STATE.recording is not None:
        made.host.view(np.uint8 if made.ndim else made.host.dtype)[...] = 0
        STATE.submit(lambda: np.copyto(made.host, run()))
    return made
