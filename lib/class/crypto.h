/*
 * Crypto devices: a program opens a session, which is an algorithm and a key, and then submits data to it. Loop context.
 *
 * A session lives through resets of the device: the driver makes it anew, and requests wait for that. When the device goes, its
 * requests end with -ENODEV, and only crypto_close() is of use.
 */
#ifndef CLASS_CRYPTO_H
#define CLASS_CRYPTO_H

#include <class/device.h>

/* All numbers are those of "Crypto Device / Supported crypto services". */
enum crypto_service { CRYPTO_CIPHER, CRYPTO_HASH, CRYPTO_MAC, CRYPTO_AEAD, CRYPTO_AKCIPHER, CRYPTO_SERVICES };
enum { /* CRYPTO_CIPHER */
       CRYPTO_ARC4 = 1,
       CRYPTO_AES_ECB,
       CRYPTO_AES_CBC,
       CRYPTO_AES_CTR,
       CRYPTO_DES_ECB,
       CRYPTO_DES_CBC,
       CRYPTO_3DES_ECB,
       CRYPTO_3DES_CBC,
       CRYPTO_3DES_CTR,
       CRYPTO_KASUMI_F8,
       CRYPTO_SNOW3G_UEA2,
       CRYPTO_AES_F8,
       CRYPTO_AES_XTS,
       CRYPTO_ZUC_EEA3,
};
enum { /* CRYPTO_HASH; of SHA-3, the last two are SHAKE128 and SHAKE256 */
       CRYPTO_MD5 = 1,
       CRYPTO_SHA1,
       CRYPTO_SHA_224,
       CRYPTO_SHA_256,
       CRYPTO_SHA_384,
       CRYPTO_SHA_512,
       CRYPTO_SHA3_224,
       CRYPTO_SHA3_256,
       CRYPTO_SHA3_384,
       CRYPTO_SHA3_512,
       CRYPTO_SHAKE128,
       CRYPTO_SHAKE256,
};
enum { /* CRYPTO_MAC */
       CRYPTO_HMAC_MD5 = 1,
       CRYPTO_HMAC_SHA1,
       CRYPTO_HMAC_SHA_224,
       CRYPTO_HMAC_SHA_256,
       CRYPTO_HMAC_SHA_384,
       CRYPTO_HMAC_SHA_512,
       CRYPTO_CMAC_3DES = 25,
       CRYPTO_CMAC_AES,
       CRYPTO_KASUMI_F9,
       CRYPTO_SNOW3G_UIA2,
       CRYPTO_GMAC_AES = 41,
       CRYPTO_GMAC_TWOFISH,
       CRYPTO_CBCMAC_AES = 49,
       CRYPTO_CBCMAC_KASUMI_F9,
       CRYPTO_XCBC_AES = 53,
       CRYPTO_ZUC_EIA3,
};
enum { CRYPTO_GCM = 1, CRYPTO_CCM, CRYPTO_CHACHA20_POLY1305 }; /* CRYPTO_AEAD */
enum { CRYPTO_RSA = 1, CRYPTO_ECDSA };                         /* CRYPTO_AKCIPHER */
enum { CRYPTO_RSA_RAW, CRYPTO_RSA_PKCS1 };
enum { CRYPTO_RSA_MD5 = 4, CRYPTO_RSA_SHA1, CRYPTO_RSA_SHA256, CRYPTO_RSA_SHA384, CRYPTO_RSA_SHA512, CRYPTO_RSA_SHA224 };
enum { CRYPTO_P192 = 1, CRYPTO_P224, CRYPTO_P256, CRYPTO_P384, CRYPTO_P521 };

#define CRYPTO_KEY_MAX 65536u /* bytes of both keys */
#define CRYPTO_IV_MAX 16u
#define CRYPTO_PIECE_MAX 65536u        /* of additional data, of a digest */
#define CRYPTO_DATA_MAX (16u * 65536u) /* of source and destination, each */

