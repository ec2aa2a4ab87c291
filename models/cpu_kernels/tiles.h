// Tiles of an image in channels_last, and what becomes of the outputs of a convolution.
#pragma once
#include <algorithm>

#include "vector.h"

constexpr int TILES = 8;  // of a block: as many sums as fit the registers
constexpr int ROWS = 8;   // input channels at once in the weights' gradient

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

// Fetches what the next block of tiles will read or write into the cache, a few lines at a time between the products of
// this one: memory is read while the processor multiplies. All at once would wait for the first line.
//
// Tiles are counted as pixels in a row. Where a block is not whole rows of tiles that is a little early for some lines
// and late for others. Past the last image it fetches what is never read, which does no harm.
class Ahead {
  struct Stream {
    const char* at;
    Int lines, due;
  } streams[3];
  int used = 0;
  Int first, times;

 public:
  // first: tile of the next block. times: how often fetch() will be called.
  Ahead(Int first, Int times) : first(first), times(times) {}

  // `tiles` tiles of the images x of c channels, from `rows` rows further down on; three calls at most. Null is none.
  template <class Number>
  void add(const Number* x, const Grid& grid, Int c, Int tiles, Int rows = 0) {
    const Int pixels = grid.side * grid.side;
    if (x)
      streams[used++] = {reinterpret_cast<const char*>(x + (first * pixels + rows * grid.w) * c),
                         tiles * pixels * c * Int(sizeof(Number)) / 64, 0};
  }

  // The share of a stream's lines that a call owes: their number over that of the calls, rounded so that none is lost.
  void fetch() {
    for (Stream* stream = streams; stream < streams + used; stream++)
      for (stream->due += stream->lines; stream->due >= times; stream->due -= times, stream->at += 64)
        __builtin_prefetch(stream->at);
  }
};

// What happens to an output: a bias, the same pixel of a residual, a ReLU. Null pointers stand for none.
template <class Number>
struct Finish {
  const float* bias;
  const Number* residual;
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

// A whole convolution by a Method: its Number in memory, its SIDE of a tile of outputs, the POINTS that a patch has
// after its transformation, and how filters, patches and products are transformed. Each thread owns whole blocks of
// tiles, so a result depends on nothing but the inputs.
template <class Method, class Number = typename Method::Number>
void convolve(const Number* x, const float* g, const Int* stride, const Finish<Number>& finish, Number* y, Int n, Int h,
              Int w, Int c, Int k, int threads) {
  const Grid grid{n, h, w, Method::SIDE};
  constexpr Int POINTS = Method::POINTS;
  Buffer<float> filters(POINTS * c * k);
#pragma omp parallel num_threads(threads)
  {
#pragma omp for schedule(static)
    for (Int f = 0; f < k; f += LANES)
      Method::transform_filters(g + f * stride[0], stride, c, filters.data + POINTS * c * f);
    Buffer<float> patches(POINTS * apart(TILES, c));
    Buffer<Number> zeros(c);
    patches.clear();  // a last block that is not full multiplies the rest too
    zeros.clear();
#pragma omp for schedule(static)
    for (Int first = 0; first < grid.tiles(); first += TILES) {
      const Int count = std::min<Int>(TILES, grid.tiles() - first);
      Ahead ahead(first + TILES, POINTS * k / LANES);
      ahead.add(x, grid, c, TILES, 1);  // a patch reads a row below its outputs
      ahead.add(y, grid, k, TILES);
      ahead.add(finish.residual, grid, k, TILES);
      Method::transform_input(x, zeros.data, grid, c, first, count, patches.data);
      Method::multiply(patches.data, filters.data, finish, grid, c, k, first, count, y, ahead);
    }
  }
}

// sum[points][c][k] += v' z over `count` tiles, for the patches v[points][T][c] and the gradients z[points][T][k].
template <int T>
void accumulate(Int points, const float* v, const float* z, Int c, Int k, Int count, float* sum, Ahead& ahead) {
  for (Int p = 0; p < points; p++, v += apart(T, c), z += apart(T, k))
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
        ahead.fetch();
      }
}

// The filters' gradient dg by a Method, which transforms patches, gradients and sums; stride: of filter, channel, row
// and column of dg. Each thread sums over whole blocks of tiles, so the last digits depend on the number of threads.
template <class Method, class Number = typename Method::Number>
void weight_gradient(const Number* x, const Number* dy, float* dg, const Int* stride, Int n, Int h, Int w, Int c, Int k,
                     int threads) {
  const Grid grid{n, h, w, Method::SIDE};
  constexpr Int POINTS = Method::POINTS;
  constexpr int T = Method::TILES_BACK;
  const Int size = POINTS * c * k, blocks = (grid.tiles() + T - 1) / T;
  Buffer<float> sums(size * threads);
#pragma omp parallel num_threads(threads)
  {
    Buffer<float> patches(POINTS * apart(T, c)), gradients(POINTS * apart(T, k));
    Buffer<Number> zeros(c);
    zeros.clear();
#pragma omp for schedule(static)
    for (int part = 0; part < threads; part++) {
      float* mine = sums.data + part * size;
      std::fill(mine, mine + size, 0.f);
      for (Int b = blocks * part / threads; b < blocks * (part + 1) / threads; b++) {
        const Int first = b * T, count = std::min<Int>(T, grid.tiles() - first);
        Ahead ahead(first + T, size / (LANES * ROWS));
        ahead.add(x, grid, c, T, 1);
        ahead.add(dy, grid, k, T);
        Method::transform_patches(x, zeros.data, grid, c, first, count, patches.data);
        Method::transform_gradient(dy, grid, k, first, count, gradients.data);
        accumulate<T>(POINTS, patches.data, gradients.data, c, k, count, mine, ahead);
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

// The functions of a Method for a number type, under names that end in NAME.
#define EXPORT(METHOD, NUMBER, NAME)                                                                                   \
  extern "C" void convolve_##NAME(const NUMBER* x, const float* g, const Int* stride, const float* bias,               \
                                  const NUMBER* residual, bool relu, NUMBER* y, Int n, Int h, Int w, Int c, Int k,     \
                                  int threads) {                                                                       \
    convolve<METHOD<NUMBER>>(x, g, stride, Finish<NUMBER>{bias, residual, relu}, y, n, h, w, c, k, threads);           \
  }                                                                                                                    \
  extern "C" void weight_gradient_##NAME(const NUMBER* x, const NUMBER* dy, float* dg, const Int* stride, Int n,       \
                                         Int h, Int w, Int c, Int k, int threads) {                                    \
    weight_gradient<METHOD<NUMBER>>(x, dy, dg, stride, n, h, w, c, k, threads);                                        \
  }
