"""A module that stands in CuPy's place: its kernels' own text, compiled by g++.

What gdopt does with a GPU is so run on machines without one: the tables it makes, the
launches and their order, graphs, running out of memory. What it does not show: races,
the time anything takes, CuPy's own mistakes.
"""

import contextlib
import ctypes
import re
import sys
from types import ModuleType, SimpleNamespace

import fake_streams
import kernel_text
import numpy as np
from fake_arrays import STATE, FakeArray, call
from fake_cublas import FakeCublas
from fake_memory import Pool, make_hook

from gdopt.arrays import backend, cublas
from gdopt.kernels.cpu.flush import FlushToZero

C_NAMES = {"uint32": "unsigned", "uint16": "unsigned short", "int32": "int"}
C_NAMES |= {"int64": "long long", "uint64": "unsigned long long", "bool": "bool"}
C_NAMES |= {"uint8": "unsigned char", "int8": "signed char"}
C_NAMES |= {"float32": "float", "float64": "double", "float16": "float16"}
COMPILED = {}


class CompileException(Exception):  # noqa: N818 - CuPy's name
    """What CuPy raises where NVRTC refuses a text."""


class CUDARuntimeError(RuntimeError):
    """What CuPy raises where CUDA reports an error."""


class CUDADriverError(RuntimeError):
    """What CuPy raises where a launch, or the loading of a kernel, fails."""


class Parameter:
    """One argument of a kernel, as it was declared."""

    def __init__(self, text, *, written):
        *raw, kind, self.name = text.split()
        self.raw, self.kind, self.written = bool(raw), kind, written

    def resolved(self, argument):
        """Return C's name of the type, where a letter stands for the argument's."""
        kind = self.kind if len(self.kind) > 1 else argument.dtype.name
        return C_NAMES[kind]


class ElementwiseKernel:
    """The kernel's text in a loop over i, compiled by g++ when first launched."""

    def __init__(self, inputs, outputs, body, name, *, preamble="", **options):
        parse = [(inputs, False), (outputs, True)]
        self.parameters = [
            Parameter(part, written=written)
            for text, written in parse
            for part in filter(None, text.split(", "))
        ]
        self.body, self.name, self.preamble = body, name, preamble
        self.options = options

    def __call__(self, *arguments, size=None, block_size=128):
        assert len(arguments) == len(self.parameters), self.name
        kinds, holders = [], []
        for parameter, argument in zip(self.parameters, arguments, strict=True):
            kinds.append(parameter.resolved(argument))
            assert isinstance(argument, FakeArray) or not parameter.raw, parameter.name
            if parameter.raw:
                assert argument.flags.c_contiguous
                assert C_NAMES[argument.dtype.name] == kinds[-1], parameter.name
                assert argument.device_id == STATE.device
        if size is None:
            plain = [a for a in arguments if isinstance(a, FakeArray)]
            raws = [p.raw for p in self.parameters if True]
            shaped = [
                a
                for a, raw in zip(arguments, raws, strict=True)
                if isinstance(a, FakeArray) and not raw
            ]
            assert shaped, plain
            size = shaped[0].size
        STATE.launches.append(self.name)
        library = self.compiled(kinds)

        def submitted():
            ctypes.c_int.in_dll(library, "block_size").value = block_size
            self.run(library.run, kinds, arguments, size, holders)

        STATE.submit(submitted)

    def compiled(self, kinds):
        key = self.name, self.body, self.preamble, tuple(kinds)
        if key not in COMPILED:
            COMPILED[key] = kernel_text.compile_loop(
                self.parameters, kinds, self.body, self.preamble
            )
        return COMPILED[key]

    def run(self, run, kinds, arguments, size, holders):
        pointers, copies = [], []
        for parameter, kind, argument in zip(
            self.parameters, kinds, arguments, strict=True
        ):
            if isinstance(argument, FakeArray):
                host = argument.host
                if not parameter.raw and not host.flags.c_contiguous:
                    host = np.ascontiguousarray(host)
                    copies.append((argument.host, host, parameter.written))
                pointers.append(ctypes.c_void_p(host.ctypes.data))
            else:
                scalar = np.array([argument]).astype(kernel_text.NUMPY_NAMES[kind])
                copies.append((None, scalar, False))
                pointers.append(ctypes.c_void_p(scalar.ctypes.data))
        single = "double" not in self.body or re.match(
            "gdopt_squares_.*(32|16)", self.name
        )
        with FlushToZero() if single else contextlib.nullcontext():
            run((ctypes.c_void_p * len(pointers))(*pointers), ctypes.c_ssize_t(size))
        for target, host, written in copies:
            if written:
                target[...] = host


