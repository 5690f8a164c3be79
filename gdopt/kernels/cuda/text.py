"""What all CUDA kernels share: options, statements, and functions in C.

A pack is as many numbers as fill 16 bytes of the narrowest array: four of float32,
eight where float16 or bfloat16 takes part; a single one where arrays have strides. Half
precisions travel as their bits.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gdopt.kernels.symbol import Symbol
from gdopt.kernels.trace import expression

# -fmad=false keeps products and sums apart, which makes the GPU equal NumPy bit for
# bit; CuPy itself adds -ftz=true. With 64 registers at most, 1,024 threads fit on a
# multiprocessor, enough reads under way to keep its memory busy.
OPTIONS = ("-fmad=false", "--maxrregcount=64")
# Signs are bits: -x and fabs(x) would flush denormals, which NumPy's do not. In
# assembler, as for Blackwell the compiler takes such bits for a negation after all.
SIGNS = """
#ifdef __CUDA_ARCH__
#define GDOPT_BITS(operation, x, mask) \\
  unsigned bits; \\
  asm(operation ".b32 %0, %1, %2;" : "=r"(bits) : "r"(__float_as_uint(x)), "n"(mask));
#else
#define GDOPT_BITS(operation, x, mask) \\
  const unsigned before = __float_as_uint(x); \\
  const unsigned bits = operation[0] == 'x' ? before ^ mask : before & mask;
#endif
__device__ inline float gdopt_negative(float x) {
  GDOPT_BITS("xor", x, 0x80000000u);
  return __uint_as_float(bits);
}
__device__ inline float gdopt_absolute(float x) {
  GDOPT_BITS("and", x, 0x7fffffffu);
  return __uint_as_float(bits);
}
__device__ inline double gdopt_negative(double x) { return -x; }
__device__ inline double gdopt_absolute(double x) { return fabs(x); }
"""
PACKS = """
template <class T, int n>
struct alignas(n * sizeof(T) < 16 ? n * sizeof(T) : 16) gdopt_pack { T x[n]; };

template <class T, int n>
__device__ inline gdopt_pack<T, n> gdopt_read(const T* at) {
  return *reinterpret_cast<const gdopt_pack<T, n>*>(at);
}
template <class T, int n>
__device__ inline void gdopt_write(T* at, const gdopt_pack<T, n>& pack) {
  *reinterpret_cast<gdopt_pack<T, n>*>(at) = pack;
}

