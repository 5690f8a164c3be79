"""Compiles the text of kernels with g++ behind a shim, to run them on the CPU."""

import atexit
import ctypes
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np

SHIM = Path(__file__).with_name("kernel_shim.hpp")
FOLDER = Path(tempfile.mkdtemp(prefix="gdopt-kernels-"))
atexit.register(shutil.rmtree, FOLDER, ignore_errors=True)
NUMPY_NAMES = {"unsigned": np.uint32, "int": np.int32, "long long": np.int64}
NUMPY_NAMES |= {"bool": np.bool_, "float": np.float32, "double": np.float64}
NUMPY_NAMES |= {"unsigned short": np.uint16, "unsigned long long": np.uint64}
SANITIZER = ("-fsanitize=undefined", "-fno-sanitize-recover=all")
# The check script watches the kernels of steps for undefined behaviour, which takes
# twice as long; a kernel that shows any ends the tests at once.
ALWAYS = SANITIZER if os.environ.get("GDOPT_SANITIZE") else ()
COMMAND = "g++ -std=c++17 -O1 -shared -fPIC -w -ffp-contract=off -fno-strict-aliasing"


def compile_library(code, *options):
    """Build a shared library of a text once; give it, loaded."""
    code = re.sub(r"#include <cuda_fp16.h>|#include \"cupy/.*\"", "", code)
    key = hashlib.sha256(f"{code}{options}".encode()).hexdigest()[:16]
    path = FOLDER / f"{key}.cpp"
    library = path.with_suffix(".so")
    if not library.exists():
        path.write_text(code, encoding="utf-8")
        command = [*COMMAND.split(), *ALWAYS, *options, "-o", str(library), str(path)]
        subprocess.run(command, check=True)
    return ctypes.CDLL(str(library))


def loop_source(parameters, kinds, body, preamble, function="run"):
    """Print a kernel's body in a loop over i, as CuPy would."""
    outer, inner = [], []
    for k, (parameter, kind) in enumerate(zip(parameters, kinds, strict=True)):
        if parameter.raw:
            outer.append(f"CArray<{kind}, 1> {parameter.name}{{({kind}*)a[{k}], n}};")
        elif is_scalar(parameter):
            outer.append(f"const {kind} {parameter.name} = *({kind}*)a[{k}];")
        else:
            inner.append(f"{kind}& {parameter.name} = (({kind}*)a[{k}])[i];")
    loop = "CUPY_FOR(i, n)"
    if "__syncthreads" in preamble + body:  # every thread of a block for itself
        loop = "run_blocks(n, [&](ptrdiff_t i) { for (bool once = true; once; once = 0)"
    end = "});" if loop.startswith("run") else ""
    return f"""{preamble}
extern "C" void {function}(void** a, ptrdiff_t n) {{
{chr(10).join(outer)}
{loop} {{
{chr(10).join(inner)}
{body}
}}
{end}
}}
"""


def is_scalar(parameter):
    """Distinguish scalars from arrays by gdopt's own names, which users cannot take."""
    return not parameter.raw and re.fullmatch(r"s\d+|.*_", parameter.name) is not None


def compile_loop(parameters, kinds, body, preamble, *options):
    """Compile a kernel; its ``run`` takes pointers and a number of elements."""
    source = loop_source(parameters, kinds, body, preamble)
    return compile_library(f'#include "{SHIM}"\n{source}', *options)
