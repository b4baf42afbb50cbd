/*
 * Data that both ends of a test can make for themselves, and its check sum.
 *
 * The pattern of a seed is a stream of bytes: 64-bit words, little-endian, and word i is the i-th output (from 0) of the
 * splitmix64 generator that starts at the seed. In Python:
 *
 *   def word(seed, i):
 *       z = (seed + (i + 1) * 0x9E3779B97F4A7C15) & M          # M = 2**64 - 1
 *       z = ((z ^ z >> 30) * 0xBF58476D1CE4E5B9) & M
 *       z = ((z ^ z >> 27) * 0x94D049BB133111EB) & M
 *       return z ^ z >> 31
 *   byte at offset o: word(seed, o // 8) >> 8 * (o % 8) & 255
 *
 * Any word is reached in one step, so any piece of a disk can be made or checked alone, and no two places look alike.
 */
#ifndef APPS_PATTERN_H
#define APPS_PATTERN_H

#include <stddef.h>
#include <stdint.h>

static inline uint64_t pattern_word(uint64_t seed, uint64_t index)
{
	uint64_t z = seed + (index + 1) * UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

/* Bytes [offset, offset + length) of the pattern; memory has any alignment. */
void pattern_fill(uint64_t seed, uint64_t offset, void *memory, size_t length);

/* How many bytes from the start agree with the pattern: `length` when all do. */
size_t pattern_check(uint64_t seed, uint64_t offset, const void *memory, size_t length);

/* CRC-32 as zlib's crc32(): start with 0, feed the former result to go on. */
uint32_t crc32_update(uint32_t crc, const void *memory, size_t length);

#endif
