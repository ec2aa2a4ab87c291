// Tiles of an image in channels_last, and what becomes of the outputs of a convolution.
#pragma once
#include <algorithm>

#include "vector.h"

constexpr int TILES = 8;  // of a block: as many sums as fit the registers

// n images of h x w outputs, cut into tiles of `side` x `side`.
struct Grid {
  Int n, h, w, side;
  Int tiles() const { return n * (h / side) * (w / side); }
};

// Walks over tiles: the upper left output lies at (y, x) of its image and is pixel `pixel` of all images.
struct Tile {
  Int y, x, pixel;

  Tile(const Grid& grid, Int index) {
    const Int row = grid.w / grid.side, image = row * (grid.h / grid.side);
    y = index % image / row * grid.side;
    x = index % row * grid.side;
    pixel = (index / image * grid.h + y) * grid.w + x;
  }

  void next(const Grid& grid) {
    x += grid.side;
    pixel += grid.side;
    if (x < grid.w) return;
    x = 0;
    pixel += (grid.side - 1) * grid.w;
    y = y + grid.side < grid.h ? y + grid.side : 0;
  }
};

// What happens to an output: a bias, the same pixel of a residual, a ReLU. Null pointers stand for none.
struct Finish {
  const float *bias, *residual;
  bool relu;
};

// m[TILES][LANES] = v u for the patches v[TILES][c] of a block at one point and the filters u[c][LANES] there.
inline void product(const float* v, const float* u, Int c, float (*m)[LANES]) {
  Vector sum[TILES] = {};
  for (Int j = 0; j < c; j++) {
    const Vector filters = load(u + j * LANES);
#pragma GCC unroll 8
    for (int t = 0; t < TILES; t++) sum[t] += filters * v[t * c + j];
  }
#pragma GCC unroll 8
  for (int t = 0; t < TILES; t++) store(m[t], sum[t]);
}

// A whole convolution by a Method: its SIDE of a tile of outputs, the POINTS that a patch has after its transformation,
// and how filters, patches and products are transformed. Each thread owns whole blocks of tiles, so a result depends on
// nothing but the inputs.
template <class Method>
void convolve(const float* x, const float* g, const Int* stride, const Finish& finish, float* y, Int n, Int h, Int w,
              Int c, Int k, int threads) {
  const Grid grid{n, h, w, Method::SIDE};
  constexpr Int POINTS = Method::POINTS;
  Buffer<float> filters(POINTS * c * k);
#pragma omp parallel num_threads(threads)
  {
#pragma omp for schedule(static)
    for (Int f = 0; f < k; f += LANES)
      Method::transform_filters(g + f * stride[0], stride, c, filters.data + POINTS * c * f);
    Buffer<float> patches(POINTS * TILES * c), zeros(c);
    patches.clear();  // a last block that is not full multiplies the rest too
    zeros.clear();
#pragma omp for schedule(static)
    for (Int first = 0; first < grid.tiles(); first += TILES) {
      const Int count = std::min<Int>(TILES, grid.tiles() - first);
      Method::transform_input(x, zeros.data, grid, c, first, count, patches.data);
      Method::multiply(patches.data, filters.data, finish, grid, c, k, first, count, y);
    }
  }
}
