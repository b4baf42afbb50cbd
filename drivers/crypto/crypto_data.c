/*
 * How requests for data look on the wire. Their parameters of fixed length are those of "Data Virtqueue": by service, and by whether the
 * stateless mode was negotiated for it; then also requests of sessions have room for what a session has, which is zero there.
 */
#include <errno.h>
#include <string.h>

#include "crypto_impl.h"

static const uint8_t flf_bytes[CRYPTO_SERVICES] = {48, 8, 8, 24, 8}, flf_bytes_stateless[CRYPTO_SERVICES] = {76, 16, 16, 32, 28};

static uint32_t digest_bytes(const struct crypto_setup *setup) { return setup->service == CRYPTO_AEAD ? 0 : setup->result_bytes; }

static bool overlap(const void *a, uint32_t a_bytes, const void *b, uint32_t b_bytes)
{
	return a_bytes && b_bytes && (uintptr_t)a < (uintptr_t)b + b_bytes && (uintptr_t)b < (uintptr_t)a + a_bytes;
}

static bool within(uint32_t start, uint32_t bytes, uint32_t all) { return start <= all && bytes <= all - start; }

/* What the device cannot make sense of is not sent: some would break over it. */
static bool possible(const struct crypto_request *request)
{
	const struct crypto_setup *setup = &request->session->setup;
	uint32_t src = request->src_bytes, dst = request->dst_bytes, tag = setup->result_bytes;

	if (request->signed_bytes && (setup->service != CRYPTO_AKCIPHER || request->op != CRYPTO_VERIFY))
		return false;
	if (request->iv_bytes > (setup->service == CRYPTO_CIPHER || setup->service == CRYPTO_AEAD ? CRYPTO_IV_MAX : 0))
		return false;
	switch (setup->service) {
	case CRYPTO_CIPHER:
		return dst >= src && (!setup->chain || (within(request->cipher_start, request->cipher_bytes, src) &&
		                                        within(request->hash_start, request->hash_bytes, src)));
	case CRYPTO_AEAD:
		return setup->decrypt ? src >= tag && dst >= src - tag : dst >= src && dst - src >= tag;
	case CRYPTO_AKCIPHER:
		return request->op <= CRYPTO_VERIFY && (dst != 0) == (request->op != CRYPTO_VERIFY);
	default:
		return !dst;
	}
}

int crypto_check(const struct crypto_request *request)
{
	const struct crypto_setup *setup = &request->session->setup;
	uint64_t content = (uint64_t)request->src_bytes + request->dst_bytes + request->iv_bytes + request->signed_bytes +
	                   setup->aad_bytes + digest_bytes(setup) + (setup->stateless ? keys_bytes(setup) : 0);

	if (!possible(request) || overlap(request->src, request->src_bytes, request->dst, request->dst_bytes))
		return -EINVAL;
	/* "Device configuration layout": MUST guarantee that the content is within max_size */
	if (request->src_bytes > CRYPTO_DATA_MAX || request->dst_bytes > CRYPTO_DATA_MAX ||
	    request->signed_bytes > CRYPTO_PIECE_MAX || content > request->session->device->content_max)
		return -EMSGSIZE;
	return 0;
}

void crypto_results(const struct crypto_request *request, uint32_t *dst, uint32_t *digest)
{
	const struct crypto_setup *setup = &request->session->setup;

	*digest = digest_bytes(setup);
	if (setup->service == CRYPTO_AEAD)
		*dst = setup->decrypt ? request->src_bytes - setup->result_bytes : request->src_bytes + setup->result_bytes;
	else if (setup->service == CRYPTO_CIPHER)
		*dst = request->src_bytes;
	/* Signed or encrypted, it is as long as the modulus: of one that begins with a zero, QEMU 7.2 keeps as many bytes back at the end. */
	else if (setup->service == CRYPTO_AKCIPHER && setup->algorithm == CRYPTO_RSA && request->op != CRYPTO_DECRYPT)
		*dst = request->dst_bytes;
	else
		*dst = 0;
}

/* ---- parameters of fixed length ---- */

