"""Triton kernels for CUDA: attention over the edges of each row, its softmax and its product, and their gradients.

A program takes one row of targets or, in the backward pass, of sources, some edges at a time, and holds nothing of
an edge but what it is looking at: no array [edges, heads * width] exists. What an edge's share is, the backward pass
computes anew from each target's logarithm of the sum of exp(score), and no two programs add to one place.
"""

from __future__ import annotations

import triton
import triton.language as tl

from portgnn_torch.row_kernels import kept_by_bits


@triton.jit
def _leaky(x, SLOPE: tl.constexpr):
    return tl.where(x > 0, x, x * SLOPE)


@triton.jit
def _sloping(of_score, x, SLOPE: tl.constexpr):
    """[DEEP, heads] times the slope of the leaky relu at x [DEEP, heads, width]."""
    return tl.where(x > 0, of_score[:, :, None], (of_score * SLOPE)[:, :, None])


@triton.jit
def _kept(edge, here, head, numbers, key, threshold, HEADS: tl.constexpr, NUMBERS: tl.constexpr):
    """Whether dropout keeps the edges' values, [DEEP, heads].

    NUMBERS: how many element numbers are there for each edge: none, those of all values in storage order being 0, 1,
    2, …; 1, that of the first, which the others follow; or one a head, for which 2 stands.
    """
    if NUMBERS == 1:
        first = tl.load(numbers + edge, mask=here, other=0).to(tl.uint32)
        word = first[:, None] + head[None, :].to(tl.uint32)
    else:
        at = edge.to(tl.int64)[:, None] * HEADS + head[None, :]
        if NUMBERS > 1:
            word = tl.load(numbers + at, mask=here[:, None] & (head < HEADS)[None, :], other=0).to(tl.uint32)
        else:
            word = at.to(tl.uint32)
    return kept_by_bits(word, key, threshold)


