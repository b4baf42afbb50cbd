/*
 * Sessions. What creates one stays with it, keys and all, so that it can be created again when a reset of the device has ended it, and so
 * that a stateless one, of which the device is never told, has its parameters at hand.
 */
#include <errno.h>
#include <string.h>

#include <base/page.h>

#include "crypto_impl.h"

/* Bytes of the parameters of fixed length, by service. "Control Virtqueue": without REVISION_1 they are padded. */
static const uint8_t create_flf[CRYPTO_SERVICES] = {56, 8, 16, 24, 56};

static int check(const struct crypto_device *device, const struct crypto_setup *setup)
{
	bool symmetric = setup->service == CRYPTO_CIPHER, chain = setup->chain, mac = setup->service == CRYPTO_MAC;
	uint32_t key_max = setup->service == CRYPTO_HASH       ? 0
	                   : mac                               ? device->auth_key_max
	                   : setup->service == CRYPTO_AKCIPHER ? CRYPTO_KEY_MAX
	                                                       : device->cipher_key_max;

	if (!crypto_has(device, setup->service, setup->algorithm) || (setup->stateless && !stateless(device, setup->service)))
		return -ENOTSUP;
	if (chain && (!symmetric || setup->chain > CRYPTO_CIPHER_THEN_HASH ||
	              (setup->hash_service != CRYPTO_HASH && setup->hash_service != CRYPTO_MAC)))
		return -EINVAL;
	if (chain && !crypto_has(device, setup->hash_service, setup->hash))
		return -ENOTSUP;
	/* "Device configuration layout": MUST guarantee that keys are within max_cipher_key_len, max_auth_key_len */
	if (setup->key_bytes > MIN(key_max, CRYPTO_KEY_MAX) ||
	    setup->auth_key_bytes >
	            (chain && setup->hash_service == CRYPTO_MAC ? MIN(device->auth_key_max, CRYPTO_KEY_MAX) : 0) ||
	    keys_bytes(setup) > CRYPTO_KEY_MAX)
		return -EINVAL;
	if (setup->result_bytes > (symmetric && !chain ? 0 : CRYPTO_PIECE_MAX) ||
	    setup->aad_bytes > (chain || setup->service == CRYPTO_AEAD ? CRYPTO_PIECE_MAX : 0) ||
	    (setup->decrypt && !symmetric && setup->service != CRYPTO_AEAD) ||
	    (setup->result_bytes && setup->service == CRYPTO_AKCIPHER))
		return -EINVAL;
	return 0;
}

static struct virtio_crypto_mac_create_session_flf hash_flf(unsigned algorithm, uint32_t result_bytes, uint32_t key_bytes)
{
	return (struct virtio_crypto_mac_create_session_flf){.algo = cpu_to_le32(algorithm),
	                                                     .hash_result_len = cpu_to_le32(result_bytes),
	                                                     .auth_key_len = cpu_to_le32(key_bytes)};
}

static struct virtio_crypto_sym_create_session_flf sym_flf(const struct crypto_setup *setup)
{
	const struct virtio_crypto_cipher_session_flf cipher = {.algo = cpu_to_le32(setup->algorithm),
	                                                        .key_len = cpu_to_le32(setup->key_bytes),
	                                                        .op = cpu_to_le32(crypto_way(setup))};

	if (!setup->chain)
		return (struct virtio_crypto_sym_create_session_flf){.cipher = cipher, .op_type = cpu_to_le32(SYM_OP_CIPHER)};
	return (struct virtio_crypto_sym_create_session_flf){.chain = {.alg_chain_order = cpu_to_le32(setup->chain),
	                                                               .hash_mode = cpu_to_le32(crypto_hash_mode(setup)),
	                                                               .cipher_hdr = cipher,
	                                                               .algo_flf = hash_flf(setup->hash, setup->result_bytes,
	                                                                                    setup->auth_key_bytes),
	                                                               .aad_len = cpu_to_le32(setup->aad_bytes)},
	                                                     .op_type = cpu_to_le32(SYM_OP_ALGORITHM_CHAINING)};
}

/* "Session operation: create session": the headers, the parameters and the room for the outcome, in turn; what is reserved is zero */
static void form(struct session *session)
{
	const struct crypto_setup *setup = &session->user.setup;
	struct virtio_crypto_op_ctrl_req *wire = &session->wire;
	unsigned op = setup->service == CRYPTO_AKCIPHER ? OP_CREATE_AKCIPHER_SESSION : OP_CREATE_SESSION;

	*wire = (struct virtio_crypto_op_ctrl_req){.opcode = cpu_to_le32(OPCODE(setup->service, op)),
	                                           .algo = cpu_to_le32(setup->algorithm)};
	switch (setup->service) {
	case CRYPTO_CIPHER:
		wire->sym = sym_flf(setup);
		break;
	case CRYPTO_AEAD:
		wire->aead = (struct virtio_crypto_aead_create_session_flf){.algo = wire->algo,
		                                                            .key_len = cpu_to_le32(setup->key_bytes),
		                                                            .tag_len = cpu_to_le32(setup->result_bytes),
		                                                            .aad_len = cpu_to_le32(setup->aad_bytes),
		                                                            .op = cpu_to_le32(crypto_way(setup))};
		break;
	case CRYPTO_AKCIPHER:
		wire->akcipher.algo = wire->algo;
		wire->akcipher.key_type = cpu_to_le32(crypto_key_type(setup));
		wire->akcipher.key_len = cpu_to_le32(setup->key_bytes);
		crypto_para(setup, wire->akcipher.para);
		break;
	default:
		wire->mac = hash_flf(setup->algorithm, setup->result_bytes, setup->key_bytes);
	}
}

