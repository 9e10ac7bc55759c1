"""The loops that `compiled` compiles, as LLVM's assembly: products, dropout masks and Adam, each in one pass.

Every operation rounds as NumPy's and SciPy's own do, and sums go in their order, so that results have their bits: no
product and sum are contracted into one rounding. NumPy's arrays come as the addresses of their Python objects: to ask
NumPy for where the numbers are takes as long as the loop over a small array.
"""

from __future__ import annotations

from collections.abc import Sequence
from string import Template

REALS = {"f": ("float", 4), "d": ("double", 8)}
"""NumPy's character of a dtype -> LLVM's name of it, and its size in bytes."""

_PRODUCT = Template("""
define void @loop(i64 %first, i64 %last, i64 %stride, i64 %column, ptr %o0, ptr %o1, ptr %o2, ptr %o3, ptr %o4) {
entry:
  $pointers
  %x = getelementptr $real, ptr %p3, i64 %column
  %out = getelementptr $real, ptr %p4, i64 %column
  %none = icmp sge i64 %first, %last
  br i1 %none, label %done, label %line
line:
  %i = phi i64 [%first, %entry], [%next, %ended]
  %next = add i64 %i, 1
  %starts = getelementptr i32, ptr %p0, i64 %i
  %ends = getelementptr i32, ptr %p0, i64 %next
  %start32 = load i32, ptr %starts
  %end32 = load i32, ptr %ends
  %start = zext i32 %start32 to i64
  %end = zext i32 %end32 to i64
  %offset = mul i64 %i, %stride
  %own = getelementptr $real, ptr $here, i64 %offset
  $before
  %empty = icmp sge i64 %start, %end
  br i1 %empty, label %ended, label %stored
stored:
  %e = phi i64 [%start, %line], [%after, %stored]
  $sum
  %places = getelementptr i32, ptr %p1, i64 %e
  %place32 = load i32, ptr %places
  %place = zext i32 %place32 to i64
  %weights = getelementptr $real, ptr %p2, i64 %e
  %weight = load $real, ptr %weights
  %one = insertelement $vector poison, $real %weight, i32 0
  %all = shufflevector $vector %one, $vector poison, <$width x i32> zeroinitializer
  %there = mul i64 %place, %stride
  %other = getelementptr $real, ptr $away, i64 %there
  $body
  %after = add i64 %e, 1
  %more = icmp slt i64 %after, %end
  br i1 %more, label %stored, label %ended
ended:
  $result
  %again = icmp slt i64 %next, %last
  br i1 %again, label %line, label %done
done:
  ret void
}
""")

_GATHER = {
    "here": "%out",
    "away": "%x",
    "before": "",
    "sum": "%sum = phi $vector [zeroinitializer, %line], [%total, %stored]",
    "body": """%row = load $vector, ptr %other, align $size
  %term = fmul $vector %all, %row
  %total = fadd $vector %sum, %term""",
    "result": """%found = phi $vector [zeroinitializer, %line], [%total, %stored]
  store $vector %found, ptr %own, align $size""",
}
"""out[i] = sum over e of weights[e] * x[places[e]], of CSR."""

_SCATTER = {
    "here": "%x",
    "away": "%out",
    "before": "%row = load $vector, ptr %own, align $size",
    "sum": "",
    "body": """%held = load $vector, ptr %other, align $size
  %term = fmul $vector %all, %row
  %total = fadd $vector %held, %term
  store $vector %total, ptr %other, align $size""",
    "result": "",
}
"""out[places[e]] += weights[e] * x[i], of CSC; out begins as zeros."""


_PARTS = {"csr": _GATHER, "csc": _SCATTER}


def product(kind: str, width: int, char: str, offset: int | None) -> str:
    """Of a "csr" or "csc" matrix, over lines `first` to `last` and so many columns from `column` on, of `stride`.

    Objects: starts int32, places int32, weights, x, out. offset: of an array's data in its object, or None where the
    objects are the data.
    """
    real, size = REALS[char]
    names = {"real": real, "size": str(size), "width": str(width), "vector": f"<{width} x {real}>"}
    parts = {name: Template(text).substitute(names) for name, text in _PARTS[kind].items()}
    return _PRODUCT.substitute(names, pointers=_pointers(5, offset), **parts)