struct crypto_setup {
	enum crypto_service service;
	uint8_t algorithm;
	bool decrypt;    /* CIPHER, AEAD: which way its requests go */
	bool stateless;  /* the device is to keep nothing: it gets all of this with each request */
	const void *key; /* AKCIPHER: in DER */
	uint32_t key_bytes;
	uint32_t result_bytes; /* HASH, MAC, chains: of the digest; AEAD: of the tag */
	uint32_t aad_bytes;    /* AEAD, chains: additional data of each request */
	/* CIPHER: chained with a hash or, with a second key, a MAC; or alone. */
	enum { CRYPTO_ALONE, CRYPTO_HASH_THEN_CIPHER, CRYPTO_CIPHER_THEN_HASH } chain;
	enum crypto_service hash_service; /* CRYPTO_HASH or CRYPTO_MAC */
	uint8_t hash;
	const void *auth_key;
	uint32_t auth_key_bytes;
	/* AKCIPHER */
	bool private_key;
	uint8_t padding, rsa_hash; /* RSA */
	uint8_t curve;             /* ECDSA */
};

struct crypto_session {
	struct crypto_device *device; /* NULL: it is gone */
	const struct crypto_ops *ops;
	struct crypto_setup setup; /* without the keys */
};

enum crypto_op { CRYPTO_ENCRYPT, CRYPTO_DECRYPT, CRYPTO_SIGN, CRYPTO_VERIFY };

/* The submitter's until done(). Source, additional data, destination and digest are in memory of page_alloc(), and what is written
 * overlaps nothing else; the IV is anywhere. */
struct crypto_request {
	struct crypto_session *session;
	enum crypto_op op; /* AKCIPHER only */
	const void *iv;    /* CIPHER, AEAD */
	uint32_t iv_bytes;
	const void *src; /* AEAD to decrypt: with the tag behind it; VERIFY: the signature */
	uint32_t src_bytes;
	const void *aad; /* setup.aad_bytes; VERIFY: what was signed, its digest mostly, */
	uint32_t signed_bytes;
	void *dst;          /* CIPHER, AEAD (to encrypt: with room for the tag), AKCIPHER but VERIFY: */
	uint32_t dst_bytes; /* there, what the key makes: QEMU misplaces results in more room; of RSA to encrypt and sign no less comes */
	void *result; /* HASH, MAC, chains: setup.result_bytes */
	/* Chains: the parts of the source that are ciphered and hashed. */
	uint32_t cipher_start, cipher_bytes, hash_start, hash_bytes;

	void (*done)(struct crypto_request *request); /* in the loop; may submit, does not wait; may be NULL */
	void *context;
	bool over;        /* it has ended */
	int status;       /* 0; -EBADMSG: it does not verify; -EIO: the device failed, or was reset; -ENOTSUP; -ENODEV */
	uint32_t written; /* bytes of dst */
	struct crypto_request *next; /* the driver's */
};

struct crypto_device {
	struct class_node node;
	const struct crypto_ops *ops;
	bool ready;                           /* the hardware is; requests wait for that */
	uint64_t algorithms[CRYPTO_SERVICES]; /* a bit each; 0: no such service */
	uint8_t stateless;                    /* services that take setup.stateless: a bit each */
	uint32_t cipher_key_max, auth_key_max;
	uint64_t content_max; /* bytes of a request's parts, all together */
};

struct crypto_ops {
	int (*open)(struct crypto_device *device, const struct crypto_setup *setup, struct crypto_session **session);
	void (*close)(struct crypto_session *session);
	int (*submit)(struct crypto_request *request);
	int (*run)(struct crypto_request *request);
};

static inline bool crypto_has(const struct crypto_device *device, enum crypto_service service, unsigned algorithm)
{
	return service < CRYPTO_SERVICES && algorithm < 64 && device->algorithms[service] >> algorithm & 1;
}

/* Waits. Keys are copied. -ENOTSUP: the device has no such service, algorithm or mode; -EINVAL: a key that is too long, or nonsense; -ENOSPC:
 * it has no room for more sessions; -EIO: it failed or was reset meanwhile; -ENODEV. */
[[nodiscard]] static inline int crypto_open(struct crypto_device *device, const struct crypto_setup *setup,
                                            struct crypto_session **session)
{
	return device->ops->open(device, setup, session);
}
/* Waits. All its requests have ended. */
static inline void crypto_close(struct crypto_session *session) { session->ops->close(session); }
/* -EINVAL: the request makes no sense; -EMSGSIZE: it is too large for the device or for us; -ENODEV, or why its session is none. done() does
 * not come then. */
[[nodiscard]] static inline int crypto_submit(struct crypto_request *request) { return request->session->ops->submit(request); }
/* And wait; its done() is not used. Gives its status. */
[[nodiscard]] static inline int crypto_run(struct crypto_request *request) { return request->session->ops->run(request); }

CLASS(struct crypto_device, crypto)

#endif