static struct virtio_crypto_alg_chain_data_flf chain_flf(const struct crypto_request *request)
{
	const struct crypto_setup *setup = &request->session->setup;

	return (struct virtio_crypto_alg_chain_data_flf){.iv_len = cpu_to_le32(request->iv_bytes),
	                                                 .src_data_len = cpu_to_le32(request->src_bytes),
	                                                 .dst_data_len = cpu_to_le32(request->dst_bytes),
	                                                 .cipher_start_src_offset = cpu_to_le32(request->cipher_start),
	                                                 .len_to_cipher = cpu_to_le32(request->cipher_bytes),
	                                                 .hash_start_src_offset = cpu_to_le32(request->hash_start),
	                                                 .len_to_hash = cpu_to_le32(request->hash_bytes),
	                                                 .aad_len = cpu_to_le32(setup->aad_bytes),
	                                                 .hash_result_len = cpu_to_le32(setup->result_bytes)};
}

static le32 signed_or_written(const struct crypto_request *request)
{
	return cpu_to_le32(request->op == CRYPTO_VERIFY ? request->signed_bytes : request->dst_bytes);
}

static void form_session_mode(struct virtio_crypto_op_data_req *wire, const struct crypto_request *request)
{
	const struct crypto_setup *setup = &request->session->setup;
	le32 src = cpu_to_le32(request->src_bytes), dst = cpu_to_le32(request->dst_bytes), iv = cpu_to_le32(request->iv_bytes),
	     result = cpu_to_le32(setup->result_bytes), aad = cpu_to_le32(setup->aad_bytes);

	switch (setup->service) {
	case CRYPTO_CIPHER:
		wire->sym.op_type = cpu_to_le32(setup->chain ? SYM_OP_ALGORITHM_CHAINING : SYM_OP_CIPHER);
		if (setup->chain)
			wire->sym.chain = chain_flf(request);
		else
			wire->sym.cipher = (struct virtio_crypto_cipher_data_flf){iv, src, dst, 0};
		break;
	case CRYPTO_AEAD:
		wire->aead = (struct virtio_crypto_aead_data_flf){iv, aad, src, dst, result, 0};
		break;
	case CRYPTO_AKCIPHER:
		wire->akcipher = (struct virtio_crypto_akcipher_data_flf){src, signed_or_written(request)};
		break;
	default:
		wire->hash = (struct virtio_crypto_hash_data_flf){src, result};
	}
}

/* What a session has, `sess_para` at the front, stays zero in requests of one. */
static void form_stateless_mode(struct virtio_crypto_op_data_req *wire, const struct crypto_request *request)
{
	static const uint8_t para_bytes[CRYPTO_SERVICES] = {sizeof(struct sess_cipher), 4, 8, sizeof(struct sess_cipher), 20};
	const struct crypto_setup *setup = &request->session->setup;
	const struct sess_cipher cipher = {.algo = wire->algo,
	                                   .key_len = cpu_to_le32(setup->key_bytes),
	                                   .op = cpu_to_le32(crypto_way(setup))};
	le32 src = cpu_to_le32(request->src_bytes), dst = cpu_to_le32(request->dst_bytes), iv = cpu_to_le32(request->iv_bytes),
	     result = cpu_to_le32(setup->result_bytes), aad = cpu_to_le32(setup->aad_bytes);

	switch (setup->service) {
	case CRYPTO_CIPHER:
		wire->sym_stateless.op_type = cpu_to_le32(setup->chain ? SYM_OP_ALGORITHM_CHAINING : SYM_OP_CIPHER);
		if (!setup->chain) {
			wire->sym_stateless.cipher.sess_para = cipher;
			wire->sym_stateless.cipher.iv_len = iv;
			wire->sym_stateless.cipher.src_data_len = src;
			wire->sym_stateless.cipher.dst_data_len = dst;
			break;
		}
		if (setup->stateless)
			wire->sym_stateless.chain.sess_para =
				(struct sess_chain){.alg_chain_order = cpu_to_le32(setup->chain),
			                            .aad_len = aad,
			                            .cipher = cipher,
			                            .hash_algo = cpu_to_le32(setup->hash),
			                            .auth_key_len = cpu_to_le32(setup->auth_key_bytes),
			                            .hash_mode = cpu_to_le32(crypto_hash_mode(setup))};
		wire->sym_stateless.chain.data = chain_flf(request);
		return;
	case CRYPTO_HASH:
		wire->hash_stateless = (struct virtio_crypto_hash_data_flf_stateless){wire->algo, src, result, 0};
		break;
	case CRYPTO_MAC:
		wire->mac_stateless = (struct virtio_crypto_mac_data_flf_stateless){wire->algo, cipher.key_len, src, result};
		break;
	case CRYPTO_AEAD:
		wire->aead_stateless = (struct virtio_crypto_aead_data_flf_stateless){cipher, iv, result, aad, src, dst};
		break;
	default:
		wire->akcipher_stateless.algo = wire->algo;
		wire->akcipher_stateless.key_type = cpu_to_le32(crypto_key_type(setup));
		wire->akcipher_stateless.key_len = cipher.key_len;
		crypto_para(setup, wire->akcipher_stateless.para);
		wire->akcipher_stateless.src_data_len = src;
		wire->akcipher_stateless.dst_data_len = signed_or_written(request);
	}
	if (!setup->stateless)
		memset(&wire->sym_stateless, 0, para_bytes[setup->service]);
}

