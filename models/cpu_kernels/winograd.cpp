// 3x3 convolution, stride 1, padding 1, by Winograd's F(2x2, 3x3); winograd.py has the equations and the contract.
//
// Images lie as (n, h, w, channel), h and w even, channels in whole multiples of 16. The image is cut into tiles of 2x2
// outputs. A block of tiles is transformed into 16 small matrices (tile, channel) that stay in the cache, each is
// multiplied with its matrix of filters, and the products are transformed back: 16 multiplications where the definition
// has 36.
#include <algorithm>

#include "tiles.h"

namespace {

// out[16][T][c] = B'dB for the 4x4 patch d that each of `count` tiles reads; outside the image it reads `zeros`, of c.
template <int T, class Number>
void transform_input(const Number* x, const Number* zeros, const Grid& grid, Int c, Int first, Int count, float* out) {
  const Int step = apart(T, c);
  Tile tile(grid, first);
  for (Int t = 0; t < count; t++, tile.next(grid)) {
    const Number* patch = x + (tile.pixel - grid.w - 1) * c;
    const bool outside_y[4] = {tile.y == 0, false, false, tile.y + 2 == grid.h};
    const bool outside_x[4] = {tile.x == 0, false, false, tile.x + 2 == grid.w};
    const Number* at[4][4];
#pragma GCC unroll 4
    for (int a = 0; a < 4; a++)
#pragma GCC unroll 4
      for (int b = 0; b < 4; b++) at[a][b] = outside_y[a] || outside_x[b] ? zeros : patch + (a * grid.w + b) * c;
    for (Int j = 0; j < c; j += LANES) {
      Vector e[4][4];
#pragma GCC unroll 4
      for (int b = 0; b < 4; b++) {
        const Vector d0 = load(at[0][b] + j), d1 = load(at[1][b] + j), d2 = load(at[2][b] + j), d3 = load(at[3][b] + j);
        e[0][b] = d0 - d2;
        e[1][b] = d1 + d2;
        e[2][b] = d2 - d1;
        e[3][b] = d1 - d3;
      }
      float* to = out + t * c + j;
#pragma GCC unroll 4
      for (int a = 0; a < 4; a++, to += 4 * step) {
        store(to, e[a][0] - e[a][2]);
        store(to + step, e[a][1] + e[a][2]);
        store(to + 2 * step, e[a][2] - e[a][1]);
        store(to + 3 * step, e[a][1] - e[a][3]);
      }
    }
  }
}

// out[16][c][LANES] = GgG' for LANES filters g of c channels; stride: of filter, channel, row and column.
void transform_filters(const float* g, const Int* stride, Int c, float* out) {
  for (Int j = 0; j < c; j++)
    for (int lane = 0; lane < LANES; lane++) {
      const float* at = g + lane * stride[0] + j * stride[1];
      float m[4][3];
      for (int q = 0; q < 3; q++) {
        const float p0 = at[q * stride[3]], p1 = at[stride[2] + q * stride[3]], p2 = at[2 * stride[2] + q * stride[3]];
        m[0][q] = p0;
        m[1][q] = (p0 + p2 + p1) / 2;
        m[2][q] = (p0 + p2 - p1) / 2;
        m[3][q] = p2;
      }
      for (int a = 0; a < 4; a++) {
        float* to = out + (4 * a * c + j) * LANES + lane;
        to[0] = m[a][0];
        to[c * LANES] = (m[a][0] + m[a][2] + m[a][1]) / 2;
        to[2 * c * LANES] = (m[a][0] + m[a][2] - m[a][1]) / 2;
        to[3 * c * LANES] = m[a][2];
      }
    }
}

// y = A'mA, finished, for each of `count` tiles, m the 16 products of its patch v with the filters u.
template <class Number>
void multiply(const float* v, const float* u, const Finish<Number>& finish, const Grid& grid, Int c, Int k, Int first,
              Int count, Number* y, Ahead& ahead) {
  alignas(64) float m[16][TILES][LANES];
  for (Int f = 0; f < k; f += LANES, u += 16 * c * LANES) {
    for (int p = 0; p < 16; p++) {
      product(v + p * apart(TILES, c), u + p * c * LANES, c, m[p]);
      ahead.fetch();
    }
    const Vector shift = finish.bias ? load(finish.bias + f) : Vector{};
    const auto put = [&](Int at, Vector value) {
      value += shift;
      if (finish.residual) value += load(finish.residual + at);
      store(y + at, finish.relu ? rectified(value) : value);
    };
    Tile tile(grid, first);
    for (Int t = 0; t < count; t++, tile.next(grid)) {
      Int at = tile.pixel * k + f;
      Vector e[2][4];
#pragma GCC unroll 4
      for (int q = 0; q < 4; q++) {
        const Vector m1 = load(m[4 + q][t]), m2 = load(m[8 + q][t]);
        e[0][q] = load(m[q][t]) + m1 + m2;
        e[1][q] = m1 - m2 - load(m[12 + q][t]);
      }
#pragma GCC unroll 2
      for (int a = 0; a < 2; a++, at += grid.w * k) {
        put(at, e[a][0] + e[a][1] + e[a][2]);
        put(at + k, e[a][1] - e[a][2] - e[a][3]);
      }
    }
  }
}

// out[16][T][k] = A dy A' for the 2x2 outputs dy of each of `count` tiles.
template <int T, class Number>
void transform_gradient(const Number* dy, const Grid& grid, Int k, Int first, Int count, float* out) {
  const Int step = apart(T, k);
  Tile tile(grid, first);
  for (Int t = 0; t < count; t++, tile.next(grid)) {
    const Number* from = dy + tile.pixel * k;
    for (Int f = 0; f < k; f += LANES) {
      Vector e[4][2];
#pragma GCC unroll 2
      for (int b = 0; b < 2; b++) {
        const Vector upper = load(from + b * k + f), lower = load(from + (grid.w + b) * k + f);
        e[0][b] = upper;
        e[1][b] = upper + lower;
        e[2][b] = upper - lower;
        e[3][b] = -lower;
      }
      float* to = out + t * k + f;
#pragma GCC unroll 4
      for (int a = 0; a < 4; a++, to += 4 * step) {
        store(to, e[a][0]);
        store(to + step, e[a][0] + e[a][1]);
        store(to + 2 * step, e[a][0] - e[a][1]);
        store(to + 3 * step, -e[a][1]);
      }
    }
  }
}

// taps[9] = G'mG, the gradient of a 3x3 filter.
void transform_sums(const Vector* m, Vector* taps) {
  Vector e[3][4];
  for (int q = 0; q < 4; q++) {
    const Vector sum = (m[4 + q] + m[8 + q]) * 0.5f;
    e[0][q] = m[q] + sum;
    e[1][q] = (m[4 + q] - m[8 + q]) * 0.5f;
    e[2][q] = m[12 + q] + sum;
  }
  for (int a = 0; a < 3; a++, taps += 3) {
    const Vector sum = (e[a][1] + e[a][2]) * 0.5f;
    taps[0] = e[a][0] + sum;
    taps[1] = (e[a][1] - e[a][2]) * 0.5f;
    taps[2] = e[a][3] + sum;
  }
}

template <class Real>
struct TwoByTwo {
  typedef Real Number;
  static constexpr Int SIDE = 2, POINTS = 16;
  static constexpr int TILES_BACK = 32;
  static constexpr auto& transform_filters = ::transform_filters;
  static constexpr auto& transform_input = ::transform_input<TILES, Real>;
  static constexpr auto& multiply = ::multiply<Real>;
  static constexpr auto& transform_patches = ::transform_input<TILES_BACK, Real>;
  static constexpr auto& transform_gradient = ::transform_gradient<TILES_BACK, Real>;
  static constexpr auto& transform_sums = ::transform_sums;
};

}  // namespace

EXPORT(TwoByTwo, float, 2_float32)
EXPORT(TwoByTwo, BFloat16, 2_bfloat16)