def asarray(value, dtype=None):
    if isinstance(value, FakeArray):
        return value
    host = np.asarray(value, dtype)
    made = FakeArray.new(host.shape, host.dtype)
    copied = host.copy()
    STATE.submit(lambda: np.copyto(made.host, copied))
    return made


def asnumpy(array):
    return array.get() if isinstance(array, FakeArray) else np.asarray(array)


def zeros(shape, dtype=float):
    made = FakeArray.new(shape, dtype)
    STATE.submit(lambda: made.host.fill(0))
    return made


def take(array, indices, axis=None, out=None):
    return call(np.take, array, indices, axis=axis, out=out)


def concatenate(parts, axis=0):
    return call(lambda *given: np.concatenate(given, axis=axis), *parts)


def shares_memory(one, other):
    return np.shares_memory(one.host, other.host)


def module():
    """Make the module."""
    made = ModuleType("cupy")
    made.__version__ = "14.0.0"
    made.ndarray = FakeArray
    made.is_available = lambda: True
    made.ElementwiseKernel = ElementwiseKernel
    for function in (asarray, asnumpy, zeros, take, concatenate, shares_memory):
        setattr(made, function.__name__, function)
    made.array = lambda value, dtype=None: asarray(np.array(value, dtype))
    made.empty = FakeArray.new
    made.full = lambda shape, value, dtype=float: asarray(np.full(shape, value, dtype))
    made.arange = lambda *a, **k: call(lambda: np.arange(*a, **k))
    for name in UFUNCS:
        function = getattr(np, name)
        setattr(made, name, lambda *a, _f=function, **k: call(_f, *a, **k))
    made.matmul = matmul_outside
    made.get_default_memory_pool = lambda: STATE.memory.default
    made.cuda = SimpleNamespace(
        Device=fake_streams.Device,
        Stream=fake_streams.Stream,
        Event=fake_streams.Event,
        UnownedMemory=type("UnownedMemory", (), {}),
        MemoryPool=lambda: Pool(STATE.memory),
        MemoryHook=make_hook(lambda: STATE.memory),
        get_allocator=lambda: STATE.memory.current.malloc,
        alloc_pinned_memory=fake_streams.alloc_pinned_memory,
        compiler=SimpleNamespace(CompileException=CompileException),
        get_elapsed_time=lambda one, other: (other.time - one.time) * 1e3,
        get_current_stream=lambda: fake_streams.Stream.current,
        using_allocator=using_allocator,
        driver=SimpleNamespace(CUDADriverError=CUDADriverError),
        runtime=SimpleNamespace(
            CUDARuntimeError=CUDARuntimeError,
            getDeviceProperties=lambda _: {"name": b"No device"},
            runtimeGetVersion=lambda: 13000,
            driverGetVersion=lambda: 13000,
            memGetInfo=lambda: (STATE.memory.left(), STATE.memory.capacity),
        ),
    )
    return made


def using_allocator(allocator):
    return STATE.memory.using(allocator)


def matmul_outside(*arguments, out=None):
    if STATE.recording is not None:
        message = "calling cuBLAS API during stream capture is unsupported"
        raise NotImplementedError(message)
    return call(np.matmul, *arguments, out=out)


UFUNCS = """add subtract multiply divide sqrt exp log log1p abs maximum minimum tanh
square where isfinite isnan matmul sum ones_like zeros_like argmax moveaxis power equal
negative sign""".split()  # noqa: SIM905


@contextlib.contextmanager
def installed():
    """Put the module in CuPy's place for the length of a block."""
    hidden = {k: v for k, v in sys.modules.items() if re.match(r"cupyx?(\.|$)", k)}
    for name in hidden:
        del sys.modules[name]
    sys.modules["cupy"] = module()
    forget()
    STATE.__init__()
    own, cublas.load_library = cublas.load_library, lambda _: FakeCublas()
    try:
        yield sys.modules["cupy"]
    finally:
        cublas.load_library = own
        del sys.modules["cupy"]
        sys.modules.update(hidden)
        forget()


def forget():
    """Drop what gdopt keeps of the module before."""
    backend._cupy.cache_clear()
    engine = sys.modules.get("gdopt.kernels.cuda.engine")
    if engine is not None:
        engine.build.cache_clear()
