// 3x3 convolution, stride 1, padding 1, by Winograd's F(4x4, 3x3); winograd.py has the equations.
//
// As winograd.cpp, with tiles of 4x4 outputs, h and w in whole multiples of 4: 36 multiplications where the definition
// has 144.
#include <algorithm>

#include "tiles.h"

namespace {

constexpr int SIDE = 6;   // of a patch
constexpr int POINTS = SIDE * SIDE;
constexpr float A = 0.70710678f, B = 1.41421356f;  // the points are 0, A, -A, B, -B and infinity
constexpr float AA = 0.5f, BB = 2.f;               // their squares, whose product is 1
constexpr float NEAR = 1 / (2 * AA * (AA - BB)), FAR = 1 / (2 * BB * (BB - AA));

// At A, -A, B and -B: the sums and differences of the even and the odd part there.
inline void both_signs(Vector near_even, Vector near_odd, Vector far_even, Vector far_odd, Vector* out) {
  out[0] = near_even + near_odd;
  out[1] = near_even - near_odd;
  out[2] = far_even + far_odd;
  out[3] = far_even - far_odd;
}

// B'd for one column or row d of 6.
inline void transform(const Vector* d, Vector* out) {
  const Vector near_even = d[4] - BB * d[2], near_odd = A * d[3] - A * BB * d[1];
  const Vector far_even = d[4] - AA * d[2], far_odd = B * d[3] - B * AA * d[1];
  out[0] = d[0] - (AA + BB) * d[2] + d[4];
  both_signs(near_even, near_odd, far_even, far_odd, out + 1);
  out[5] = d[1] - (AA + BB) * d[3] + d[5];
}

// A'm for one column or row m of 6.
inline void transform_back(const Vector* m, Vector* out) {
  const Vector near_sum = m[1] + m[2], near_apart = m[1] - m[2], far_sum = m[3] + m[4], far_apart = m[3] - m[4];
  out[0] = m[0] + near_sum + far_sum;
  out[1] = A * near_apart + B * far_apart;
  out[2] = AA * near_sum + BB * far_sum;
  out[3] = A * AA * near_apart + B * BB * far_apart + m[5];
}

// out[36][T][c] = B'dB for the 6x6 patch d that each of `count` tiles reads; outside the image it reads `zeros`.
template <int T, class Number>
void transform_input(const Number* x, const Number* zeros, const Grid& grid, Int c, Int first, Int count, float* out) {
  Tile tile(grid, first);
  for (Int t = 0; t < count; t++, tile.next(grid)) {
    const Number* patch = x + (tile.pixel - grid.w - 1) * c;
    const bool outside_y[SIDE] = {tile.y == 0, false, false, false, false, tile.y + 4 == grid.h};
    const bool outside_x[SIDE] = {tile.x == 0, false, false, false, false, tile.x + 4 == grid.w};
    const Number* at[SIDE][SIDE];
#pragma GCC unroll 6
    for (int a = 0; a < SIDE; a++)
#pragma GCC unroll 6
      for (int b = 0; b < SIDE; b++) at[a][b] = outside_y[a] || outside_x[b] ? zeros : patch + (a * grid.w + b) * c;
    for (Int j = 0; j < c; j += LANES) {
      float* to = out + t * c + j;
#pragma GCC unroll 2
      for (int half = 0; half < SIDE; half += 3) {  // all 36 at once would not fit the registers
        Vector rows[3][SIDE];
        for (int b = 0; b < SIDE; b++) {
          Vector d[SIDE], e[SIDE];
          for (int a = 0; a < SIDE; a++) d[a] = load(at[a][b] + j);
          transform(d, e);
          for (int a = 0; a < 3; a++) rows[a][b] = e[half + a];
        }
        for (int a = 0; a < 3; a++) {
          Vector e[SIDE];
          transform(rows[a], e);
          for (int b = 0; b < SIDE; b++, to += apart(T, c)) store(to, e[b]);
        }
      }
    }
  }
}

// Gg for one column or row g of 3.
inline void transform_taps(const Vector* g, Vector* out) {
  const Vector near_even = NEAR * (g[0] + AA * g[2]), near_odd = NEAR * A * g[1];
  const Vector far_even = FAR * (g[0] + BB * g[2]), far_odd = FAR * B * g[1];
  out[0] = g[0];
  both_signs(near_even, near_odd, far_even, far_odd, out + 1);
  out[5] = g[2];
}

// out[36][c][LANES] = GgG' for LANES filters g of c channels; stride: of filter, channel, row and column.
void transform_filters(const float* g, const Int* stride, Int c, float* out) {
  for (Int j = 0; j < c; j++) {
    Vector rows[SIDE][3];
    for (int q = 0; q < 3; q++) {
      Vector taps[3], e[SIDE];
      for (int p = 0; p < 3; p++)
        for (int lane = 0; lane < LANES; lane++)
          taps[p][lane] = g[lane * stride[0] + j * stride[1] + p * stride[2] + q * stride[3]];
      transform_taps(taps, e);
      for (int p = 0; p < SIDE; p++) rows[p][q] = e[p];
    }
    for (int p = 0; p < SIDE; p++) {
      Vector e[SIDE];
      transform_taps(rows[p], e);
      for (int q = 0; q < SIDE; q++) store(out + ((p * SIDE + q) * c + j) * LANES, e[q]);
    }
  }
}

// y = A'mA, finished, for each of `count` tiles, m the 36 products of its patch v with the filters u.
template <class Number>
void multiply(const float* v, const float* u, const Finish<Number>& finish, const Grid& grid, Int c, Int k, Int first,
              Int count, Number* y, Ahead& ahead) {
  alignas(64) float m[POINTS][TILES][LANES];
  for (Int f = 0; f < k; f += LANES, u += POINTS * c * LANES) {
    for (int p = 0; p < POINTS; p++) {
      product(v + p * apart(TILES, c), u + p * c * LANES, c, m[p]);
      ahead.fetch();
    }
    const Vector shift = finish.bias ? load(finish.bias + f) : Vector{};
    Tile tile(grid, first);
    for (Int t = 0; t < count; t++, tile.next(grid)) {
      Vector rows[4][SIDE];
      for (int q = 0; q < SIDE; q++) {
        Vector column[SIDE], e[4];
        for (int p = 0; p < SIDE; p++) column[p] = load(m[p * SIDE + q][t]);
        transform_back(column, e);
        for (int a = 0; a < 4; a++) rows[a][q] = e[a];
      }
      for (int a = 0; a < 4; a++) {
        Vector e[4];
        transform_back(rows[a], e);
        for (int b = 0; b < 4; b++) {
          const Int at = (tile.pixel + a * grid.w + b) * k + f;
          Vector value = e[b] + shift;
          if (finish.residual) value += load(finish.residual + at);
          store(y + at, finish.relu ? rectified(value) : value);
        }
      }
    }
  }
}

// A d for one column or row d of 4.
inline void transform_outputs(const Vector* d, Vector* out) {
  const Vector near_even = d[0] + AA * d[2], near_odd = A * d[1] + A * AA * d[3];
  const Vector far_even = d[0] + BB * d[2], far_odd = B * d[1] + B * BB * d[3];
  out[0] = d[0];
  both_signs(near_even, near_odd, far_even, far_odd, out + 1);
  out[5] = d[3];
}

// out[36][T][k] = A dy A' for the 4x4 outputs dy of each of `count` tiles.
template <int T, class Number>
void transform_gradient(const Number* dy, const Grid& grid, Int k, Int first, Int count, float* out) {
  Tile tile(grid, first);
  for (Int t = 0; t < count; t++, tile.next(grid)) {
    for (Int f = 0; f < k; f += LANES) {
      const Number* from = dy + tile.pixel * k + f;
      Vector columns[SIDE][4];
      for (int b = 0; b < 4; b++) {
        Vector d[4], e[SIDE];
        for (int a = 0; a < 4; a++) d[a] = load(from + (a * grid.w + b) * k);
        transform_outputs(d, e);
        for (int a = 0; a < SIDE; a++) columns[a][b] = e[a];
      }
      float* to = out + t * k + f;
      for (int a = 0; a < SIDE; a++) {
        Vector e[SIDE];
        transform_outputs(columns[a], e);
        for (int b = 0; b < SIDE; b++, to += apart(T, k)) store(to, e[b]);
      }
    }
  }
}

// G'm for one column or row m of 6.
inline void transform_sums_1d(const Vector* m, Vector* out) {
  const Vector near_sum = NEAR * (m[1] + m[2]), near_apart = NEAR * A * (m[1] - m[2]);
  const Vector far_sum = FAR * (m[3] + m[4]), far_apart = FAR * B * (m[3] - m[4]);
  out[0] = m[0] + near_sum + far_sum;
  out[1] = near_apart + far_apart;
  out[2] = AA * near_sum + BB * far_sum + m[5];
}

// taps[9] = G'mG, the gradient of a 3x3 filter.
void transform_sums(const Vector* m, Vector* taps) {
  Vector rows[3][SIDE];
  for (int q = 0; q < SIDE; q++) {
    Vector column[SIDE], e[3];
    for (int p = 0; p < SIDE; p++) column[p] = m[p * SIDE + q];
    transform_sums_1d(column, e);
    for (int a = 0; a < 3; a++) rows[a][q] = e[a];
  }
  for (int a = 0; a < 3; a++) transform_sums_1d(rows[a], taps + 3 * a);
}

template <class Real>
struct FourByFour {
  typedef Real Number;
  static constexpr Int SIDE = 4, POINTS = ::POINTS;
  static constexpr int TILES_BACK = 16;  // at 64 channels twice as many outgrow a second-level cache of 1 MB
  static constexpr auto& transform_filters = ::transform_filters;
  static constexpr auto& transform_input = ::transform_input<TILES, Real>;
  static constexpr auto& multiply = ::multiply<Real>;
  static constexpr auto& transform_patches = ::transform_input<TILES_BACK, Real>;
  static constexpr auto& transform_gradient = ::transform_gradient<TILES_BACK, Real>;
  static constexpr auto& transform_sums = ::transform_sums;
};

}  // namespace

EXPORT(FourByFour, float, 4_float32)
EXPORT(FourByFour, BFloat16, 4_bfloat16)
