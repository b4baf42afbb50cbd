/*
 * The pattern and CRC-32.
 *
 * Both run over whole disks on emulated CPUs, so both take eight bytes a step: the pattern is made of 64-bit words anyway, and
 * the CRC looks up eight tables, one for each byte's distance from the end of the step, instead of one table eight times in a
 * row. The tables are made at first use: 8 KiB of zeroed memory cost the image nothing.
 */
#include "pattern.h"

#include <string.h>

#include <base/endian.h>
#include <base/util.h>

void pattern_fill(uint64_t seed, uint64_t offset, void *memory, size_t length)
{
	uint8_t *out = memory;

	while (length) {
		le64 word = cpu_to_le64(pattern_word(seed, offset / 8));
		size_t skip = offset % 8, part = MIN(8 - skip, length);

		if (likely(part == 8))
			__builtin_memcpy(out, &word, 8);
		else
			memcpy(out, (const uint8_t *)&word + skip, part);
		out += part;
		offset += part;
		length -= part;
	}
}

size_t pattern_check(uint64_t seed, uint64_t offset, const void *memory, size_t length)
{
	const uint8_t *in = memory;
	size_t done = 0;

	while (done < length) {
		le64 word = cpu_to_le64(pattern_word(seed, (offset + done) / 8));
		size_t skip = (offset + done) % 8, part = MIN(8 - skip, length - done);
		const uint8_t *expected = (const uint8_t *)&word + skip;

		if (unlikely(part == 8 ? __builtin_memcmp(in + done, &word, 8) : memcmp(in + done, expected, part))) {
			while (in[done] == *expected++)
				done++;
			break;
		}
		done += part;
	}
	return done;
}

/* The polynomial x^32 + x^26 + x^23 + ... + 1, lowest power in the highest bit. */
#define CRC32_POLYNOMIAL 0xedb88320u

static uint32_t crc_table[8][256];

static void crc_make_tables(void)
{
	for (unsigned i = 0; i < 256; i++) {
		uint32_t crc = i;

		for (unsigned bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? CRC32_POLYNOMIAL : 0);
		crc_table[0][i] = crc;
	}
	for (unsigned i = 0; i < 256; i++) {
		for (unsigned k = 1; k < 8; k++)
			crc_table[k][i] = crc_table[k - 1][i] >> 8 ^ crc_table[0][crc_table[k - 1][i] & 0xff];
	}
}

uint32_t crc32_update(uint32_t crc, const void *memory, size_t length)
{
	const uint8_t *in = memory;

	if (!crc_table[0][1])
		crc_make_tables();
	crc = ~crc;
	for (; length >= 8; length -= 8, in += 8) {
		uint64_t word;

		__builtin_memcpy(&word, in, 8);
		word = le64_to_cpu(word) ^ crc;
		crc = crc_table[7][word & 0xff] ^ crc_table[6][word >> 8 & 0xff] ^ crc_table[5][word >> 16 & 0xff] ^
		      crc_table[4][word >> 24 & 0xff] ^ crc_table[3][word >> 32 & 0xff] ^ crc_table[2][word >> 40 & 0xff] ^
		      crc_table[1][word >> 48 & 0xff] ^ crc_table[0][word >> 56];
	}
	for (; length; length--)
		crc = crc >> 8 ^ crc_table[0][(crc ^ *in++) & 0xff];
	return ~crc;
}
