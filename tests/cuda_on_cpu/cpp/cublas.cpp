// Matrix products in cuBLAS's place, by the OpenBLAS that NumPy brings or by loops.
#include <dlfcn.h>

#include <algorithm>
#include <type_traits>

#include <library_types.h>

#include "device.hpp"

API int sim_enter(const char* name);

namespace {

constexpr int success = 0, invalid_value = 7, execution_failed = 13, not_supported = 15;
constexpr size_t workspace_alignment = 256;

struct Handle {
  int device = sim::current_device;
  void* stream = nullptr;
  void* workspace = nullptr;  // of the user: captured products need one
  int pointer_mode = 0, math_mode = 0;  // 1: results and factors are on the device
};

#define ENTER(name) \
  if (const int status_ = sim_enter(#name)) return status_

template <class T>
struct Matrix {
  T* data;
  int leading;
  bool transposed;
  size_t stride;  // between the matrices of a batch
  T& at(int row, int column, int batch) const {
    const size_t place = transposed ? column + size_t(row) * leading : row + size_t(column) * leading;
    return data[place + size_t(batch) * stride];
  }
};

template <class T>
struct Product {
  int m, n, k;
  T alpha, beta;
  Matrix<const T> a, b;
  Matrix<T> c;
  int batches;
};

using Gemm32 = void (*)(int, int, int, long, long, long, float, const float*, long, const float*,
                        long, float, float*, long);
using Gemm64 = void (*)(int, int, int, long, long, long, double, const double*, long,
                        const double*, long, double, double*, long);
Gemm32 blas32 = nullptr;
Gemm64 blas64 = nullptr;

template <class T>
void multiply_by_loops(const Product<T>& p, int batch) {
  for (int column = 0; column < p.n; ++column)
    for (int row = 0; row < p.m; ++row) {
      double sum = 0;
      for (int k = 0; k < p.k; ++k)
        sum += double(p.a.at(row, k, batch)) * double(p.b.at(k, column, batch));
      T& result = p.c.at(row, column, batch);
      result = static_cast<T>(p.alpha * sum + (p.beta == 0 ? 0 : p.beta * result));
    }
}

template <class T>
void multiply(const Product<T>& p) {
  constexpr int columnwise = 102, plain = 111, transposed = 112;
  for (int batch = 0; batch < p.batches; ++batch) {
    const auto blas = [] {
      if constexpr (std::is_same_v<T, float>) return blas32;
      else return blas64;
    }();
    if (!blas || !p.m || !p.n || !p.k) {
      multiply_by_loops(p, batch);
      continue;
    }
    blas(columnwise, p.a.transposed ? transposed : plain, p.b.transposed ? transposed : plain,
         p.m, p.n, p.k, p.alpha, p.a.data + batch * p.a.stride, p.a.leading,
         p.b.data + batch * p.b.stride, p.b.leading, p.beta, p.c.data + batch * p.c.stride,
         p.c.leading);
  }
}

int submit(const Handle* handle, const char* name, sim::Work work) {
  std::lock_guard<std::recursive_mutex> hold(sim::state.lock);
  ++sim::state.counts["products"];
  sim::Stream* stream = handle->stream ? sim::find_stream(handle->stream)
                                       : &sim::state.null_streams[handle->device];
  if (!stream || stream->device != handle->device) return execution_failed;
  if (stream->graph && !handle->workspace) return execution_failed;
  return sim::enqueue(stream, name, sim::guarded(name, std::move(work))) ? execution_failed
                                                                         : success;
}

template <class T>
int gemm(const Handle* handle, const char* name, int ta, int tb, int m, int n, int k,
         const T* alpha, const T* a, int lda, size_t stride_a, const T* b, int ldb,
         size_t stride_b, const T* beta, T* c, int ldc, size_t stride_c, int batches) {
  const bool sizes = m >= 0 && n >= 0 && k >= 0 && batches >= 0;
  const int smallest = 1;
  if (!sizes || lda < std::max(smallest, ta ? k : m) || ldb < std::max(smallest, tb ? n : k) ||
      ldc < std::max(smallest, m))
    return invalid_value;
  if (handle->pointer_mode) return not_supported;
  const Product<T> product{m,
                           n,
                           k,
                           *alpha,
                           *beta,
                           {a, lda, ta != 0, stride_a},
                           {b, ldb, tb != 0, stride_b},
                           {c, ldc, false, stride_c},
                           batches};
  return submit(handle, name, [product] { multiply(product); });
}

template <class T>
int dot(const Handle* handle, const char* name, int n, const T* x, int step_x, const T* y,
        int step_y, T* result) {
  if (!handle->pointer_mode) return not_supported;  // would wait
  return submit(handle, name, [=] {
    double sum = 0;
    for (int k = 0; k < n; ++k) sum += double(x[size_t(k) * step_x]) * double(y[size_t(k) * step_y]);
    *result = static_cast<T>(sum);
  });
}

}  // namespace

API int sim_use_blas(const char* path) {
  void* library = dlopen(path, RTLD_NOW);
  if (!library) return 0;
  blas32 = reinterpret_cast<Gemm32>(dlsym(library, "scipy_cblas_sgemm64_"));
  blas64 = reinterpret_cast<Gemm64>(dlsym(library, "scipy_cblas_dgemm64_"));
  return blas32 && blas64;
}

API int cublasCreate_v2(Handle** made) {
  ENTER(cublasCreate_v2);
  *made = new Handle;
  return success;
}

API int cublasDestroy_v2(Handle* handle) {
  ENTER(cublasDestroy_v2);
  delete handle;
  return success;
}

API int cublasSetStream_v2(Handle* handle, void* stream) {
  ENTER(cublasSetStream_v2);
  handle->stream = stream;
  handle->workspace = nullptr;  // as the real one: it goes back to its own
  return success;
}

API int cublasGetStream_v2(Handle* handle, void** stream) {
  *stream = handle->stream;
  return success;
}

API int cublasSetWorkspace_v2(Handle* handle, void* place, size_t) {
  ENTER(cublasSetWorkspace_v2);
  if (reinterpret_cast<uintptr_t>(place) % workspace_alignment) return invalid_value;
  handle->workspace = place;
  return success;
}

API int cublasGetVersion_v2(Handle*, int* version) {
  *version = CUDA_VERSION * 10;
  return success;
}

#define ACCESSORS(Mode, field)                           \
  API int cublasSet##Mode(Handle* handle, int value) {   \
    handle->field = value;                               \
    return success;                                      \
  }                                                      \
  API int cublasGet##Mode(Handle* handle, int* value) {  \
    *value = handle->field;                              \
    return success;                                      \
  }
