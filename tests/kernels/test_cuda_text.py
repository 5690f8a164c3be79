"""The text of every rule's CUDA kernel compiles, without a GPU, as it should."""

import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import cycle, product

import pytest
import variants
from reducing_rules import RULES
from rules import KERNELS, sample

import gdopt
from gdopt.arrays.dtypes import Storage
from gdopt.kernels.cuda import norm, prologue
from gdopt.kernels.cuda.fused import KernelVariant
from gdopt.kernels.cuda.pass_text import PassPrinter
from gdopt.optim.transforms import Transforms, extended

pytestmark = [pytest.mark.cuda_text, pytest.mark.slow]

ARCHITECTURES = ("75", "80", "90", "100", "120")
ENDS = ("75", "120")  # where 64-bit indices are compared, too
FULL = "adam"  # seen in every layout, and with every way to give values
MOST_REGISTERS = 64
COMPUTED = ("float16", "float32", "float64")


def texts_of(storage):
    """Print a third of the rules in two layouts, and one in all, with all values."""
    printed = {}
    names = sample([*variants.STORAGE].index(storage) % 3, 3)
    for name, layout, values in product(names, variants.LAYOUTS, variants.VALUES):
        plain = layout in {"arena", "apart"} and values == "by value"
        if name == "every_operation" and storage not in {"float32", "float64"}:
            continue  # large, and no rule of the library's
        if plain or name == FULL:
            program = KERNELS[name].program()
            text = variants.text_of(program, storage, layout, values)
            printed[name, layout, values] = text
    return printed


@pytest.fixture(scope="module")
def compiled(cuda_text):
    """Compile all kernels of a storage together, on all cores."""
    pool, jobs = ThreadPoolExecutor(2), {}
    for storage, arch in product(variants.STORAGE, ARCHITECTURES):
        job = partial(cuda_text.compile_many, texts_of(storage), arch=f"sm_{arch}")
        jobs[storage, arch] = pool.submit(job)
        if arch in ENDS:
            job = partial(job, arch=f"compute_{arch}", small_index=False)
            jobs[storage, arch, "64 bits"] = pool.submit(job)
    yield lambda *unit: jobs[unit].result()
    pool.shutdown(cancel_futures=True)


@pytest.mark.parametrize("arch", ENDS)
@pytest.mark.parametrize("storage", variants.STORAGE)
def test_an_index_of_64_bits_gives_the_very_same_instructions(storage, arch, compiled):
    small, large = compiled(storage, arch), compiled(storage, arch, "64 bits")
    assert {k: kernel.instructions for k, kernel in small.items()} == {
        k: kernel.instructions for k, kernel in large.items()
    }


@pytest.mark.parametrize("arch", ARCHITECTURES)
@pytest.mark.parametrize("storage", variants.STORAGE)
def test_every_kernel_is_exact_narrow_and_in_order(storage, arch, compiled):
    kernels = compiled(storage, arch)
    assert len(kernels) == len(texts_of(storage))
    complaints = {
        key: found
        for key, kernel in kernels.items()
        if (found := complaints_about(kernel, key, storage))
    }
    assert complaints == {}


def complaints_about(kernel, key, storage):
    """Say what is wrong with a kernel."""
    name, layout, values = key
    found = []
    if [word for word in kernel.arithmetic if ".rn" not in word]:
        found.append("arithmetic that is not rounded as IEEE 754 has it")
    if re.search(r"\b(?:fma|neg\.ftz|abs\.ftz|rcp|rsqrt|approx)\b", kernel.ptx):
        found.append("operations that are not exact")
    if storage != "float64" and ".f64" in kernel.ptx:
        found.append("double arithmetic")
    if kernel.spilled:
        found.append("spills")
    if kernel.registers > MOST_REGISTERS:
        found.append(f"{kernel.registers} registers")
    if layout != "strided":  # where the compiler puts blocks behind that run before
        found += complaints_about_order(kernel)
    if (layout, values) == ("arena", "by value"):
        found += complaints_about_width(kernel, KERNELS[name].program(), storage)
    return found


def versions_of(accesses):
    """Split loads and stores where a load follows a store.

    Of a rule that asks a question of scalars, the compiler makes a version for each
    answer.
    """
    versions = []
    for access in accesses:
        if not versions or (versions[-1][-1][0], access[0]) == ("st", "ld"):
            versions.append([])
        versions[-1].append(access)
    return versions


def complaints_about_order(kernel):
    counts = {
        sum(kind == "st" for kind, _ in version)
        for version in versions_of(kernel.accesses)
    }
    return [] if len(counts) == 1 else ["a load behind a store"]


