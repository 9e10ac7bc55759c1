"""Portable randomness: the same weights and the same dropout bits on every backend.

Weights are drawn on the host from NumPy's Philox. Dropout bits come from a counter-based hash, so that
the bit of an element depends on (seed, epoch, layer, element index) alone: not on the order in which
elements are visited, on how a graph is cut into parts, nor on whose generator ran before.

The hash is two rounds of xorshift and multiply with the constants of `lowbias32`
(C. Wellons, "Prospecting for Hash Functions", 2018), the second half of the key entering between the
rounds so that two keys never give shifted copies of one stream. All arithmetic is modulo 2**32. A backend
that has only signed 32-bit integers gets the same bits if it masks the sign that a right shift drags in.
"""

from __future__ import annotations

import hashlib
import math
import re
from functools import lru_cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from portgnn.parts import host_threads, in_threads

MULTIPLIER_1 = 0x7FEB352D
MULTIPLIER_2 = 0x846CA68B
SHIFTS = (16, 15, 16)
HASH = (*SHIFTS, MULTIPLIER_1, MULTIPLIER_2)
"""What the bits of an element are mixed with."""

# Of NumPy's SeedSequence (numpy/random/bit_generator.pyx).
_POOL = 4
_INIT_A, _MULT_A = 0x43B0D7E5, 0x931E8875
_INIT_B, _MULT_B = 0x8B51F9DD, 0x58F38DED
_MIX_LEFT, _MIX_RIGHT = 0xCA01F9DD, 0x4973F715


def keep_threshold(rate: float) -> int:
    """The signed 32-bit bound below which `random_bits` means "keep".

    Bits are uniform on [-2**31, 2**31), so `bits < keep_threshold(rate)` holds with probability 1 - rate,
    to within 2**-32. rate: in [0, 1).
    """
    if not 0.0 <= rate < 1.0:
        raise ValueError(f"dropout rate must be in [0, 1), not {rate}")
    return min(round((1.0 - rate) * 2**32), 2**32 - 1) - 2**31


def random_bits(key: tuple[Any, Any], index: NDArray[np.uint32]) -> NDArray[np.int32]:
    """The reference hash, in NumPy. key: two words below 2**32; index: uint32 of any shape -> int32.

    The words may be uint32 arrays that broadcast against the index: the bits of several keys at once.
    """
    x = index + np.uint32(key[0])
    scratch = x >> np.uint32(SHIFTS[0])
    x ^= scratch
    x *= np.uint32(MULTIPLIER_1)
    np.right_shift(x, np.uint32(SHIFTS[1]), out=scratch)
    x ^= scratch
    x ^= np.uint32(key[1])
    x *= np.uint32(MULTIPLIER_2)
    np.right_shift(x, np.uint32(SHIFTS[2]), out=scratch)
    x ^= scratch
    return x.view(np.int32)


BLOCK = 2**16
"""Elements whose bits are computed together: what ten passes over them read and write stays in a core's cache."""
SHARED = 1 << 21
"""Elements from which on threads share a mask: so many take one thread ten milliseconds."""


def dropout_mask(key: tuple[Any, Any], index: int | NDArray[np.uint32], rate: float, dtype: str) -> NDArray[np.generic]:
    """1 / (1 - rate) for the elements that dropout keeps and 0 for the others, for adapters that work on the host.

    key: as for `random_bits`. index: n for elements 0 to n - 1, or their numbers, uint32 of any shape. Holds no bits
    beyond one block, since for a large graph they would take more memory than the mask.
    """
    threshold, scale = keep_threshold(rate), 1.0 / (1.0 - rate)
    if isinstance(key[0], np.ndarray):
        bits = random_bits(key, _numbers(index) if isinstance(index, int) else index)
        return np.multiply(bits < threshold, scale, dtype=dtype)
    shape = (index,) if isinstance(index, int) else index.shape
    mask = np.empty(math.prod(shape), dtype=dtype)
    flat = None if isinstance(index, int) else index.reshape(-1)

    def fill(starts: range) -> None:
        for start in starts:
            part = mask[start : start + BLOCK]
            if flat is not None:
                bits = random_bits((int(key[0]), int(key[1])), flat[start : start + BLOCK])
            else:  # the hash begins with number + key[0], so a later block is the first one under another key
                bits = random_bits((int(key[0]) + start & 0xFFFFFFFF, int(key[1])), _numbers(len(part)))
            np.multiply(bits < threshold, scale, out=part, dtype=dtype)

    threads = host_threads() if len(mask) >= SHARED else 1
    in_threads([partial(fill, range(BLOCK * at, len(mask), BLOCK * threads)) for at in range(threads)])
    return mask.reshape(shape)


@lru_cache(maxsize=8)
def _numbers(count: int) -> NDArray[np.uint32]:
    numbers = np.arange(count, dtype=np.uint32)
    numbers.flags.writeable = False
    return numbers