@triton.jit
def attend(  # long: a kernel, whose forms share their loop
    programs, starts, ends, owners, sources,
    rows, target, weights, numbers, key, threshold,
    out, logs, above, above_share, longest,
    SCALE: tl.constexpr, SLOPE: tl.constexpr, HEADS: tl.constexpr, WIDTH: tl.constexpr, BIG: tl.constexpr,
    DYNAMIC: tl.constexpr, HAS_OWNERS: tl.constexpr, HAS_DROPOUT: tl.constexpr, NUMBERS: tl.constexpr,
    DEEP: tl.constexpr, HIGH: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    """out[row] = sum over the row's edges of softmax(score) * rows[source], head by head.

    logs: log of the sum of exp(score), [programs, heads]. above, above_share, where scores are not DYNAMIC: the part of
    `out`, and of the shares, 1 altogether, that edges have whose sum of both ends is above 0.
    """
    for number in range(tl.program_id(0), programs, tl.num_programs(0)):
        program = tl.cast(number, tl.int64)
        start = tl.load(starts + program)
        end = tl.load(ends + program)
        if end - start <= longest:
            kind = logs.dtype.element_ty
            owner = program
            if HAS_OWNERS:
                owner = tl.load(owners + program).to(tl.int64)
            head = tl.program_id(1) * HIGH + tl.arange(0, HIGH)
            column = tl.arange(0, WIDE)
            place = head[:, None] * WIDTH + column[None, :]
            inside = (head < HEADS)[:, None] & (column < WIDTH)[None, :]
            weight = tl.load(weights + place, mask=inside, other=0.0).to(kind)
            if DYNAMIC:
                asked = tl.load(target + owner * (HEADS * WIDTH) + place, mask=inside, other=0.0).to(kind)
            else:
                asked = tl.load(target + owner * HEADS + head, mask=head < HEADS, other=0.0).to(kind)
            most = tl.full([HIGH], float("-inf"), kind)
            total = tl.zeros([HIGH], kind)
            found = tl.zeros([HIGH, WIDE], kind)
            upper = tl.zeros([HIGH, WIDE], kind)
            upper_share = tl.zeros([HIGH], kind)
            for first in range(start, end, DEEP):
                edge = first + tl.arange(0, DEEP)
                here = edge < end
                source = tl.load(sources + edge, mask=here, other=0)
                if BIG:
                    source = source.to(tl.int64)
                x = tl.load(
                    rows + (source[:, None, None] * (HEADS * WIDTH) + place[None, :, :]),
                    mask=here[:, None, None] & inside[None, :, :], other=0.0,
                ).to(kind)  # fmt: skip
                if DYNAMIC:
                    score = tl.sum(_leaky(x + asked[None, :, :], SLOPE) * weight[None, :, :], axis=2)
                else:
                    score = tl.sum(x * weight[None, :, :], axis=2) + asked[None, :]
                    is_above = score > 0
                    score = _leaky(score, SLOPE)
                score = tl.where(here[:, None], score, float("-inf"))
                raised = tl.maximum(most, tl.max(score, axis=0))
                fading = tl.exp(most - raised)
                share = tl.exp(score - raised[None, :])
                total = total * fading + tl.sum(share, axis=0)
                if not DYNAMIC:
                    upper_share = upper_share * fading + tl.sum(tl.where(is_above, share, 0.0), axis=0)
                if HAS_DROPOUT:
                    kept = _kept(edge, here, head, numbers, key, threshold, HEADS, NUMBERS)
                    share = tl.where(kept, share * SCALE, 0.0)
                found = found * fading[:, None] + tl.sum(share[:, :, None] * x, axis=0)
                if not DYNAMIC:
                    share = tl.where(is_above, share, 0.0)
                    upper = upper * fading[:, None] + tl.sum(share[:, :, None] * x, axis=0)
                most = raised
            is_filled = total > 0
            total = tl.where(is_filled | (total != total), total, 1.0)
            to = program * (HEADS * WIDTH) + place
            tl.store(out + to, found / total[:, None], mask=inside)
            log = tl.where(is_filled | (total != total), most + tl.log(total), 0.0)
            tl.store(logs + program * HEADS + head, log, mask=head < HEADS)
            if not DYNAMIC:
                tl.store(above + to, upper / total[:, None], mask=inside)
                tl.store(above_share + program * HEADS + head, upper_share / total, mask=head < HEADS)


@triton.jit
def target_gradients(
    grad, out, above, above_share, target, logs,
    of_target, packed,
    rows,
    SLOPE: tl.constexpr, HEADS: tl.constexpr, WIDTH: tl.constexpr, BIG: tl.constexpr,
    BLOCK: tl.constexpr, HIGH: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    """Of scores that are leaky_relu(source + target): the gradient of `target` [targets, heads], without its edges.

    That of a score is share * (of the share - their mean), and these sum to 0 over a row; so, of the slope of the leaky
    relu, what is beyond SLOPE counts alone, at edges above 0, and their sums are there. packed: [targets, 3, heads]:
    target, logs and that mean, which is the product of `grad` and `out`.
    """
    row = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    if BIG:
        row = row.to(tl.int64)
    kind = logs.dtype.element_ty
    head = tl.program_id(1) * HIGH + tl.arange(0, HIGH)
    column = tl.arange(0, WIDE)
    at = row[:, None, None] * (HEADS * WIDTH) + (head[:, None] * WIDTH + column[None, :])[None, :, :]
    inside = (row < rows)[:, None, None] & ((head < HEADS)[:, None] & (column < WIDTH)[None, :])[None, :, :]
    g = tl.load(grad + at, mask=inside, other=0.0).to(kind)
    mean = tl.sum(g * tl.load(out + at, mask=inside, other=0.0).to(kind), axis=2)
    upper = tl.sum(g * tl.load(above + at, mask=inside, other=0.0), axis=2)
    to = row[:, None] * HEADS + head[None, :]
    both = (row < rows)[:, None] & (head < HEADS)[None, :]
    upper_share = tl.load(above_share + to, mask=both, other=0.0)
    tl.store(of_target + to, (1.0 - SLOPE) * (upper - mean * upper_share), mask=both)
    into = packed + row[:, None] * (3 * HEADS) + head[None, :]
    tl.store(into, tl.load(target + to, mask=both, other=0.0).to(kind), mask=both)
    tl.store(into + HEADS, tl.load(logs + to, mask=both, other=0.0), mask=both)
    tl.store(into + 2 * HEADS, mean, mask=both)


@triton.jit
def dynamic_target_gradients(
    programs, starts, ends, owners, sources,
    rows, target, weights, numbers, key, threshold,
    grad, out, logs, of_target, of_weights, packed, longest,
    SCALE: tl.constexpr, SLOPE: tl.constexpr, HEADS: tl.constexpr, WIDTH: tl.constexpr, BIG: tl.constexpr,
    HAS_OWNERS: tl.constexpr, HAS_DROPOUT: tl.constexpr, NUMBERS: tl.constexpr,
    DEEP: tl.constexpr, HIGH: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    """Of scores that are weights . leaky_relu(source + target): the gradients of `target`, and each row's of `weights`.

    packed: [targets, 2, heads]: logs, and the mean over the row of the shares' gradients.
    """
    for number in range(tl.program_id(0), programs, tl.num_programs(0)):
        program = tl.cast(number, tl.int64)
        start = tl.load(starts + program)
        end = tl.load(ends + program)
        if end - start <= longest:
            kind = logs.dtype.element_ty
            owner = program
            if HAS_OWNERS:
                owner = tl.load(owners + program).to(tl.int64)
            head = tl.program_id(1) * HIGH + tl.arange(0, HIGH)
            column = tl.arange(0, WIDE)
            place = head[:, None] * WIDTH + column[None, :]
            inside = (head < HEADS)[:, None] & (column < WIDTH)[None, :]
            at = owner * (HEADS * WIDTH) + place
            weight = tl.load(weights + place, mask=inside, other=0.0).to(kind)
            asked = tl.load(target + at, mask=inside, other=0.0).to(kind)
            g = tl.load(grad + at, mask=inside, other=0.0).to(kind)
            mean = tl.sum(g * tl.load(out + at, mask=inside, other=0.0).to(kind), axis=1)
            log = tl.load(logs + owner * HEADS + head, mask=head < HEADS, other=0.0)
            to_target = tl.zeros([HIGH, WIDE], kind)
            to_weights = tl.zeros([HIGH, WIDE], kind)
            for first in range(start, end, DEEP):
                edge = first + tl.arange(0, DEEP)
                here = edge < end
                source = tl.load(sources + edge, mask=here, other=0)
                if BIG:
                    source = source.to(tl.int64)
                x = tl.load(
                    rows + (source[:, None, None] * (HEADS * WIDTH) + place[None, :, :]),
                    mask=here[:, None, None] & inside[None, :, :], other=0.0,
                ).to(kind)  # fmt: skip
                both = x + asked[None, :, :]
                bent = _leaky(both, SLOPE)
                score = tl.sum(bent * weight[None, :, :], axis=2)
                share = tl.where(here[:, None], tl.exp(score - log[None, :]), 0.0)
                of_share = tl.sum(x * g[None, :, :], axis=2)
                if HAS_DROPOUT:
                    kept = _kept(edge, here, head, numbers, key, threshold, HEADS, NUMBERS)
                    of_share = tl.where(kept, of_share * SCALE, 0.0)
                of_score = share * (of_share - mean[None, :])
                to_weights += tl.sum(of_score[:, :, None] * bent, axis=0)
                to_target += tl.sum(_sloping(of_score, both, SLOPE), axis=0)
            to = program * (HEADS * WIDTH) + place
            tl.store(of_target + to, to_target * weight, mask=inside)
            tl.store(of_weights + to, to_weights, mask=inside)
            into = packed + owner * (2 * HEADS) + head
            tl.store(into, log, mask=head < HEADS)
            tl.store(into + HEADS, mean, mask=head < HEADS)


@triton.jit
def source_gradients(  # long: a kernel, whose forms share their loop
    programs, starts, ends, owners, targets, edges,
    rows, target, weights, numbers, key, threshold,
    grad, packed, of_rows, of_scores, longest,
    SCALE: tl.constexpr, SLOPE: tl.constexpr, HEADS: tl.constexpr, WIDTH: tl.constexpr, BIG: tl.constexpr,
    DYNAMIC: tl.constexpr, HAS_OWNERS: tl.constexpr, HAS_DROPOUT: tl.constexpr, NUMBERS: tl.constexpr,
    DEEP: tl.constexpr, HIGH: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    """The gradient of `rows`, a program for each source's edges; targets, edges: of each, in the sources' order.

    of_scores, where scores are not DYNAMIC: the gradient of the source's part of them, [programs, heads].
    """
    for number in range(tl.program_id(0), programs, tl.num_programs(0)):
        program = tl.cast(number, tl.int64)
        start = tl.load(starts + program)
        end = tl.load(ends + program)
        if end - start <= longest:
            kind = packed.dtype.element_ty
            owner = program
            if HAS_OWNERS:
                owner = tl.load(owners + program).to(tl.int64)
            head = tl.program_id(1) * HIGH + tl.arange(0, HIGH)
            column = tl.arange(0, WIDE)
            place = head[:, None] * WIDTH + column[None, :]
            inside = (head < HEADS)[:, None] & (column < WIDTH)[None, :]
            weight = tl.load(weights + place, mask=inside, other=0.0).to(kind)
            x = tl.load(rows + owner * (HEADS * WIDTH) + place, mask=inside, other=0.0).to(kind)
            own_score = tl.sum(x * weight, axis=1)
            to_rows = tl.zeros([HIGH, WIDE], kind)
            to_weighted = tl.zeros([HIGH, WIDE], kind)
            to_scores = tl.zeros([HIGH], kind)
            for first in range(start, end, DEEP):
                place_of = first + tl.arange(0, DEEP)
                here = place_of < end
                there = here[:, None] & (head < HEADS)[None, :]
                asking = tl.load(targets + place_of, mask=here, other=0)
                if BIG:
                    asking = asking.to(tl.int64)
                at = asking[:, None, None] * (HEADS * WIDTH) + place[None, :, :]
                g = tl.load(grad + at, mask=here[:, None, None] & inside[None, :, :], other=0.0).to(kind)
                if DYNAMIC:
                    asked = tl.load(target + at, mask=here[:, None, None] & inside[None, :, :], other=0.0).to(kind)
                    both = asked + x[None, :, :]
                    score = tl.sum(_leaky(both, SLOPE) * weight[None, :, :], axis=2)
                    known = packed + (asking[:, None] * (2 * HEADS) + head[None, :])
                else:
                    known = packed + (asking[:, None] * (3 * HEADS) + head[None, :])
                    score = own_score[None, :] + tl.load(known, mask=there, other=0.0)
                    is_above = score > 0
                    score = _leaky(score, SLOPE)
                    known += HEADS
                log = tl.load(known, mask=there, other=0.0)
                mean = tl.load(known + HEADS, mask=there, other=0.0)
                share = tl.where(here[:, None], tl.exp(score - log), 0.0)
                of_share = tl.sum(g * x[None, :, :], axis=2)
                sent = share
                if HAS_DROPOUT:
                    edge = tl.load(edges + place_of, mask=here, other=0)
                    kept = _kept(edge, here, head, numbers, key, threshold, HEADS, NUMBERS)
                    of_share = tl.where(kept, of_share * SCALE, 0.0)
                    sent = tl.where(kept, share * SCALE, 0.0)
                of_score = share * (of_share - mean)
                to_rows += tl.sum(sent[:, :, None] * g, axis=0)
                if DYNAMIC:
                    to_weighted += tl.sum(_sloping(of_score, both, SLOPE), axis=0)
                else:
                    to_scores += tl.sum(tl.where(is_above, of_score, of_score * SLOPE), axis=0)
            if not DYNAMIC:
                to_weighted += to_scores[:, None]
                tl.store(of_scores + program * HEADS + head, to_scores, mask=head < HEADS)
            tl.store(of_rows + program * (HEADS * WIDTH) + place, to_rows + to_weighted * weight, mask=inside)
