/*
 * Between the parts of the crypto driver: crypto.c, the device; crypto_session.c, its sessions; crypto_data.c, how requests for data look.
 */
#ifndef CRYPTO_IMPL_H
#define CRYPTO_IMPL_H

#include <class/crypto.h>
#include <virtio/request.h>

#include "crypto_wire.h"

#define DATAQS_MAX 64u /* those that are used; the device may have more */
#define SLOTS 64u      /* requests that the device has at a time */
#define PIECES_MAX (CRYPTO_DATA_MAX / DMA_PIECE_MAX)
#define BUFFERS_MAX (2 * PIECES_MAX + 7) /* head, keys, IV, additional data, what was signed; digest, status */

struct session {
	struct crypto_session user;
	struct session *next;
	struct crypto *crypto;
	uint32_t bytes;
	uint16_t dataq;
	bool settled; /* the device has it or will not; else requests wait */
	int error;    /* why it will not */
	bool closing;
	le64 id;
	struct virtio_request request; /* to create it, and to destroy it */
	struct virtq_buf bufs[3];
	struct virtio_crypto_create_session_input answer;
	struct virtio_crypto_op_ctrl_req wire;
	uint8_t keys[];
};

/* A request that the device has. */
struct slot {
	struct slot *next; /* free ones */
	struct crypto_request *user;
	struct virtio_request request;
	struct virtq_buf bufs[BUFFERS_MAX];
	struct virtio_crypto_op_data_req wire;
	uint8_t iv[CRYPTO_IV_MAX], status;
};

struct crypto {
	struct crypto_device device;
	struct virtio_device *vdev;
	uint16_t dataqs, max_dataqueues;
	bool stopped;
	struct session *sessions;
	unsigned opened;                        /* so far: which dataq the next session has */
	struct crypto_request *waiting, **tail; /* for a slot, or for their session */
	struct slot *free;
	struct virtio_requestq control, data[DATAQS_MAX];
	struct slot slots[SLOTS];
};

static inline uint32_t keys_bytes(const struct crypto_setup *setup) { return setup->key_bytes + setup->auth_key_bytes; }
/* Of the service, whatever mode the session has. */
static inline bool stateless(const struct crypto_device *device, enum crypto_service service)
{
	return device->stateless >> service & 1;
}

/* crypto_session.c */
int crypto_session_open(struct crypto_device *device, const struct crypto_setup *setup, struct crypto_session **session);
void crypto_session_close(struct crypto_session *session);
/* After DRIVER_OK: all anew. */
void crypto_sessions_create(struct crypto *crypto);
/* The device is reset: none is there any more. */
void crypto_sessions_lose(struct crypto *crypto);

/* How the wire says it, in the parameters of sessions and of requests without one. */
static inline uint32_t crypto_way(const struct crypto_setup *setup) { return setup->decrypt ? OP_DECRYPT : OP_ENCRYPT; }
static inline uint32_t crypto_hash_mode(const struct crypto_setup *setup)
{
	return setup->hash_service == CRYPTO_MAC ? HASH_MODE_AUTH : HASH_MODE_PLAIN;
}
static inline uint32_t crypto_key_type(const struct crypto_setup *setup)
{
	return setup->private_key ? KEY_TYPE_PRIVATE : KEY_TYPE_PUBLIC;
}
static inline void crypto_para(const struct crypto_setup *setup, le32 para[2])
{
	para[0] = cpu_to_le32(setup->algorithm == CRYPTO_RSA ? setup->padding : setup->curve);
	para[1] = cpu_to_le32(setup->algorithm == CRYPTO_RSA ? setup->rsa_hash : 0);
}

/* crypto_data.c: 0 or what crypto_submit() gives; */
int crypto_check(const struct crypto_request *request);
/* what is written of dst and of result when all is well, at least; */
void crypto_results(const struct crypto_request *request, uint32_t *dst, uint32_t *digest);
/* and the wire's form of slot->user. */
void crypto_form(struct slot *slot);

/* crypto.c */
int crypto_error(unsigned status);
/* Requests go out, or end, whose time has come. */
void crypto_pump(struct crypto *crypto);

#endif
