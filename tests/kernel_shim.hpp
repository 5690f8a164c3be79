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
OVERLOADS(log1p)
OVERLOADS(tanh)
OVERLOADS(fabs)
OVERLOADS(log)
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
// Threads of a block that wait for each other, each on a stack of its own.
#include <setjmp.h>
#include <ucontext.h>
#define __shared__ static
static struct { unsigned x; } threadIdx;
extern "C" int block_size;
int block_size = 128;
static jmp_buf host, waiting[512];
inline void __syncthreads() {
  if (!_setjmp(waiting[threadIdx.x])) _longjmp(host, 1);
}
template <class Body>
void run_blocks(ptrdiff_t n, Body body) {
  enum { NEW, WAITS, DONE };
  static char stacks[512][1 << 14], states[512];
  static Body* current;
  static ptrdiff_t first;
  static int left;
  current = &body;
  for (first = 0; first < n; first += block_size) {
    __builtin_memset(states, NEW, sizeof states);
    for (left = block_size; left;) {
      for (threadIdx.x = 0; threadIdx.x < block_size; ++threadIdx.x) {
        char& state = states[threadIdx.x];
        if (state == DONE || _setjmp(host)) continue;
        if (state == WAITS) _longjmp(waiting[threadIdx.x], 1);
        state = WAITS;
        ucontext_t thread;
        getcontext(&thread);
        thread.uc_stack.ss_sp = stacks[threadIdx.x];
        thread.uc_stack.ss_size = sizeof stacks[0];
        makecontext(&thread, (void (*)())+[] {
          (*current)(first + threadIdx.x);
          states[threadIdx.x] = DONE;
          --left;
          _longjmp(host, 1);
        }, 0);
        setcontext(&thread);
      }
    }
  }
}
