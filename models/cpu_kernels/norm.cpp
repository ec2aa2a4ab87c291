// Batch norm over the pixels of channels_last images, with the sum or the ReLU that follows; norm.py has the equations
// and the contract.
//
// Images are rows of c channels, c in whole multiples of 16. Every thread owns a run of blocks of rows. A block's sums
// are taken in single precision while it lies in the first cache and join the thread's in double precision. What is
// written goes over the blocks backwards: those read last are still near.
#include <algorithm>
#include <cmath>

#include "vector.h"

namespace {

constexpr Int ROWS = 64;  // of a block
constexpr int SUMS = 4;   // side by side, so that an addition need not wait for the one before

struct Block {
  Int first, rows;
};

// Calls `work` on the blocks of thread `part` of `parts`, first to last or backwards.
template <class Work>
void each_block(Int rows, int part, int parts, bool backwards, Work work) {
  const Int blocks = (rows + ROWS - 1) / ROWS, begin = blocks * part / parts, end = blocks * (part + 1) / parts;
  for (Int i = begin; i < end; i++) {
    const Int first = (backwards ? end - 1 - (i - begin) : i) * ROWS;
    work(Block{first, std::min(ROWS, rows - first)});
  }
}

struct Pair {
  Vector first, second;
  Pair& operator+=(const Pair& more) { return first += more.first, second += more.second, *this; }
  Pair operator+(const Pair& more) const { return {first + more.first, second + more.second}; }
};

// Sum of term(row), a Vector or a Pair, over the rows of a block.
template <class Term>
inline auto sum(const Block& block, Term term) {
  decltype(term(0)) part[SUMS] = {};
  Int row = block.first;
  const Int end = block.first + block.rows;
  for (; row + SUMS <= end; row += SUMS)
#pragma GCC unroll 4
    for (int i = 0; i < SUMS; i++) part[i] += term(row + i);
  for (; row < end; row++) part[0] += term(row);
  return (part[0] + part[1]) + (part[2] + part[3]);
}

// Number, mean and sum of squared deviations of each channel's values.
struct Moments {
  double count = 0;
  Buffer<double> mean, square;
  explicit Moments(Int c) : mean(c), square(c) { mean.clear(), square.clear(); }

