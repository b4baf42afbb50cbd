/*
 * AES, SHA-256 and HMAC by the letter of their standards. Tables are computed: fewer digits to mistype.
 */
#include "algorithms.h"

#include <stdlib.h>
#include <string.h>

static uint8_t sbox[256], unbox[256];

static uint8_t times2(uint8_t x) { return (uint8_t)(x << 1 ^ (x & 0x80 ? 0x1b : 0)); }

static uint8_t times(uint8_t x, unsigned y)
{
	uint8_t product = 0;

	for (; y; y >>= 1, x = times2(x))
		product ^= y & 1 ? x : 0;
	return product;
}

static uint8_t rotate(uint8_t x, unsigned by) { return (uint8_t)(x << by | x >> (8 - by)); }

/* FIPS 197, 5.1.1: the inverse, and an affine transformation */
static void make_boxes(void)
{
	for (unsigned x = 0; x < 256; x++) {
		uint8_t inverse = 0;

		for (unsigned y = 1; x && !inverse; y++)
			inverse = times((uint8_t)x, y) == 1 ? (uint8_t)y : 0;
		sbox[x] = (uint8_t)(inverse ^ rotate(inverse, 1) ^ rotate(inverse, 2) ^ rotate(inverse, 3) ^ rotate(inverse, 4) ^
		                    0x63);
		unbox[sbox[x]] = (uint8_t)x;
	}
}

bool aes_init(struct aes *aes, const uint8_t *key, size_t bytes)
{
	unsigned nk = (unsigned)bytes / 4;
	uint8_t *words = &aes->keys[0][0], constant = 1;

	if (bytes != 16 && bytes != 24 && bytes != 32)
		return false;
	if (!sbox[0])
		make_boxes();
	aes->rounds = nk + 6;
	memcpy(words, key, bytes);
	for (unsigned i = nk; i < 4 * (aes->rounds + 1); i++) {
		uint8_t t[4], first;

		memcpy(t, words + 4 * (i - 1), 4);
		if (i % nk == 0) {
			first = t[0];
			t[0] = sbox[t[1]] ^ constant;
			t[1] = sbox[t[2]];
			t[2] = sbox[t[3]];
			t[3] = sbox[first];
			constant = times2(constant);
		} else if (nk > 6 && i % nk == 4) {
			for (unsigned b = 0; b < 4; b++)
				t[b] = sbox[t[b]];
		}
		for (unsigned b = 0; b < 4; b++)
			words[4 * i + b] = words[4 * (i - nk) + b] ^ t[b];
	}
	return true;
}

static void exor(uint8_t *to, const uint8_t *with, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++)
		to[i] ^= with[i];
}

static void mix(uint8_t s[16], const uint8_t by[4])
{
	for (unsigned c = 0; c < 16; c += 4) {
		uint8_t column[4];

		memcpy(column, s + c, 4);
		for (unsigned r = 0; r < 4; r++)
			s[c + r] = times(column[r], by[0]) ^ times(column[(r + 1) % 4], by[1]) ^
			           times(column[(r + 2) % 4], by[2]) ^ times(column[(r + 3) % 4], by[3]);
	}
}

void aes_block(const struct aes *aes, const uint8_t in[16], uint8_t out[16])
{
	static const uint8_t by[4] = {2, 3, 1, 1};
	uint8_t s[16], t[16];

	memcpy(s, in, 16);
	exor(s, aes->keys[0], 16);
	for (unsigned round = 1; round <= aes->rounds; round++) {
		for (unsigned i = 0; i < 16; i++)
			t[i] = sbox[s[(i + 4 * (i % 4)) % 16]]; /* rows shifted */
		if (round < aes->rounds)
			mix(t, by);
		exor(t, aes->keys[round], 16);
		memcpy(s, t, 16);
	}
	memcpy(out, s, 16);
}

void aes_unblock(const struct aes *aes, const uint8_t in[16], uint8_t out[16])
{
	static const uint8_t by[4] = {14, 11, 13, 9};
	uint8_t s[16], t[16];

	memcpy(s, in, 16);
	for (unsigned round = aes->rounds; round; round--) {
		exor(s, aes->keys[round], 16);
		if (round < aes->rounds)
			mix(s, by);
		for (unsigned i = 0; i < 16; i++)
			t[(i + 4 * (i % 4)) % 16] = unbox[s[i]];
		memcpy(s, t, 16);
	}
	exor(s, aes->keys[0], 16);
	memcpy(out, s, 16);
}

