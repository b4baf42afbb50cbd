/*
 * Crypto devices: the examples of the standards, for each algorithm that the device says it has. What it says and then refuses is skipped.
 */
#include "selftest.h"

#include <errno.h>
#include <string.h>

#include <base/log.h>
#include <base/page.h>
#include <base/tap.h>
#include <class/crypto.h>

static const uint8_t key[] = {0x2b, 0x7e, 0x15, 0x16, 0x28, 0xae, 0xd2, 0xa6, 0xab, 0xf7, 0x15, 0x88, 0x09, 0xcf, 0x4f, 0x3c},
		     iv[] = {0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0x0e, 0x0f},
		     counter[] = {0xf0, 0xf1, 0xf2, 0xf3, 0xf4, 0xf5, 0xf6, 0xf7, 0xf8, 0xf9, 0xfa, 0xfb, 0xfc, 0xfd, 0xfe, 0xff},
		     plain[] = {0x6b, 0xc1, 0xbe, 0xe2, 0x2e, 0x40, 0x9f, 0x96, 0xe9, 0x3d, 0x7e, 0x11, 0x73, 0x93, 0x17, 0x2a,
                                0xae, 0x2d, 0x8a, 0x57, 0x1e, 0x03, 0xac, 0x9c, 0x9e, 0xb7, 0x6f, 0xac, 0x45, 0xaf, 0x8e, 0x51},
		     zeros[32];
static const char words[] = "what do ya want for nothing?";

/* SP 800-38A, 800-38D, IEEE 1619, FIPS 180, RFC 2202 and 4231. */
static const struct vector {
	const char *name;
	uint8_t service, algorithm, key_bytes, iv_bytes, src_bytes, tag_bytes;
	const void *key, *iv, *src;
	uint8_t expected[32]; /* the tag behind it; of a digest tag_bytes */
} vectors[] = {
	{"AES-ECB", CRYPTO_CIPHER, CRYPTO_AES_ECB, 16, 0, 32, 0, key, NULL, plain, {0x3a, 0xd7, 0x7b, 0xb4, 0x0d, 0x7a, 0x36,
                                                                                    0x60, 0xa8, 0x9e, 0xca, 0xf3, 0x24, 0x66,
                                                                                    0xef, 0x97, 0xf5, 0xd3, 0xd5, 0x85, 0x03,
                                                                                    0xb9, 0x69, 0x9d, 0xe7, 0x85, 0x89, 0x5a,
                                                                                    0x96, 0xfd, 0xba, 0xaf}},
	{"AES-CBC", CRYPTO_CIPHER, CRYPTO_AES_CBC, 16, 16, 32, 0, key, iv, plain, {0x76, 0x49, 0xab, 0xac, 0x81, 0x19, 0xb2,
                                                                                   0x46, 0xce, 0xe9, 0x8e, 0x9b, 0x12, 0xe9,
                                                                                   0x19, 0x7d, 0x50, 0x86, 0xcb, 0x9b, 0x50,
                                                                                   0x72, 0x19, 0xee, 0x95, 0xdb, 0x11, 0x3a,
                                                                                   0x91, 0x76, 0x78, 0xb2}},
	{"AES-CTR", CRYPTO_CIPHER, CRYPTO_AES_CTR, 16, 16, 32, 0, key, counter, plain, {0x87, 0x4d, 0x61, 0x91, 0xb6, 0x20, 0xe3,
                                                                                        0x26, 0x1b, 0xef, 0x68, 0x64, 0x99, 0x0d,
                                                                                        0xb6, 0xce, 0x98, 0x06, 0xf6, 0x6b, 0x79,
                                                                                        0x70, 0xfd, 0xff, 0x86, 0x17, 0x18, 0x7b,
                                                                                        0xb9, 0xff, 0xfd, 0xff}},
	{"AES-XTS", CRYPTO_CIPHER, CRYPTO_AES_XTS, 32, 16, 32, 0, zeros, zeros, zeros, {0x91, 0x7c, 0xf6, 0x9e, 0xbd, 0x68, 0xb2,
                                                                                        0xec, 0x9b, 0x9f, 0xe9, 0xa3, 0xea, 0xdd,
                                                                                        0xa6, 0x92, 0xcd, 0x43, 0xd2, 0xf5, 0x95,
                                                                                        0x98, 0xed, 0x85, 0x8c, 0x02, 0xc2, 0x65,
                                                                                        0x2f, 0xbf, 0x92, 0x2e}},
	{"SHA-1", CRYPTO_HASH, CRYPTO_SHA1, 0, 0, 3, 20, NULL, NULL, "abc", {0xa9, 0x99, 0x3e, 0x36, 0x47, 0x06, 0x81,
                                                                             0x6a, 0xba, 0x3e, 0x25, 0x71, 0x78, 0x50,
                                                                             0xc2, 0x6c, 0x9c, 0xd0, 0xd8, 0x9d}},
	{"SHA-256", CRYPTO_HASH, CRYPTO_SHA_256, 0, 0, 3, 32, NULL, NULL, "abc", {0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf,
                                                                                  0xea, 0x41, 0x41, 0x40, 0xde, 0x5d, 0xae,
                                                                                  0x22, 0x23, 0xb0, 0x03, 0x61, 0xa3, 0x96,
                                                                                  0x17, 0x7a, 0x9c, 0xb4, 0x10, 0xff, 0x61,
                                                                                  0xf2, 0x00, 0x15, 0xad}},
	{"HMAC-SHA-1", CRYPTO_MAC, CRYPTO_HMAC_SHA1, 4, 0, 28, 20, "Jefe", NULL, words, {0xef, 0xfc, 0xdf, 0x6a, 0xe5, 0xeb, 0x2f,
                                                                                         0xa2, 0xd2, 0x74, 0x16, 0xd5, 0xf1, 0x84,
                                                                                         0xdf, 0x9c, 0x25, 0x9a, 0x7c, 0x79}},
	{"HMAC-SHA-256", CRYPTO_MAC, CRYPTO_HMAC_SHA_256, 4, 0, 28, 32, "Jefe", NULL, words, {0x5b, 0xdc, 0xc1, 0x46, 0xbf, 0x60,
                                                                                              0x75, 0x4e, 0x6a, 0x04, 0x24, 0x26,
                                                                                              0x08, 0x95, 0x75, 0xc7, 0x5a, 0x00,
                                                                                              0x3f, 0x08, 0x9d, 0x27, 0x39, 0x83,
                                                                                              0x9d, 0xec, 0x58, 0xb9, 0x64, 0xec,
                                                                                              0x38, 0x43}},
	{"AES-GCM", CRYPTO_AEAD, CRYPTO_GCM, 16, 12, 16, 16, zeros, zeros, zeros, {0x03, 0x88, 0xda, 0xce, 0x60, 0xb6, 0xa3,
                                                                                   0x92, 0xf3, 0x28, 0xc2, 0xb9, 0x71, 0xb2,
                                                                                   0xfe, 0x78, 0xab, 0x6e, 0x47, 0xd4, 0x2c,
                                                                                   0xec, 0x13, 0xbd, 0xf5, 0x3a, 0x67, 0xb2,
                                                                                   0x12, 0x57, 0xbd, 0xdf}},
};

