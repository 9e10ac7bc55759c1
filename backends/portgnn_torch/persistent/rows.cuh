// What tasks of the generated kernel are made of: a row of numbers held by a warp, and sums over many rows.
//
// A row of C numbers lies in registers num[Wide<C>::each]. Where C is divisible by four, a lane holds four adjacent
// columns, which it reads at once; else every 32nd. Narrow rows lie in a warp more than once, in `parts`: all parts hold
// the same but inside a sum, where each takes its share of the summands.
//
// num, word and flag are one lane's real, unsigned number and truth value; `meaning of the lanes` comes before this.

template <int C> struct Wide {
  static constexpr bool adjacent = C % 4 == 0;
  static constexpr int each = adjacent ? 4 : (C + 31) / 32;
  static constexpr int needed = (C + each - 1) / each;
  static constexpr int lanes = needed > 16 ? 32 : needed > 8 ? 16 : needed > 4 ? 8 : needed > 2 ? 4 : needed > 1 ? 2 : 1;
  static constexpr int parts = 32 / lanes;
};

// The column in register j.
template <int C> LANES word column(word lane, int j) {
  word own = lane & word(Wide<C>::lanes - 1);
  return Wide<C>::adjacent ? own * word(4) + word(j) : own + word(32 * j);
}
template <int C> LANES word part(word lane) { return lane / word(Wide<C>::lanes); }

// Columns of a row that begins at from[start].
template <int C, class T> LANES void load(num *x, const T *from, word start, flag inside, word lane) {
  if constexpr (Wide<C>::adjacent) {
    four(x, from, start + column<C>(lane, 0), inside & (column<C>(lane, 0) < word(C)));
  } else {
#pragma unroll
    for (int j = 0; j < Wide<C>::each; ++j) {
      word k = column<C>(lane, j);
      x[j] = at(from, start + k, inside & (k < word(C)));
    }
  }
}

// Of all parts, and of all warps of a block that have come to the same row, one stores it.
template <int C> LANES void store(real *to, int start, const num *x, word lane, bool stores) {
#pragma unroll
  for (int j = 0; j < Wide<C>::each; ++j) {
    word k = column<C>(lane, j);
    put(to, k + word(start), x[j], flag(stores) & (lane < word(Wide<C>::lanes)) & (k < word(C)));
  }
}

// x = the sum of what `add(x, i, inside)` adds for i in [begin, end), by one warp or by all warps of a block. Four steps
// at a time, inside or not: what they read is under way together.
template <int C, class Add> LANES void summed(num *x, int begin, int end, word lane, bool block, Add add) {
  constexpr int each = Wide<C>::each, parts = Wide<C>::parts, steps = 4;
  by_warps<each>(x, lane, block, [&](num *sum, int warp, int warps) {
#pragma unroll
    for (int j = 0; j < each; ++j) sum[j] = num(0);
    int stride = warps * parts;
    for (int i = begin + warp * parts; i < end; i += steps * stride) {
#pragma unroll
      for (int step = 0; step < steps; ++step) {
        word p = part<C>(lane) + word(i + step * stride);
        add(sum, p, p < word(end));
      }
    }
#pragma unroll
    for (int j = 0; j < each; ++j)
      for (int d = Wide<C>::lanes; d < 32; d <<= 1) sum[j] = sum[j] + shuffled_xor(sum[j], d);
  });
}

// sum += weight * the row of x that begins at `start`.
template <int C> LANES void add_row(num *sum, num weight, const real *x, word start, flag inside, word lane) {
  num row[Wide<C>::each];
  load<C>(row, x, start, inside, lane);
#pragma unroll
  for (int j = 0; j < Wide<C>::each; ++j) sum[j] = sum[j] + weight * row[j];
}

// portgnn.random.random_bits, as a signed number below 2**31.
LANES flag kept(word element, const int *key, int threshold) {
  word x = element + word(unsigned(key[0]));
  x = x ^ (x >> SHIFT_0);
  x = x * word(MULTIPLIER_1);
  x = x ^ (x >> SHIFT_1);
  x = x ^ word(unsigned(key[1]));
  x = x * word(MULTIPLIER_2);
  x = x ^ (x >> SHIFT_2);
  return signed_below(x, threshold);
}

// Row `row` of a sparse matrix times a dense one [columns, C].
template <int C>
LANES void spmm(num *out, const int *starts, const int *indices, const real *values, const real *x, int row, word lane, bool block) {
  summed<C>(out, starts[row], starts[row + 1], lane, block, [&](num *sum, word p, flag inside) {
    word source = whole(indices, p, inside);
    add_row<C>(sum, at(values, p, inside), x, source * word(C), inside, lane);
  });
}

// The same with dropout of the stored values; numbers: the element number of each.
template <int C>
LANES void spmm_dropped(num *out, const int *starts, const int *indices, const real *values, const real *x,
                        const int *numbers, const int *key, int threshold, real scale, int row, word lane, bool block) {
  summed<C>(out, starts[row], starts[row + 1], lane, block, [&](num *sum, word p, flag inside) {
    word source = whole(indices, p, inside);
    word number = numbers ? whole(numbers, p, inside) : p;
    flag in = inside & kept(number, key, threshold);
    add_row<C>(sum, at(values, p, in) * num(scale), x, source * word(C), in, lane);
  });
}

