// The meaning of the lanes on CUDA: a lane is a thread, and its num, word and flag are the thread's own.

#define LANES __device__ __forceinline__
typedef real num;
typedef unsigned word;
typedef bool flag;
constexpr unsigned ALL = 0xffffffffu;
constexpr int WARPS = 8;  // of a block

template <class T> LANES num at(const T *from, word i, flag inside) { return inside ? num(from[i]) : num(0); }
template <class T> struct alignas(4 * sizeof(T) < 16 ? 4 * sizeof(T) : 16) Four { T of[4]; };
template <class T> LANES void four(num *x, const T *from, word i, flag inside) {
  Four<T> read = {};
  if (inside) read = *(const Four<T> *)(from + i);
#pragma unroll
  for (int j = 0; j < 4; ++j) x[j] = num(read.of[j]);
}
LANES word whole(const int *from, word i, flag inside) { return inside ? word(from[i]) : 0u; }
LANES void put(real *to, word i, num x, flag inside) { if (inside) to[i] = x; }
template <class T> LANES T pick(flag condition, T a, T b) { return condition ? a : b; }
LANES num shuffled(num x, word from) { return __shfl_sync(ALL, x, from); }
LANES num shuffled_xor(num x, int d) { return __shfl_xor_sync(ALL, x, d); }
LANES flag signed_below(word x, int threshold) { return int(x) < threshold; }
LANES num number(word x) { return num(x); }
LANES num lowest() { return num(-__longlong_as_double(0x7ff0000000000000LL)); }
LANES float exponential(float x) { return expf(x); }
LANES double exponential(double x) { return exp(x); }
LANES float logarithm(float x) { return logf(x); }
LANES double logarithm(double x) { return log(x); }
LANES float root(float x) { return sqrtf(x); }
LANES double root(double x) { return sqrt(x); }
// In float64: 1 - beta**t keeps four digits of float32 in the first steps.
LANES num correction(num steps, double beta) { return num(1.0 - exp(double(steps) * log(beta))); }

__shared__ num between[WARPS][4][32];

// One warp's sum, or that of all warps of the block, in the order of their numbers.
template <int V, class Sum> LANES void by_warps(num *x, word lane, bool block, Sum sum) {
  int warp = threadIdx.x >> 5;
  sum(x, block ? warp : 0, block ? WARPS : 1);
  if (!block) return;
#pragma unroll
  for (int j = 0; j < V; ++j) between[warp][j][lane] = x[j];
  __syncthreads();
#pragma unroll
  for (int j = 0; j < V; ++j) {
    x[j] = num(0);
#pragma unroll
    for (int w = 0; w < WARPS; ++w) x[j] += between[w][j][lane];
  }
  __syncthreads();
}

// All blocks meet here. A counter in memory is cheaper than the runtime's own barrier; it begins at 0.
LANES void meet(unsigned *counter, unsigned &target) {
  __syncthreads();
  if (threadIdx.x == 0) {
    target += gridDim.x;
    asm volatile("red.release.gpu.global.add.u32 [%0], 1;" ::"l"(counter) : "memory");
    unsigned seen;
    do asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(seen) : "l"(counter) : "memory");
    while (seen < target);
  }
  __syncthreads();
}

// Not inlined: a phase that is run like another shares its instructions, and the compiler is done sooner.
#define GROUP static __device__ __noinline__ void
#define KERNEL extern "C" __global__ void __launch_bounds__(32 * WARPS, 2) epochs(Args a, int count)
#define BLOCK_NUMBER int(blockIdx.x)
#define BLOCKS int(gridDim.x)
#define WARP int(threadIdx.x >> 5)
#define LANE word(threadIdx.x & 31)
