// Lets g++ compile the CUDA sources that CuPy generates, with CuPy's own headers.
#pragma once
#include <cassert>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <initializer_list>

#include "kernel_abi.hpp"

using std::ptrdiff_t;
using std::size_t;
// CUDA overloads these by type; C's own would quietly compute in double.
using std::abs, std::fabs, std::sqrt, std::cbrt, std::hypot, std::pow, std::fmod, std::ldexp;
using std::acos, std::acosh, std::asin, std::asinh, std::atan, std::atan2, std::atanh, std::cos;
using std::cosh, std::erf, std::erfc, std::exp, std::exp2, std::expm1, std::lgamma, std::log;
using std::log10, std::log1p, std::log2, std::sin, std::sinh, std::tan, std::tanh;
using std::ceil, std::copysign, std::floor, std::fmax, std::fmin, std::nextafter, std::rint;
using std::trunc, std::isfinite, std::isinf, std::isnan, std::signbit;

#define __CUDACC_VER_MAJOR__ 13
#define __CUDACC_RTC__ 1
#define __global__
#define __device__
#define __host__
#define __constant__ static
#define __shared__ static  // blocks run one after the other
#define __forceinline__ inline
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)
#define __align__(bytes) alignas(bytes)

static sim_index threadIdx, blockIdx, blockDim, gridDim;
static const int warpSize = 32;
static void (*sim_barrier)(int of_warp);
static inline void __syncthreads() { sim_barrier(0); }
static inline void __syncwarp(unsigned = 0) { sim_barrier(1); }
static inline void __threadfence() {}

template <class To, class From>
static inline To sim_bits(From value) {
  To result;
  static_assert(sizeof result == sizeof value);
  __builtin_memcpy(&result, &value, sizeof result);
  return result;
}
static inline int __float_as_int(float x) { return sim_bits<int>(x); }
static inline float __int_as_float(int x) { return sim_bits<float>(x); }
static inline unsigned __float_as_uint(float x) { return sim_bits<unsigned>(x); }
static inline float __uint_as_float(unsigned x) { return sim_bits<float>(x); }
static inline long long __double_as_longlong(double x) { return sim_bits<long long>(x); }
static inline double __longlong_as_double(long long x) { return sim_bits<double>(x); }
static inline int __popc(unsigned x) { return __builtin_popcount(x); }
static inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }

// Threads of a warp hand values to each other: write, wait, read, wait.
template <class T>
static inline T sim_exchange(T value, int lane, int width) {
  static char slots[1024][16];
  static_assert(sizeof value <= sizeof slots[0]);
  const int self = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
  __builtin_memcpy(slots[self], &value, sizeof value);
  __syncwarp();
  const int first = self - self % width;
  if (lane >= 0 && lane < width) __builtin_memcpy(&value, slots[first + lane], sizeof value);
  __syncwarp();
  return value;
}
static inline int sim_lane(int width) {
  return (threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z)) % width;
}
#define SIM_SHUFFLE(name, lane)                                                  \
  template <class T>                                                             \
  static inline T name(unsigned, T value, int by, int width = warpSize) {        \
    return sim_exchange(value, lane, width);                                     \
  }
SIM_SHUFFLE(__shfl_sync, by % width)
SIM_SHUFFLE(__shfl_xor_sync, sim_lane(width) ^ by)
SIM_SHUFFLE(__shfl_up_sync, sim_lane(width) - by)
SIM_SHUFFLE(__shfl_down_sync, sim_lane(width) + by)

// Threads run one after the other, so that every operation is atomic.
#define SIM_ATOMIC_ADD(T)                    \
  static inline T atomicAdd(T* at, T value) { \
    const T before = *at;                    \
    *at = before + value;                    \
    return before;                           \
  }
#define SIM_ATOMIC_SWAP(T)                                  \
  static inline T atomicCAS(T* at, T expected, T value) {   \
    const T before = *at;                                   \
    if (before == expected) *at = value;                    \
    return before;                                          \
  }
SIM_ATOMIC_ADD(int)
SIM_ATOMIC_ADD(unsigned)
SIM_ATOMIC_ADD(unsigned long long)
SIM_ATOMIC_ADD(float)
SIM_ATOMIC_ADD(double)
SIM_ATOMIC_SWAP(int)
SIM_ATOMIC_SWAP(unsigned)
SIM_ATOMIC_SWAP(unsigned long long)

template <class T>
static inline T min(T a, T b) { return b < a ? b : a; }
template <class T>
static inline T max(T a, T b) { return a < b ? b : a; }
static inline long long min(long long a, int b) { return b < a ? b : a; }
static inline long long max(long long a, int b) { return a < b ? b : a; }

#include <cupy/complex.cuh>
#include <cupy/carray.cuh>
#include <cupy/atomics.cuh>
#include <cupy/math_constants.h>

// -------------------------------------------------------- describing a kernel
template <void (*body)(void**)>
static void sim_run(void** arguments, const unsigned* g, const unsigned* b, unsigned first) {
  gridDim = {g[0], g[1], g[2]};
  blockDim = {b[0], b[1], b[2]};
  const unsigned blocks = g[0] * g[1] * g[2];
  for (unsigned k = 0; k < blocks; ++k) {
    const unsigned at = first + k < blocks ? first + k : first + k - blocks;
    blockIdx = {at % g[0], at / g[0] % g[1], at / g[0] / g[1]};
    for (unsigned z = 0; z < b[2]; ++z)
      for (unsigned y = 0; y < b[1]; ++y)
        for (unsigned x = 0; x < b[0]; ++x) {
          threadIdx = {x, y, z};
          body(arguments);
        }
  }
}

template <auto kernel>
struct sim_describe;
template <class... A, void (*kernel)(A...)>
struct sim_describe<kernel> {
  template <int... k>
  struct places {};
  template <int... k>
  static inline void call(void** a, places<k...>) { kernel(*static_cast<A*>(a[k])...); }
  static void body(void** a) { call(a, places<__integer_pack(sizeof...(A))...>{}); }
  static constexpr unsigned long sizes[] = {sizeof(A)..., 0};
  static constexpr int count = sizeof...(A);
};

#define SIM_KERNEL(name, synchronizes, flushes)                                                        \
  extern "C" __attribute__((externally_visible, visibility("default")))                         \
  const sim_kernel sim_kernel_##name = {                                                        \
      sim_run<sim_describe<name>::body>, sim_describe<name>::body, sim_describe<name>::sizes,   \
      sim_describe<name>::count, synchronizes, flushes, &threadIdx,                           \
      &blockIdx, &blockDim, &gridDim, &sim_barrier};
