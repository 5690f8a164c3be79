"""The text of CUDA kernels without a GPU: generated, compiled by NVRTC, run by g++.

The one place that uses CuPy's private names.
"""

import ctypes
import hashlib
import io
import re
import subprocess
import tempfile
from pathlib import Path

import cupy
import numpy as np
from cupy._core import _kernel, core
from cupy._core._carray import Indexer
from cupy._core._scalar import CScalar
from cupy.cuda import compiler

ARRAY, INDEXER, SCALAR = 1, 2, 3  # cupy/_core/_kernel.pxd: enum _ArgKind
SHIM = Path(__file__).with_name("kernel_shim.hpp")


def generated_source(text, *, small_index=True, letters=None):
    """Give the source that CuPy would compile for one-dimensional contiguous arrays.

    Args:
        text: a `KernelText`.
        small_index: whether elements are counted in 32 bits.
        letters: dtypes of the parameters whose type is a letter: arrays of one element.
    """
    kernel = text.build(cupy)
    infos, dtypes = [], []
    for parameter in (*kernel.in_params, *kernel.out_params):
        letter = letters and letters.get(parameter.ctype)
        dtypes.append(np.dtype(letter or parameter.dtype))
        hoisted = re.fullmatch(r"s\d+", parameter.name)
        if hoisted or (letters and not letter and not parameter.raw):
            kind = (SCALAR, CScalar, dtypes[-1], 0, True, True)
        else:
            kind = (ARRAY, cupy.ndarray, dtypes[-1], 1, True, small_index)
        infos.append(_kernel._ArgInfo(*kind))
    infos.append(_kernel._ArgInfo(INDEXER, Indexer, None, 1, True, small_index))
    count = len(kernel.in_params)
    types = kernel._decide_params_type(tuple(dtypes[:count]), tuple(dtypes[count:]))[2]
    return _kernel._get_elementwise_kernel_code(
        tuple(infos),
        types,
        kernel.params,
        kernel.operation,
        kernel.name,
        kernel.preamble,
        **kernel.kwargs,
    )


def compile_cuda(source, text, arch):
    """Compile to a cubin with the kernel's own options; give PTX and ptxas's log."""
    headers = "".join(f"#include <{name}>\n" for name in core._cupy_header_list)
    options = [
        *core.assemble_cupy_compiler_options(text.options),
        "--ptxas-options=-v",
        "-ftz=true",
        f"-arch=sm_{arch}",
        "--device-as-default-execution-space",
    ]
    program = compiler._NVRTCProgram(
        headers + source, "kernel.cu", (), (), method="cubin"
    )
    log = io.StringIO()
    cubin = program.compile(tuple(options), log)[0]
    from cupy_backends.cuda.libs import nvrtc  # noqa: PLC0415

    return cubin, nvrtc.getPTX(program.ptr).decode(), log.getvalue()


class _CArray(ctypes.Structure):
    _fields_ = (("data", ctypes.c_void_p), ("size", ctypes.c_ssize_t))


class _CIndexer(ctypes.Structure):
    _fields_ = (("size", ctypes.c_ssize_t), ("i", ctypes.c_ssize_t))


C_SCALARS = {"float32": ctypes.c_float, "float64": ctypes.c_double}
FOLDER = Path(tempfile.mkdtemp(prefix="gdopt-cuda-text-"))


def compile_cpu(source, name):
    """Build the source with g++ behind the shim; give a function of pointers."""
    signature = re.search(rf"__global__ void {name}\((.*?)\) \{{", source, re.DOTALL)[1]
    kinds = [
        parameter.strip().rsplit(" ", 1)[0]
        for parameter in re.split(r",\s*(?![^<>]*>)", signature)
    ]
    arguments = ", ".join(f"*({kind}*)a[{k}]" for k, kind in enumerate(kinds))
    source = re.sub(r'#include "cupy/.*"', "", source)
    code = (
        f'#include "{SHIM}"\n{source}\n'
        f'extern "C" void run(void** a) {{ {name}({arguments}); }}\n'
    )
    path = FOLDER / f"{hashlib.sha256(code.encode()).hexdigest()[:16]}.cpp"
    library = path.with_suffix(".so")
    if not library.exists():
        path.write_text(code, encoding="utf-8")
        command = ["g++", "-std=c++17", "-O2", "-shared", "-fPIC", "-w"]
        command += ["-ffp-contract=off", "-o", str(library), str(path)]
        subprocess.run(command, check=True)
    return ctypes.CDLL(str(library)).run


def run_on_cpu(program, text, arrays, values, compute):
    """Run a kernel's text on NumPy arrays, updated in place."""
    run = compile_cpu(generated_source(text), text.name)
    writes = [program.writes(place) for place in range(len(arrays))]
    read = [a for a, written in zip(arrays, writes, strict=True) if not written]
    written = [a for a, written in zip(arrays, writes, strict=True) if written]
    scalar = C_SCALARS[np.dtype(compute).name]
    arguments = [_CArray(a.ctypes.data, a.size) for a in read]
    arguments += [scalar(value) for value in values]
    arguments += [_CArray(a.ctypes.data, a.size) for a in written]
    arguments.append(_CIndexer(arrays[0].size, 0))
    run((ctypes.c_void_p * len(arguments))(*map(ctypes.addressof, arguments)))
