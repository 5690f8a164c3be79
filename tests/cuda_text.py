"""The text of CUDA kernels without a GPU: generated, compiled by NVRTC, run by g++.

The one place that uses CuPy's private names.
What NVRTC compiles is kept in the cache of CUDA on the CPU.
"""

import atexit
import ctypes
import functools
import gzip
import hashlib
import importlib.metadata
import io
import json
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import cupy
import numpy as np
from cuda_on_cpu import cache
from cupy._core import _kernel, core
from cupy._core._carray import Indexer
from cupy._core._scalar import CScalar
from cupy.cuda import compiler
from cupy_backends.cuda.libs import nvrtc

from gdopt.kernels.cuda import matrix, text as ctext

PARTS = (ctext.SIGNS, ctext.PACKS, ctext.FLOAT16, ctext.BFLOAT16, ctext.RANDOM)
PARTS += (
    ctext.SEPARATE,
    ctext.WHOLE,
    ctext.STRIDED,
    ctext.REDUCE,
    ctext.NORM,
    matrix.COMBINE,
)
ARRAY, INDEXER, SCALAR = 1, 2, 3  # cupy/_core/_kernel.pxd: enum _ArgKind
SANITIZER = ("-fsanitize=undefined", "-fno-sanitize-recover=all", "-O2")
SHIM = Path(__file__).with_name("kernel_shim.hpp")
FOLDER = Path(tempfile.mkdtemp(prefix="gdopt-kernels-"))
atexit.register(shutil.rmtree, FOLDER, ignore_errors=True)
COMMAND = "g++ -std=c++17 -O1 -shared -fPIC -w -ffp-contract=off -fno-strict-aliasing"


def is_scalar(parameter):
    """Distinguish scalars from arrays by gdopt's own names, which users cannot take."""
    return not parameter.raw and re.fullmatch(r"s\d+|.*_", parameter.name) is not None


def generated_source(text, *, small_index=True):
    """Return the source that CuPy would compile for one-dimensional contiguous arrays.

    Args:
        text: a `KernelText`.
        small_index: whether elements are counted in 32 bits.
    """
    kernel = text.build(cupy)
    infos, dtypes = [], []
    for parameter in (*kernel.in_params, *kernel.out_params):
        dtypes.append(np.dtype(parameter.dtype))
        if is_scalar(parameter):
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