__device__ inline float gdopt_float32_value(float x) { return x; }
__device__ inline float gdopt_float32_bits(float x) { return x; }
__device__ inline double gdopt_float64_value(double x) { return x; }
__device__ inline double gdopt_float64_bits(double x) { return x; }
"""

FLOAT16 = """
#include <cuda_fp16.h>
__device__ inline float gdopt_float16_value(unsigned short bits) {
  return __half2float(__ushort_as_half(bits));
}
__device__ inline unsigned short gdopt_float16_bits(float x) {
  return __half_as_ushort(__float2half_rn(x));
}
"""

BFLOAT16 = """
#include <cuda_fp16.h>
__device__ inline float gdopt_bfloat16_value(unsigned short bits) {
  return __uint_as_float((unsigned)bits << 16);
}
// The upper half of x plus noise: below a half, a half (ties to even), or random.
__device__ inline unsigned short gdopt_bfloat16_round(float x, unsigned noise) {
  const unsigned bits = __float_as_uint(x);
  const bool number = (bits & 0x7f800000u) != 0x7f800000u;
  const unsigned quiet = (bits & 0x7fffffu) ? 0x40u : 0u;  // NaN stays NaN
  return (unsigned short)(number ? (bits + noise) >> 16 : (bits >> 16) | quiet);
}
#ifdef __CUDA_ARCH__
__noinline__  // so rare that it is kept out of the way
#endif
__device__ unsigned short gdopt_bfloat16_careful(float x, unsigned noise) {
  return gdopt_bfloat16_round(x, noise);
}
__device__ inline unsigned short gdopt_bfloat16_finite(float x, unsigned noise) {
  return (unsigned short)((__float_as_uint(x) + noise) >> 16);
}
__device__ inline unsigned short gdopt_bfloat16_bits(float x) {
  const unsigned odd = (__float_as_uint(x) >> 16) & 1u;
  return gdopt_bfloat16_round(x, 0x7fffu + odd);
}
"""

RANDOM = """
__device__ inline unsigned gdopt_mix(unsigned x) {
  x = (x ^ (x >> 16)) * 0x7feb352du;
  x = (x ^ (x >> 15)) * 0x846ca68bu;
  return x ^ (x >> 16);
}
// Of 32 random bits of an element, the same ones on every engine, what its pack shares.
__device__ inline unsigned gdopt_random_key(
    unsigned seed, unsigned t, ptrdiff_t index) {
  return gdopt_mix((unsigned)(index >> 32) ^ gdopt_mix(t ^ gdopt_mix(seed)));
}
"""

# Separate arrays: some start between 16-byte boundaries, most end between packs.
SEPARATE = """
template <class T, int n>
__device__ inline bool gdopt_aligned(const T* at) {
  return reinterpret_cast<size_t>(at) % alignof(gdopt_pack<T, n>) == 0;
}
template <class T, int n>
__device__ inline gdopt_pack<T, n> gdopt_read_some(const T* at, ptrdiff_t count) {
  if (count >= n && gdopt_aligned<T, n>(at)) return gdopt_read<T, n>(at);
  gdopt_pack<T, n> some = {};
  #pragma unroll
  for (int k = 0; k < n; ++k) if (k < count) some.x[k] = at[k];
  return some;
}
template <class T, int n>
__device__ inline void gdopt_write_some(
    T* at, ptrdiff_t count, const gdopt_pack<T, n>& pack) {
  if (count >= n && gdopt_aligned<T, n>(at)) {
    gdopt_write<T, n>(at, pack);
    return;
  }
  #pragma unroll
  for (int k = 0; k < n; ++k) if (k < count) at[k] = pack.x[k];
}
"""

# Or a pack that is known to be whole, at a multiple of 16 bytes.
WHOLE = """
template <bool is> struct gdopt_flag { static constexpr bool value = is; };
template <bool whole, class T, int n>
__device__ inline gdopt_pack<T, n> gdopt_take(const T* at, ptrdiff_t count) {
  if (whole) return gdopt_read<T, n>(at);
  return gdopt_read_some<T, n>(at, count);
}
template <bool whole, class T, int n>
__device__ inline void gdopt_put(
    T* at, ptrdiff_t count, const gdopt_pack<T, n>& pack) {
  if (whole) gdopt_write<T, n>(at, pack);
  else gdopt_write_some<T, n>(at, count, pack);
}
"""

STRIDED = """
// How far an element lies from the first one of an array; lengths and steps by axis.
__device__ inline ptrdiff_t gdopt_place(
    ptrdiff_t element, const long long* lengths, const long long* steps, int axes) {
  ptrdiff_t place = 0;
  #pragma unroll 1
  for (int axis = axes - 1; axis >= 0; --axis) {
    place += element % lengths[axis] * steps[axis];
    element /= lengths[axis];
  }
  return place;
}
template <class T, int n>
__device__ inline gdopt_pack<T, n> gdopt_gather(
    const T* at, ptrdiff_t first, ptrdiff_t count, const long long* lengths,
    const long long* steps, int axes) {
  gdopt_pack<T, n> some = {};
  for (int k = 0; k < n; ++k)
    if (k < count) some.x[k] = at[gdopt_place(first + k, lengths, steps, axes)];
  return some;
}
template <class T, int n>
__device__ inline void gdopt_scatter(
    T* at, ptrdiff_t first, ptrdiff_t count, const long long* lengths,
    const long long* steps, int axes, const gdopt_pack<T, n>& pack) {
  for (int k = 0; k < n; ++k)
    if (k < count) at[gdopt_place(first + k, lengths, steps, axes)] = pack.x[k];
}
"""

# Sums and maxima in the order of `gdopt.kernels.norm`: a warp holds 128 lanes of
# float64, four in each thread, and adds them by halves.
REDUCE = """
template <bool largest>
__device__ inline double gdopt_start() {
  return largest ? -__longlong_as_double(0x7ff0000000000000LL) : 0.0;
}
template <bool largest>
__device__ inline double gdopt_join(double x, double y) {
  return largest ? (x >= y || x != x ? x : y) : x + y;
}
// Lanes of `width` threads, four in each, by halves: to the first of them.
template <bool largest>
__device__ inline double gdopt_halves(double (&lanes)[4], int width) {
  for (int threads = width / 2; threads; threads /= 2) {
    #pragma unroll
    for (int l = 0; l < 4; ++l) {
      const double other = __shfl_down_sync(0xffffffffu, lanes[l], threads);
      lanes[l] = gdopt_join<largest>(lanes[l], other);
    }
  }
  return gdopt_join<largest>(
      gdopt_join<largest>(lanes[0], lanes[2]), gdopt_join<largest>(lanes[1], lanes[3]));
}
template <bool largest, int count>
__device__ inline double gdopt_fold_neighbours(double (&x)[count]) {
  #pragma unroll
  for (int w = 1; w < count; w *= 2)
    #pragma unroll
    for (int k = 0; k < count; k += 2 * w) x[k] = gdopt_join<largest>(x[k], x[k + w]);
  return x[0];
}
template <bool largest>
__device__ inline double gdopt_eight(const double* from, int step) {
  double x[8];
  #pragma unroll
  for (int k = 0; k < 8; ++k) x[k] = from[k * step];
  return gdopt_fold_neighbours<largest>(x);
}
// What other blocks have written is not in this one's cache: it is read as volatile.
template <bool largest>
#ifdef __CUDA_ARCH__
__noinline__  // so rare that its registers are kept out of the way
#endif
__device__ double gdopt_neighbours(
    volatile double* from, ptrdiff_t count, ptrdiff_t step, int thread, int threads) {
  #pragma unroll 1
  for (ptrdiff_t w = 1; w < count; w *= 16) {
    #pragma unroll 1
    for (ptrdiff_t at = thread * 16 * w; at < count; at += threads * 16 * w) {
      double x[16];
      #pragma unroll
      for (int k = 0; k < 16; ++k)
        x[k] = at + k * w < count ? from[(at + k * w) * step] : gdopt_start<largest>();
      from[at * step] = gdopt_fold_neighbours<largest>(x);
    }
    if (threads > 1) __syncthreads();
  }
  return from[0];
}
"""

# Squares are added to one sum, or of float64 values to three, and joined to a norm: see
# `gdopt.kernels.norm`.
NORM = """
__device__ inline void gdopt_add_square(double x, double& taken) { taken += x * x; }
__device__ inline void gdopt_add_square(
    double x, double& taken, double& big, double& small) {
  const bool is_big = fabs(x) > 0x1p486, is_small = fabs(x) < 0x1p-511;
  taken += is_big || is_small ? 0.0 : x * x;
  x *= is_big ? 0x1p-538 : 0x1p537;
  big += is_big ? x * x : 0.0;
  small += is_small ? x * x : 0.0;
}
__device__ inline double gdopt_root(
    double taken, double big, double small, double* all = nullptr) {
  double total = taken + small * 0x1p-537 * 0x1p-537, scale = 1.0;
  if (big != 0.0) {
    total = big + taken * 0x1p-538 * 0x1p-538;
    scale = 0x1p538;
  } else if (taken == 0.0) {
    total = small;
    scale = 0x1p-537;
  }
  if (all) *all = total;
  return sqrt(total) * scale;
}
"""

ELEMENT_TYPES = {
    "float32": "float",
    "float64": "double",
    "float16": "unsigned short",
    "bfloat16": "unsigned short",
}
RAW_TYPES = {"float16": "uint16", "bfloat16": "uint16"}  # to CuPy
BYTES = {"float64": 8, "float32": 4, "float16": 2, "bfloat16": 2}
PARTS = {"float16": FLOAT16, "bfloat16": BFLOAT16}


@dataclass(frozen=True)
class KernelText:
    """What a `cupy.ElementwiseKernel` is made of."""

    inputs: str
    outputs: str
    body: str
    name: str
    options: tuple[str, ...] = OPTIONS
    preamble: str = SIGNS
    block: int = 128  # threads of a block

    @functools.cached_property
    def arguments(self) -> list[str]:
        """Name the kernel's arguments, in order."""
        both = ", ".join(part for part in (self.inputs, self.outputs) if part)
        return [part.split()[-1] for part in both.split(", ")]

    def build(self, cupy: Any) -> Any:
        """Make the kernel; CuPy compiles it when it is first launched."""
        return cupy.ElementwiseKernel(
            self.inputs,
            self.outputs,
            self.body,
            self.name,
            preamble=self.preamble,
            options=self.options,
            no_return=True,
        )


def print_statements(
    instructions: Sequence[Symbol], names: dict[Symbol, str], kind: str
) -> list[str]:
    """Print one statement for each operation, and name its value."""
    lines = []
    for k, node in enumerate(instructions):
        text = expression(node, names, "cuda")
        names[node] = f"x{k}"
        lines.append(f"const {'bool' if node.boolean else kind} x{k} = {text};")
    return lines
