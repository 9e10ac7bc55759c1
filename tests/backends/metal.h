// The meaning of Metal's words on the CPU. A thread is a fiber; the 32 of a simdgroup stop at each shuffle until all that
// still run have come there, those of a threadgroup at each barrier. A pointer knows its address space and its bounds.

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <limits>
#include <type_traits>
#include <ucontext.h>
#include <vector>

typedef unsigned int uint;
typedef unsigned short ushort;
struct uint3 { uint x, y, z; };

struct bfloat16_t {  // rounds to the nearest, ties to even
  uint16_t bits;
  bfloat16_t() {}
  bfloat16_t(float x) {
    uint32_t word;
    std::memcpy(&word, &x, 4);
    bits = uint16_t((word + 0x7fffu + ((word >> 16) & 1u)) >> 16);
  }
  operator float() const {
    const uint32_t word = uint32_t(bits) << 16;
    float x;
    std::memcpy(&x, &word, 4);
    return x;
  }
  bfloat16_t &operator+=(float x) { return *this = bfloat16_t(float(*this) + x); }
};

// What went wrong, first of all that did.
static char failure[256];
template <class... A> static void failed(const char *format, A... a) {
  if (!failure[0]) std::snprintf(failure, sizeof failure, format, a...);
}

enum State { READY, AT_SHUFFLE, AT_SIMD_BARRIER, AT_BARRIER, DONE };
struct Fiber {
  ucontext_t context;
  std::vector<char> stack;
  State state;
  int site;
  alignas(16) unsigned char given[16];
};
struct Group {
  std::vector<Fiber> fibers;
  ucontext_t scheduler;
  int running;
  uint first;  // number of its first thread in the grid
};
static Group group;
static void stop(State state, int site) {
  Fiber &self = group.fibers[group.running];
  self.state = state, self.site = site;
  swapcontext(&self.context, &group.scheduler);
}
static int this_thread() { return int(group.first) + group.running; }

// Memory of the device, with the thread that wrote each place: two that write the same place race.
struct Buffer {
  unsigned char *start;
  size_t bytes;
  const char *name;
  std::vector<int> writers;
};

template <class T> struct Place {  // an element that a kernel may write
  Buffer *buffer;
  T *at;
  operator T() const { return *at; }
  Place &operator=(const T &x) {
    if (failure[0]) return *this;
    int &writer = buffer->writers[(unsigned char *)at - buffer->start];
    if (writer && writer != this_thread() + 1)
      failed("threads %d and %d both write %s", writer - 1, this_thread(), buffer->name);
    writer = this_thread() + 1;
    *at = x;
    return *this;
  }
  Place &operator=(const Place &other) { return *this = T(other); }
  Place &operator+=(const T &x) { return *this = T(*at + x); }
  Place &operator*=(const T &x) { return *this = T(*at * x); }
};

enum Space { in_device, in_constant, in_threadgroup, in_thread };

template <Space SPACE, class T> struct Pointer {
  Buffer *buffer;
  T *at;
  Pointer(Buffer *buffer, T *at) : buffer(buffer), at(at) {}
  template <class U> explicit Pointer(const Pointer<SPACE, U> &other) : buffer(other.buffer), at((T *)other.at) {}
  T *checked(long long i) const {
    static std::remove_const_t<T> nowhere;
    unsigned char *place = (unsigned char *)(at + i);
    if (place < buffer->start || place + sizeof(T) > buffer->start + buffer->bytes) {
      failed("thread %d reaches element %lld outside of %s", this_thread(), i, buffer->name);
      return &nowhere;
    }
    if ((uintptr_t)place % alignof(T)) failed("thread %d reaches %s unaligned", this_thread(), buffer->name);
    return (T *)place;
  }
  auto operator[](long long i) const {
    if constexpr (std::is_const_v<T>) return *checked(i);
    else return Place<T>{buffer, checked(i)};
  }
  auto operator*() const { return (*this)[0]; }
  Pointer operator+(long long i) const { return Pointer(buffer, at + i); }
};

struct SharedMemory {
  virtual void clear() = 0;
  static std::vector<SharedMemory *> &all() {
    static std::vector<SharedMemory *> each;
    return each;
  }
};
template <class T, size_t N> struct Shared : SharedMemory {  // a threadgroup's array; holds NaN at first
  T of[N];
  Shared() {
    all().push_back(this);
    clear();
  }
  void clear() override { std::memset((void *)of, 0xff, sizeof of); }
  T &operator[](long long i) {
    if (i >= 0 && i < (long long)N) return of[i];
    failed("thread %d reaches element %lld of a threadgroup's %d", this_thread(), i, int(N));
    return of[0];
  }
};

