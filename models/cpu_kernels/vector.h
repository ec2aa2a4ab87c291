// What the kernels share: one vector register of floats, and memory in its alignment.
#pragma once
#include <algorithm>
#include <cstdint>
#include <cstdlib>

#ifdef __AVX512F__
constexpr int LANES = 16;
#else
constexpr int LANES = 8;
#endif

typedef float Vector __attribute__((vector_size(4 * LANES), aligned(4)));
typedef int64_t Int;

inline Vector load(const float* p) { return *reinterpret_cast<const Vector*>(p); }
inline void store(float* p, Vector v) { *reinterpret_cast<Vector*>(p) = v; }
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
