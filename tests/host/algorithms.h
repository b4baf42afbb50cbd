/*
 * What a crypto device computes, from the standards: AES (FIPS 197, SP 800-38A and D, IEEE 1619), SHA-256 (FIPS 180) and HMAC (FIPS 198). Slow
 * and small: for the software device.
 */
#ifndef ALGORITHMS_H
#define ALGORITHMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct aes {
	unsigned rounds;
	uint8_t keys[15][16];
};
bool aes_init(struct aes *aes, const uint8_t *key, size_t bytes); /* false: not 16, 24 or 32 */
void aes_block(const struct aes *aes, const uint8_t in[16], uint8_t out[16]);
void aes_unblock(const struct aes *aes, const uint8_t in[16], uint8_t out[16]);

/* False: a length that cannot be. */
bool aes_ecb(const uint8_t *key, size_t key_bytes, bool decrypt, const uint8_t *in, uint8_t *out, size_t bytes);
bool aes_cbc(const uint8_t *key, size_t key_bytes, const uint8_t iv[16], bool decrypt, const uint8_t *in, uint8_t *out,
             size_t bytes);
bool aes_ctr(const uint8_t *key, size_t key_bytes, const uint8_t counter[16], const uint8_t *in, uint8_t *out, size_t bytes);
bool aes_xts(const uint8_t *keys, size_t key_bytes, const uint8_t tweak[16], bool decrypt, const uint8_t *in, uint8_t *out,
             size_t bytes);
/* `bytes` of plain text or of cipher text; the tag is of what is or becomes cipher text. */
bool aes_gcm(const uint8_t *key, size_t key_bytes, const uint8_t iv[12], bool decrypt, const uint8_t *aad, size_t aad_bytes,
             const uint8_t *in, uint8_t *out, size_t bytes, uint8_t tag[16]);

void sha256(const uint8_t *data, size_t bytes, uint8_t digest[32]);
void hmac_sha256(const uint8_t *key, size_t key_bytes, const uint8_t *data, size_t bytes, uint8_t mac[32]);

#endif