bool aes_ecb(const uint8_t *key, size_t key_bytes, bool decrypt, const uint8_t *in, uint8_t *out, size_t bytes)
{
	struct aes aes;

	if (!aes_init(&aes, key, key_bytes) || bytes % 16)
		return false;
	for (size_t at = 0; at < bytes; at += 16)
		(decrypt ? aes_unblock : aes_block)(&aes, in + at, out + at);
	return true;
}

bool aes_cbc(const uint8_t *key, size_t key_bytes, const uint8_t iv[16], bool decrypt, const uint8_t *in, uint8_t *out,
             size_t bytes)
{
	struct aes aes;
	uint8_t last[16];

	if (!aes_init(&aes, key, key_bytes) || bytes % 16)
		return false;
	memcpy(last, iv, 16);
	for (size_t at = 0; at < bytes; at += 16) {
		if (decrypt) {
			aes_unblock(&aes, in + at, out + at);
			exor(out + at, last, 16);
			memcpy(last, in + at, 16);
		} else {
			exor(last, in + at, 16);
			aes_block(&aes, last, last);
			memcpy(out + at, last, 16);
		}
	}
	return true;
}

bool aes_ctr(const uint8_t *key, size_t key_bytes, const uint8_t counter[16], const uint8_t *in, uint8_t *out, size_t bytes)
{
	struct aes aes;
	uint8_t at_counter[16], stream[16];

	if (!aes_init(&aes, key, key_bytes))
		return false;
	memcpy(at_counter, counter, 16);
	for (size_t at = 0; at < bytes; at++) {
		if (at % 16 == 0) {
			aes_block(&aes, at_counter, stream);
			for (unsigned i = 16; i-- && !++at_counter[i];)
				;
		}
		out[at] = in[at] ^ stream[at % 16];
	}
	return true;
}

bool aes_xts(const uint8_t *keys, size_t key_bytes, const uint8_t tweak[16], bool decrypt, const uint8_t *in, uint8_t *out,
             size_t bytes)
{
	struct aes data, tweaks;
	uint8_t t[16], block[16];

	if (bytes % 16 || !aes_init(&data, keys, key_bytes / 2) || !aes_init(&tweaks, keys + key_bytes / 2, key_bytes / 2))
		return false;
	aes_block(&tweaks, tweak, t);
	for (size_t at = 0; at < bytes; at += 16) {
		unsigned carry = 0;

		memcpy(block, in + at, 16);
		exor(block, t, 16);
		(decrypt ? aes_unblock : aes_block)(&data, block, block);
		exor(block, t, 16);
		memcpy(out + at, block, 16);
		for (unsigned i = 0; i < 16; i++) { /* times alpha */
			unsigned doubled = t[i] * 2u + carry;

			t[i] = (uint8_t)doubled;
			carry = doubled >> 8;
		}
		t[0] ^= carry ? 0x87 : 0;
	}
	return true;
}

/* SP 800-38D, 6.3 and 6.4 */
static void ghash(uint8_t y[16], const uint8_t h[16], const uint8_t *data, size_t bytes)
{
	for (size_t at = 0; at < bytes; at += 16) {
		uint8_t z[16] = {0}, v[16];

		exor(y, data + at, bytes - at < 16 ? bytes - at : 16);
		memcpy(v, h, 16);
		for (unsigned i = 0; i < 128; i++) {
			unsigned low = v[15] & 1;

			if (y[i / 8] >> (7 - i % 8) & 1)
				exor(z, v, 16);
			for (unsigned b = 15; b; b--)
				v[b] = (uint8_t)(v[b] >> 1 | v[b - 1] << 7);
			v[0] = (uint8_t)(v[0] >> 1 ^ (low ? 0xe1 : 0));
		}
		memcpy(y, z, 16);
	}
}

static void put_bits(uint8_t at[8], uint64_t bytes)
{
	for (unsigned i = 0; i < 8; i++)
		at[i] = (uint8_t)(bytes * 8 >> (56 - 8 * i));
}

bool aes_gcm(const uint8_t *key, size_t key_bytes, const uint8_t iv[12], bool decrypt, const uint8_t *aad, size_t aad_bytes,
             const uint8_t *in, uint8_t *out, size_t bytes, uint8_t tag[16])
{
	uint8_t h[16] = {0}, y[16] = {0}, j[16] = {0}, lengths[16];
	struct aes aes;

	if (!aes_init(&aes, key, key_bytes))
		return false;
	aes_block(&aes, h, h);
	memcpy(j, iv, 12);
	j[15] = 2;
	ghash(y, h, aad, aad_bytes);
	if (decrypt)
		ghash(y, h, in, bytes);
	aes_ctr(key, key_bytes, j, in, out, bytes);
	if (!decrypt)
		ghash(y, h, out, bytes);
	put_bits(lengths, aad_bytes);
	put_bits(lengths + 8, bytes);
	ghash(y, h, lengths, 16);
	j[15] = 1;
	aes_block(&aes, j, tag);
	exor(tag, y, 16);
	return true;
}

