// Lets g++ compile the very text that cupy.ElementwiseKernel generates, and run it on
// the CPU, for tests on machines without a GPU. One-dimensional contiguous arrays only.
// The compiler's own functions: reading <cmath> would take as long as all the rest.
#include <cstddef>
#include <cstdint>
using std::ptrdiff_t;
using std::size_t;
#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __noinline__ __attribute__((noinline))
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
  __builtin_memcpy(&bits, &x, sizeof bits);
  return bits;
}
inline float __uint_as_float(uint32_t bits) {
  float x;
  __builtin_memcpy(&x, &bits, sizeof x);
  return x;
}
// CUDA overloads by type; plain ::sqrt(float) would quietly compute in double.
#define OVERLOADS(name)                                         \
  inline float name(float x) { return __builtin_##name##f(x); } \
  extern "C" double name(double);
OVERLOADS(exp)
OVERLOADS(fabs)
OVERLOADS(log)
OVERLOADS(log1p)
OVERLOADS(tanh)
OVERLOADS(sqrt)
inline float pow(float x, float y) { return __builtin_powf(x, y); }
extern "C" double pow(double, double);
// Half precision, as cuda_fp16.h has it.
struct __half {
  _Float16 x;
};
inline __half __ushort_as_half(unsigned short bits) {
  __half h;
  __builtin_memcpy(&h, &bits, sizeof h);
  return h;
}
inline unsigned short __half_as_ushort(__half h) {
  unsigned short bits;
  __builtin_memcpy(&bits, &h, sizeof bits);
  return bits;
}
inline float __half2float(__half h) { return (float)h.x; }
inline __half __float2half_rn(float x) { return {(_Float16)x}; }