/* ---- buffers ---- */

static struct virtq_buf *put(struct virtq_buf *at, const void *memory, uint32_t bytes)
{
	uint8_t *from = (uint8_t *)(uintptr_t)memory;

	for (uint32_t done = 0; done < bytes; done += DMA_PIECE_MAX)
		*at++ = (struct virtq_buf){from + done, MIN(bytes - done, DMA_PIECE_MAX)};
	return at;
}

void crypto_form(struct slot *slot)
{
	const struct crypto_request *request = slot->user;
	const struct session *session = container_of(request->session, struct session, user);
	const struct crypto_setup *setup = &session->user.setup;
	struct virtio_crypto_op_data_req *wire = &slot->wire;
	struct virtq_buf *at = slot->bufs, *writable;
	bool wide = stateless(session->user.device, setup->service), aad_first = wide && setup->service == CRYPTO_CIPHER;
	uint32_t flf = (wide ? flf_bytes_stateless : flf_bytes)[setup->service];
	unsigned op = setup->service == CRYPTO_AKCIPHER ? request->op : setup->decrypt;

	memset(wire, 0, sizeof(*wire));
	wire->opcode = cpu_to_le32(OPCODE(setup->service, op));
	wire->algo = cpu_to_le32(setup->algorithm);
	if (wide)
		form_stateless_mode(wire, request);
	else
		form_session_mode(wire, request);
	if (!setup->stateless) {
		wire->session_id = session->id;
		wire->flag = cpu_to_le32(FLAG_SESSION_MODE);
	}
	if (!virtio_has(session->crypto->vdev, VIRTIO_CRYPTO_F_REVISION_1))
		flf = DATA_LEGACY;
	if (request->iv_bytes)
		memcpy(slot->iv, request->iv, request->iv_bytes);
	slot->status = STATUS_NONE;

	at = put(at, wire, DATA_HEADER + flf);
	at = put(at, session->keys, setup->stateless ? keys_bytes(setup) : 0);
	at = put(at, slot->iv, request->iv_bytes);
	at = put(at, request->aad, aad_first ? setup->aad_bytes : 0);
	at = put(at, request->src, request->src_bytes);
	at = put(at, request->aad, aad_first ? 0 : setup->aad_bytes + request->signed_bytes);
	writable = at;
	at = put(at, request->dst, request->dst_bytes);
	at = put(at, request->result, digest_bytes(setup));
	at = put(at, &slot->status, 1);
	slot->request = (struct virtio_request){.bufs = slot->bufs,
	                                        .nreadable = (uint16_t)(writable - slot->bufs),
	                                        .nwritable = (uint16_t)(at - writable)};
}
