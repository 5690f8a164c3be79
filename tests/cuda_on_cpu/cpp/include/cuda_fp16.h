// In the place of CUDA's: half precision, by the compiler's own type.
#pragma once

struct __half_raw {
  unsigned short x;
};

struct __half {
  unsigned short bits;
  __half() = default;
  __half(const __half_raw& raw) : bits(raw.x) {}
  __half(double value) { set(static_cast<_Float16>(value)); }
  __half(float value) { set(static_cast<_Float16>(value)); }
  template <class Integer>
  __half(Integer value) : __half(static_cast<double>(value)) {}
  operator float() const {
    _Float16 value;
    __builtin_memcpy(&value, &bits, sizeof bits);
    return static_cast<float>(value);
  }
  operator __half_raw() const { return {bits}; }

 private:
  void set(_Float16 value) { __builtin_memcpy(&bits, &value, sizeof bits); }
};
using half = __half;

inline __half __ushort_as_half(unsigned short bits) { return __half(__half_raw{bits}); }
inline unsigned short __half_as_ushort(__half value) { return value.bits; }
inline float __half2float(__half value) { return value; }
inline __half __float2half(float value) { return value; }
inline __half __float2half_rn(float value) { return value; }
