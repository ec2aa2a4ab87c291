// Tiles of an image in channels_last, and what becomes of the outputs of a convolution.
#pragma once
#include <algorithm>

#include "vector.h"

constexpr int TILES = 8;        // of a block: as many sums as fit the registers
constexpr int TILES_BACK = 32;  // of a block of the weights' gradient, which sums over tiles
constexpr int ROWS = 8;         // input channels at once there

// Floats from a point of a transformed block to the next: a line more than the tiles take. Points that lie a power of
// two apart would share a few lines of the first cache.
constexpr Int apart(Int tiles, Int channels) { return tiles * channels + 16; }

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
    Buffer<float> patches(POINTS * apart(TILES, c)), zeros(c);
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

// sum[points][c][k] += v' z over `count` tiles, for the patches v[points][TILES_BACK][c] and the gradients
// z[points][TILES_BACK][k].
inline void accumulate(Int points, const float* v, const float* z, Int c, Int k, Int count, float* sum) {
  for (Int p = 0; p < points; p++, v += apart(TILES_BACK, c), z += apart(TILES_BACK, k))
    for (Int f = 0; f < k; f += LANES)
      for (Int j = 0; j < c; j += ROWS) {
        float* to = sum + (p * c + j) * k + f;
        Vector part[ROWS];
#pragma GCC unroll 8
        for (int i = 0; i < ROWS; i++) part[i] = load(to + i * k);
        for (Int t = 0; t < count; t++) {
          const Vector gradient = load(z + t * k + f);
#pragma GCC unroll 8
          for (int i = 0; i < ROWS; i++) part[i] += gradient * v[t * c + j + i];
        }
#pragma GCC unroll 8
        for (int i = 0; i < ROWS; i++) store(to + i * k, part[i]);
      }
}

// The filters' gradient dg by a Method, which transforms patches, gradients and sums; stride: of filter, channel, row
// and column of dg. Each thread sums over whole blocks of tiles.
template <class Method>
void weight_gradient(const float* x, const float* dy, float* dg, const Int* stride, Int n, Int h, Int w, Int c, Int k,
                     int threads) {
  const Grid grid{n, h, w, Method::SIDE};
  constexpr Int POINTS = Method::POINTS;
  const Int size = POINTS * c * k, blocks = (grid.tiles() + TILES_BACK - 1) / TILES_BACK;
  Buffer<float> sums(size * threads);
#pragma omp parallel num_threads(threads)
  {
    Buffer<float> patches(POINTS * apart(TILES_BACK, c)), gradients(POINTS * apart(TILES_BACK, k)), zeros(c);
    zeros.clear();
#pragma omp for schedule(static)
    for (int part = 0; part < threads; part++) {
      float* mine = sums.data + part * size;
      std::fill(mine, mine + size, 0.f);
      for (Int b = blocks * part / threads; b < blocks * (part + 1) / threads; b++) {
        const Int first = b * TILES_BACK, count = std::min<Int>(TILES_BACK, grid.tiles() - first);
        Method::transform_patches(x, zeros.data, grid, c, first, count, patches.data);
        Method::transform_gradient(dy, grid, k, first, count, gradients.data);
        accumulate(POINTS, patches.data, gradients.data, c, k, count, mine);
      }
    }
#pragma omp for schedule(static)
    for (Int j = 0; j < c; j++)
      for (Int f = 0; f < k; f += LANES) {
        Vector m[POINTS] = {}, taps[9];
        for (int p = 0; p < POINTS; p++)
          for (int part = 0; part < threads; part++) m[p] += load(sums.data + part * size + (p * c + j) * k + f);
        Method::transform_sums(m, taps);
        for (int lane = 0; lane < LANES; lane++)
          for (int tap = 0; tap < 9; tap++)
            dg[(f + lane) * stride[0] + j * stride[1] + tap / 3 * stride[2] + tap % 3 * stride[3]] = taps[tap][lane];
      }
  }
}