ACCESSORS(PointerMode_v2, pointer_mode)
ACCESSORS(MathMode, math_mode)

#define PRODUCTS(letter, T)                                                                       \
  API int cublas##letter##gemm_v2(Handle* handle, int ta, int tb, int m, int n, int k,            \
                                  const T* alpha, const T* a, int lda, const T* b, int ldb,       \
                                  const T* beta, T* c, int ldc) {                                 \
    ENTER(cublas##letter##gemm_v2);                                                               \
    return gemm<T>(handle, "gemm", ta, tb, m, n, k, alpha, a, lda, 0, b, ldb, 0, beta, c, ldc, 0, 1); \
  }                                                                                               \
  API int cublas##letter##gemmStridedBatched(                                                     \
      Handle* handle, int ta, int tb, int m, int n, int k, const T* alpha, const T* a, int lda,   \
      long long stride_a, const T* b, int ldb, long long stride_b, const T* beta, T* c, int ldc,  \
      long long stride_c, int batches) {                                                          \
    ENTER(cublas##letter##gemmStridedBatched);                                                    \
    return gemm<T>(handle, "gemm", ta, tb, m, n, k, alpha, a, lda, stride_a, b, ldb, stride_b,    \
                   beta, c, ldc, stride_c, batches);                                              \
  }                                                                                               \
  API int cublas##letter##gemv_v2(Handle* handle, int t, int m, int n, const T* alpha,            \
                                  const T* a, int lda, const T* x, int step_x, const T* beta,     \
                                  T* y, int step_y) {                                             \
    ENTER(cublas##letter##gemv_v2);  /* a vector is the one row of a matrix: steps lead */        \
    return gemm<T>(handle, "gemv", 0, !t, 1, t ? n : m, t ? m : n, alpha, x, step_x, 0, a, lda, 0, \
                   beta, y, step_y, 0, 1);                                                        \
  }                                                                                               \
  API int cublas##letter##dot_v2(Handle* handle, int n, const T* x, int step_x, const T* y,       \
                                 int step_y, T* result) {                                         \
    ENTER(cublas##letter##dot_v2);                                                                \
    return dot<T>(handle, "dot", n, x, step_x, y, step_y, result);                                \
  }
PRODUCTS(S, float)
PRODUCTS(D, double)

API int cublasGemmEx(Handle* handle, int ta, int tb, int m, int n, int k, const void* alpha,
                     const void* a, int type_a, int lda, const void* b, int type_b, int ldb,
                     const void* beta, void* c, int type_c, int ldc, int, int) {
  ENTER(cublasGemmEx);
  const auto run = [&](auto zero) {
    using T = decltype(zero);
    return gemm<T>(handle, "gemm", ta, tb, m, n, k, static_cast<const T*>(alpha),
                   static_cast<const T*>(a), lda, 0, static_cast<const T*>(b), ldb, 0,
                   static_cast<const T*>(beta), static_cast<T*>(c), ldc, 0, 1);
  };
  if (type_a == CUDA_R_32F && type_b == type_a && type_c == type_a) return run(0.0F);
  if (type_a == CUDA_R_64F && type_b == type_a && type_c == type_a) return run(0.0);
  return not_supported;
}
