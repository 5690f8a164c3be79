"""Compiles CUDA sources with g++, in the place of NVRTC."""

import functools
import os
import re
import subprocess

from cuda_on_cpu import cache
from cuda_on_cpu.build import HERE, compiler_version, run

IMAGE = b"CUDA on the CPU:"  # cpp/launch.cpp looks for it
FLAGS = ["-std=c++17", "-O1", "-fPIC", "-w", "-fno-strict-aliasing"]
FLAGS += ["-ffp-contract=off"]  # as gdopt asks of NVRTC
FLAGS += ["-fwhole-program"]  # headers define functions that no kernel uses
FLAGS += ["-fsanitize-undefined-trap-on-error"]  # the device turns traps into errors
KERNEL = re.compile(
    r'extern "C" __global__ void\s+(\w+)\s*\(((?:[^(){}]|\([^()]*\))*)\)\s*\{'
)
BARRIER = re.compile(r"\b__(?:sync|shfl)")
SINGLE = re.compile(r"\bfloat\b")
TAKES_DOUBLES = re.compile(r"const (?:CArray<)?(?:double|complex<double>)\b")


class CompileError(Exception):
    """What g++ says of a source that it refuses."""


def compile_kernels(source, options):
    """Return the image of a module, which names the library that holds its kernels.

    Args:
        source: a text that CuPy generated.
        options: for NVRTC; folders of headers count.

    Raises:
        CompileError: the text is wrong, or has no kernel.
    """
    text = f'#include "kernel.hpp"\n{source}\n{_descriptions(source)}'
    includes = (f"-I{HERE / 'include'}", *(o for o in options if o.startswith("-I")))
    settings = tuple(FLAGS + _sanitizers())
    path = cache.made(
        f"kernels-{_key_of_headers(settings, includes)}/{cache.key_of(text)}.so",
        lambda result: _compile(text, settings, includes, result),
    )
    return IMAGE + str(path).encode() + b"\0"


def _sanitizers():
    """Return the checks: of alignment always, of all that is undefined on demand."""
    everything = os.environ.get("GDOPT_SANITIZE")
    return [f"-fsanitize={'undefined' if everything else 'alignment'}"]


def _descriptions(source):
    lines = []
    for name, parameters in KERNEL.findall(source):
        synchronizes = str(bool(BARRIER.search(source))).lower()
        flushes = str(_flushes(source, parameters)).lower()
        lines.append(f"SIM_KERNEL({name}, {synchronizes}, {flushes})\n")
    if not lines:
        message = "the source has no kernel"
        raise CompileError(message)
    return "".join(lines)


def _flushes(source, parameters):
    """Decide whether denormals are zero.

    CUDA takes them for zero in float32 alone, the CPU in both precisions or in neither.
    It does where floats are used and nothing comes in as a double: what is made of
    floats is far above the denormals of doubles.
    """
    kernels = source[source.index('extern "C" __global__') :]
    return bool(SINGLE.search(kernels)) and not TAKES_DOUBLES.search(parameters)


@functools.cache
def _key_of_headers(settings, includes):
    """Return a key of all that kernels have in common, the same in every checkout."""
    sources = [HERE / "kernel_abi.hpp", HERE / "kernel.hpp"]
    sources += sorted((HERE / "include").rglob("*.h"))
    texts = [path.read_bytes() for path in sources]
    headers = cache.describe_headers(option[2:] for option in includes)
    return cache.key_of(compiler_version(), settings, texts, headers)


@functools.cache
def _headers(settings, includes):
    """Return the folder of the compiled header, which knows where its sources lie."""
    key = cache.key_of(_key_of_headers(settings, includes), includes)

    def make(folder):
        folder.mkdir()
        result = folder / "kernel.hpp.gch"
        words = ["g++", *settings, *includes]
        run([*words, "-x", "c++-header", HERE / "kernel.hpp", "-o", result])

    return cache.made_once(f"header-{key}", make)


def _compile(text, settings, includes, result):
    options = [*settings, f"-I{_headers(settings, includes)}", *includes]
    source = result.with_suffix(".cpp")
    source.write_text(text, encoding="utf-8")
    binary = result.with_suffix(".o")
    words = ["g++", *options, "-c", source, "-o", binary]
    done = subprocess.run(
        list(map(str, words)), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise CompileError(done.stderr[:4000])
    run(["g++", "-shared", "-nostdlib", "-o", result, binary, "-lgcc"])