def dropout_keys(seed: int, epochs: range, layers: int) -> NDArray[np.uint32]:
    """Keys of the dropout masks. Returns uint32 [len(epochs), layers, 2].

    Each is two words of NumPy's SeedSequence over (seed, epoch), so that neighbouring seeds and epochs are
    unrelated, and each epoch's can be computed alone (a resumed run needs no replay).
    """
    words = [np.full(len(epochs), word, dtype=np.uint32) for word in _words(seed)]
    words.append(np.arange(epochs.start, epochs.stop, epochs.step, dtype=np.uint32))
    return seed_states(words, 2 * layers).reshape(len(epochs), layers, 2)


def _words(value: int) -> list[int]:
    """A number, 0 or more, in 32-bit words, the lowest first."""
    words = [value & 0xFFFFFFFF]
    while value := value >> 32:
        words.append(value & 0xFFFFFFFF)
    return words


def seed_states(entropy: list[NDArray[np.uint32]], count: int) -> NDArray[np.uint32]:
    """`np.random.SeedSequence(words).generate_state(count)` for many sequences at once, [n, count].

    entropy: the words of all sequences, [n] each. An object for each epoch took 8 µs, a seventh of an epoch on a
    GPU. The algorithm is M. E. O'Neill's seed_seq_fe ("Developing a seed_seq Alternative", 2015) with the constants
    of NumPy, which keeps it stable (NEP 19); a test holds both to the same words.
    """
    constant = _INIT_A

    def mixed_in(value: NDArray[np.uint32]) -> NDArray[np.uint32]:
        nonlocal constant
        value = value ^ np.uint32(constant)
        constant = constant * _MULT_A & 0xFFFFFFFF
        value *= np.uint32(constant)
        value ^= value >> np.uint32(16)
        return value

    def combined(x: NDArray[np.uint32], y: NDArray[np.uint32]) -> NDArray[np.uint32]:
        x = x * np.uint32(_MIX_LEFT) - y * np.uint32(_MIX_RIGHT)
        x ^= x >> np.uint32(16)
        return x

    nothing = np.zeros(len(entropy[0]), dtype=np.uint32)
    pool = [mixed_in(entropy[i] if i < len(entropy) else nothing) for i in range(_POOL)]
    for source in range(_POOL):
        for target in range(_POOL):
            if source != target:
                pool[target] = combined(pool[target], mixed_in(pool[source]))
    for word in entropy[_POOL:]:
        for target in range(_POOL):
            pool[target] = combined(pool[target], mixed_in(word))

    states = np.empty((len(nothing), count), dtype=np.uint32)
    constant = _INIT_B
    for i in range(count):
        value = pool[i % _POOL] ^ np.uint32(constant)
        constant = constant * _MULT_B & 0xFFFFFFFF
        value *= np.uint32(constant)
        states[:, i] = value ^ (value >> np.uint32(16))
    return states


def parameter_stream(seed: int, name: str) -> np.random.Generator:
    """The generator of one parameter's initial values: Philox, keyed by seed and name.

    A network can so gain a parameter, or name them in another order, without moving the others. weight0, weight1, …
    have the streams 0, 1, … that they have had in every version; any other name has one of its own, by its SHA-256.
    """
    number = re.fullmatch(r"weight(0|[1-9][0-9]{0,8})", name)
    digest = hashlib.sha256(name.encode()).digest()
    words = [int(number[1])] if number else [int.from_bytes(digest[i : i + 4], "little") for i in range(0, 16, 4)]
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, *words])))


def glorot_bound(shape: tuple[int, ...]) -> float:
    """The a of Glorot's uniform distribution U(-a, a), sqrt(6 / (fan_in + fan_out)) (Glorot & Bengio 2010, eq. 16).

    The last two axes of the shape are (fan_in, fan_out); a vector is one row.
    """
    fan_in, fan_out = (1, *shape)[-2:]
    return float(np.sqrt(6.0 / (fan_in + fan_out)))


def stream_key(numbers: list[int], name: str) -> NDArray[np.uint32]:
    """Four words for `words64`, of some numbers, each 0 or more, and of what is drawn: none shares bits with another.

    Words of NumPy's SeedSequence over the numbers and the name's SHA-256, as those of `dropout_keys` are.
    """
    digest = hashlib.sha256(name.encode()).digest()
    entropy = [word for number in numbers for word in _words(number)]
    entropy += [int.from_bytes(digest[at : at + 4], "little") for at in range(0, 16, 4)]
    key: NDArray[np.uint32] = seed_states([np.array([word], dtype=np.uint32) for word in entropy], 4)[0]
    return key


def words64(key: NDArray[np.uint32], start: int, count: int) -> NDArray[np.uint64]:
    """Portable random words of 64 bits, those numbered from start on. key: of `stream_key`.

    Two words of the hash above under the key's two halves; as no NumPy generator's, they depend on no version.
    """
    index = np.arange(start, start + count, dtype=np.uint32)
    halves = [random_bits((int(key[at]), int(key[at + 1])), index).view(np.uint32) for at in (0, 2)]
    return halves[0].astype(np.uint64) << np.uint64(32) | halves[1]