// A row of K numbers times w [K, C], or [C, K] where w is read across.
template <int K, int C, bool ACROSS> LANES void matmul(num *out, const num *row, const real *w, word lane) {
  constexpr int each = Wide<C>::each, parts = Wide<C>::parts;
#pragma unroll
  for (int j = 0; j < each; ++j) out[j] = num(0);
#pragma unroll
  for (int i = 0; i < Wide<K>::each; ++i) {
#pragma unroll 4
    for (int q = 0; q < Wide<K>::lanes; q += parts) {
      word holder = part<C>(lane) + word(q);
      word k = column<K>(holder, i);
      num held = shuffled(row[i], holder & word(31));
      flag inside = (holder < word(Wide<K>::lanes)) & (k < word(K));
#pragma unroll
      for (int j = 0; j < each; ++j) {
        word c = column<C>(lane, j);
        out[j] = out[j] + held * at(w, ACROSS ? c * word(K) + k : k * word(C) + c, inside & (c < word(C)));
      }
    }
  }
#pragma unroll
  for (int j = 0; j < each; ++j)
    for (int d = Wide<C>::lanes; d < 32; d <<= 1) out[j] = out[j] + shuffled_xor(out[j], d);
}

// Row `row` of a' b, for a [rows, K] and b [rows, C].
template <int K, int C>
LANES void transposed_matmul(num *out, const real *a, const real *b, int rows, int row, word lane, bool block) {
  summed<C>(out, 0, rows, lane, block, [&](num *sum, word r, flag inside) {
    add_row<C>(sum, at(a, r * word(K) + word(row), inside), b, r * word(C), inside, lane);
  });
}

template <int C> LANES void column_sums(num *out, const real *x, int rows, word lane, bool block) {
  summed<C>(out, 0, rows, lane, block, [&](num *sum, word r, flag inside) {
    add_row<C>(sum, num(1), x, r * word(C), inside, lane);
  });
}

// Across the columns of a row; every lane gets the result.
template <int C> LANES num row_sum(const num *x, word lane) {
  num total = num(0);
#pragma unroll
  for (int j = 0; j < Wide<C>::each; ++j) total = total + pick(column<C>(lane, j) < word(C), x[j], num(0));
  for (int d = 1; d < Wide<C>::lanes; d <<= 1) total = total + shuffled_xor(total, d);
  return total;
}

template <int C> LANES num row_max(const num *x, word lane) {
  num top = num(lowest());
#pragma unroll
  for (int j = 0; j < Wide<C>::each; ++j) {
    num each = pick(column<C>(lane, j) < word(C), x[j], num(lowest()));
    top = pick(each > top, each, top);
  }
  for (int d = 1; d < Wide<C>::lanes; d <<= 1) {
    num other = shuffled_xor(top, d);
    top = pick(other > top, other, top);
  }
  return top;
}

// The first column that holds the largest number.
template <int C> LANES num argmax(const num *x, word lane) {
  num top = row_max<C>(x, lane), first = num(C);
#pragma unroll
  for (int j = 0; j < Wide<C>::each; ++j) {
    word k = column<C>(lane, j);
    num here = pick((x[j] == top) & (k < word(C)), number(k), num(C));
    first = pick(here < first, here, first);
  }
  for (int d = 1; d < Wide<C>::lanes; d <<= 1) {
    num other = shuffled_xor(first, d);
    first = pick(other < first, other, first);
  }
  return first;
}

template <int C> LANES void log_softmax(num *out, const num *x, word lane) {
  num top = row_max<C>(x, lane), raised[Wide<C>::each];
#pragma unroll
  for (int j = 0; j < Wide<C>::each; ++j) raised[j] = exponential(x[j] - top);
  num shift = logarithm(row_sum<C>(raised, lane)) + top;
#pragma unroll
  for (int j = 0; j < Wide<C>::each; ++j) out[j] = x[j] - shift;
}

// gradient: of the logarithms y.
template <int C> LANES void log_softmax_backward(num *out, const num *gradient, const num *y, word lane) {
  num total = row_sum<C>(gradient, lane);
#pragma unroll
  for (int j = 0; j < Wide<C>::each; ++j) out[j] = gradient[j] - exponential(y[j]) * total;
}

// Bias-corrected Adam (Kingma & Ba 2015, Algorithm 1): new parameter and moments in place of the old.
LANES void adam(num &p, num gradient, num &m, num &v, num c1, num c2, double rate, double beta1, double beta2,
                double eps, double decay) {
  num g = gradient + num(real(decay)) * p;
  m = m * num(real(beta1)) + g * num(real(1.0 - beta1));
  v = v * num(real(beta2)) + g * g * num(real(1.0 - beta2));
  p = p - m * (num(real(rate)) / c1) / (root(v / c2) + num(real(eps)));
}

// Blocks take a group's rows in turn, after the `begun` of groups before it: whole blocks the longest, warps the others.
#define TAKE_IN_TURN(task, row, ...) \
  int first = (BLOCK_NUMBER + BLOCKS - begun % BLOCKS) % BLOCKS; \
  for (int q = first; q < block_rows; q += BLOCKS) task(__VA_ARGS__, row, LANE, true, WARP == 0); \
  first = (BLOCK_NUMBER + BLOCKS - (begun + block_rows) % BLOCKS) % BLOCKS; \
  for (int q = block_rows + first + WARP * BLOCKS; q < rows; q += BLOCKS * WARPS) \
    task(__VA_ARGS__, row, LANE, false, true);
