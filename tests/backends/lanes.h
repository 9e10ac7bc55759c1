// The meaning of the lanes on the CPU: num, word and flag are 32 lanes at once, and a block is one warp that takes the
// part of each of eight in turn. What is generated for a GPU computes the same numbers here.

#include <cmath>
#include <limits>

#define LANES static inline
constexpr int WARPS = 1;

template <class T> struct Lane {
  T of[32];
  Lane() {}
  explicit Lane(T x) { for (T &each : of) each = x; }
  T &operator[](int i) { return of[i]; }
  const T &operator[](int i) const { return of[i]; }
};
typedef Lane<real> num;
typedef Lane<unsigned> word;
typedef Lane<bool> flag;

template <class R, class T, class F> static inline Lane<R> both(const Lane<T> &a, const Lane<T> &b, F f) {
  Lane<R> out;
  for (int i = 0; i < 32; ++i) out[i] = f(a[i], b[i]);
  return out;
}
#define OPERATOR(result, type, op) \
  static inline Lane<result> operator op(const Lane<type> &a, const Lane<type> &b) { \
    return both<result>(a, b, [](type x, type y) { return x op y; }); \
  }
OPERATOR(real, real, +) OPERATOR(real, real, -) OPERATOR(real, real, *) OPERATOR(real, real, /)
OPERATOR(bool, real, <) OPERATOR(bool, real, >) OPERATOR(bool, real, <=) OPERATOR(bool, real, ==)
OPERATOR(unsigned, unsigned, +) OPERATOR(unsigned, unsigned, *) OPERATOR(unsigned, unsigned, /)
OPERATOR(unsigned, unsigned, ^) OPERATOR(unsigned, unsigned, &) OPERATOR(bool, unsigned, <)
OPERATOR(bool, bool, &)
static inline word operator>>(const word &a, int by) {
  word out;
  for (int i = 0; i < 32; ++i) out[i] = a[i] >> by;
  return out;
}

template <class T> num at(const T *from, const word &i, const flag &inside) {
  num out;
  for (int k = 0; k < 32; ++k) out[k] = inside[k] ? real(from[i[k]]) : real(0);
  return out;
}
template <class T> void four(num *x, const T *from, const word &i, const flag &inside) {
  for (int j = 0; j < 4; ++j) x[j] = at(from, i + word(j), inside);
}
LANES word whole(const int *from, const word &i, const flag &inside) {
  word out;
  for (int k = 0; k < 32; ++k) out[k] = inside[k] ? unsigned(from[i[k]]) : 0u;
  return out;
}
LANES void put(real *to, const word &i, const num &x, const flag &inside) {
  for (int k = 0; k < 32; ++k) if (inside[k]) to[i[k]] = x[k];
}
template <class T> T pick(const flag &condition, const T &a, const T &b) {
  T out;
  for (int k = 0; k < 32; ++k) out[k] = condition[k] ? a[k] : b[k];
  return out;
}
LANES num shuffled(const num &x, const word &from) {
  num out;
  for (int k = 0; k < 32; ++k) out[k] = x[from[k]];
  return out;
}
LANES num shuffled_xor(const num &x, int d) {
  num out;
  for (int k = 0; k < 32; ++k) out[k] = x[k ^ d];
  return out;
}
LANES flag signed_below(const word &x, int threshold) {
  flag out;
  for (int k = 0; k < 32; ++k) out[k] = int(x[k]) < threshold;
  return out;
}
LANES num number(const word &x) {
  num out;
  for (int k = 0; k < 32; ++k) out[k] = real(x[k]);
  return out;
}
LANES real lowest() { return -std::numeric_limits<real>::infinity(); }
template <class F> num mapped(const num &x, F f) {
  num out;
  for (int k = 0; k < 32; ++k) out[k] = f(x[k]);
  return out;
}
LANES num exponential(const num &x) { return mapped(x, [](real v) { return std::exp(v); }); }
LANES num logarithm(const num &x) { return mapped(x, [](real v) { return std::log(v); }); }
LANES num root(const num &x) { return mapped(x, [](real v) { return std::sqrt(v); }); }
LANES num correction(const num &steps, double beta) {
  return mapped(steps, [beta](real t) { return real(1.0 - std::exp(double(t) * std::log(beta))); });
}

template <int V, class Sum> void by_warps(num *x, const word &lane, bool block, Sum sum) {
  const int warps = block ? 8 : 1;
  for (int j = 0; j < V; ++j) x[j] = num(0);
  for (int w = 0; w < warps; ++w) {
    num part[V];
    sum(part, w, warps);
    for (int j = 0; j < V; ++j) x[j] = x[j] + part[j];
  }
}

LANES word lanes() {
  word out;
  for (int k = 0; k < 32; ++k) out[k] = k;
  return out;
}
LANES void meet(unsigned *counter, unsigned &) { *counter += 1; }

struct Args;
static void all(Args a, int count);
extern "C" void epochs(const Args *a, int count);

#define GROUP static void
#define KERNEL static void all(Args a, int count)
#define BLOCK_NUMBER 0
#define BLOCKS 1
#define WARP 0
#define LANE lanes()