@dataclass(frozen=True)
class Compiled:
    """What the compiler made of one kernel."""

    ptx: str
    registers: int
    spilled: bool

    @property
    def instructions(self):
        """Return the text without its head, which names the types of the arguments."""
        return self.ptx[self.ptx.index("{") :]

    @property
    def arithmetic(self):
        """Return the instructions that add, multiply, divide and take roots."""
        return re.findall(r"\b(?:add|sub|mul|div|sqrt)\.[a-z.]*f(?:32|64)\b", self.ptx)

    @property
    def accesses(self):
        """Return loads and stores of global memory in order: ``("ld", bytes)``."""
        pattern = r"\b(ld|st)(?:\.global)?(?:\.nc)?(?:\.v([24]))?\.[a-z](\d+)\s"
        return [
            (kind, int(count or 1) * int(bits) // 8)
            for kind, count, bits in re.findall(pattern, self.ptx)
        ]


def compile_cuda(source, options, arch):
    """Compile with the kernels' own options; give each kernel by name.

    Args:
        source: of one or several kernels.
        options: of the kernels.
        arch: sm_90, or compute_90 for PTX alone, with which an index is checked.
    """
    made = _compile(source, options, arch)
    return dict(_kernels(made["ptx"], made["log"]))


def _compile(source, options, arch):
    """Return the PTX, the machine code and the log, which the tests' cache keeps."""
    headers = "".join(f"#include <{name}>\n" for name in core._cupy_header_list)
    options = (
        *core.assemble_cupy_compiler_options(options),
        *(("--ptxas-options=-v",) if arch.startswith("sm_") else ()),
        "-ftz=true",
        f"-arch={arch}",
        "--device-as-default-execution-space",
    )
    method = "cubin" if arch.startswith("sm_") else "ptx"

    def make(path):
        program = compiler._NVRTCProgram(
            headers + source, "kernel.cu", (), (), method=method
        )
        log = io.StringIO()
        code, _ = program.compile(options, log)
        made = {"log": log.getvalue(), "ptx": nvrtc.getPTX(program.ptr).decode()}
        made["cubin"] = code.decode("latin-1") if method == "cubin" else ""
        path.write_bytes(gzip.compress(json.dumps(made).encode(), 1))

    folders = tuple(option[2:] for option in options if option.startswith("-I"))
    words = [option for option in options if not option.startswith("-I")]
    key = cache.key_of(headers + source, words, _compiler(folders))
    return json.loads(gzip.decompress(cache.made(f"nvrtc/{key}.gz", make).read_bytes()))


@functools.cache
def _compiler(folders):
    """Return a key of the compiler and of its headers."""
    names = ("nvidia-cuda-nvrtc", "nvidia-cuda-nvrtc-cu12")
    found = [d.version for n in names for d in importlib.metadata.distributions(name=n)]
    versions = [cupy.__version__, nvrtc.getVersion(), found]
    return cache.key_of(versions, cache.describe_headers(folders))


def compile_cubin(text, arch):
    """Return the registers of a thread, and the machine code of one kernel."""
    made = _compile(generated_source(text, small_index=False), text.options, arch)
    # CuPy drops the last byte, which is a zero.
    cubin = made["cubin"].encode("latin-1") + b"\0"
    return int(re.search(r"Used (\d+) registers", made["log"])[1]), cubin


def _kernels(ptx, log):
    bodies = re.split(r"\.visible \.entry ", ptx)[1:]
    for body in bodies:
        name = body.split("(", 1)[0]
        entry = rf"Compiling entry function '{name}'.*?Used (\d+) registers"
        told = re.search(entry, log, re.DOTALL)
        if told is None:  # PTX alone
            yield name, Compiled(body, 0, spilled=False)
            continue
        spills = re.findall(r"(\d+) bytes spill", told[0])
        yield name, Compiled(body, int(told[1]), any(map(int, spills)))


def compile_one(text, arch="sm_90", *, small_index=True):
    """Compile one kernel."""
    source = generated_source(text, small_index=small_index)
    return compile_cuda(source, text.options, arch)[text.name]


def compile_many(texts, arch, *, small_index=True):
    """Compile kernels together, as reading the headers takes long; by their key.

    Kernels whose texts differ in nothing but the name are compiled once.
    """
    used = {part for part in PARTS for text in texts.values() if part in text.preamble}
    preamble = "".join(part for part in PARTS if part in used)
    unnamed = {key: replace(text, name="") for key, text in texts.items()}
    distinct = dict.fromkeys(unnamed.values())
    named = {text: replace(text, name=f"k{n}") for n, text in enumerate(distinct)}
    source = preamble + "".join(
        generated_source(replace(text, preamble=""), small_index=small_index)
        for text in named.values()
    )
    (options,) = {text.options for text in texts.values()}
    found = compile_cuda(source, options, arch)
    return {key: found[named[text].name] for key, text in unnamed.items()}


class _CArray(ctypes.Structure):
    _fields_ = (("data", ctypes.c_void_p), ("size", ctypes.c_ssize_t))


class _CIndexer(ctypes.Structure):
    _fields_ = (("size", ctypes.c_ssize_t), ("i", ctypes.c_ssize_t))


def compile_library(code, *options):
    """Build a shared library of a text once; give it, loaded."""
    code = re.sub(r"#include <cuda_fp16.h>|#include \"cupy/.*\"", "", code)
    key = hashlib.sha256(f"{code}{options}".encode()).hexdigest()[:16]
    path = FOLDER / f"{key}.cpp"
    library = path.with_suffix(".so")
    if not library.exists():
        path.write_text(code, encoding="utf-8")
        command = [*COMMAND.split(), *options, "-o", str(library), str(path)]
        subprocess.run(command, check=True)
    return ctypes.CDLL(str(library))


@functools.cache
def compile_cpu(source, name, *options):
    """Build the source with g++ behind the shim; give a function of pointers."""
    signature = re.search(rf"__global__ void {name}\((.*?)\) \{{", source, re.DOTALL)[1]
    kinds = [
        parameter.strip().rsplit(" ", 1)[0]
        for parameter in re.split(r",\s*(?![^<>]*>)", signature)
    ]
    arguments = ", ".join(f"*({kind}*)a[{k}]" for k, kind in enumerate(kinds))
    code = (
        f'#include "{SHIM}"\n{source}\n'
        f'extern "C" void run(void** a) {{ {name}({arguments}); }}\n'
    )
    return compile_library(code, *options).run


def run_on_cpu(text, arguments, size, *options):
    """Run a kernel's text on NumPy arrays and scalars, given by name."""
    run = compile_cpu(generated_source(text), text.name, *options)
    given = []
    for name in text.arguments:
        value = arguments[name]
        if isinstance(value, np.ndarray) and value.ndim:
            given.append(_CArray(value.ctypes.data, value.size))
        else:
            given.append(ctypes.create_string_buffer(value.tobytes(), 16))
    given.append(_CIndexer(size, 0))
    run((ctypes.c_void_p * len(given))(*map(ctypes.addressof, given)))