  // Take in the moments of `more` further values of the channels from `at` on (Chan, Golub and LeVeque, 1983).
  void join(Int at, Int channels, double more, const double* their_mean, const double* their_square) {
    const double share = more / (count + more);
    for (Int i = 0; i < channels; i++) {
      const double apart = their_mean[i] - mean.data[at + i];
      mean.data[at + i] += apart * share;
      square.data[at + i] += their_square[i] + apart * apart * share * count;
    }
  }
};

// A batch norm, and what LANES channels of it do to a value.
struct Norm {
  const float *mean, *inverse, *weight, *bias;
  bool relu;
};

struct Lanes {
  Vector mean, scale, bias;
  bool relu;
  Lanes(const Norm& norm, Int at)
      : mean(load(norm.mean + at)), scale(load(norm.inverse + at) * load(norm.weight + at)), bias(load(norm.bias + at)),
        relu(norm.relu) {}
  Vector value(Vector x) const { return (x - mean) * scale + bias; }
  Vector gradient(Vector dy, Vector x) const { return relu ? (value(x) <= 0 ? Vector{} : dy) : dy; }
};

// mean[c] and inverse[c] = 1 / sqrt(variance + eps) of x[rows][c]; the running mean and unbiased variance move on.
template <class Number>
void statistics(const Number* x, float* mean, float* inverse, float* running_mean, float* running_var, double momentum,
                double eps, Int rows, Int c, int threads) {
  Moments all(c);
#pragma omp parallel for ordered schedule(static, 1) num_threads(threads)
  for (int part = 0; part < threads; part++) {
    Moments mine(c);
    each_block(rows, part, threads, false, [&](const Block& block) {
      for (Int j = 0; j < c; j += LANES) {
        const auto value = [&](Int row) { return load(x + row * c + j); };
        const Vector center = sum(block, value) / float(block.rows);
        const Pair apart = sum(block, [&](Int row) {
          const Vector value_apart = value(row) - center;
          return Pair{value_apart, value_apart * value_apart};
        });
        double means[LANES], squares[LANES];
        for (int i = 0; i < LANES; i++) {  // the center is rounded: what is left of the sum corrects it
          const double rest = apart.first[i] / double(block.rows);
          means[i] = center[i] + rest;
          squares[i] = apart.second[i] - rest * rest * block.rows;
        }
        mine.join(j, LANES, block.rows, means, squares);
      }
      mine.count += block.rows;
    });
#pragma omp ordered
    if (mine.count) {
      all.join(0, c, mine.count, mine.mean.data, mine.square.data);
      all.count += mine.count;
    }
  }
  for (Int j = 0; j < c; j++) {
    mean[j] = all.mean.data[j];
    inverse[j] = 1 / std::sqrt(all.square.data[j] / rows + eps);
    running_mean[j] += momentum * (all.mean.data[j] - running_mean[j]);
    running_var[j] += momentum * (all.square.data[j] / (rows - 1) - running_var[j]);
  }
}

// y = (x - mean) * inverse * weight + bias, plus `residual` where there is one, through a ReLU if `relu`.
template <class Number>
void normalize(const Number* x, const Norm& norm, const Number* residual, Number* y, Int rows, Int c, int threads) {
#pragma omp parallel for schedule(static, 1) num_threads(threads)
  for (int part = 0; part < threads; part++)
    each_block(rows, part, threads, true, [&](const Block& block) {
      for (Int j = 0; j < c; j += LANES) {
        const Lanes lanes(norm, j);
        for (Int at = block.first * c + j; at < (block.first + block.rows) * c; at += c) {
          Vector value = lanes.value(load(x + at));
          if (residual) value += load(residual + at);
          store(y + at, norm.relu ? rectified(value) : value);
        }
      }
    });
}

// The gradients of x, weight and bias for dy, that of the output; after a ReLU only where the output was positive.
// After a sum and a ReLU `y` is that output, and `cut` becomes the gradient of the sum; else `y` is null.
template <class Number>
void norm_gradient(const Number* dy, const Number* x, const Norm& norm, const Number* y, Number* cut, Number* dx,
                   float* dweight, float* dbias, Int rows, Int c, int threads) {
  const Number* from = y ? cut : dy;  // what is left to go through the norm
  Buffer<double> totals(2 * c * threads);
  Buffer<float> shares(2 * c);
  totals.clear();
#pragma omp parallel num_threads(threads)
  {
#pragma omp for schedule(static, 1)
    for (int part = 0; part < threads; part++) {
      double* mine = totals.data + 2 * c * part;
      each_block(rows, part, threads, false, [&](const Block& block) {
        for (Int j = 0; j < c; j += LANES) {
          const Lanes lanes(norm, j);
          const Pair pair = sum(block, [&](Int row) {
            const Int at = row * c + j;
            if (y) store(cut + at, load(y + at) <= 0 ? Vector{} : load(dy + at));
            const Vector value = load(x + at), gradient = lanes.gradient(load(from + at), value);
            return Pair{gradient, gradient * (value - lanes.mean)};
          });
          for (int i = 0; i < LANES; i++) {
            mine[j + i] += pair.first[i];
            mine[c + j + i] += pair.second[i];
          }
        }
      });
    }
#pragma omp single
    for (Int j = 0; j < c; j++) {
      double plain = 0, weighted = 0;
      for (int part = 0; part < threads; part++) {
        plain += totals.data[2 * c * part + j];
        weighted += totals.data[2 * c * part + c + j];
      }
      dbias[j] = plain;
      dweight[j] = weighted * norm.inverse[j];
      shares.data[j] = plain / rows;
      shares.data[c + j] = weighted * norm.inverse[j] * norm.inverse[j] / rows;
    }
#pragma omp for schedule(static, 1)
    for (int part = 0; part < threads; part++)
      each_block(rows, part, threads, true, [&](const Block& block) {
        for (Int j = 0; j < c; j += LANES) {
          const Lanes lanes(norm, j);
          const Vector plain = load(shares.data + j), slope = load(shares.data + c + j);
          for (Int at = block.first * c + j; at < (block.first + block.rows) * c; at += c) {
            const Vector value = load(x + at), gradient = lanes.gradient(load(from + at), value);
            store(dx + at, (gradient - plain - (value - lanes.mean) * slope) * lanes.scale);
          }
        }
      });
  }
}

}  // namespace

// The functions for a number type of the images, under names that end in NAME.
#define EXPORT(NUMBER, NAME)                                                                                           \
  extern "C" void statistics_##NAME(const NUMBER* x, float* mean, float* inverse, float* running_mean,                 \
                                    float* running_var, double momentum, double eps, Int rows, Int c, int threads) {   \
    statistics(x, mean, inverse, running_mean, running_var, momentum, eps, rows, c, threads);                          \
  }                                                                                                                    \
  extern "C" void normalize_##NAME(const NUMBER* x, const float* mean, const float* inverse, const float* weight,      \
                                   const float* bias, const NUMBER* residual, bool relu, NUMBER* y, Int rows, Int c,   \
                                   int threads) {                                                                      \
    normalize(x, Norm{mean, inverse, weight, bias, relu}, residual, y, rows, c, threads);                              \
  }                                                                                                                    \
  extern "C" void norm_gradient_##NAME(const NUMBER* dy, const NUMBER* x, const float* mean, const float* inverse,     \
                                       const float* weight, const float* bias, bool relu, const NUMBER* y,             \
                                       NUMBER* cut, NUMBER* dx, float* dweight, float* dbias, Int rows, Int c,         \
                                       int threads) {                                                                  \
    norm_gradient(dy, x, Norm{mean, inverse, weight, bias, relu && !y}, y, cut, dx, dweight, dbias, rows, c, threads); \
  }

EXPORT(float, float32)
EXPORT(BFloat16, bfloat16)
