// Lets g++ compile the very text that cupy.ElementwiseKernel generates, and run it on
// the CPU, for tests on machines without a GPU. One-dimensional contiguous arrays only.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
using float16 = _Float16;
template <class T, int nd, bool contiguous = false, bool small_index = false>
struct CArray {
  T* data_;
  ptrdiff_t size_;
  T& operator[](ptrdiff_t i) { return data_[i]; }
  const T& operator[](ptrdiff_t i) const { return data_[i]; }
  ptrdiff_t size() const { return size_; }
};
template <int nd, bool contiguous = false, bool small_index = false>
struct CIndexer {
  ptrdiff_t size_, i_;
  ptrdiff_t size() const { return size_; }
  void set(ptrdiff_t i) { i_ = i; }
  ptrdiff_t get() const { return i_; }
};
#define CUPY_FOR(i, n) for (ptrdiff_t i = 0; i < (n); ++i)
inline uint32_t __float_as_uint(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  return bits;
}
inline float __uint_as_float(uint32_t bits) {
  float x;
  std::memcpy(&x, &bits, sizeof x);
  return x;
}
// CUDA overloads by type; plain ::sqrt(float) would quietly compute in double.
using std::exp;
using std::fabs;
using std::log;
using std::pow;
using std::sqrt;
