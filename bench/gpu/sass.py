"""Counts what a thread of each rule's kernel issues, and compares it with the memory.

python bench/gpu/sass.py [--arch sm_90]

Needs no GPU: NVRTC compiles, and nvdisasm (pip install nvidia-cuda-nvdisasm) lists the
instructions. Counted is the path without the slow cases of roots and quotients, which
are calls. The bounds are of an H200, in shares of the time that its memory takes.
These are counts; nothing is measured.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, files, version
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parents[1]), str(HERE.parents[1] / "tests")]

import numpy as np  # noqa: E402 - behind the paths
from cuda_on_cpu import cache  # noqa: E402
from cuda_text import compile_cubin  # noqa: E402

from gdopt import optim  # noqa: E402
from gdopt.arrays.dtypes import Storage  # noqa: E402
from gdopt.kernels.cuda.fused import KernelVariant, print_fused  # noqa: E402
from gdopt.kernels.cuda.text import BYTES, KernelText  # noqa: E402

# An H200: multiprocessors, cycles and bytes a second; a multiprocessor issues for 128
# threads a cycle, of which 64 are integer, logical or comparing instructions.
UNITS, CLOCK, MEMORY = 132, 1.755e9, 4.3e12
ISSUED, ALU = 128, 64
OTHER_PIPES = ("FFMA", "FADD", "FMUL", "IMAD", "HFMA2", "HADD2", "HMUL2", "MUFU", "F2F")
OTHER_PIPES += ("LD", "ST", "U", "S2", "BRA", "BSSY", "BSYNC", "EXIT", "NOP", "MOV")
OTHER_PIPES += ("WARPSYNC", "DADD", "DMUL", "DFMA")
# Those that the GPU is measured with. FTRL, Rprop, RAdam and ADOPT compute for longer
# than their memory takes where all arrays are bfloat16 and rounded at random.
NAMES = ("sgd", "momentum", "nesterov", "rmsprop", "adam", "adamw")
OPTIMIZERS = {name: optim.OPTIMIZERS[name] for name in NAMES}
STORAGES = ("float32", "bfloat16", "bfloat16 state", "bfloat16, all at random")
HEAD = ("rule", "storage", "registers", "issued", "integer", "issue", "integer pipe")


def storages(states: int, kind: str) -> tuple[Storage, ...]:
    """Return how p, the states and g are stored."""
    own = "bfloat16" if kind in {"bfloat16", STORAGES[3]} else "float32"
    halves = kind in STORAGES[2:]
    first = [Storage(own, 0 if kind == STORAGES[3] else None)]
    for k in range(states):
        stream = k + (kind == STORAGES[3]) if halves else None
        first.append(Storage("bfloat16" if halves else "float32", stream))
    return (*first, Storage(own))


def nvdisasm() -> Path:
    """Find the disassembler in its wheel."""
    try:
        listed = files("nvidia-cuda-nvdisasm") or []
    except PackageNotFoundError:
        sys.exit("nvdisasm is not installed: pip install nvidia-cuda-nvdisasm")
    return next(Path(str(f.locate())) for f in listed if f.stem == "nvdisasm")


def disassemble(text: KernelText, arch: str) -> tuple[int, str]:
    """Return the registers of a thread, and the listing."""
    tool = nvdisasm()
    registers, cubin = compile_cubin(text, arch)

    def make(path: Path) -> None:
        file = path.with_suffix(".cubin")
        file.write_bytes(cubin)
        command = [str(tool), "-c", str(file)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
        path.write_text(done.stdout, encoding="utf-8")

    key = cache.key_of(cubin, version("nvidia-cuda-nvdisasm"))
    return registers, cache.made(f"sass/{key}.txt", make).read_text(encoding="utf-8")


def hot_path(listing: str) -> list[str]:
    """List the instructions from entry to EXIT, without blocks that make a call."""
    blocks: list[list[str]] = [[]]
    pattern = r"\s+/\*[0-9a-f]+\*/\s+(@!?U?P\d+ )?\s*([A-Z0-9_.]+)"
    for line in listing.splitlines():
        if line.startswith(".L_x"):
            blocks.append([])
        if (found := re.match(pattern, line)) is None:
            continue
        blocks[-1].append(found[2])
        if found[2].startswith(("BRA", "CALL", "EXIT")):
            blocks.append([])
        if found[2] == "EXIT" and not found[1]:
            break
    kept, after_call = list[str](), False
    for block in blocks:
        calls = any(name.startswith("CALL") for name in block)
        if not calls and not after_call:
            kept += block
        after_call = calls
    return kept


def counts(kernel: Any, stored: tuple[Storage, ...], arch: str) -> dict[str, float]:
    """Return registers, instructions an element, and their time over the memory's."""
    variant = KernelVariant(stored, "float32")
    registers, listing = disassemble(print_fused(kernel.program(), variant), arch)
    path = hot_path(listing)
    issued = len(path) / variant.width
    integer = sum(not name.startswith(OTHER_PIPES) for name in path) / variant.width
    moved = sum(BYTES[s.dtype] for s in (*stored, *stored[:-1]))
    memory = moved / MEMORY
    return {
        "registers": registers,
        "issued": issued,
        "integer": integer,
        "issue": issued / (UNITS * CLOCK * ISSUED) / memory,
        "integer pipe": integer / (UNITS * CLOCK * ALU) / memory,
    }


def table(arch: str) -> Iterator[tuple[str, str, dict[str, float]]]:
    """Count for every optimizer and every storage."""
    for name, kind in OPTIMIZERS.items():
        rule = kind(np.zeros(1, np.float32), lr=0.1).rule
        for how in STORAGES:
            stored = storages(len(rule.states), how)
            yield name, how, counts(rule.kernel, stored, arch)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--arch", default="sm_90", help="sm_90 unless given")
    arch = parser.parse_args().arch
    sys.stdout.write(f"| {' | '.join(HEAD)} |\n|{' --- |' * len(HEAD)}\n")
    for name, how, row in table(arch):
        cells = [name, how, f"{row['registers']:.0f}"]
        cells += [f"{row['issued']:.1f}", f"{row['integer']:.1f}"]
        cells += [f"{row['issue']:.2f}", f"{row['integer pipe']:.2f}"]
        sys.stdout.write(f"| {' | '.join(cells)} |\n")


if __name__ == "__main__":
    main()