_SYMMETRIC = Template("""
define void @loop(i64 %rows, ptr %o0, ptr %o1, ptr %o2, ptr %o3, ptr %o4) {
entry:
  $pointers
  store i32 0, ptr %p4
  %none = icmp sle i64 %rows, 0
  br i1 %none, label %same, label %line
line:
  %i = phi i64 [0, %entry], [%next, %ended]
  %next = add i64 %i, 1
  %i32 = trunc i64 %i to i32
  %starts = getelementptr i32, ptr %p3, i64 %i
  %ends = getelementptr i32, ptr %p0, i64 %next
  %start32 = load i32, ptr %starts
  %end32 = load i32, ptr %ends
  %start = zext i32 %start32 to i64
  %end = zext i32 %end32 to i64
  %empty = icmp sge i64 %start, %end
  br i1 %empty, label %ended, label %stored
stored:
  %e = phi i64 [%start, %line], [%after, %equal]
  %places = getelementptr i32, ptr %p1, i64 %e
  %j32 = load i32, ptr %places
  %j = zext i32 %j32 to i64
  %is_loop = icmp eq i64 %j, %i
  br i1 %is_loop, label %equal, label %apart
apart:
  %is_left = icmp slt i64 %j, %i
  br i1 %is_left, label %done, label %right
right:
  %cursors = getelementptr i32, ptr %p3, i64 %j
  %cursor32 = load i32, ptr %cursors
  %j1 = add i64 %j, 1
  %limits = getelementptr i32, ptr %p0, i64 %j1
  %limit32 = load i32, ptr %limits
  %inside = icmp ult i32 %cursor32, %limit32
  br i1 %inside, label %looked, label %done
looked:
  %cursor = zext i32 %cursor32 to i64
  %other_places = getelementptr i32, ptr %p1, i64 %cursor
  %other = load i32, ptr %other_places
  %is_i = icmp eq i32 %other, %i32
  %weights = getelementptr $real, ptr %p2, i64 %e
  %weight = load $real, ptr %weights
  %other_weights = getelementptr $real, ptr %p2, i64 %cursor
  %other_weight = load $real, ptr %other_weights
  %as_heavy = fcmp oeq $real %weight, %other_weight
  %both = and i1 %is_i, %as_heavy
  br i1 %both, label %met, label %done
met:
  %moved = add i32 %cursor32, 1
  store i32 %moved, ptr %cursors
  br label %equal
equal:
  %after = add i64 %e, 1
  %more = icmp slt i64 %after, %end
  br i1 %more, label %stored, label %ended
ended:
  %again = icmp slt i64 %next, %rows
  br i1 %again, label %line, label %same
same:
  store i32 1, ptr %p4
  br label %done
done:
  ret void
}
""")


def symmetric(char: str, offset: int) -> str:
    """Whether a canonical CSR matrix of so many rows and columns is its own transpose.

    Objects: starts int32, places int32, weights, a copy of the starts without the last, int32 [1] for the answer. Row
    after row, a value (i, j) right of the diagonal is to be the next of row j that has not been met, and all that are
    left of it are to have been met when their row comes.
    """
    return _SYMMETRIC.substitute(real=REALS[char][0], pointers=_pointers(5, offset))


_ELEMENTWISE = Template("""
declare float @llvm.sqrt.f32(float)
declare double @llvm.sqrt.f64(double)
define void @loop(i64 %first, i64 %last, $scalars, $objects) {
entry:
  $pointers
  %none = icmp sge i64 %first, %last
  br i1 %none, label %done, label %each
each:
  %i = phi i64 [%first, %entry], [%next, %each]
  $body
  %next = add i64 %i, 1
  %more = icmp slt i64 %next, %last
  br i1 %more, label %each, label %done
done:
  ret void
}
""")

