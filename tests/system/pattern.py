"""The seeded pattern that host and guest make each for itself: little-endian 64-bit outputs of splitmix64 (see apps/pattern.h).

Pure Python would take ten seconds for 64 MiB word by word. So a long integer holds many words, each in a lane of 128 bits: a
multiplication by a 64-bit constant then stays within its lane, and one operation of Python works on thousands of words.
"""

LANES = 4096
WORD = (1 << 64) - 1
STEP = 0x9E3779B97F4A7C15


def spread(words):
    return int.from_bytes(b"".join(word.to_bytes(16, "little") for word in words), "little")


ONES = spread([1] * LANES)
MASK = spread([WORD] * LANES)
STEPS = spread([(i * STEP) & WORD for i in range(LANES)])


def words(seed, first):
    """LANES words of the pattern from word `first`, as bytes."""
    z = (ONES * ((seed + (first + 1) * STEP) & WORD) + STEPS) & MASK
    z = ((z ^ (z >> 30 & MASK)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27 & MASK)) * 0x94D049BB133111EB) & MASK
    z ^= z >> 31 & MASK
    return memoryview(z.to_bytes(16 * LANES, "little")).cast("Q")[::2].tobytes()


def pattern(seed, offset, length):
    """Bytes [offset, offset + length) of the pattern."""
    first = offset // 8
    skip = offset % 8
    count = (skip + length + 7) // 8
    data = b"".join(words(seed, first + i) for i in range(0, count, LANES))
    return data[skip:skip + length]
