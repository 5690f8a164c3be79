// In the place of CUDA's: bfloat16, the upper half of a float, rounded to nearest even.
#pragma once

struct __nv_bfloat16 {
  unsigned short bits;
  __nv_bfloat16() = default;
  __nv_bfloat16(float value) {
    unsigned all;
    __builtin_memcpy(&all, &value, sizeof all);
    const bool nan = (all & 0x7fffffffu) > 0x7f800000u;
    bits = nan ? 0x7fffu : (all + 0x7fffu + (all >> 16 & 1u)) >> 16;
  }
  operator float() const {
    const unsigned all = static_cast<unsigned>(bits) << 16;
    float value;
    __builtin_memcpy(&value, &all, sizeof value);
    return value;
  }
};

inline __nv_bfloat16 __ushort_as_bfloat16(unsigned short bits) {
  __nv_bfloat16 value;
  value.bits = bits;
  return value;
}
inline unsigned short __bfloat16_as_ushort(__nv_bfloat16 value) { return value.bits; }
inline bool __hisnan(__nv_bfloat16 value) { return (value.bits & 0x7fffu) > 0x7f80u; }
inline bool __hisinf(__nv_bfloat16 value) { return (value.bits & 0x7fffu) == 0x7f80u; }