/* One way: `out` of what is in memory[0], to memory[100]. */
static int transform(struct crypto_device *device, const struct vector *vector, bool decrypt, uint8_t *memory)
{
	bool sealed = vector->service == CRYPTO_AEAD, digest = vector->service == CRYPTO_HASH || vector->service == CRYPTO_MAC;
	uint32_t plain_bytes = vector->src_bytes, other = plain_bytes + (sealed ? vector->tag_bytes : 0);
	const struct crypto_setup setup = {.service = vector->service,
	                                   .algorithm = vector->algorithm,
	                                   .decrypt = decrypt,
	                                   .key = vector->key,
	                                   .key_bytes = vector->key_bytes,
	                                   .result_bytes = vector->tag_bytes};
	struct crypto_request request = {.iv = vector->iv,
	                                 .iv_bytes = vector->iv_bytes,
	                                 .src = memory,
	                                 .src_bytes = decrypt ? other : plain_bytes,
	                                 .dst = memory + 100,
	                                 .dst_bytes = digest    ? 0
	                                              : decrypt ? plain_bytes
	                                                        : other,
	                                 .result = memory + 100};
	int error = crypto_open(device, &setup, &request.session);

	if (error)
		return error;
	memcpy(memory, decrypt ? (const void *)vector->expected : vector->src, request.src_bytes);
	error = crypto_run(&request);
	crypto_close(request.session);
	if (error)
		return error;
	return memcmp(memory + 100, decrypt ? vector->src : (const void *)vector->expected,
	              digest ? vector->tag_bytes : request.dst_bytes)
	               ? -EILSEQ
	               : 0;
}

static void test_crypto(const char *name)
{
	struct crypto_device *device = crypto_find(name);
	uint8_t *memory = device ? page_alloc(PAGE_SIZE, PAGE_SIZE) : NULL;

	for (unsigned i = 0; memory && i < ARRAY_SIZE(vectors); i++) {
		const struct vector *vector = &vectors[i];
		int error;

		if (!crypto_has(device, vector->service, vector->algorithm))
			continue;
		error = transform(device, vector, false, memory);
		if (!error && (vector->service == CRYPTO_CIPHER || vector->service == CRYPTO_AEAD) && crypto_find(name) == device)
			error = transform(device, vector, true, memory);
		if (error == -ENOTSUP)
			tap_skip("offered and refused", "%s: %s", name, vector->name);
		else if (!tap_ok(!error, "%s: %s as the standard has it", name, vector->name))
			tap_detail("error: %d", error);
		if (crypto_find(name) != device)
			break;
	}
	page_free(memory, PAGE_SIZE);
}

SELFTEST(crypto, test_crypto);
