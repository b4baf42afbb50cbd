/*
 * The software crypto device: AES, SHA-256, HMAC and GCM as they are; what it calls RSA is keyed and reversible, no more.
 */
#ifndef SWDEV_CRYPTO_H
#define SWDEV_CRYPTO_H

#include "swdev.h"

enum { CRYPTO_F_REVISION_1 = 0, CRYPTO_F_STATELESS = 1 }; /* and four more */
#define SWDEV_CRYPTO_DATAQS 2u
#define SWDEV_CRYPTO_SESSIONS 6u
#define SWDEV_CRYPTO_MAX_SIZE (3u << 20)

/* What a session is, or a request without one brings. */
struct swdev_crypto_params {
	uint32_t service, algo, way, key_len, auth_len, digest_len, aad_len, op_type, order, mode, hash, key_type, para[2];
	uint8_t keys[300];
};

struct swdev_crypto_session {
	uint64_t id; /* 0: free */
	struct swdev_crypto_params params;
};

struct swdev_crypto {
	struct swdev_crypto_session sessions[SWDEV_CRYPTO_SESSIONS];
	uint64_t next_id;
	unsigned created, destroyed, served[SWDEV_CRYPTO_DATAQS], stateless, by_session;
	uint8_t lie_status;  /* 0, or what all answers say */
	bool same_id, holds; /* takes requests, answers none */
};
static inline struct swdev_crypto *swdev_crypto_of(struct swdev *dev) { return dev->state; }
static inline unsigned swdev_crypto_sessions(struct swdev *dev)
{
	unsigned count = 0;

	for (unsigned i = 0; i < SWDEV_CRYPTO_SESSIONS; i++)
		count += swdev_crypto_of(dev)->sessions[i].id != 0;
	return count;
}
void swdev_crypto_ready(struct swdev *dev, bool ready); /* and tell the driver */

extern const struct swdev_type swdev_crypto;

#endif