def complaints_about_width(kernel, program, storage):
    """Compare loads and stores with those that the rule declares, of 16 bytes."""
    variant = variants.variant_of(program, storage)
    sizes = variants.pack_bytes(variant)
    read = [k for k, symbol in enumerate(program.inputs) if program.reads(symbol)]
    written = [k for k in range(len(program.results)) if program.writes(k)]
    copy = [len(sizes) - 1] if variant.copy else []  # it may have been written to
    read, written = read + (copy if 0 in read else []), written + copy
    loads, stores = (
        [
            (kind, min(16, sizes[k]))
            for k in places
            for _ in range(max(1, sizes[k] // 16))
        ]
        for kind, places in (("ld", read), ("st", written))
    )
    return complaints_about_accesses(kernel.accesses, loads, stores)


def complaints_about_accesses(accesses, loads, stores):
    """Compare with what is declared; versions may leave loads out, but not all do."""
    found = [(v[: -len(stores)], v[-len(stores) :]) for v in versions_of(accesses)]
    fits = all(len(ld) <= len(loads) and st == stores for ld, st in found)
    return [] if fits and loads in [ld for ld, _ in found] else [f"{accesses}"]


@pytest.mark.parametrize("arch", ARCHITECTURES)
@pytest.mark.parametrize("dtype", COMPUTED)
def test_kernels_for_any_strides_compile_to_exact_arithmetic(dtype, arch, cuda_text):
    compute = "float64" if dtype == "float64" else "float32"
    printed = {
        name: variants.strided_text(kernel.program(), dtype, compute)
        for name, kernel in sample(COMPUTED.index(dtype), len(COMPUTED)).items()
    }
    for name, kernel in cuda_text.compile_many(printed, f"sm_{arch}").items():
        program = KERNELS[name].program()
        assert [word for word in kernel.arithmetic if ".rn" not in word] == [], name
        assert not kernel.spilled
        assert kernel.registers <= MOST_REGISTERS
        assert dtype == "float64" or ".f64" not in kernel.ptx
        kinds = [(kind,) for kind, _ in kernel.accesses]
        loads = sum(program.reads(symbol) for symbol in program.inputs)
        stores = sum(program.writes(place) for place in range(len(program.inputs)))
        declared = [("ld",)] * loads, [("st",)] * stores
        assert complaints_about_accesses(kinds, *declared) == [], name


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_the_sum_of_squares_reads_several_packs_at_a_time(arch, cuda_text):
    printed = {("total", sums): norm.print_norm(sums=sums) for sums in (1, 3)}
    for dtype, separate in product(
        ("float16", "bfloat16", "float32", "float64"), (0, 1)
    ):
        stored = Storage(dtype, separate=bool(separate))
        printed[dtype, separate] = norm.print_segments(stored)
    for key, kernel in cuda_text.compile_many(printed, f"sm_{arch}").items():
        assert [word for word in kernel.arithmetic if ".rn" not in word] == [], key
        assert not kernel.spilled
        assert kernel.registers <= MOST_REGISTERS
        assert len(re.findall("shfl", kernel.ptx)) == (
            0 if key[0] == "total" else 40 * (3 if key[0] == "float64" else 1)
        )
        loads = [size for kind, size in kernel.accesses if kind == "ld"]
        if key[0] == "total":
            assert loads.count(8) >= norm.FAN
        elif not key[1]:
            pack, unrolled = (
                (8, 8) if "16" in key[0] else (16, 4 if "64" in key[0] else 8)
            )
            assert loads.count(pack) >= unrolled, loads


@pytest.mark.parametrize("dtype", ["bfloat16", "float64"])
def test_the_sum_of_squares_of_strided_arrays_compiles(dtype, cuda_text):
    stored = Storage(dtype, separate=True)
    text = norm.print_segments(stored, columns=2, column=1, strided=True)
    kernel = cuda_text.compile_one(text)
    assert [word for word in kernel.arithmetic if ".rn" not in word] == []
    assert kernel.registers <= MOST_REGISTERS


@pytest.mark.parametrize("name", ["adam", "momentum_corrected"])
@pytest.mark.parametrize("on_device", [(), ("lr",), ("lr", "norm")])
@pytest.mark.parametrize("flag", [True, False])
def test_every_prologue_compiles(name, on_device, flag, cuda_text):
    clipped = Transforms(options=frozenset({"clip_norm"}))
    program = extended(gdopt.rules.adam, clipped).kernel.program()
    if "momentum" in name:
        program = KERNELS[name].program()
        on_device = tuple(scalar for scalar in on_device if scalar != "norm")
    split = prologue.split_hoisted(program, on_device)
    for compute in ("float32", "float64"):
        options = prologue.PrologueOptions(
            norm="norm" in on_device, skip=flag, counter=flag, counts=flag
        )
        text = prologue.print_prologue(program, split, compute, options)
        kernel = cuda_text.compile_one(text)
        assert [word for word in kernel.arithmetic if ".rn" not in word] == []


MISTAKES = {
    "contracted": lambda text: replace(text, options=()),
    "a double constant": lambda t: replace(
        t, body=t.body.replace("s2 *", "1.1 * s2 *")
    ),
    "single loads": lambda text: replace(
        text,
        preamble=text.preamble.replace(
            "alignas(n * sizeof(T) < 16 ? n * sizeof(T) : 16)", ""
        ),
    ),
    "a store too early": lambda text: replace(
        text, body=text.body.replace("const auto in1_", "p[0] = 0; const auto in1_")
    ),
    "an inexact root": lambda text: replace(
        text, body=text.body.replace("sqrt(x7)", "__fsqrt_rz(x7)")
    ),
    "an array too many": lambda text: replace(
        text, body=text.body + "\nm[first_] = m[first_ + 1];"
    ),
}


@pytest.mark.parametrize("mistake", [None, *MISTAKES])
def test_a_planted_mistake_is_complained_about(mistake, cuda_text):
    program = KERNELS["adam"].program()
    text = variants.text_of(program, "float32")
    changed = MISTAKES[mistake](text) if mistake else text
    assert mistake is None or changed != text
    kernel = cuda_text.compile_one(changed)
    key = "adam", "arena", "by value"
    found = complaints_about(kernel, key, "float32")
    assert bool(found) == (mistake is not None), found


def test_production_options_forbid_contraction_and_are_the_ones_checked():
    for layout, values in product(variants.LAYOUTS, variants.VALUES):
        text = variants.text_of(KERNELS["sgd"].program(), "float32", layout, values)
        assert "-fmad=false" in text.options


def test_a_rule_without_a_name_has_a_valid_kernel(cuda_text):
    program = gdopt.Kernel(lambda p, g: p - g).program()
    text = variants.strided_text(program, "float32", "float32")
    assert text.name.isidentifier()
    cuda_text.compile_one(text)


@pytest.mark.parametrize("name", ["scalars", "first", "gdopt", "in0", "slot"])
def test_a_rule_may_name_its_arrays_like_anything_the_printers_use(name, cuda_text):
    scope = {}
    exec(  # noqa: S102 - a name that is a parameter of the test
        f"def rule({name}, r, g, *, at, step):\n    return {name} - at * step * g, r",
        scope,
    )
    program = gdopt.Kernel(scope["rule"]).program()
    for layout, values in product(variants.LAYOUTS, variants.VALUES):
        cuda_text.compile_one(variants.text_of(program, "float32", layout, values))
    split = prologue.split_hoisted(program, ("at", "step"))
    text = prologue.print_prologue(
        program, split, "float32", prologue.PrologueOptions(counter=True)
    )
    cuda_text.compile_one(text)


def reducing_texts(dtype, turn):
    """Print the launches of a third of the rules with reductions, and ways in turn."""
    ways = cycle(
        [{}, {"strided": True}, {"table": True, "rows": True, "may_skip": True}]
    )
    printed = {}
    for rule, (_, per) in [*RULES.items()][turn % 3 :: 3]:
        compute = "float64" if dtype == "float64" else "float32"
        program = gdopt.Kernel(rule, per).program((), 2, early=dtype == compute)
        stored = tuple(
            Storage(dtype if symbol.element else "float64", separate=True)
            for symbol in program.inputs
        )
        variant = KernelVariant(stored, compute, **next(ways))
        printer = PassPrinter(program, variant)
        for k in range(len(printer.launches)):
            printed[rule.__name__, k] = printer.print(k)
    return printed


PASSES = [("float32", "75"), ("float64", "90"), ("bfloat16", "120"), ("float16", "75")]
PASSES += [("float32", "90"), ("float64", "120")]


@pytest.mark.parametrize("turn", range(len(PASSES)))
def test_passes_compile_to_exact_arithmetic(turn, cuda_text):
    dtype, arch = PASSES[turn]
    printed, limits = reducing_texts(dtype, turn), set()
    for options in {text.options for text in printed.values()}:
        own = {key: text for key, text in printed.items() if text.options == options}
        for key, kernel in cuda_text.compile_many(own, f"sm_{arch}").items():
            assert [word for word in kernel.arithmetic if ".rn" not in word] == [], key
            assert "-fmad=false" in options
            assert not re.search(r"\b(?:fma|neg\.ftz|abs\.ftz)\b", kernel.ptx), key
            assert not kernel.spilled, key
            limits.add(kernel.registers)
    assert max(limits) <= 168