namespace metal {
using std::abs; using std::exp; using std::fabs; using std::floor; using std::fma; using std::isinf; using std::isnan;
using std::log; using std::pow; using std::sqrt; using std::tanh;
template <class T> T max(T a, T b) { return a > b ? a : b; }
template <class T> T min(T a, T b) { return a < b ? a : b; }
inline float exp2(float x) { return std::exp2(x); }
inline float rsqrt(float x) { return 1.0f / std::sqrt(x); }
namespace precise { using metal::exp; using metal::log; using metal::sqrt; }
namespace fast { using metal::exp; using metal::log; }
template <class T, class U> T as_type(const U &x) {
  static_assert(sizeof(T) == sizeof(U), "as_type keeps the size");
  T out;
  std::memcpy(&out, &x, sizeof out);
  return out;
}

// Of a lane that has left, or that is elsewhere, a shuffle gives what Metal leaves undefined: here bytes of ones, a NaN.
template <class T> T exchanged(const T &x, int from, int site, bool *is_there = nullptr) {
  Fiber &self = group.fibers[group.running];
  std::memcpy(self.given, &x, sizeof x);
  stop(AT_SHUFFLE, site);
  T out;
  std::memset((void *)&out, 0xff, sizeof out);
  const int simdgroup = group.running / 32 * 32, other = simdgroup + from;
  const bool inside = from >= 0 && from < 32 && other < int(group.fibers.size());
  const bool there = inside && group.fibers[other].site == site;
  if (there) std::memcpy((void *)&out, group.fibers[other].given, sizeof out);
  if (is_there) *is_there = there;
  stop(AT_SIMD_BARRIER, site);  // until all have read
  self.site = -1;
  return out;
}
inline int lane() { return group.running % 32; }
#define SITE int site = __builtin_LINE()
template <class T> T simd_shuffle(const T &x, ushort from, SITE) { return exchanged(x, from, site); }
template <class T> T simd_shuffle_xor(const T &x, ushort mask, SITE) { return exchanged(x, lane() ^ mask, site); }
template <class T> T simd_shuffle_down(const T &x, ushort by, SITE) { return exchanged(x, lane() + by, site); }
template <class T> T simd_shuffle_up(const T &x, ushort by, SITE) { return exchanged(x, lane() - by, site); }
template <class T> T simd_broadcast(const T &x, ushort from, SITE) { return exchanged(x, from, site); }
template <class T, class F> T simd_reduced(T x, F f, int site) {
  T total = x;
  for (int from = 0, first = 1; from < 32; ++from) {
    bool there;
    const T other = exchanged(x, from, site, &there);
    if (there) total = first ? other : f(total, other), first = 0;
  }
  return total;
}
template <class T> T simd_sum(T x, SITE) { return simd_reduced(x, [](T a, T b) { return T(a + b); }, site); }
template <class T> T simd_max(T x, SITE) { return simd_reduced(x, [](T a, T b) { return a > b ? a : b; }, site); }
template <class T> T simd_min(T x, SITE) { return simd_reduced(x, [](T a, T b) { return a < b ? a : b; }, site); }
enum class mem_flags { mem_none, mem_device, mem_threadgroup };
inline void threadgroup_barrier(mem_flags, SITE) { stop(AT_BARRIER, site); }
inline void simdgroup_barrier(mem_flags, SITE) { stop(AT_SIMD_BARRIER, site); }
}  // namespace metal
using namespace metal;

// Lets the threads of a simdgroup go on that wait where the first of them waits; false where none can.
static bool simdgroup_goes_on(int from, int to) {
  for (int i = from; i < to; ++i)
    if (group.fibers[i].state == READY) return true;
  for (int i = from; i < to; ++i) {
    Fiber &first = group.fibers[i];
    if (first.state != AT_SHUFFLE && first.state != AT_SIMD_BARRIER) continue;
    const State state = first.state;
    const int site = first.site;
    for (int j = i; j < to; ++j) {
      Fiber &fiber = group.fibers[j];
      if (fiber.state == state && fiber.site == site) fiber.state = READY;
    }
    return true;
  }
  return false;
}
static void threadgroup_runs(void (*entry)(), uint first, int threads) {
  group.first = first;
  for (SharedMemory *each : SharedMemory::all()) each->clear();
  group.fibers.resize(threads);
  for (Fiber &fiber : group.fibers) {
    fiber.stack.resize(64 * 1024);
    fiber.state = READY, fiber.site = -1;
    getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = fiber.stack.data();
    fiber.context.uc_stack.ss_size = fiber.stack.size();
    fiber.context.uc_link = &group.scheduler;
    makecontext(&fiber.context, entry, 0);
  }
  for (bool some = true; some;) {
    some = false;
    for (int from = 0; from < threads; from += 32) {
      const int to = from + 32 < threads ? from + 32 : threads;
      while (simdgroup_goes_on(from, to)) {
        some = true;
        for (int i = from; i < to; ++i) {
          if (group.fibers[i].state != READY) continue;
          group.running = i;
          group.fibers[i].state = DONE;  // unless it stops somewhere
          swapcontext(&group.scheduler, &group.fibers[i].context);
        }
      }
    }
    bool waiting = false, left = false;
    for (Fiber &fiber : group.fibers) (fiber.state == DONE ? left : waiting) = true;
    if (waiting && left) failed("a barrier that not every thread of the threadgroup comes to");
    if (waiting)
      for (Fiber &fiber : group.fibers)
        if (fiber.state == AT_BARRIER) fiber.state = READY, some = true;
  }
}
