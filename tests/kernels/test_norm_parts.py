"""The norm from the sums of parts has the bits of that of the whole."""

import ml_dtypes
import numpy as np
import pytest
from norm_order import ordered_norm, scattered

import gdopt
from gdopt.kernels.cpu.norm import CpuNorm
from gdopt.kernels.norm_parts import NormParts, tree_nodes
from gdopt.kernels.sums import neighbours

PARTS = (1, 2, 3, 4, 7, 8, 41)
SIZES = (0, 1, 64, 65, 300, 4095, 4096, 4097, 8192, 12_289, 40_000, 70_001)
DTYPES = {
    "float32": ("float32",),
    "float64": ("float64",),
    "half": ("float16", ml_dtypes.bfloat16),
    "mixed": ("float64", "float32", "float16", ml_dtypes.bfloat16),
}


def draw(seed, dtypes):
    generator = np.random.default_rng(seed)
    arrays = {}
    for k in range(generator.integers(1, 7)):
        dtype = dtypes[generator.integers(len(dtypes))]
        array = scattered(
            generator, generator.choice(SIZES), seed * (dtype == "float64")
        )
        arrays[f"p{k}"] = array.astype(dtype)
    return arrays


def norm_of_parts(grads, parts):
    """Compute the norm of an arena as processes do, each with its part alone."""
    made = NormParts(grads.layout, parts)
    nodes = []
    for k, cut in enumerate(grads.layout.cut(parts)):
        buffers = {}
        for group in cut.sizes:
            low, high = cut.origin[group], made.bounds[group][k]
            assert 0 <= high - low - cut.sizes[group] < 4096
            buffers[group] = grads.buffers[group][low:high].copy()
        nodes.append(made.nodes(k, buffers))
        assert nodes[-1].shape == made.shape
        assert nodes[-1].dtype == np.float64
    return made.norm(np.stack(nodes))


def poisoned(arrays):
    """Place arrays in an arena with NaN between them, which must not count."""
    arena = gdopt.Arena.of(arrays)
    values = {name: view.copy() for name, view in arena.items()}
    for buffer in arena.buffers.values():
        buffer[...] = np.nan
    for name, value in values.items():
        arena[name] = value
    return arena


@pytest.mark.parametrize("dtypes", DTYPES)
@pytest.mark.parametrize("seed", range(4))
def test_parts_have_the_bits_of_the_whole(seed, dtypes, engine):
    arrays = draw(seed, DTYPES[dtypes])
    arena = poisoned(arrays)
    expected = CpuNorm(arena.layout)(arena)
    assert expected == ordered_norm(list(arrays.values()))
    assert [norm_of_parts(arena, parts) for parts in PARTS] == [expected] * len(PARTS)


@pytest.mark.parametrize("dtypes", DTYPES)
@pytest.mark.parametrize("special", [np.nan, np.inf])
def test_what_is_not_finite_in_one_part_is_not_in_the_norm(special, dtypes, engine):
    arrays = {f"p{k}": np.ones(9000, dtype) for k, dtype in enumerate(DTYPES[dtypes])}
    arrays["p0"][5000] = special
    for parts in PARTS:
        found = norm_of_parts(gdopt.Arena.of(arrays), parts)
        assert np.isnan(found) if np.isnan(special) else found == np.inf


@pytest.mark.parametrize("size", [1e300, 1e-300, 5e-324])
def test_huge_and_tiny_float64_in_different_parts(size, engine):
    arrays = {"a": np.full(20_000, size), "b": np.ones(20_000, "f"), "c": np.ones(3)}
    arrays["a"][7000:] *= 0.5
    arena = gdopt.Arena.of(arrays)
    expected = CpuNorm(arena.layout)(arena)
    assert [norm_of_parts(arena, parts) for parts in PARTS] == [expected] * len(PARTS)


def test_parts_without_elements(engine):
    arena = gdopt.Arena.of({"none": np.ones((0, 2)), "b": np.full(3, 2.0, "f")})
    assert [norm_of_parts(arena, parts) for parts in PARTS] == [12**0.5] * len(PARTS)
    nothing = gdopt.Arena.of({"none": np.ones((0, 2))})
    assert norm_of_parts(nothing, 2) == 0


@pytest.mark.parametrize("count", [1, 2, 3, 5, 8, 13, 100])
def test_nodes_are_those_of_the_tree_of_the_whole(count):
    sums = np.random.default_rng(0).standard_normal(count) * 10.0 ** np.arange(count)
    for low in range(count):
        for high in range(low + 1, count + 1):
            nodes = list(tree_nodes(low, high, count))
            assert [node[0] for node in nodes] == [low, *(n[1] for n in nodes[:-1])]
            assert min(nodes[-1][1], count) == high
            assert len(nodes) <= 2 * count.bit_length()
            for first, last in nodes:
                assert first % (last - first) == 0
    ((low, high),) = tree_nodes(0, count, count)
    assert neighbours("sum", sums[low:high]) == neighbours("sum", sums)


def test_few_numbers_are_exchanged():
    layout = gdopt.Arena.of({"a": np.zeros(10**6), "b": np.zeros(10**6, "f")}).layout
    assert NormParts(layout, 4).shape[1] <= 4 * 8
    assert NormParts(layout, 4).shape[0] == 3
    assert NormParts(gdopt.Arena.of(np.zeros(9, "f")).layout, 4).shape == (1, 1)


def test_wrong_gradients_and_nodes_are_refused():
    parts = NormParts(gdopt.Arena.of(np.ones(9000)).layout, 2)
    with pytest.raises(gdopt.ArgumentError, match=r"shape \(8192,\), got \(4480,\)"):
        parts.nodes(0, {"float64": np.ones(4480)})
    with pytest.raises(gdopt.ArgumentError, match="missing 'float64'"):
        parts.nodes(0, {})
    with pytest.raises(gdopt.ArgumentTypeError, match="float64, got float32"):
        parts.nodes(0, {"float64": np.ones(8192, "f")})
    with pytest.raises(gdopt.ArgumentError, match="part must be a whole number of at "):
        parts.nodes(2, {"float64": np.ones(8192)})
    with pytest.raises(gdopt.ArgumentError, match=r"nodes must have shape \(2, 3, 1\)"):
        parts.norm(np.zeros((1, 3, 1)))


@pytest.mark.gpu
@pytest.mark.parametrize("dtypes", DTYPES)
def test_a_device_has_the_bits_of_the_host(dtypes, cp):
    for seed in range(3):
        arrays = draw(seed, DTYPES[dtypes])
        arena = gdopt.Arena.of({n: cp.asarray(array) for n, array in arrays.items()})
        expected = ordered_norm(list(arrays.values()))
        for parts in (1, 3, 8):
            assert norm_of_parts(arena, parts) == expected