RATES = ("keep1", "new1", "keep2", "new2", "c2", "eps", "rate", "decay")
_ADAM = """%at0 = getelementptr $real, ptr %p0, i64 %i
  %at1 = getelementptr $real, ptr %p1, i64 %i
  %at2 = getelementptr $real, ptr %p2, i64 %i
  %at3 = getelementptr $real, ptr %p3, i64 %i
  %value = load $real, ptr %at0
  %given = load $real, ptr %at1
  %m0 = load $real, ptr %at2
  %v0 = load $real, ptr %at3
  %pull = fmul $real %value, %decay
  %decayed = fadd $real %given, %pull
  %g = select i1 %decays, $real %decayed, $real %given
  %m1 = fmul $real %m0, %keep1
  %m2 = fmul $real %g, %new1
  %m = fadd $real %m1, %m2
  %v1 = fmul $real %v0, %keep2
  %v2 = fmul $real %g, %g
  %v3 = fmul $real %v2, %new2
  %v = fadd $real %v1, %v3
  %d1 = fdiv $real %v, %c2
  %d2 = call $real @llvm.sqrt.$short($real %d1)
  %d = fadd $real %d2, %eps
  %s1 = fmul $real %m, %rate
  %s = fdiv $real %s1, %d
  %updated = fsub $real %value, %s
  store $real %updated, ptr %at0
  store $real %m, ptr %at2
  store $real %v, ptr %at3"""


def adam(char: str, offset: int) -> str:
    """A step of `portgnn.parts.Adam` in place, of `RATES` and the objects value, gradient, m, v."""
    pointers = f"%decays = fcmp one {REALS[char][0]} %decay, 0.0\n  {_pointers(4, offset)}"
    return _elementwise(_ADAM, char, ", ".join(f"$real %{name}" for name in RATES), 4, pointers)


_MASK = """$number
  %x0 = add i32 %number, %key0
  %x1 = lshr i32 %x0, $shift0
  %x2 = xor i32 %x0, %x1
  %x3 = mul i32 %x2, $multiplier1
  %x4 = lshr i32 %x3, $shift1
  %x5 = xor i32 %x3, %x4
  %x6 = xor i32 %x5, %key1
  %x7 = mul i32 %x6, $multiplier2
  %x8 = lshr i32 %x7, $shift2
  %x9 = xor i32 %x7, %x8
  %kept = icmp slt i32 %x9, %threshold
  %mask = select i1 %kept, $real %scale, $real 0.0
  %to = getelementptr $real, ptr %p0, i64 %i
  store $real %mask, ptr %to"""


def mask(numbered: bool, char: str, constants: Sequence[int], offset: int) -> str:
    """`portgnn.random.dropout_mask` of an object's elements: by their places, or by numbers in a second object.

    constants: `portgnn.random.HASH`.
    """
    number = "%number = trunc i64 %i to i32"
    if numbered:
        number = "%from = getelementptr i32, ptr %p1, i64 %i\n  %number = load i32, ptr %from"
    names = ("shift0", "shift1", "shift2", "multiplier1", "multiplier2")
    body = Template(_MASK).safe_substitute(dict(zip(names, map(str, constants), strict=True)), number=number)
    count = 1 + numbered
    return _elementwise(
        body, char, "i32 %key0, i32 %key1, i32 %threshold, $real %scale", count, _pointers(count, offset)
    )


def _elementwise(body: str, char: str, scalars: str, objects: int, pointers: str) -> str:
    """A loop over elements `first` to `last`, which LLVM makes one over vectors."""
    real, size = REALS[char]
    names = {"real": real, "short": f"f{8 * size}"}
    arrays = ", ".join(f"ptr %o{number}" for number in range(objects))
    own = {"body": Template(body).substitute(names), "scalars": Template(scalars).substitute(names)}
    return _ELEMENTWISE.substitute(own, objects=arrays, pointers=pointers)


def _pointers(objects: int, offset: int | None) -> str:
    """Where the numbers of objects o0, o1, … are, as p0, p1, …."""
    if offset is None:
        return "\n  ".join(f"%p{number} = getelementptr i8, ptr %o{number}, i64 0" for number in range(objects))
    return "\n  ".join(
        f"%f{number} = getelementptr i8, ptr %o{number}, i64 {offset}\n  %p{number} = load ptr, ptr %f{number}"
        for number in range(objects)
    )
