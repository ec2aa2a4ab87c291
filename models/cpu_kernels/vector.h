// What the kernels share: one vector register of floats, what lies in memory as float or bfloat16, and aligned memory.
#pragma once
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#ifdef __AVX512BF16__
#include <immintrin.h>
#endif

#ifdef __AVX512F__
constexpr int LANES = 16;
#else
constexpr int LANES = 8;
#endif

typedef float Vector __attribute__((vector_size(4 * LANES), aligned(4)));
typedef int64_t Int;

inline Vector load(const float* p) { return *reinterpret_cast<const Vector*>(p); }
inline void store(float* p, Vector v) { *reinterpret_cast<Vector*>(p) = v; }

typedef uint16_t BFloat16;  // the upper half of a float
typedef uint16_t Halves __attribute__((vector_size(2 * LANES), aligned(2)));
typedef uint32_t Bits __attribute__((vector_size(4 * LANES)));

inline Vector load(const BFloat16* p) {
  return reinterpret_cast<Vector>(__builtin_convertvector(*reinterpret_cast<const Halves*>(p), Bits) << 16);
}

// Rounded to the nearest, a tie to the even one; NaN stays NaN. The processor's own instruction takes numbers below
// 1.2e-38 for 0.
inline void store(BFloat16* p, Vector v) {
#ifdef __AVX512BF16__
  *reinterpret_cast<Halves*>(p) = reinterpret_cast<Halves>(_mm512_cvtneps_pbh(reinterpret_cast<__m512>(v)));
#else
  const Bits bits = reinterpret_cast<Bits>(v), rounded = bits + 0x7fff + (bits >> 16 & 1);
  *reinterpret_cast<Halves*>(p) = __builtin_convertvector((v == v ? rounded : bits | 0x400000) >> 16, Halves);
#endif
}

inline Vector rectified(Vector v) { return v < 0 ? Vector{} : v; }  // NaN stays NaN

template <class Number>
struct Buffer {
  Int size;
  Number* data;
  explicit Buffer(Int size) : size(size), data(static_cast<Number*>(std::aligned_alloc(64, bytes(size)))) {
    if (!data) std::abort();
  }
  Buffer(const Buffer&) = delete;
  ~Buffer() { std::free(data); }
  void clear() { std::fill(data, data + size, Number(0)); }
  static Int bytes(Int size) { return (size * Int(sizeof(Number)) + 63) / 64 * 64; }
};