/* ---- SHA-256 ---- */

static uint32_t right(uint32_t x, unsigned by) { return x >> by | x << (32 - by); }

/* FIPS 180, 4.2.2 and 5.3.3: the first bits of the fractions of the primes' roots, square or cube */
static uint32_t fraction(unsigned prime, bool cube)
{
	unsigned __int128 target = (unsigned __int128)prime << (cube ? 96 : 64), low = 0, high = (unsigned __int128)1 << 40;

	while (high - low > 1) { /* the root times 2^32 */
		unsigned __int128 middle = (low + high) / 2;

		if (middle * middle * (cube ? middle : 1) > target)
			high = middle;
		else
			low = middle;
	}
	return (uint32_t)low;
}

static unsigned next_prime(unsigned after)
{
	for (unsigned n = after + 1;; n++) {
		unsigned d = 2;

		while (d < n && n % d)
			d++;
		if (d == n)
			return n;
	}
}

static void compress(uint32_t state[8], const uint8_t block[64])
{
	uint32_t w[64], s[8];
	static uint32_t k[64];

	for (unsigned i = 0, prime = 2; !k[63]; i++, prime = next_prime(prime))
		k[i] = fraction(prime, true);
	for (unsigned i = 0; i < 16; i++)
		w[i] = (uint32_t)block[4 * i] << 24 | (uint32_t)block[4 * i + 1] << 16 | (uint32_t)block[4 * i + 2] << 8 |
		       block[4 * i + 3];
	for (unsigned i = 16; i < 64; i++)
		w[i] = w[i - 16] + w[i - 7] + (right(w[i - 15], 7) ^ right(w[i - 15], 18) ^ w[i - 15] >> 3) +
		       (right(w[i - 2], 17) ^ right(w[i - 2], 19) ^ w[i - 2] >> 10);
	memcpy(s, state, sizeof(s));
	for (unsigned i = 0; i < 64; i++) {
		uint32_t t1 = s[7] + (right(s[4], 6) ^ right(s[4], 11) ^ right(s[4], 25)) + ((s[4] & s[5]) ^ (~s[4] & s[6])) +
		              k[i] + w[i],
			 t2 = (right(s[0], 2) ^ right(s[0], 13) ^ right(s[0], 22)) +
		              ((s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]));

		memmove(s + 1, s, 7 * sizeof(s[0]));
		s[4] += t1;
		s[0] = t1 + t2;
	}
	for (unsigned i = 0; i < 8; i++)
		state[i] += s[i];
}

void sha256(const uint8_t *data, size_t bytes, uint8_t digest[32])
{
	uint32_t state[8];
	uint8_t last[128] = {0};
	size_t whole = bytes / 64 * 64, rest = bytes - whole, end = rest < 56 ? 64 : 128;

	for (unsigned i = 0, prime = 2; i < 8; i++, prime = next_prime(prime))
		state[i] = fraction(prime, false);
	for (size_t at = 0; at < whole; at += 64)
		compress(state, data + at);
	if (rest)
		memcpy(last, data + whole, rest);
	last[rest] = 0x80;
	put_bits(last + end - 8, bytes);
	for (size_t at = 0; at < end; at += 64)
		compress(state, last + at);
	for (unsigned i = 0; i < 32; i++)
		digest[i] = (uint8_t)(state[i / 4] >> (24 - 8 * (i % 4)));
}

void hmac_sha256(const uint8_t *key, size_t key_bytes, const uint8_t *data, size_t bytes, uint8_t mac[32])
{
	uint8_t block[64] = {0}, outer[64 + 32], *inner = malloc(64 + bytes);

	if (key_bytes > 64)
		sha256(key, key_bytes, block);
	else if (key_bytes)
		memcpy(block, key, key_bytes);
	for (unsigned i = 0; i < 64; i++) {
		inner[i] = block[i] ^ 0x36;
		outer[i] = block[i] ^ 0x5c;
	}
	if (bytes)
		memcpy(inner + 64, data, bytes);
	sha256(inner, 64 + bytes, outer + 64);
	free(inner);
	sha256(outer, sizeof(outer), mac);
}