static void send(struct session *session, uint32_t flf_bytes, uint32_t key_bytes, uint32_t answer_bytes,
                 void (*done)(struct virtio_request *request))
{
	struct crypto *crypto = session->crypto;
	struct virtq_buf *bufs = session->bufs;
	unsigned n = 0;

	if (!virtio_has(crypto->vdev, VIRTIO_CRYPTO_F_REVISION_1))
		flf_bytes = CTRL_LEGACY;
	bufs[n++] = (struct virtq_buf){&session->wire, CTRL_HEADER + flf_bytes};
	if (key_bytes)
		bufs[n++] = (struct virtq_buf){session->keys, key_bytes};
	bufs[n] = (struct virtq_buf){&session->answer, answer_bytes};
	session->request =
		(struct virtio_request){.bufs = bufs, .nreadable = (uint16_t)n, .nwritable = 1, .done = done, .context = session};
	virtio_request_submit(&crypto->control, &session->request);
}

static void created(struct virtio_request *request)
{
	struct session *session = request->context;
	const struct virtio_crypto_create_session_input *answer = &session->answer;

	if (session->crypto->stopped)
		return; /* the next start creates it */
	session->error = -EIO;
	if (!request->status && request->written >= sizeof(*answer))
		session->error = crypto_error(le32_to_cpu(READ_ONCE(answer->status)));
	session->id = READ_ONCE(answer->session_id);
	session->settled = true;
	crypto_pump(session->crypto);
}

static void create(struct session *session)
{
	const struct crypto_setup *setup = &session->user.setup;

	/* Again, for the device may have become another by its reset. */
	session->error = check(&session->crypto->device, setup);
	if (session->error || setup->stateless) {
		session->settled = true;
		return;
	}
	form(session);
	session->answer.status = cpu_to_le32(STATUS_NONE);
	send(session, create_flf[setup->service], keys_bytes(setup), sizeof(session->answer), created);
}

void crypto_sessions_create(struct crypto *crypto)
{
	for (struct session *session = crypto->sessions; session; session = session->next)
		if (!session->closing)
			create(session);
}

void crypto_sessions_lose(struct crypto *crypto)
{
	for (struct session *session = crypto->sessions; session; session = session->next) {
		session->settled = false;
		session->error = 0;
	}
}

static void leave(struct session *session)
{
	struct session **at = &session->crypto->sessions;

	while (*at != session)
		at = &(*at)->next;
	*at = session->next;
}

static bool alive(const struct session *session) { return session->crypto && session->settled && !session->error; }

/* False: the device still has its request, for ever. */
static bool wait_over(struct session *session)
{
	if (!session->request.over &&
	    virtio_request_wait(&session->crypto->control, &session->request, VIRTIO_ANSWER_NS) == -ETIMEDOUT)
		return false;
	session->request.over = true; /* it may never have gone out */
	return true;
}

int crypto_session_open(struct crypto_device *device, const struct crypto_setup *setup, struct crypto_session **out)
{
	struct crypto *crypto = container_of(device, struct crypto, device);
	uint32_t bytes = (uint32_t)sizeof(struct session) + keys_bytes(setup);
	int error = check(device, setup);
	struct session *session = error ? NULL : page_alloc(bytes, PAGE_SIZE);

	if (!session)
		return error ? error : -ENOMEM;
	session->bytes = bytes;
	session->crypto = crypto;
	session->dataq = (uint16_t)crypto->opened++;
	session->request.over = true;
	session->user = (struct crypto_session){.device = device, .ops = device->ops, .setup = *setup};
	if (setup->key_bytes)
		memcpy(session->keys, setup->key, setup->key_bytes);
	if (setup->auth_key_bytes)
		memcpy(session->keys + setup->key_bytes, setup->auth_key, setup->auth_key_bytes);
	session->user.setup.key = session->user.setup.auth_key = NULL;
	session->next = crypto->sessions;
	crypto->sessions = session;
	if (!crypto->stopped)
		create(session);
	if (!wait_over(session) || !alive(session)) {
		error = !session->crypto ? -ENODEV : session->error ? session->error : -EIO;
		crypto_session_close(&session->user);
		return error;
	}
	*out = &session->user;
	return 0;
}

void crypto_session_close(struct crypto_session *user)
{
	struct session *session = container_of(user, struct session, user);
	bool ended;

	session->closing = true;
	ended = wait_over(session);
	if (ended && alive(session) && !user->setup.stateless) {
		/* "Session operation: destroy session" */
		session->wire = (struct virtio_crypto_op_ctrl_req){.opcode = cpu_to_le32(le32_to_cpu(session->wire.opcode) + 1),
		                                                   .algo = session->wire.algo,
		                                                   .session_id = session->id};
		send(session, sizeof(le64), 0, 1, NULL);
		ended = wait_over(session);
	}
	if (session->crypto)
		leave(session);
	if (!ended)
		return; /* its memory is lost with it */
	memset(session->keys, 0, session->bytes - sizeof(*session));
	page_free(session, session->bytes);
}
